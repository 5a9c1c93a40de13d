"""What is known at one moment of a study: the frontier so far, and every size's learning curve.

A back-test replays a study: it cuts the evidence at each budget in turn and asks a method for the
budgets that follow. So every method sees an `Evidence` and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.isoflop import IsoFlop, fit_isoflops, scatter
from isoclone.laws.points import Points

Array = np.ndarray
MIN_NOISE = 0.005  # SD of log loss between equal runs, at the least


@dataclass(frozen=True)
class Evidence:
    """Points up to some budget, with what is derived from them.

    `x` [b] is log10 of the budgets, `y` [b] the log of the frontier's loss at each, `sizes` [s] the
    sampled N, `curves` [s, b] the mean log loss of each size at each budget (NaN if not run).
    """

    points: Points

    @cached_property
    def x(self) -> Array:
        """Return log10 budgets, ascending."""
        return np.log10(self.points.budgets)

    @cached_property
    def best(self) -> Array:
        """Return the log of the lowest loss at each budget."""
        best = np.full(len(self.x), np.inf)
        np.minimum.at(best, self._column, np.log(self.points.loss))
        return best

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
        return list(zip(self.isoflops, self.best.tolist(), strict=True))

    @cached_property
    def _stated_noise(self) -> float:
        """Return the median relative SE of the losses, 0 where none is given."""
        relative = (self.points.loss_se / self.points.loss)[np.isfinite(self.points.loss_se)]
        return float(np.median(relative)) if len(relative) else 0.0

    @cached_property
    def _column(self) -> Array:
        return np.searchsorted(self.points.budgets, self.points.budget)

    @cached_property
    def sizes(self) -> Array:
        """Return the sampled sizes, ascending."""
        return np.unique(self.points.params)

    @cached_property
    def curves(self) -> Array:
        """Return the mean log loss [size, budget]."""
        row = np.searchsorted(self.sizes, self.points.params)
        total, count = np.zeros((2, len(self.sizes), len(self.x)))
        np.add.at(total, (row, self._column), np.log(self.points.loss))
        np.add.at(count, (row, self._column), 1.0)
        return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)

    @cached_property
    def rule(self) -> FlopRule:
        """Return FLOPs per sample by size."""
        return FlopRule(self.points.params, self.points.flops / self.points.samples)

    @cached_property
    def isoflops(self) -> list[IsoFlop]:
        """Return the local isoFLOP fits."""
        return fit_isoflops(self.points)

    @cached_property
    def noise(self) -> float:
        """Return the SD of log loss of one run: stated SEs, and a quarter of the curves' scatter.

        A quarter, because most of that scatter is the parabola's own misfit: with half of it,
        one-step intervals held every one of 51 published budgets, and were too wide.
        """
        return float(
            np.hypot(np.hypot(self._stated_noise, MIN_NOISE), 0.5 * (scatter(self.isoflops) or 0.0))
        )

    def until(self, count: int) -> Evidence:
        """Return the evidence of the first `count` budgets."""
        return Evidence(self.points.keep(self._column < count))
