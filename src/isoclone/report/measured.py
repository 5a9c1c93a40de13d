"""The measurement of an ablation's variant: its point and its training time."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True)
class Costs:
    """What training a variant and playing with it costs beside FLOPs; None where it is not known.

    Attributes:
        sample_flops: exact FLOPs of training on one sample.
        samples_a_second: that a core trains on, over all seeds.
        memory_bytes, step_us: see `study.costs.measure_costs`.
    """

    label: str
    sample_flops: float | None = None
    samples_a_second: float | None = None
    memory_bytes: float | None = None
    step_us: float | None = None


@dataclass(frozen=True)
class Along:
    """A number that variants differ by: its name, and for each label a line and a place on it."""

    axis: str
    places: Mapping[str, tuple[str, float]]
