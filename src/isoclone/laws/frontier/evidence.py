"""What is known at one moment of a study: the frontier so far, and every size's learning curve.

A back-test replays a study: it cuts the evidence at each budget in turn and asks a method for the
budgets that follow. So every method sees an `Evidence` and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.isoflop import IsoFlop, fit_isoflops, scatter
from isoclone.laws.luck import Luck, run_luck
from isoclone.laws.points import Points

Array = np.ndarray
MIN_NOISE = 0.005  # SD of log loss between equal runs, at the least
DOMINATED = 0.02  # log loss above that of a smaller budget: no frontier was reached there
ENOUGH_CURVES = 5  # budgets with that many sizes: no other counts up to the largest of them
CURVE_SIZES = 3  # of a budget whose lowest loss can be called a minimum at all


@dataclass(frozen=True)
class Evidence:
    """Points up to some budget, with what is derived from them.

    A budget is on the frontier unless its lowest loss lies above that of a smaller budget: by
    more than 2 % where it has `CURVE_SIZES` sizes, at all where it has fewer (in a table
    without common budgets most have one, which may be anything). Where `ENOUGH_CURVES` budgets
    have that many sizes, one with fewer counts only beyond the largest of them: it shows no
    minimum, and the others say more. Runs that differ in their seed alone count as one with
    their mean log loss: the luckiest of them is no forecast of the next. `x` [b] is log10 of
    the FLOPs that the best run of each such budget really cost, `y` [b] the log of the
    frontier's loss there, `budgets` [b] the median FLOPs of its runs, `sizes` [s] the sampled N.
    """

    points: Points

    @cached_property
    def _cell(self) -> Array:
        """Return the codes 0, 1, ... of the cells [n]."""
        return np.unique(self.points.cell, return_inverse=True)[1].reshape(-1)

    @cached_property
    def _log_loss(self) -> Array:
        """Return each run's log loss, the mean over those that differ in their seed alone [n]."""
        total = np.bincount(self._cell, np.log(self.points.loss))
        return (total / np.bincount(self._cell))[self._cell]

    @cached_property
    def _seed_noise(self) -> float:
        """Return the SD of log loss between runs that differ in their seed alone; 0 if unknown.

        That of the half of the runs with the lower losses: forecasts are of the best.
        """
        apart = np.log(self.points.loss) - self._log_loss
        near = self._log_loss <= np.median(self._log_loss)
        free = int(near.sum()) - len(np.unique(self._cell[near]))
        return math.sqrt(float((apart[near] ** 2).sum()) / free) if free else 0.0

    @cached_property
    def _best_rows(self) -> Array:
        """Return the row of the lowest loss of each frontier budget [b], budgets ascending."""
        order = np.lexsort([self._log_loss, self.points.budget])
        starts = np.unique(self.points.budget[order], return_index=True)[1]
        groups = np.split(order, starts[1:])
        sizes = [len(np.unique(self.points.params[group])) for group in groups]
        curves = np.flatnonzero(np.array(sizes) >= CURVE_SIZES)
        covered = curves[-1] if len(curves) >= ENOUGH_CURVES else -1
        rows, lowest, last = [], np.inf, -np.inf
        for place, row in enumerate(order[starts]):
            own, spent = self._log_loss[row], np.log10(self.points.flops[row])
            curve = sizes[place] >= CURVE_SIZES
            if not curve and place < covered:
                continue
            if own < lowest + (DOMINATED if curve else 0.0) and spent > last:
                rows.append(int(row))
                lowest, last = min(lowest, own), spent
        return np.array(rows)

    @cached_property
    def budgets(self) -> Array:
        """Return the median FLOPs of the runs of each frontier budget, ascending."""
        return self.points.budget[self._best_rows]

    @cached_property
    def x(self) -> Array:
        """Return log10 of the FLOPs spent by the best run of each budget, ascending."""
        return np.log10(self.points.flops[self._best_rows])

    @cached_property
    def best(self) -> Array:
        """Return the log of the lowest loss at each budget."""
        return self._log_loss[self._best_rows]

    @cached_property
    def y(self) -> Array:
        """Return the log of the frontier's loss at each budget: the lowest, corrected for luck.

        The lowest of several noisy losses is too low. So far as stated SEs explain the scatter
        about the isoFLOP curves, the curve's own minimum is taken instead; without SEs, the
        scatter is blamed on the curve's form, and the lowest loss is taken as it is.
        """
        stated, form = self._stated_noise, 0.5 * (scatter(self.isoflops) or 0.0)
        trust = stated**2 / (stated**2 + form**2) if stated > 0 else 0.0
        vertex = np.log([c.loss if c.interior else np.exp(b) for c, b in self._pairs()])
        near = np.abs(vertex - self.best) <= 3 * max(stated, MIN_NOISE)
        return np.where(near, self.best + trust * (vertex - self.best), self.best)

    def _pairs(self) -> list[tuple[IsoFlop, float]]:
        of = {curve.budget: curve for curve in self.isoflops}
        return [(of[b], y) for b, y in zip(self.budgets.tolist(), self.best.tolist(), strict=True)]

    @cached_property
    def _stated_noise(self) -> float:
        """Return the median relative SE of the losses, 0 where none is given."""
        relative = (self.points.loss_se / self.points.loss)[np.isfinite(self.points.loss_se)]
        return float(np.median(relative)) if len(relative) else 0.0

    @cached_property
    def sizes(self) -> Array:
        """Return the sampled sizes, ascending."""
        return np.unique(self.points.params)

    @cached_property
    def rule(self) -> FlopRule:
        """Return FLOPs per sample by size."""
        return FlopRule(self.points.params, self.points.flops / self.points.samples)

    @cached_property
    def isoflops(self) -> list[IsoFlop]:
        """Return the local isoFLOP fits."""
        return fit_isoflops(self.points)

    @cached_property
    def luck(self) -> Luck | None:
        """Return the luck of runs, None where nothing tells of it."""
        return run_luck(self.points, self.isoflops)

    @property
    def unseen_luck(self) -> Luck | None:
        """Return the luck of runs where no two of a size show it, so that `noise` lacks it."""
        return None if self._seed_noise else self.luck

    @cached_property
    def noise(self) -> float:
        """Return the SD of log loss of one run: stated SEs, and a quarter of the curves' scatter.

        Or the SD between seeds, if that is more. A quarter, because most of that scatter is the
        parabola's own misfit: with half of it, one-step intervals held every one of 51 published
        budgets, and were too wide.
        """
        stated = np.hypot(self._stated_noise, MIN_NOISE)
        guessed = float(np.hypot(stated, 0.5 * (scatter(self.isoflops) or 0.0)))
        return max(guessed, self._seed_noise)

    def noise_of_mean(self, agents: int) -> float:
        """Return the SD of the mean log loss of so many runs that differ in their seed alone.

        Only what was seen to differ between seeds averages out: nothing where there is one seed.
        """
        return math.sqrt(self.noise**2 - self._seed_noise**2 * (1 - 1 / agents))

    def until(self, count: int) -> Evidence:
        """Return the evidence of the first `count` budgets of the frontier, and what lies between.

        Its isoFLOP curves are this evidence's own: each depends on its budget alone.
        """
        if count >= len(self.budgets):
            return self
        end = self.budgets[count]
        early = Evidence(self.points.keep(self.points.budget < end))
        early.__dict__["isoflops"] = [c for c in self.isoflops if c.budget < end]
        before = np.flatnonzero(self.points.budget < end)
        early.__dict__["_best_rows"] = np.searchsorted(before, self._best_rows[:count])
        return early
