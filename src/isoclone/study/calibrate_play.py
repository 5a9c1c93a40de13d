"""Make a study of reinforcement of a game that has none: sizes and budgets by the time it may take.

Nobody knows before it is tried how many steps a game takes to be learned. So sizes are the usual
ones of the policy, and the budgets the largest that playing, learning and judging leave time for,
by the speed of this machine.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

from isoclone.base.errors import SpecError
from isoclone.games import game
from isoclone.study.calibrate import AGENT_SEEDS, NO_SIZES, name_for, policy_for
from isoclone.study.estimate import Speed, measure_speed, sweep_seconds
from isoclone.study.plan import grid
from isoclone.study.spec import FORECAST_FACTOR, NOBODY, StudySpec
from isoclone.training.recipes import suited_to_play

WIDTHS = (4, 6, 9, 13, 19)  # a step of play costs a policy twice as much from one to the next
FEWEST = 3  # sizes
BUDGETS, STEP = 4, 2.0  # how many, and each over the one before
SEEDS = (0, 1, 2)
SWEEP, AGENT = 0.5, 0.3  # shares of the time; the rest is what is around it
EPISODES, FORECAST_EPISODES = 16, 32
LONGEST = 1_000  # steps of an episode, where they are counted before any was played
LEAST = 2.0  # iterations of a size at the first budget

Tell = Callable[[str, str], None]


def unsized_play(name: str, taught: bool, **fields: Any) -> StudySpec:
    """Return a study of reinforcement, for `calibrated_play` to fill in its sizes and budgets.

    Args:
        name: of the game.
        taught: whether runs start from clones.
        fields: of the specification: `game_options`, `policy` and others.

    Raises:
        UnknownNameError: no such game.
        SpecError: no policy reads the game's frames.
    """
    the_game = game(name, **fields.get("game_options", {}))
    chosen = {
        "policy": fields.get("policy") or policy_for(the_game),
        "recipe": suited_to_play(the_game, taught).to_json(),
        "seeds": SEEDS,
        "extend": 0,
        "episodes": EPISODES,
        "forecast_episodes": FORECAST_EPISODES,
    }
    about: dict[str, Any] = {**NO_SIZES, "expert": NOBODY, **chosen, **fields}
    return StudySpec(name=name_for(f"{name}-rl"), game=the_game.name, **about)


def calibrated_play(
    spec: StudySpec, workers: int, minutes: float, tell: Tell | None = None
) -> StudySpec:
    """Return a study's specification with the sizes and budgets that suit game and machine.

    Args:
        spec: with all but sizes and budgets, which are chosen here.
        workers: how many runs are trained at once.
        minutes: what the whole study may take.
        tell: told what is being done.

    Raises:
        SpecError: the time does not suffice for three sizes.
        ExecutionError: the game or the policy kept failing.
    """
    begun = time.monotonic()
    if tell:
        tell("calibrate", f"policy {spec.policy} plays and learns for a moment")
    widths = WIDTHS if spec.widths == NO_SIZES["widths"] else spec.widths
    # Budgets are not known yet, and a specification without any is none: they only pass.
    speed = measure_speed(dataclasses.replace(spec, widths=widths), with_expert=False)
    for count in range(len(widths), FEWEST - 1, -1):
        trial = dataclasses.replace(spec, widths=widths[:count])
        first = _largest(trial, speed, workers, minutes) / STEP ** (BUDGETS - 1)
        if LEAST * spec.batch_flops(trial.widths[-1]) <= first:
            break
    else:
        raise SpecError(
            f"{minutes:g} minutes do not suffice for {FEWEST} sizes of {list(widths)}: give more "
            "--minutes, or --widths and --budgets"
        )
    facts = {
        "seconds": round(time.monotonic() - begun, 1),
        "minutes": minutes,
        "workers": workers,
        "speed": speed.to_json(),
    }
    budgets = tuple(float(f"{first * STEP**k:.2g}") for k in range(BUDGETS))
    return spec.replace(
        widths=trial.widths,
        budgets_flops=budgets,
        forecast_flops=None,
        forecast_seeds=min(AGENT_SEEDS, workers),
        calibration=facts,
    )


def _largest(spec: StudySpec, speed: Speed, workers: int, minutes: float) -> float:
    """Return the largest budget in FLOPs that there is time for."""
    costs = {width: spec.sample_flops(width) for width in spec.widths}
    low, high = math.log(min(costs.values())), math.log(1e30)
    while high - low > 0.01:
        middle = 0.5 * (low + high)
        taken = _share(spec, speed, costs, math.exp(middle), workers) / (60 * minutes)
        low, high = (middle, high) if taken <= 1 else (low, middle)
    return math.exp(low)


def _share(
    spec: StudySpec, speed: Speed, costs: dict[int, float], largest: float, workers: int
) -> float:
    """Return the seconds within which sweep and agent would take their shares of the time."""
    budgets = tuple(largest / STEP**k for k in reversed(range(BUDGETS)))
    trial = dataclasses.replace(spec, budgets_flops=budgets, forecast_flops=None)
    length = min(spec.make_game().max_steps, LONGEST)
    sweep = sweep_seconds(trial, speed, costs, grid(trial), length) / workers
    agent, likely = largest * FORECAST_FACTOR, sorted(costs)[len(costs) // 2]
    trained = speed.train_seconds(agent / costs[likely], agent)
    trained += trial.agent_episodes * length / speed.rollout_steps_per_s
    return max(sweep / SWEEP, trained / AGENT)
