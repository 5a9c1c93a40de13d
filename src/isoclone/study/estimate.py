"""What a study will cost on this machine, measured in a few seconds before anything runs."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoclone.base.errors import ExecutionError
from isoclone.base.records import Record
from isoclone.demos import FrameCache, FrameEncoder
from isoclone.demos.record import play
from isoclone.executors.serial import attempt
from isoclone.experts import expert
from isoclone.games import vector_env
from isoclone.study.plan import Cell, grid
from isoclone.study.spec import StudySpec

if TYPE_CHECKING:
    from isoclone.nethack.recordings import Unroll
    from isoclone.training.data import Feed

MEASURE_SECONDS = 0.6
TYPICAL_EPISODE = 1_000  # steps, where no demonstrations tell the expert's own


@dataclass(frozen=True)
class Speed(Record):
    """Seconds on one core of this machine: a training sample costs base + flops x per_flop."""

    base_s: float
    per_flop_s: float
    rollout_steps_per_s: float
    expert_steps_per_s: float | None

    def train_seconds(self, samples: float, flops: float) -> float:
        """Seconds to train on so many samples that cost so many FLOPs in all."""
        return samples * self.base_s + flops * self.per_flop_s


@dataclass(frozen=True)
class Estimate(Record):
    """Expected seconds of wall time by phase, on so many workers."""

    workers: int
    record_s: float
    sweep_s: float
    forecast_s: float

    @property
    def total_s(self) -> float:
        """All phases together."""
        return self.record_s + self.sweep_s + self.forecast_s


def measure_speed(spec: StudySpec, with_expert: bool) -> Speed:
    """Train, act and play for a moment each.

    Raises:
        ExecutionError: the policy, the game or the expert kept failing.
    """
    small, large = (
        _attempt(f"policy '{spec.policy}' at width {width}", _seconds_per_sample, spec, width)
        for width in (spec.widths[0], spec.widths[-1])
    )
    per_flop = max((large[0] - small[0]) / (large[1] - small[1]), 0.0)
    base = max(small[0] - small[1] * per_flop, 0.0)
    rollouts, plays = _attempt(f"game '{spec.game}'", _rollout_speed, spec), None
    if with_expert:
        plays = _attempt(f"expert '{spec.expert}'", _expert_speed, spec)
    return Speed(base, per_flop, rollouts, plays)


def _attempt(what: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return attempt(function, *args)
    except ExecutionError as error:
        raise ExecutionError(f"measuring the speed of {what} failed: {error}") from error


def _seconds_per_sample(spec: StudySpec, width: int) -> tuple[float, float]:
    """(seconds, FLOPs) of one training sample of a width, on made-up frames."""
    import torch

    from isoclone.training.loop import Trainer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            the_game = spec.make_game()
            run = spec.run_for(width, 0, "estimate", spec.budgets_flops[-1])
            trainer = Trainer(run, _made_up(spec), the_game.n_actions, Path(folder))
            trainer.train_until(trainer.flops_per_sample)  # the first step also prepares
            begun, first = time.perf_counter(), trainer.progressed.samples
            while time.perf_counter() - begun < MEASURE_SECONDS:
                trainer.train_until(trainer.flops + trainer.flops_per_sample)
            spent = time.perf_counter() - begun
            return spent / (trainer.progressed.samples - first), trainer.flops_per_sample
    finally:
        torch.set_num_threads(threads)


def _made_up(spec: StudySpec, rows: int = 512) -> FrameCache | Feed:
    """Something to train on: noise of the game's shape."""
    from isoclone.policies import layout_of, make_policy
    from isoclone.training.data import UnrollFeed, lanes_for

    the_game = spec.make_game()
    frame = the_game.frame
    rng = np.random.default_rng(0)
    module = make_policy(
        spec.policy, spec.widths[0], frame, the_game.n_actions, **spec.policy_options
    )
    steps: int | None = getattr(module, "unroll", None)
    if steps is not None:
        lanes = lanes_for(spec.recipe["batch_size"], steps)
        noise = _NoisyUnrolls(lanes, steps, the_game.n_actions)
        return UnrollFeed(noise, frame, noise.frames, "cpu")
    ones = np.ones(frame.shape, np.float32)
    encoder = FrameEncoder(spec.recipe["frames"], layout_of(module), frame, ones, ones)
    codes = rng.integers(0, 127, (rows, frame.size)).astype(encoder.dtype)
    every, none = np.arange(rows), np.zeros(rows, np.int64)
    actions = rng.integers(0, the_game.n_actions, rows)
    return FrameCache(encoder, codes, actions, none, none, every, every)


class _NoisyUnrolls:
    """The same screens of noise again and again."""

    def __init__(self, lanes: int, steps: int, n_actions: int):
        from isoclone.nethack.recordings import Unroll

        rng = np.random.default_rng(0)
        self.lanes, self.frames = lanes, lanes * steps
        blank = Unroll.blank(steps, lanes, n_actions)
        self._unroll = dataclasses.replace(
            blank,
            chars=rng.integers(32, 127, blank.chars.shape, dtype=np.uint8),
            actions=rng.integers(n_actions, size=blank.actions.shape).astype(np.int16),
        )

    def take(self, k: int) -> Unroll:
        """Unroll number `k`."""
        return self._unroll


def _rollout_speed(spec: StudySpec, slots: int = 4) -> float:
    """Agent steps per second and core of the game's vectorised environment."""
    the_game = spec.make_game()
    env, rng, steps = vector_env(the_game, slots, 0), np.random.default_rng(0), 0
    env.reset(np.arange(slots))
    begun = time.perf_counter()
    while time.perf_counter() - begun < MEASURE_SECONDS:
        ended = np.logical_or(*env.step(rng.integers(the_game.n_actions, size=slots))[2:])
        if ended.any():
            env.reset(np.flatnonzero(ended))
        steps += slots
    return steps / (time.perf_counter() - begun)


def _expert_speed(spec: StudySpec) -> float:
    """Agent steps per second and core of the expert, playing for itself."""
    from isoclone.games import game

    options = {**spec.game_options, "max_steps": 200}
    the_game = game(spec.game, **options)
    player = expert(spec.expert, the_game, **spec.expert_options)
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < MEASURE_SECONDS:
        group = range(steps, steps + player.lockstep)
        steps += sum(len(played[2].actions) for played in play(the_game, player, 0, group))
    return steps / (time.perf_counter() - begun)


def estimate(
    spec: StudySpec,
    speed: Speed,
    flops_per_sample: dict[int, float],
    workers: int,
    episode_steps: float = TYPICAL_EPISODE,
) -> Estimate:
    """Expected wall time of the plain grid; adaptive sweeps take less."""
    forecast_width = spec.widths[-1]
    rollout_s = spec.forecast_episodes * episode_steps / speed.rollout_steps_per_s
    forecast_s = rollout_s + speed.train_seconds(
        spec.forecast_budget / flops_per_sample[forecast_width], spec.forecast_budget
    )
    rate = speed.expert_steps_per_s
    # Whole episodes are recorded, so each worker plays at least one.
    steps = max(spec.samples, workers * episode_steps)
    record_s = steps / rate / workers if rate else 0.0
    return Estimate(
        workers,
        record_s,
        sweep_seconds(spec, speed, flops_per_sample, grid(spec), episode_steps) / workers,
        forecast_s,
    )


def sweep_seconds(
    spec: StudySpec,
    speed: Speed,
    flops_per_sample: dict[int, float],
    cells: list[Cell],
    episode_steps: float = TYPICAL_EPISODE,
) -> float:
    """Core-seconds for the cells: training from each run's last budget, and evaluation."""
    budgets = (0.0, *spec.budgets_flops)
    total = 0.0
    for cell in cells:
        fresh = cell.budget_flops - budgets[budgets.index(cell.budget_flops) - 1]
        cost = flops_per_sample[cell.width]
        total += speed.train_seconds(fresh / cost, fresh)
        total += spec.dev_samples * (speed.base_s + cost * speed.per_flop_s) / 3
        total += spec.episodes * episode_steps / speed.rollout_steps_per_s
    return total
