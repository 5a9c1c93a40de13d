"""Who does the work of a study: executor, device, and who is told of progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isoclone.base.records import Point
from isoclone.executors import Executor, SerialExecutor
from isoclone.study.plan import Sweep
from isoclone.study.study import Study


class Observer:
    """Told what a study does; this one ignores it. `isoclone.cli.console` has one that prints."""

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
    """Who does the work. The executor is closed by whoever made it.

    Attributes:
        device: of training and evaluation: 'cpu', 'cuda', 'mps'.
    """

    executor: Executor = field(default_factory=SerialExecutor)
    observer: Observer = field(default_factory=Observer)
    device: str = "cpu"
