"""Collect a training curve: rows at steps that depend on nothing but their number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from isoclone.base.curves import CurveRow

GROWTH = 1.06  # a row's step over the step of the row before: 40 rows a decade
KEPT = ("samples", "train_loss", "learning_rate", "gradient_norm")


class Curve:
    """The rows so far, and the losses since the last one.

    `steps` and `values` have one entry for each row, `values` in the order of `KEPT`; `seconds` is
    the training time at each row, which differs each time and is kept apart.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[tuple[float, float, float, float]] = []
        self.seconds: list[float] = []
        self._sum, self._count, self._next = 0.0, 0, 1

    def begins_row(self, step: int) -> bool:
        """Return whether a step has a row; it is added later, when its figures are known."""
        due = step >= self._next
        if due:
            self._next = _next_row(step)
        return due

    def saw(self, loss: float) -> None:
        """Take the training loss of a step, in nats per action."""
        self._sum += loss
        self._count += 1

    def add(self, step: int, samples: int, rate: float, norm: float, seconds: float) -> None:
        """Add the row of a step; its loss is the mean of what was seen since the last row."""
        self.steps.append(step)
        self.values.append((samples, self._sum / self._count, rate, norm))
        self.seconds.append(seconds)
        self._sum, self._count = 0.0, 0

    def rows(self, flops_per_sample: float) -> list[CurveRow]:
        """Return the rows as they are written."""
        made, before, since = [], 0, 0.0
        for (samples, *values), seconds in zip(self.values, self.seconds, strict=True):
            passed = seconds - since
            speed = (samples - before) / passed if passed > 0 else None
            cost = samples * flops_per_sample
            told = dict(zip(KEPT[1:], values, strict=True))
            made.append(CurveRow(int(samples), cost, samples_per_s=speed, **told))
            before, since = int(samples), seconds
        return made

    def tensor(self) -> torch.Tensor:
        """Return all but the times as (rows + 1, 5) float64; the losses since the last row last."""
        rows = [(step, *values) for step, values in zip(self.steps, self.values, strict=True)]
        return torch.tensor([*rows, (self._count, self._sum, 0, 0, 0)], dtype=torch.float64)

    @classmethod
    def restored(cls, kept: torch.Tensor, seconds: Sequence[float]) -> Curve:
        """Return the curve of `tensor`'s result and the times.

        Raises:
            ValueError: they do not fit together.
        """
        if kept.shape != (len(seconds) + 1, 5):
            raise ValueError("the curve and its times do not fit")
        curve = cls()
        *rows, (count, total, *_) = kept.tolist()
        for (step, *values), when in zip(rows, seconds, strict=True):
            curve._sum, curve._count = values[1], 1
            curve.add(int(step), int(values[0]), values[2], values[3], when)
            curve._next = _next_row(int(step))
        curve._sum, curve._count = total, int(count)
        return curve


def _next_row(step: int) -> int:
    """Return the step whose row follows that of `step`."""
    return max(step + 1, math.ceil(step * GROWTH))
