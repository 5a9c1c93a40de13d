"""How much compute one group of runs saves over another: FLOPs to the same return.

At each budget the best size (mean over seeds) gives the return that so much compute buys; between
budgets it is interpolated in log C. Where both groups come to a return, the ratio of what they
needed says what was saved. Its interval resamples whole runs, since a run's luck lasts over all its
budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, FitError
from isoclone.base.records import Interval, Record
from isoclone.laws.points import Points

Array = np.ndarray
DRAWS = 400
FEWEST = 0.5  # of the draws, that both groups must come to the return in


@dataclass(frozen=True)
class Saved(Record):
    """FLOPs to a return with something and without it.

    `ratio` is with / without: below 1, something was saved.
    """

    return_mean: float
    flops_with: float
    flops_without: float
    ratio: Interval


def flops_saved(
    with_it: Mapping[str, Any], without: Mapping[str, Any], level: float | None = None
) -> Saved:
    """Compare two tables of runs by the FLOPs to the same return.

    Args:
        with_it, without: columns as of `Points.from_table`, with returns.
        level: the return; the highest that both come to unless given.

    Raises:
        DataError: a table has no returns.
        FitError: they come to no return in common, or not to the one given.
    """
    groups = [Points.from_table(table) for table in (with_it, without)]
    for group in groups:
        if not np.isfinite(group.returns).any():
            raise DataError("FLOPs to the same return are counted by return_mean; a table has none")
    curves = [_curve(group, group.returns) for group in groups]
    low, high = max(c[1][0] for c in curves), min(c[1][-1] for c in curves)
    level = high if level is None else level
    if not low <= level <= high:
        said = f"between {low:.4g} and {high:.4g}" if low <= high else "at none"
        raise FitError(f"both groups come to the same return {said}, not at {level:.4g}")
    needed = [_needed(*curve, level) for curve in curves]
    rng = np.random.default_rng(0)
    drawn = [_drawn(groups[0], rng, level) - _drawn(groups[1], rng, level) for _ in range(DRAWS)]
    known = np.array([ratio for ratio in drawn if np.isfinite(ratio)])
    middle = float(np.exp(needed[0] - needed[1]))
    low_end, high_end = None, None
    if len(known) >= FEWEST * DRAWS:
        low_end, high_end = (float(np.exp(q)) for q in np.quantile(known, [0.025, 0.975]))
        low_end, high_end = min(low_end, middle), max(high_end, middle)
    spent, other = (float(np.exp(value)) for value in needed)
    return Saved(float(level), spent, other, Interval(middle, low_end, high_end))


def _curve(points: Points, returns: Array) -> tuple[Array, Array]:
    """Return log FLOPs and the highest mean return so far [b], of the budgets with returns."""
    known = np.isfinite(returns)
    rows: list[tuple[float, float]] = []
    for budget in np.unique(points.budget[known]):
        here = known & (points.budget == budget)
        sizes, group = np.unique(points.params[here], return_inverse=True)
        means = np.bincount(group, returns[here]) / np.bincount(group)
        best = here & (points.params == sizes[int(np.argmax(means))])
        rows.append((float(np.log(points.flops[best]).mean()), float(means.max())))
    x, y = np.array(rows).T
    return x, np.maximum.accumulate(y)


def _needed(x: Array, y: Array, level: float) -> float:
    """Return the log FLOPs at which a curve comes to a level; NaN where it does not."""
    if level > y[-1] or level < y[0]:
        return float("nan")
    after = int(np.argmax(y >= level))
    if after == 0:
        return float(x[0])
    share = (level - y[after - 1]) / (y[after] - y[after - 1])
    return float(x[after - 1] + share * (x[after] - x[after - 1]))


def _drawn(points: Points, rng: np.random.Generator, level: float) -> float:
    """Return the log FLOPs to a level of runs drawn anew, those of each size among themselves."""
    rows: list[Array] = []
    for size in np.unique(points.params):
        runs = np.unique(points.run[points.params == size])
        for run in rng.choice(runs, len(runs)):
            rows.append(np.flatnonzero((points.run == run) & (points.params == size)))
    index = np.concatenate(rows)
    noise = np.nan_to_num(points.returns_se[index]) * rng.normal(size=len(index))
    chosen = points.keep(index)
    return _needed(*_curve(chosen, chosen.returns + noise), level)
