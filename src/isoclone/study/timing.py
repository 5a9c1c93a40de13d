"""Time ways to train a size of a study, in turn, so that both meet the same machine."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from isoclone.base.records import Checked
from isoclone.executors.serial import attempt
from isoclone.study.estimate import fresh_learner, one_thread
from isoclone.study.spec import StudySpec

GAIN = 1.1  # by so much must one way win over that which is taken otherwise
LEAST_TURNS, TURN_SECONDS = 4, 0.2  # of timing a size: steps each way in turn
SIZE_SECONDS = 0.4  # about what timing a size takes, the making of its networks included


@dataclass(frozen=True)
class SizeTimes(Checked):
    """CPU seconds of a training sample two ways, which are the fields that follow these."""

    width: int
    precision: str

    @property
    def seconds(self) -> tuple[float, float]:
        """Those of the one way and of the other."""
        first, second = (getattr(self, field.name) for field in fields(self)[2:])
        return first, second

    @property
    def gain(self) -> float:
        """How many times as fast the other way is."""
        first, second = self.seconds
        return first / second


def said_of_sizes(times: Sequence[SizeTimes], precision: str) -> str:
    """Return in words the microseconds that each size takes in a precision: 'width 8 41 / 50'."""
    rows = [(row.width, *row.seconds) for row in times if row.precision == precision]
    each = ", ".join(f"{width} {1e6 * a:.0f} / {1e6 * b:.0f}" for width, a, b in rows)
    return f"width {each}" if each else ""


def sample_seconds(ways: Sequence[StudySpec], width: int, frames: np.ndarray) -> list[float]:
    """Return the CPU seconds of a training sample each way: of the fastest of several steps.

    Args:
        ways: specifications that differ in how a width is trained.
        frames: of their game (n, *shape).

    Raises:
        ExecutionError: the policy kept failing.
    """
    return attempt(_timed, ways, width, frames)


def _timed(ways: Sequence[StudySpec], width: int, frames: np.ndarray) -> list[float]:
    with one_thread(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return _in_turn(ways, width, frames, folder)


def _in_turn(
    ways: Sequence[StudySpec], width: int, frames: np.ndarray, folder: Path
) -> list[float]:
    learners = [fresh_learner(spec, width, frames, folder) for spec in ways]
    best, turns, begun = [math.inf] * len(learners), 0, time.process_time()
    for learner in learners:
        learner.train_until(1.0)  # the first step is slow
    while turns < LEAST_TURNS or time.process_time() - begun < TURN_SECONDS:
        for i, learner in enumerate(learners):
            before, samples = time.process_time(), learner.progress.samples
            learner.train_until(learner.flops + 1.0)
            spent = time.process_time() - before
            best[i] = min(best[i], spent / (learner.progress.samples - samples))
        turns += 1
    return best
