"""The measurement of an ablation's variant: its point and its training time."""

from __future__ import annotations

from dataclasses import dataclass

from isoclone.base.records import Point


@dataclass(frozen=True)
class Measured:
    """A variant's point, and how long its training took, in seconds (see `TrainProgress`)."""

    label: str
    point: Point
    train_seconds: float | None

    def cost(self, kind: str) -> float | None:
        """Return the point's cost, by 'flops' or 'train_seconds'; None if it is not known."""
        return self.point.flops if kind == "flops" else self.train_seconds
