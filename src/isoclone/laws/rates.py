"""The best learning rate as a power law of width and samples.

log rate = log a + b log width + c log samples, by least squares through the best rates of several
sizes and budgets. A best rate is the vertex of a parabola through the lowest loss and its two
neighbours, in log rate and log loss; where the lowest loss is at the edge of the rates that were
tried, there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from isoclone.base.errors import FitError
from isoclone.base.records import Interval, Record, Status

FEWEST = 4  # best rates: as many as the law has parameters, and one


@dataclass(frozen=True)
class BestRate(Record):
    """The best learning rate of a size at a budget, and the loss there, by a batch size."""

    width: int
    budget_flops: float
    samples: float
    batch_size: int
    learning_rate: float
    dev_loss: float


@dataclass(frozen=True)
class RateLaw(Record):
    """rate = `scale` x width^`width_exponent` x samples^`samples_exponent`."""

    scale: float
    width_exponent: Interval
    samples_exponent: Interval
    status: tuple[Status, ...] = ()

    def rate(self, width: float, samples: float) -> float:
        """Return the best learning rate of a width that is trained on so many samples."""
        b, c = self.width_exponent.value, self.samples_exponent.value
        return float(self.scale * width**b * samples**c)


def vertex(losses: Mapping[float, float]) -> tuple[float, float] | None:
    """Return the best learning rate and its loss, from {learning rate: dev loss}.

    None if the lowest loss is that of the lowest or the highest rate.

    >>> rate, loss = vertex({0.5: 2.0, 1.0: 1.0, 2.0: 2.0})
    >>> round(rate, 6), round(loss, 6)
    (1.0, 1.0)
    """
    rates = sorted(rate for rate, loss in losses.items() if np.isfinite(loss))
    best = min(range(len(rates)), key=lambda i: losses[rates[i]], default=0)
    if not 0 < best < len(rates) - 1:
        return None
    three = rates[best - 1 : best + 2]
    x = np.log(three) - np.log(rates[best])
    a, b, c = np.polyfit(x, np.log([losses[rate] for rate in three]), 2)
    if a <= 0:  # three equal losses
        return rates[best], losses[rates[best]]
    return float(rates[best] * np.exp(-b / (2 * a))), float(np.exp(c - b * b / (4 * a)))


def fit_rates(found: Sequence[BestRate]) -> RateLaw:
    """Fit the law to best rates of one batch size; exponents have 95 % intervals by Student's t.

    Raises:
        FitError: fewer than `FEWEST` best rates, or all of one width, or of one count of samples
            for each width.
    """
    if len(found) < FEWEST:
        raise FitError(
            f"{len(found)} best learning rates lie inside the rates that were tried, and a law "
            f"needs {FEWEST}: try more --rates, or more budgets"
        )
    logs = np.log([[each.width, each.samples] for each in found])
    x = np.column_stack([np.ones(len(found)), logs])
    if np.linalg.matrix_rank(x, tol=1e-6) < 3:
        raise FitError("widths and samples of the best rates do not vary apart: add budgets")
    y = np.log([each.learning_rate for each in found])
    fitted = np.linalg.lstsq(x, y, rcond=None)[0]
    freedom = len(y) - 3
    spread = float(((y - x @ fitted) ** 2).sum() / freedom)
    errors = np.sqrt(spread * np.diag(np.linalg.inv(x.T @ x)))
    far = float(stats.t.ppf(0.975, freedom)) * errors
    ends = [
        Interval(float(v), float(v - f), float(v + f)) for v, f in zip(fitted, far, strict=True)
    ]
    status = []
    if freedom < 3:
        said = f"{len(y)} best rates are few for three parameters: intervals are wide"
        status.append(Status("few_rates", said))
    return RateLaw(float(np.exp(fitted[0])), ends[1], ends[2], tuple(status))
