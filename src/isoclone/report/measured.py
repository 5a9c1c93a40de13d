"""What an ablation measured of a variant: its point, and how long training took."""

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
        """What the point cost: 'flops' or 'train_seconds'."""
        return self.point.flops if kind == "flops" else self.train_seconds
