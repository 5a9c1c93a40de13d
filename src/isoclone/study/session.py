"""The executor and the device of a study's work, and the observer that is told of progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isoclone.base.records import Point
from isoclone.executors import Executor, SerialExecutor
from isoclone.study.plan import Sweep
from isoclone.study.study import Study
from isoclone.study.track import Tracker


class Observer:
    """Observer of a study's progress that ignores it; that of `isoclone.cli.console` prints."""

    def phase(self, name: str, detail: str = "") -> None:
        """Take note that a new phase begins."""

    def progress(self, what: str, done: float, total: float) -> None:
        """Take note that so much of the phase's work is done."""

    def sweep(self, study: Study, sweep: Sweep) -> None:
        """Take note that a round of the sweep begins; its runs report in their folders."""

    def runs(self, studies: Sequence[Path], flops: float) -> None:
        """Take note that runs of these studies are worked on, until they have spent so much."""

    def point(self, point: Point, study: str = "") -> None:
        """Take note of a complete point; `study` says of which study, where several are at work."""

    def trouble(self, message: str) -> None:
        """Take note of something that the user should see."""


@dataclass
class Session:
    """The executor and the device of the work. The executor is closed by the code that made it.

    Attributes:
        device: of training and evaluation: 'cpu', 'cuda', 'mps'.
        allow_other_version: go on where points were made by another version of isoclone or torch,
            or on another kind of device.
        tracker: shows curves and points elsewhere; its maker closes it.
    """

    executor: Executor = field(default_factory=SerialExecutor)
    observer: Observer = field(default_factory=Observer)
    device: str = "cpu"
    allow_other_version: bool = False
    tracker: Tracker | None = None
    checked: set[Path] = field(default_factory=set, repr=False)  # studies that may be gone on with
    phase: tuple[Path, str, float] | None = field(default=None, repr=False)  # trace, name, begin

    def trouble(self, study: Study, said: str) -> None:
        """Say, and write into the study's log, what the user should see."""
        self.observer.trouble(said)
        study.journal.write(f"trouble: {said}")
