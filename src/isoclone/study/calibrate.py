"""Make a study of a game that has none: sizes and budgets from a calibration of at most a minute.

    the expert plays for a few seconds (unless there are demonstrations)
    a tiny grid of sizes is trained for a few seconds each, the dev loss measured on the way
    one of them plays: how many steps a second are rollouts?
    sizes.py chooses sizes and budgets by these, and by the time that the study may take

What was measured stays in the specification (`calibration`), so that a study can be repeated and
edited; it is never calibrated again when it is resumed.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.base.errors import IsocloneError, SpecError
from isoclone.demos import Demonstrations, RecordRequest, Source, open_demos, record_demonstrations
from isoclone.demos.base import check_held_out, unique_samples
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.evaluation.rollout import rollout
from isoclone.experts.scripted import scripted_variants
from isoclone.games import Game, action_sizes, game, is_playable
from isoclone.games.actions import several
from isoclone.policies import policy_flops, policy_layout, policy_params, suited_policy
from isoclone.study.estimate import Speed, expert_speed, sweep_seconds
from isoclone.study.plan import grid
from isoclone.study.sizes import FORECAST, Curve, Frontier, Grid, frontier, largest_affordable
from isoclone.study.spec import StudySpec, demos_path
from isoclone.training.loop import Diverged, Trainer

MINUTES = 5.0  # a whole study on two cores, unless said
GRID_SECONDS = 20.0  # all trainings of the tiny grid together, on a core of one's own
PLAY_SECONDS = 8.0  # the expert's play, if there are no demonstrations
PLAYED = (1_000, 40_000)  # its samples: least, most
WIDTHS = {"cnn": (1, 2, 4, 8, 16)}  # of the tiny grid
OTHER_WIDTHS = (1, 2, 4, 8, 16, 32, 64)
ROLLOUT_STEPS = 200  # of the episodes by which rollouts are timed
FIRST = 1_024  # samples at which a curve begins; its points double from there
SHARED = 2.0  # a size may take so many times its share of seconds on a busy core
DEV_SAMPLES = 2_000  # of each point of a curve
RECORD, SWEEP, AGENT = 0.1, 0.4, 0.16  # shares of the time; the rest is what is around it
SAMPLES = (2_000, 100_000)  # demonstrations to record: least, most
EPOCHS = 4.0  # repeats are worth nearly as much as new samples so far (Muennighoff et al. 2023)
EPISODES = (16, 8, 4, 2)  # for the return of a point: the first that takes no more than
PLAYING = 0.4  # this share of the sweep
FORECAST_EPISODES = (32, 16, 8)
AGENT_SEEDS = 2  # that the forecast agent is trained with at most, where workers are free for it
SEEDS = (0, 1, 2)  # where the data end before the time does, else two or one
TWO_SEEDS, FEWEST = 20.0, 8  # two seeds where time allows budgets so far apart and so many episodes
NO_SIZES: dict[str, Any] = {
    "widths": (1, 2, 4),
    "budgets_flops": (1e12, 1e13),
}  # until they are known

Tell = Callable[[str, str], None]


def policy_for(the_game: Game) -> str:
    """Return the policy that suits a game's observations (see `policies.suited_policy`).

    Raises:
        SpecError: it cannot read them.
    """
    name = suited_policy(the_game.frame)
    try:
        policy_params(name, 4, the_game.frame, the_game.n_actions)
    except IsocloneError as error:
        raise SpecError(f"{the_game.name}: {error}; give --policy") from error
    return name


def name_for(words: str) -> str:
    """Return a name of a study for words: small letters, digits, dots and dashes.

    >>> name_for("gym/CartPole-v1")
    'gym-cartpole-v1'
    """
    return re.sub(r"[^a-z0-9.-]+", "-", words.lower()).strip("-.")


def unsized(name: str, **fields: Any) -> StudySpec:
    """Return a study of any game, for `calibrated` to fill in its sizes and budgets.

    Args:
        name: of the game.
        fields: of the specification: `expert` or `demos`, `game_options` and others.

    Raises:
        UnknownNameError: no such game.
        SpecError: nobody is there to imitate, or no policy reads the game's frames.
    """
    the_game = game(name, **fields.get("game_options", {}))
    if "expert" not in fields:
        if not scripted_variants(the_game):
            raise SpecError(
                f"{name} comes without an expert: say who is to be imitated, by --demos DIRECTORY "
                "or --expert NAME_OR_FILE"
            )
        fields["expert"] = "scripted"
    if "policy" not in fields:
        fields["policy"] = policy_for(the_game)
    return StudySpec(name=name_for(name), game=the_game.name, **NO_SIZES, **fields)


def calibrated(
    spec: StudySpec, workers: int = 2, minutes: float = MINUTES, tell: Tell | None = None
) -> StudySpec:
    """Return a study's specification with the sizes and budgets that suit game and machine.

    Args:
        spec: with all but sizes, budgets, samples and episodes, which are chosen here.
        workers: how many runs are trained at once.
        minutes: what the whole study may take.
        tell: told what is being done, and details.

    Raises:
        SpecError: the game, the expert or the demonstrations cannot be used.
        DataError: the demonstrations are damaged, or nothing can be held out.
    """
    begun, said = time.monotonic(), tell or (lambda what, detail: None)
    the_game, plays = spec.make_game(), None
    if spec.demos is None:
        said("calibrate", f"{spec.expert} plays {spec.game} for a moment")
        plays = expert_speed(spec)
    with _demonstrations(spec, plays) as demos:
        said("calibrate", f"a tiny grid of sizes, policy {spec.policy}")
        lab = _Lab(spec, the_game, demos)
        curves = lab.curves()
        said("calibrate", "one of them plays")
        rollouts = lab.rollout_speed()
        guess = marginal_loss(demos)
        recorded = unique_samples(demos, "train") if spec.demos is not None else None
        steps = sum(info.length for info in demos.episodes) / len(demos.episodes)
    speed = _speed(curves, rollouts, plays)
    seen = frontier(curves, guess)
    chosen = _Choice(spec, the_game, seen, speed, steps, workers, minutes, recorded)
    facts = {
        "seconds": round(time.monotonic() - begun, 1),
        "minutes": minutes,
        "workers": workers,
        "guess_loss": guess,
        "episode_steps": steps,
        "speed": speed.to_json(),
        "curves": [curve.to_json() for curve in curves],
    }
    return chosen.best().replace(calibration=facts)


@contextmanager
def _demonstrations(spec: StudySpec, plays: float | None) -> Iterator[Demonstrations]:
    """Yield a study's demonstrations, or a few of its expert's that are forgotten afterwards."""
    if spec.demos is not None:
        demos = open_demos(demos_path(Path(os.devnull), spec))
        check_held_out(demos)
        yield demos
        return
    samples = int(np.clip((plays or 0) * PLAY_SECONDS, *PLAYED))
    with tempfile.TemporaryDirectory() as folder:
        request = RecordRequest(
            game=spec.game,
            expert=spec.expert,
            samples=samples,
            seed=spec.demos_seed,
            dev_fraction=spec.dev_fraction,
            game_options=spec.game_options,
            expert_options=spec.expert_options,
        )
        demos = record_demonstrations(request, Path(folder) / "demos")
        check_held_out(demos)
        yield demos


def marginal_loss(demos: Demonstrations) -> float:
    """Return the loss in nats of who knows only how often the expert takes each action."""
    ends = np.cumsum(action_sizes(demos))[:-1]
    total = 0.0
    for counts in np.split(demos.action_counts("train"), ends):
        shares = counts[counts > 0] / max(counts.sum(), 1)
        total -= float((shares * np.log(shares)).sum())
    return total


class _Lab:
    """The tiny grid: short trainings of a few sizes on the same demonstrations."""

    def __init__(self, spec: StudySpec, the_game: Game, demos: Demonstrations):
        self._spec, self._game, self._demos = spec, the_game, demos
        shape = (spec.policy, 4, the_game.frame, the_game.n_actions)
        layout = policy_layout(*shape, **spec.policy_options)
        self._source: Source = demos.source(spec.recipe["frames"], layout)
        self._trained: TrainedPolicy | None = None

    def curves(self) -> list[Curve]:
        """Train every size for its share of the time; return their curves.

        Raises:
            SpecError: none could be trained.
        """
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            widths = WIDTHS.get(self._spec.policy, OTHER_WIDTHS)
            found = [self._curve(width, GRID_SECONDS / len(widths)) for width in widths]
        finally:
            torch.set_num_threads(threads)
        curves = [curve for curve in found if curve]
        if not curves:
            raise SpecError(
                f"{self._spec.game}: no size of {self._spec.policy} could be trained for a "
                "moment; put a StudySpec with sizes and budgets into a Python file"
            )
        return curves

    def _curve(self, width: int, seconds: float) -> Curve | None:
        """Train one size for so many seconds of this core; None if it diverges at once."""
        spec, demos = self._spec, self._demos
        run = spec.run_for(width, 0, demos.fingerprint, max(spec.budgets_flops))
        flops: list[float] = []
        losses: list[float] = []
        spent, samples = 0.0, FIRST
        over = time.monotonic() + SHARED * seconds
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                run, self._source, demos.n_actions, Path(folder), action_sizes=several(demos)
            )
            try:
                while spent < seconds or len(flops) < 2:
                    begun = time.process_time()
                    trainer.train_until(samples * trainer.flops_per_sample)
                    spent += time.process_time() - begun
                    loss = dev_loss(trainer.trained(), self._source, DEV_SAMPLES).mean
                    flops.append(trainer.flops)
                    losses.append(max(loss, 1e-9))
                    samples *= 2
                    if len(flops) > 1 and (3 * spent > 2 * seconds or time.monotonic() > over):
                        break  # twice as many samples would take too long
            except Diverged:
                if len(flops) < 2:
                    return None
            self._trained = trainer.trained()
        return Curve(
            width=width,
            params=policy_params(
                spec.policy, width, demos.frame, demos.n_actions, **spec.policy_options
            ),
            flops_per_sample=trainer.flops_per_sample,
            seconds_per_sample=spent / trainer.progress.samples,
            flops=tuple(flops),
            losses=tuple(losses),
        )

    def rollout_speed(self) -> float:
        """Return the steps a second at which a trained policy plays, 16 episodes side by side.

        Infinite where there is nothing to play.
        """
        the_game = self._game
        if not is_playable(the_game):
            return math.inf
        if "max_steps" in the_game.options():
            options = {**self._spec.game_options, "max_steps": ROLLOUT_STEPS}
            the_game = game(self._spec.game, **options)
        assert self._trained is not None  # `curves` comes first
        begun = time.perf_counter()
        played = rollout(self._trained, the_game, 16)
        return float(played.lengths.sum() / (time.perf_counter() - begun))


def _speed(curves: Sequence[Curve], rollouts: float, plays: float | None) -> Speed:
    """Return seconds a sample as base + FLOPs x per_flop, by the smallest and the largest size."""
    small, large = curves[0], curves[-1]
    gap = large.flops_per_sample - small.flops_per_sample
    rise = large.seconds_per_sample - small.seconds_per_sample
    per_flop = max(rise / gap, 0.0) if gap > 0 else 0.0
    base = max(small.seconds_per_sample - small.flops_per_sample * per_flop, 0.0)
    return Speed(base, per_flop, rollouts, plays)


class _Choice:
    """The choice of sizes, budgets, seeds, samples and episodes, within the time."""

    def __init__(
        self,
        spec: StudySpec,
        the_game: Game,
        seen: Frontier,
        speed: Speed,
        episode_steps: float,
        workers: int,
        minutes: float,
        recorded: int | None,
    ):
        self._seen, self._speed, self._steps = seen, speed, episode_steps
        self._workers, self._time = workers, 60 * minutes
        self._shape = (spec.policy, the_game.frame, the_game.n_actions)
        self._spec = spec.replace(samples=self._samples(spec))
        self._unique = recorded or (1 - spec.dev_fraction) * self._spec.samples

    def _samples(self, spec: StudySpec) -> int:
        """Return how many samples can be recorded in time; two significant digits."""
        if self._speed.expert_steps_per_s is None:
            return spec.samples
        can = self._speed.expert_steps_per_s * self._workers * RECORD * self._time
        return int(float(f"{np.clip(can, *SAMPLES):.1e}"))

    def best(self) -> StudySpec:
        """Return the specification with the largest budgets that are done in time.

        Where the data end before the time does, what is left of it goes into more seeds.
        """
        one = self._largest((0,))
        spec = self._largest(SEEDS)
        if max(spec.budgets_flops) < max(one.budgets_flops) or spec.episodes < FEWEST:
            spec = self._largest(SEEDS[:2])
            narrow = max(spec.budgets_flops) < TWO_SEEDS * min(spec.budgets_flops)
            if narrow or spec.episodes < FEWEST:
                spec = one
        chosen = ("widths", "budgets_flops", "seeds", "episodes")
        fields = {name: getattr(spec, name) for name in chosen}
        fields["forecast_seeds"] = min(AGENT_SEEDS, self._workers)
        return self._spec.replace(**fields, forecast_episodes=self._forecast_episodes())

    def _largest(self, seeds: tuple[int, ...]) -> StudySpec:
        """Return the specification with the largest budgets in time, for so many seeds."""

        def share(sizes: Grid) -> float:
            return self._share(self._with(sizes, seeds))

        return self._with(largest_affordable(self._seen, self._batch_flops, share), seeds)

    def _with(self, chosen: Grid, seeds: tuple[int, ...]) -> StudySpec:
        """Return a specification, unchecked, with the episodes that there is time for."""
        fields: dict[str, Any] = {"widths": chosen.widths, "budgets_flops": chosen.budgets_flops}
        spec = StudySpec(**{**self._spec.__dict__, **fields, "seeds": seeds})
        room = PLAYING * SWEEP * self._time * self._workers * self._speed.rollout_steps_per_s
        points = len(grid(spec)) * self._steps
        episodes = next((e for e in EPISODES if e * points <= room), EPISODES[-1])
        return StudySpec(**{**spec.__dict__, "episodes": episodes})

    def _forecast_episodes(self) -> int:
        room = PLAYING * AGENT * self._time * self._speed.rollout_steps_per_s
        fits = (e for e in FORECAST_EPISODES if e * self._steps <= room)
        return next(fits, FORECAST_EPISODES[-1])

    def _share(self, spec: StudySpec) -> float:
        """Return the time that a plain grid and its agent take, as a share of what they may.

        Or the times that the agent sees each sample, as such a share, if that is more.
        """
        costs = {width: self._flops(width) for width in spec.widths}
        sweep = sweep_seconds(spec, self._speed, costs, grid(spec), self._steps) / self._workers
        budget = FORECAST * max(spec.budgets_flops)
        agent = max(1, round(self._seen.best_width(budget)))
        samples = budget / self._flops(agent)
        trained = self._speed.train_seconds(samples, budget)
        time_share = max(sweep / (SWEEP * self._time), trained / (AGENT * self._time))
        return max(time_share, samples / (EPOCHS * self._unique))

    def _flops(self, width: int) -> float:
        options, convention = self._spec.policy_options, self._spec.flop_convention
        name, frame, n_actions = self._shape
        return policy_flops(name, width, frame, n_actions, convention, **options)

    def _batch_flops(self, width: int) -> float:
        return self._flops(width) * int(self._spec.recipe["batch_size"])
