"""Returns by size and budget: the mean over runs, and how far one run lies from it.

A run's luck lasts: an agent that found a good strategy early keeps it, so errors of one run at
several budgets are not independent. Whatever is drawn anew to find how sure a law is, is therefore
a whole run, with its errors at all budgets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoclone.laws.points import Points
from isoclone.laws.reinforcement.scale import ReturnScale

Array = np.ndarray
NEAR = 0.5  # decades: over which the spread between runs is pooled
PRIOR_DOF = 4.0  # how much the pooled spread counts for one size, in runs


@dataclass(frozen=True)
class Cells:
    """Means z [s, b] of `count` [s, b] runs by size and budget; NaN where there is no run.

    `sizes` [s] and `budgets` [b] ascend; `log_samples` [s, b] is the mean log D; `var` [s, b] the
    variance of one run at that size and budget: the spread between runs, at least that of its
    episodes. `luck` [r, b] holds every run's deviation from its cell's mean in units of that SD,
    corrected for the mean having been fitted; `dof` is how many runs can be told apart by them.
    """

    sizes: Array
    budgets: Array
    mean: Array
    count: Array
    log_samples: Array
    var: Array
    luck: Array
    dof: int

    @property
    def x(self) -> Array:
        """Return log10 of the budgets."""
        return np.log10(self.budgets)

    @property
    def n(self) -> Array:
        """Return log10 of the sizes."""
        return np.log10(self.sizes)

    @property
    def known(self) -> Array:
        """Return where there is a run [s, b]."""
        return self.count > 0


def cells_of(points: Points, scale: ReturnScale) -> Cells:
    """Return the cells of points that have returns."""
    sizes, s = np.unique(points.params, return_inverse=True)
    budgets, b = np.unique(points.budget, return_inverse=True)
    runs, r = np.unique(np.column_stack([points.run, s]), axis=0, return_inverse=True)
    shape = len(sizes), len(budgets)
    z, se = scale.forward(points.returns), scale.error(points.returns, points.returns_se)
    of_run = _mean_by(r.reshape(-1), b, z, (len(runs), len(budgets)))
    size = runs[:, 1]
    seen = np.isfinite(of_run)
    count = np.zeros(shape)
    np.add.at(count, size, seen.astype(float))
    total = np.zeros(shape)
    np.add.at(total, size, np.nan_to_num(of_run))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
    apart = of_run - mean[size]
    own = np.nan_to_num(apart) ** 2
    square = np.zeros(shape)
    np.add.at(square, size, own)
    free = np.maximum(count - 1, 0)
    episodes = _mean_by(s, b, np.where(np.isfinite(se), se, np.nan) ** 2, shape)
    var = _spread(np.log10(budgets), square, free, episodes)
    with np.errstate(invalid="ignore", divide="ignore"):
        fitted = np.where(count > 1, np.sqrt(count / np.maximum(count - 1, 1)), np.nan)
        luck = apart / np.sqrt(var)[size] * fitted[size]
    told = np.isfinite(luck).any(1)
    luck = _unit(luck[told])
    per_size = np.bincount(size[told], minlength=len(sizes))
    return Cells(
        sizes=sizes,
        budgets=budgets,
        mean=mean,
        count=count,
        log_samples=_mean_by(s, b, np.log(points.samples), shape),
        var=var,
        luck=luck,
        dof=int(np.maximum(per_size - 1, 0).sum()),
    )


def _unit(luck: Array) -> Array:
    """Return deviations [r, b] scaled to a mean square of 1 at each budget."""
    known = np.isfinite(luck)
    square = np.where(known, luck, 0.0) ** 2
    return luck / np.sqrt(square.sum(0) / np.maximum(known.sum(0), 1) + 1e-12)


def _mean_by(row: Array, column: Array, value: Array, shape: tuple[int, int]) -> Array:
    """Return the means of values [n] by row and column; NaN where there is none."""
    known = np.isfinite(value)
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (row[known], column[known]), value[known])
    np.add.at(count, (row[known], column[known]), 1.0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _spread(x: Array, square: Array, free: Array, episodes: Array) -> Array:
    """Return the variance of one run [s, b].

    The spread between runs of a size, shrunk towards that of all sizes at about the same budget.
    """
    near = np.exp(-np.abs(x[:, None] - x) / NEAR)
    dof = near @ free.sum(0)
    pooled = np.divide(near @ square.sum(0), dof, out=np.zeros_like(dof), where=dof > 0)
    own = (PRIOR_DOF * pooled + square) / (PRIOR_DOF + free)
    return np.maximum(own, np.nan_to_num(episodes)) + 1e-12
