"""Estimate a study's cost on this machine, by measuring for a few seconds before it runs."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoclone.base.errors import ExecutionError
from isoclone.base.records import Point, Record
from isoclone.demos import Demonstrations, FrameCache, Source
from isoclone.demos.play import play
from isoclone.executors.serial import attempt
from isoclone.experts import expert
from isoclone.experts.entropy import ASKS, STATES
from isoclone.games import (
    Env,
    FrameSpec,
    Game,
    action_sizes,
    close,
    game,
    is_playable,
    make_env,
    vector_env,
)
from isoclone.games.actions import random_actions, several
from isoclone.games.base import SerialVector, slot_seeds
from isoclone.policies import policy_layout, policy_params, policy_remembers
from isoclone.policies.encode import fit_encoder
from isoclone.study.foresee import foreseen_cells, usual_best_width
from isoclone.study.plan import Cell, grid, grid_flops
from isoclone.study.sizes import told
from isoclone.study.spec import WIDE, StudySpec

if TYPE_CHECKING:
    from isoclone.training.learner import Learner

MEASURE_SECONDS = 0.2
RANDOM_STEPS = 32
SHORT_EPISODE = 200  # steps
TYPICAL_EPISODE = 1_000  # steps, where there are no demonstrations to count them in
REFERENCE_EPISODES = 32  # of random play
ENTROPY_EPISODES = 4  # in which the expert is asked again and again
LONGEST_START = 5.0  # seconds
LATE = 1.25  # of the time that was asked for: more is said
BASELINES = 2  # marginal actions, and the sweep's smallest agent


@dataclass(frozen=True)
class Speed(Record):
    """Seconds on one core of this machine: a training sample costs base + flops x per_flop."""

    base_s: float
    per_flop_s: float
    rollout_steps_per_s: float
    expert_steps_per_s: float | None
    expert_recurrent: bool = False

    def train_seconds(self, samples: float, flops: float) -> float:
        """Return the seconds to train on so many samples that cost so many FLOPs in all."""
        return samples * self.base_s + flops * self.per_flop_s


@dataclass(frozen=True)
class Estimate(Record):
    """Expected seconds of wall time by phase, on so many workers, for what is not done yet.

    `other_s` is for the start of processes, play of references and baselines, film and page.
    """

    workers: int
    record_s: float
    sweep_s: float
    forecast_s: float
    other_s: float

    @property
    def total_s(self) -> float:
        """All phases together."""
        return self.record_s + self.sweep_s + self.forecast_s + self.other_s


@dataclass(frozen=True)
class Plan(Record):
    """The work and the cost of a study, before anything runs."""

    name: str
    game: str
    expert: str
    policy: str
    samples: int
    sizes: list[dict[str, Any]]
    budgets_flops: list[float]
    seeds: list[int]
    points: int
    sweep_flops: float
    forecast_flops: float
    forecast_seeds: int
    speed: Speed | None  # None if nothing is left to do that takes its time
    estimate: Estimate
    done_points: int
    notes: list[str] = field(default_factory=list)


def plan(
    spec: StudySpec,
    recorded: Demonstrations | None,
    done: Sequence[Point],
    workers: int = 1,
    finished: bool = False,
) -> Plan:
    """Return sizes x budgets x seeds, FLOPs, and the time expected on this machine.

    Args:
        recorded: the demonstrations, if they are there; else the expert's speed is measured too.
        done: points that are measured already, of the sweep and the forecast's.
        finished: those are all that the study will have, so nothing is timed.

    Raises:
        ExecutionError: the policy, the game or the expert kept failing.
    """
    the_game = spec.make_game()
    speed = None
    asks = recorded is None and spec.imitates
    if not finished or asks:
        speed = measure_speed(spec, with_expert=asks, workers=workers)
    sizes = [_size(spec, width, the_game) for width in spec.widths]
    usual = recorded.samples / len(recorded.episodes) if recorded else float(TYPICAL_EPISODE)
    costs = {size["width"]: size["flops_per_sample"] for size in sizes}
    steps = min(usual, the_game.max_steps)
    expected = Estimate(workers, 0.0, 0.0, 0.0, _start_seconds())
    if speed:
        expected = estimate(spec, speed, costs, workers, steps, done)
    return Plan(
        name=spec.name,
        game=spec.game,
        expert=recorded.expert_name if recorded else spec.expert,
        policy=spec.policy,
        samples=recorded.samples if recorded else spec.samples if spec.imitates else 0,
        sizes=sizes,
        budgets_flops=list(spec.budgets_flops),
        seeds=list(spec.seeds),
        points=len(grid(spec)),
        sweep_flops=grid_flops(spec),
        forecast_flops=spec.forecast_budget,
        forecast_seeds=spec.forecast_seeds,
        speed=speed,
        estimate=expected,
        done_points=sum(point.role == "sweep" for point in done),
        notes=[*getattr(the_game, "describe", list)(), *_notes(spec, speed, expected, recorded)],
    )


def _size(spec: StudySpec, width: int, the_game: Game) -> dict[str, Any]:
    shape = (spec.policy, width, the_game.frame, the_game.n_actions)
    cost = spec.sample_flops(width)
    return {
        "width": width,
        "params": policy_params(*shape, **spec.policy_options),
        "flops_per_sample": cost,
        "samples_at_largest_budget": max(spec.budgets_flops) / cost,
    }


def _notes(
    spec: StudySpec, speed: Speed | None, expected: Estimate, recorded: Demonstrations | None
) -> list[str]:
    notes = [told(spec.calibration, spec.budgets_flops)] if spec.calibration else []
    if spec.calibration and expected.total_s > LATE * 60 * spec.calibration["minutes"]:
        notes.append("the smallest budgets at which anything is learned take longer than was asked")
    if spec.expert == "lookahead" and speed and speed.expert_steps_per_s:
        hours = spec.samples / speed.expert_steps_per_s / 3600
        notes.append(
            "no better expert was named, so look-ahead plays: "
            f"{speed.expert_steps_per_s:.0f} steps per core-second, {hours:.1f} core-hours "
            f"for {spec.samples:,} samples"
        )
    if getattr(recorded or speed, "expert_recurrent", False) and not _remembers(spec):
        notes.append(
            f"the expert has a memory, and policy '{spec.policy}' has none: what the expert does "
            "because of what it saw earlier cannot be imitated (--policy names one that remembers)"
        )
    elif getattr(spec.make_game(), "partially_observed", False) and not _remembers(spec):
        notes.append(
            f"{spec.game} does not show all that matters, and policy '{spec.policy}' has no "
            "memory: it may not do (--policy names one that remembers)"
        )
    if not is_playable(spec.make_game()):
        notes.append(f"{spec.game} has no environment: losses are measured, and no returns")
    if spec.adaptive:
        notes.append(_rules_said(spec))
    return notes


def _remembers(spec: StudySpec) -> bool:
    the_game = spec.make_game()
    about = (spec.policy, spec.widths[0], the_game.frame, the_game.n_actions)
    return policy_remembers(*about, **spec.policy_options)


def _rules_said(spec: StudySpec) -> str:
    """Return what an adaptive sweep leaves out, and why, as a line for people."""
    if spec.rules == WIDE:
        return "adaptive: hopeless sizes stop early, as far as can be foreseen"
    played = f", and policies play at the last {spec.played_budgets} budgets" * bool(spec.episodes)
    return (
        "adaptive: only the sizes around the best one are trained, at the last budget the best and "
        f"the next{played}; the rest would hardly sharpen the forecast"
    )


def measure_speed(spec: StudySpec, with_expert: bool, workers: int = 1) -> Speed:
    """Train, act and play for a moment each.

    All is played in one environment, which may stand for a simulator; an expert that plays several
    episodes side by side gets as many as there are workers.

    Raises:
        ExecutionError: the policy, the game or the expert kept failing.
    """
    the_game = _of_short_episodes(spec)
    if not is_playable(the_game):
        return _speed(spec, _noise(the_game.frame), math.inf, None)
    named, expert_speed = f"game '{spec.game}'", (None, False)
    env = _attempt(named, make_env, the_game)
    try:
        frames = _attempt(named, _random_frames, the_game, env)
        rollouts = _attempt(named, _rollout_speed, the_game, env)
        if with_expert:
            args = (spec, the_game, env, workers)
            expert_speed = _attempt(f"expert '{spec.expert}'", _expert_speed, *args)
    finally:
        close(env)
    return _speed(spec, frames, rollouts, *expert_speed)


def _speed(
    spec: StudySpec,
    frames: np.ndarray,
    rollouts: float,
    plays: float | None,
    recurrent: bool = False,
) -> Speed:
    """Return the speed of play with that of training, measured on frames (n, *shape)."""
    small, large = (
        _attempt(f"policy '{spec.policy}' at width {w}", _seconds_per_sample, spec, w, frames)
        for w in (spec.widths[0], spec.widths[-1])
    )
    per_flop = max((large[0] - small[0]) / (large[1] - small[1]), 0.0)
    base = max(small[0] - small[1] * per_flop, 0.0)
    return Speed(base, per_flop, rollouts, plays, recurrent)


def _of_short_episodes(spec: StudySpec) -> Game:
    """Return the study's game, with short episodes where it has an option for that."""
    the_game = spec.make_game()
    if "max_steps" not in the_game.options():
        return the_game
    steps = min(SHORT_EPISODE, the_game.max_steps)
    return game(spec.game, **{**spec.game_options, "max_steps": steps})


def train_seconds(spec: StudySpec, frames: np.ndarray) -> float:
    """Estimate the seconds of all training of a study on one core, timing two of its sizes.

    Args:
        frames: of its game (n, *shape), as `some_frames` returns them.

    Raises:
        ExecutionError: the policy kept failing.
    """
    the_game = spec.make_game()
    costs = {width: _size(spec, width, the_game)["flops_per_sample"] for width in spec.widths}
    whole = estimate(spec, _speed(spec, frames, math.inf, None), costs, workers=1)
    return whole.sweep_s + whole.forecast_s


def _attempt(what: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return attempt(function, *args)
    except ExecutionError as error:
        raise ExecutionError(f"measuring the speed of {what} failed: {error}") from error


def _seconds_per_sample(spec: StudySpec, width: int, frames: np.ndarray) -> tuple[float, float]:
    """Measure (seconds, FLOPs) of one training sample of a width, on made-up frames."""
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        return _pace(lambda: fresh_learner(spec, width, frames, Path(folder)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute as a worker does, on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fresh_learner(spec: StudySpec, width: int, frames: np.ndarray, folder: Path) -> Learner:
    """Return a run of a width at its beginning; one that imitates learns from made-up samples."""
    from isoclone.training.loop import Trainer
    from isoclone.training.reinforcement.loop import PpoTrainer

    the_game = spec.make_game()
    run = spec.run_for(width, 0, "estimate", spec.budgets_flops[-1])
    if not spec.imitates:
        return PpoTrainer(run, the_game, folder)
    about = (the_game.n_actions, folder)
    return Trainer(run, _made_up(spec, frames), *about, action_sizes=several(the_game))


def _pace(make_learner: Callable[[], Learner]) -> tuple[float, float]:
    """Return the seconds and the FLOPs of a training sample."""
    with closing(make_learner()) as learner:
        learner.train_until(1.0)  # the first step is slow
        begun, first, before = time.perf_counter(), learner.progress.samples, learner.flops
        while time.perf_counter() - begun < MEASURE_SECONDS:
            learner.train_until(learner.flops + 1.0)
        spent, samples = time.perf_counter() - begun, learner.progress.samples - first
    return spent / samples, (learner.flops - before) / samples


def _made_up(spec: StudySpec, frames: np.ndarray | None = None, least: int = 512) -> Source:
    """Return something to train on: frames again and again, as one episode.

    Args:
        frames: (n, *shape); those of random play unless given.
    """
    from isoclone.demos.feed import FrameSource

    the_game = spec.make_game()
    frame, n_actions = the_game.frame, the_game.n_actions
    layout = policy_layout(spec.policy, spec.widths[0], frame, n_actions, **spec.policy_options)
    if frames is None:
        frames = some_frames(the_game)
    encoder = fit_encoder(spec.recipe["frames"], layout, frame, frames)
    rows = max(least, spec.recipe["batch_size"])
    codes = np.resize(encoder.encode(frames), (rows, frame.size))
    sizes = action_sizes(the_game)
    actions = random_actions(sizes, np.random.default_rng(0), rows)
    every, none = np.arange(rows), np.zeros(rows, np.int64)
    return FrameSource(FrameCache(encoder, codes, actions, none, none, every, every), sizes)


def some_frames(the_game: Game) -> np.ndarray:
    """Return the first frames of random play, or made-up ones if there is none, (n, *shape).

    Raises:
        ExecutionError: the game kept failing.
    """
    if not is_playable(the_game):
        return _noise(the_game.frame)

    def play_for_a_moment() -> np.ndarray:
        with closing(make_env(the_game)) as env:
            return _random_frames(the_game, env)

    return np.asarray(_attempt(f"game '{the_game.name}'", play_for_a_moment))


def _random_frames(the_game: Game, env: Env) -> np.ndarray:
    """Return the first frames of random play, (n, *shape)."""
    rng, sizes = np.random.default_rng(0), action_sizes(the_game)
    frames = [env.reset(0)]
    for _ in range(RANDOM_STEPS):
        frame, _, terminated, truncated = env.step(random_actions(sizes, rng))
        frames.append(frame)
        if terminated or truncated:
            break
    return np.stack(frames)


def _noise(frame: FrameSpec) -> np.ndarray:
    """Return made-up frames of a game that cannot be played, (n, *shape)."""
    rng, shape = np.random.default_rng(0), (RANDOM_STEPS, *frame.shape)
    if frame.is_image:
        return rng.integers(0, 256, shape, np.uint8)
    return rng.normal(size=shape).astype(frame.dtype)


def _rollout_speed(the_game: Game, env: Env, slots: int = 4) -> float:
    """Measure agent steps per second and core: of the game's own vector, else of `env`."""
    own = hasattr(the_game, "make_vector")
    alone = SerialVector(lambda: env, slot_seeds(0, 1), the_game.frame)
    vector = vector_env(the_game, slots, 0) if own else alone
    rng, steps, sizes = np.random.default_rng(0), 0, action_sizes(the_game)
    try:
        vector.reset(np.arange(vector.n))
        begun = time.perf_counter()
        while time.perf_counter() - begun < MEASURE_SECONDS:
            ended = np.logical_or(*vector.step(random_actions(sizes, rng, vector.n))[2:])
            if ended.any():
                vector.reset(np.flatnonzero(ended))
            steps += vector.n
        return steps / (time.perf_counter() - begun)
    finally:
        if own:
            close(vector)


def expert_speed(spec: StudySpec, workers: int = 1) -> float:
    """Measure the agent steps per second and core of the expert at play."""
    the_game = _of_short_episodes(spec)
    with closing(make_env(the_game)) as env:
        return _expert_speed(spec, the_game, env, workers)[0]


def _expert_speed(spec: StudySpec, the_game: Game, env: Env, workers: int) -> tuple[float, bool]:
    """Measure the agent steps per second and core of the expert at play; return if it remembers."""
    player = expert(spec.expert, the_game, **spec.expert_options)
    side_by_side = min(player.lockstep, max(1, workers))
    begun, steps = time.perf_counter(), 0
    with ExitStack() as stack:
        more = range(side_by_side - 1)
        envs = [env, *(stack.enter_context(closing(make_env(the_game))) for _ in more)]
        while time.perf_counter() - begun < MEASURE_SECONDS:
            group = range(steps, steps + side_by_side)
            played = play(the_game, player, 0, group, envs)
            steps += sum(len(episode.actions) for _, _, episode, _ in played)
        speed = steps / (time.perf_counter() - begun)
        return speed, bool(getattr(player, "recurrent", False))


def estimate(
    spec: StudySpec,
    speed: Speed,
    flops_per_sample: dict[int, float],
    workers: int,
    episode_steps: float = TYPICAL_EPISODE,
    done: Sequence[Point] = (),
) -> Estimate:
    """Estimate the wall time of what is not done yet, of an adaptive sweep as it is foreseen."""
    cells = foreseen_cells(spec, done)
    added = {cell.width for cell in cells} - set(flops_per_sample)
    flops_per_sample = {**flops_per_sample, **{w: spec.sample_flops(w) for w in added}}
    rollout_s = spec.agent_episodes * episode_steps / speed.rollout_steps_per_s
    train_s = speed.train_seconds(
        spec.forecast_budget / flops_per_sample[_likely_agent(spec)], spec.forecast_budget
    )
    forecast_s = (rollout_s + train_s) * math.ceil(spec.forecast_seeds / workers)
    if any(point.role == "forecast" for point in done):
        forecast_s = 0.0
    rate = speed.expert_steps_per_s
    # Whole episodes are recorded, so each worker plays at least one.
    steps = max(spec.samples, workers * episode_steps)
    record_s = steps / rate / workers if rate and spec.imitates else 0.0
    return Estimate(
        workers,
        record_s,
        sweep_seconds(spec, speed, flops_per_sample, cells, episode_steps, done) / workers,
        forecast_s,
        _other_seconds(spec, speed, workers, episode_steps),
    )


def _likely_agent(spec: StudySpec) -> int:
    """Return the size nearest to that which is usually the best at the forecast's budget."""
    best = usual_best_width(spec, spec.forecast_budget)
    return min(spec.widths, key=lambda width: abs(math.log(width / best)))


def _other_seconds(spec: StudySpec, speed: Speed, workers: int, episode_steps: float) -> float:
    """Estimate the time of all that is neither recording nor training nor the agent's own play.

    The film and the page together take about as long as a worker's start.
    """
    episodes = REFERENCE_EPISODES + BASELINES * spec.agent_episodes
    played = episodes * episode_steps / speed.rollout_steps_per_s / workers
    asked, rate = 0.0, speed.expert_steps_per_s
    if rate and spec.imitates:
        asked = ENTROPY_EPISODES * (episode_steps + STATES * ASKS) / rate / workers
    return played + asked + 2 * _start_seconds()


def _start_seconds() -> float:
    """Estimate the time a worker takes to start: it imports what this process has imported.

    If this process has long done other work, its own time says nothing any more.
    """
    return min(time.process_time(), LONGEST_START)


def sweep_seconds(
    spec: StudySpec,
    speed: Speed,
    flops_per_sample: dict[int, float],
    cells: list[Cell],
    episode_steps: float = TYPICAL_EPISODE,
    done: Sequence[Point] = (),
) -> float:
    """Estimate the core-seconds for the cells: training, evaluation.

    Training goes on from each run's last budget, unless each budget has a run of its own.

    Args:
        cells: with the budgets of a run in ascending order.
        done: points from which runs go on.
    """
    reached, crosses = dict[tuple[int, int], float](), spec.crosses_budgets
    for point in done:
        key = point.width, point.seed
        reached[key] = max(reached.get(key, 0.0), point.budget_flops)
    total = 0.0
    for cell in cells:
        before = reached.get((cell.width, cell.seed), 0.0) if crosses else 0.0
        fresh = cell.budget_flops - before
        reached[cell.width, cell.seed] = cell.budget_flops
        cost = flops_per_sample[cell.width]
        total += speed.train_seconds(fresh / cost, fresh)
        if spec.imitates:
            total += spec.dev_samples * (speed.base_s + cost * speed.per_flop_s) / 3
        total += spec.episodes_at(cell.budget_flops) * episode_steps / speed.rollout_steps_per_s
    return total
