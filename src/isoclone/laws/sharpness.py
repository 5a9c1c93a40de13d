"""How much an interval excludes of what could come: one that excludes nothing says nothing.

Attainable are, for a return, what lies between random play and the expert, or the highest return
measured where that is more; without one of these scores, between the lowest return measured and the
last budget's best plus twice the change over as many decades as the forecast looks ahead. For a
loss, in logs: what lies between the last budget's
best (more compute does no harm) and that minus twice the change over as many decades before, at
least `LEAST_CHANGE`.
"""

from __future__ import annotations

import numpy as np

from isoclone.base.records import Interval
from isoclone.laws.points import Points

Array = np.ndarray
LEAST_CHANGE = 0.2  # of log loss: a flat frontier may still fall by a fifth
FASTER = 2.0  # times the change before: what could come at most


def excluded(
    points: Points,
    flops: float,
    dev_loss: Interval | None,
    return_mean: Interval | None,
    floor: float | None = None,
    ceiling: float | None = None,
) -> dict[str, float]:
    """Return {'dev_loss' | 'return_mean': share of the attainable outside the interval, 0 to 1}.

    `floor` and `ceiling` are the returns of random play and of the expert, as far as known. What
    is not forecast is left out; so is a return where nothing can be attained.
    """
    out = {}
    if dev_loss is not None:
        out["dev_loss"] = _of_loss(points, flops, dev_loss)
    if return_mean is not None:
        share = _of_return(points, flops, return_mean, floor, ceiling)
        if share is not None:
            out["return_mean"] = share
    return out


def _of_loss(points: Points, flops: float, interval: Interval) -> float:
    best = _best(points, -np.log(points.loss))
    change = abs(_change(points, best, flops))
    last = -best[-1]
    low, high = (None if v is None or v <= 0 else float(np.log(v)) for v in _ends(interval))
    return _share(low, high, last - max(FASTER * change, LEAST_CHANGE), last)


def _of_return(
    points: Points, flops: float, interval: Interval, floor: float | None, ceiling: float | None
) -> float | None:
    known = points.keep(np.isfinite(points.returns))
    if not len(known):
        return None
    best = _best(known, known.returns)
    if floor is None:
        floor = float(known.returns.min())
    if ceiling is None:
        ceiling = float(best[-1] + FASTER * max(_change(known, best, flops), 0.0))
    elif ceiling > floor:  # else nothing can be told
        ceiling = max(ceiling, float(best[-1]))
    if ceiling <= floor:
        return None
    return _share(interval.low, interval.high, floor, ceiling)


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    return interval.low, interval.high


def _best(points: Points, value: Array) -> Array:
    """Return the highest value [n] at each budget or a smaller one [b]."""
    budgets, group = np.unique(points.budget, return_inverse=True)
    best = np.full(len(budgets), -np.inf)
    np.maximum.at(best, group, value)
    return np.maximum.accumulate(best)


def _change(points: Points, best: Array, flops: float) -> float:
    """Return how much the best rose over as many decades before the last budget as lie ahead."""
    x = np.log10(points.budgets)
    ahead = max(float(np.log10(flops)) - x[-1], 0.3)
    slope_from = min(int(np.searchsorted(x, x[-1] - ahead - 1e-9)), max(len(x) - 2, 0))
    decades = max(float(x[-1] - x[slope_from]), 1e-9)
    return float(best[-1] - best[slope_from]) / decades * ahead if len(x) > 1 else 0.0


def _share(low: float | None, high: float | None, first: float, last: float) -> float:
    """Return which share of [first, last] lies outside [low, high]; None is no end."""
    left = first if low is None else min(max(low, first), last)
    right = last if high is None else min(max(high, first), last)
    return float(1.0 - max(right - left, 0.0) / (last - first))
