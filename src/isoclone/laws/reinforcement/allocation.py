"""The best size by return against compute, N_opt ~ C^a, with an interval that counts runs' luck.

The line goes through the optima inside the sampled sizes, each weighted by 1 / (SD^2 + .05^2), SDs
in decades. With fewer than `OPTIMA` of them the exponent is drawn towards the prior .5 +- .25.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from isoclone.base.records import Interval
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.power import PowerLaw
from isoclone.laws.reinforcement.optima import Optima

Array = np.ndarray
OPTIMA = 3  # inside the sampled sizes: fewer need the prior
PRIOR_EXPONENT, PRIOR_SD = 0.5, 0.25
FLOOR_SD = 0.05  # decades: no optimum is known better


class ReturnAllocation:
    """log10 N_opt = level + a (log10 C - x_ref), with draws of both.

    Two ways to have whole runs differ are averaged, as mean squares: every run's luck drawn anew
    (too sure where there is one seed), and leaving out one run in turn, or one size where there is
    one run of each (too cautious). Either alone held 83 to 97 % of synthetic exponents.

    After `fit`: `exponent_`, `exponent_sd_`, `level_`, `x_ref_`, `used_` (how many optima),
    `prior_` (whether the exponent leans on the prior), `plain_` (the exponent by least squares
    alone, where it does; None with fewer than two optima), `dof_`.
    """

    def fit(self, optima: Optima, telling: Array) -> ReturnAllocation:
        """Fit to the optima at budgets that tell sizes apart, a mask [b]."""
        interior = np.array([c.interior for c in optima.curves])
        use = interior & telling
        if not use.any():
            use = telling if telling.any() else np.ones_like(interior)
        x = optima.x[use]
        sd = np.array([c.params_sd_log10 for c in optima.curves])[use]
        sd = np.where(np.isfinite(sd), sd, 0.3)
        weight = 1.0 / (sd**2 + FLOOR_SD**2)
        n = np.where(interior, optima.n, np.log10([c.params for c in optima.curves]))[use]
        self.used_ = int((interior & telling).sum())
        self.prior_ = self.used_ < OPTIMA
        self.plain_ = self._plain(optima, interior & telling) if self.prior_ else None
        self.dof_ = max(optima.dof, 2)
        self.x_ref_ = float(np.average(x, weights=weight))
        pull = 1.0 / PRIOR_SD**2 if self.prior_ else 0.0
        self.level_, self.exponent_ = (float(v[0]) for v in _line(x, n[None], weight, pull))
        levels, exponents = _line(x, optima.n_draws[:, use], weight, pull)
        rest = n - self.level_ - self.exponent_ * (x - self.x_ref_)
        spare = self.used_ - 2
        chi2 = float((weight * rest**2).sum() / spare) if spare > 0 else 1.0
        more = float(np.sqrt(max(chi2, 1.0)))  # the optima do not lie on a line: not luck alone
        known = 1.0 / np.sqrt((weight * (x - self.x_ref_) ** 2).sum() + 1e-9)
        prior_sd = PRIOR_SD / np.sqrt(1 + PRIOR_SD**2 / known**2) if self.prior_ else 0.0
        self._levels = (levels - levels.mean()) * more
        self._slopes = (exponents - exponents.mean()) * more
        self._more_sd = prior_sd
        self.exponent_sd_ = float(np.hypot(_spread(exponents) * more, prior_sd))
        return self

    @staticmethod
    def _plain(optima: Optima, use: Array) -> Interval | None:
        """Return the exponent by least squares through the optima `use` [b] alone."""
        if use.sum() < 2:
            return None
        line = PowerLaw().fit(10 ** optima.x[use], 10 ** optima.n[use], noise_sd=FLOOR_SD)
        return line.exponent_interval()

    def without_each(self, others: Array) -> None:
        """Take in the exponents [k] that come out with one run, or size, left out in turn."""
        count = len(others)
        if count < 3:
            return
        sd = float(np.sqrt((count - 1) / count * ((others - others.mean()) ** 2).sum()))
        both = float(np.sqrt((self.exponent_sd_**2 + sd**2) / 2))
        factor = both / max(self.exponent_sd_, 1e-9)
        self._levels, self._slopes = self._levels * factor, self._slopes * factor
        self.exponent_sd_ = both

    def exponent(self, level: float = 0.95) -> Interval:
        """Return a with its t-interval."""
        half = self._t(level) * self.exponent_sd_
        return Interval(self.exponent_, self.exponent_ - half, self.exponent_ + half, level)

    def interval(self, flops: Array, level: float = 0.95) -> tuple[Array, Array, Array]:
        """Return N_opt, low, high at C [m]."""
        dx = np.log10(np.asarray(flops, float)) - self.x_ref_
        middle = self.level_ + self.exponent_ * dx
        drawn = self._levels[:, None] + self._slopes[:, None] * dx
        sd = np.array([_spread(column) for column in drawn.T])
        half = self._t(level) * np.sqrt(sd**2 + (self._more_sd * dx) ** 2 + FLOOR_SD**2)
        return 10**middle, 10 ** (middle - half), 10 ** (middle + half)

    def samples_exponent(self, rule: FlopRule, flops: float, a: Interval) -> Interval:
        """Return the exponent of D_opt: 1 - a d log f / d log N, f the FLOPs per sample there."""
        n = 10.0 ** (self.level_ + self.exponent_ * (np.log10(flops) - self.x_ref_))
        near = n * np.array([0.8, 1.25])
        rise = float(np.diff(np.log(rule.per_sample(near)))[0] / np.diff(np.log(near))[0])
        assert a.low is not None
        assert a.high is not None
        ends = sorted((1 - rise * a.low, 1 - rise * a.high))
        return Interval(1 - rise * a.value, ends[0], ends[1], a.level)

    def _t(self, level: float) -> float:
        return float(special.stdtrit(self.dof_, 0.5 + level / 2))


def _line(x: Array, n: Array, weight: Array, pull: float) -> tuple[Array, Array]:
    """Return level and slope [d] of weighted lines through n [d, b]; `pull` to the prior slope."""
    dx = x - np.average(x, weights=weight)
    level = n @ weight / weight.sum()
    square = float((weight * dx**2).sum()) + pull
    slope = ((n - level[:, None]) @ (weight * dx) + pull * PRIOR_EXPONENT) / max(square, 1e-12)
    return level, slope


def _spread(drawn: Array) -> float:
    """Return half the width of the middle 95 % of draws, in normal SDs: tails are heavy."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(high - low) / (2 * 1.95996)
