"""Power laws: y = a x^k by ordinary least squares in logs, and y = a x^k + b by a scan over b.

The t-intervals are the ones of the paper's regressions (Tuyls et al. 2023, arXiv 2307.09423).
They take the residuals as independent; what tilts all points together (`luck`) is told to
`PowerLaw.share`.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import optimize, special

from isoclone.base.errors import FitError
from isoclone.base.records import Interval

Array = np.ndarray

EXACT = 1e-9  # log10: residuals below are those of rounding


class PowerLaw:
    """y = a x^k, fitted as log10 y = c + k log10 x by weighted least squares.

    `prior_exponent` and `prior_sd` (both or neither) pull k towards a prior belief, as one more
    observation of k would; with few points that keeps a forecast from swinging wildly.
    After `fit`: `exponent_`, `log10_factor_`, `residual_sd_` (log10), `sd_` (the same, at least
    `noise_sd`: intervals are made of it), `covariance_` (2 x 2, of
    c at the mean of log10 x and k), `dof_`, `points_` (how many there were), `chance_` [g] and
    `shared_` [g, 2, 2] (see `share`; one covariance of zeros before).
    """

    def __init__(self, prior_exponent: float | None = None, prior_sd: float = 0.25):
        self.prior_exponent = prior_exponent
        self.prior_sd = prior_sd

    def fit(self, x: Any, y: Any, weights: Any = None, noise_sd: float = 0.0) -> Self:
        """Fit to positive x[n], y[n]; `noise_sd` is a floor on the residual spread, in log10.

        Raises `FitError` with fewer than two distinct x (one, with a prior).
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            lx, ly = np.log10(np.asarray(x, float)), np.log10(np.asarray(y, float))
        w = np.ones_like(lx) if weights is None else np.asarray(weights, float)
        needed = 2 if self.prior_exponent is None else 1
        if len(np.unique(lx)) < needed or not np.isfinite(lx).all() or not np.isfinite(ly).all():
            known = len(np.unique(lx[np.isfinite(lx) & np.isfinite(ly)]))
            raise FitError(
                f"a power law needs {needed} different x, and positive x and y; {lx.size} points "
                f"have {known} that can be used"
            )
        self.x_ref_ = float(np.average(lx, weights=w))
        dx, y_ref = lx - self.x_ref_, float(np.average(ly, weights=w))
        sxx, sxy = float(np.sum(w * dx**2)), float(np.sum(w * dx * (ly - y_ref)))
        self.points_, self.dof_ = len(lx), max(len(lx) - 2, 1)
        slope = sxy / sxx if sxx > 0 else 0.0
        rss = float(np.sum(w * (ly - y_ref - slope * dx) ** 2))
        self.residual_sd_ = float(np.sqrt(rss / self.dof_))
        self.sd_ = max(self.residual_sd_, noise_sd)
        self.level_, self._free = y_ref, (slope, self.sd_**2 / sxx if sxx > 0 else np.inf)
        self._influence = np.vstack([w / w.sum(), w * dx / (sxx or 1.0)])
        self.covariance_ = np.diag([self.sd_**2 / w.sum(), 0.0])
        self.chance_, self.shared_ = np.ones(1), np.zeros((1, 2, 2))
        self._settle()
        return self

    def share(self, gradient: Array, variance: Array, chance: Array) -> Self:
        """Take in errors that the points share: d log10 y / d u [n, r], u_r of variance [g, r].

        Each of the g variances has its `chance`. They are no part of the residuals: what tilts the
        whole line leaves none. A prior of the exponent counts for more after it.
        """
        moved = self._influence @ gradient
        self.chance_ = chance
        self.shared_ = np.einsum("ir,gr,jr->gij", moved, variance, moved, optimize=True)
        self._settle()
        return self

    def _settle(self) -> None:
        """Weigh the slope against its prior, by all that is known to move it."""
        slope, own = self._free
        if self.prior_exponent is not None:
            known, shared = self.prior_sd**2, float(self.chance_ @ self.shared_[:, 1, 1])
            keep = known / (known + own + shared)
            slope = keep * slope + (1 - keep) * self.prior_exponent
            self.shared_ = self.shared_ * np.array([[1.0, keep], [keep, keep**2]])
            own = known * (1 - keep) - keep**2 * shared
        self.exponent_ = float(slope)
        self.log10_factor_ = self.level_ - self.exponent_ * self.x_ref_
        self.covariance_[1, 1] = own

    def exponent_interval(self, level: float = 0.95) -> Interval:
        """Return k with its t-interval; without ends where only two points lie on the line."""
        if self.points_ <= 2 and self.sd_ < EXACT:
            return Interval(self.exponent_, None, None, level)
        own, shared = float(self.covariance_[1, 1]), self.shared_[:, 1, 1]
        half = mixture_half_width(own, self.dof_, shared, self.chance_, level)
        return Interval(self.exponent_, self.exponent_ - half, self.exponent_ + half, level)

    def predict(self, x: Any, interval: float | None = None) -> Any:
        """Return y at x; with `interval`, (y, low, high) of a new observation at that level."""
        dx = np.log10(np.asarray(x, float)) - self.x_ref_
        middle = self.level_ + self.exponent_ * dx
        if interval is None:
            return 10.0**middle
        half = self._t(interval) * self.prediction_sd(x)
        return 10.0**middle, 10.0 ** (middle - half), 10.0 ** (middle + half)

    def prediction_sd(self, x: Any, new_observation: bool = True) -> Array:
        """Return the standard error of log10 y at x, of the line or of a new observation."""
        dx = np.log10(np.asarray(x, float)) - self.x_ref_
        both = self.covariance_ + np.tensordot(self.chance_, self.shared_, 1)
        variance = both[0, 0] + 2 * dx * both[0, 1] + dx**2 * both[1, 1]
        return np.sqrt(variance + (self.sd_**2 if new_observation else 0.0))

    def _t(self, level: float) -> float:
        return float(special.stdtrit(self.dof_, 0.5 + level / 2))

    def to_json(self) -> dict[str, Any]:
        """Return the coefficients as plain values."""
        return {
            "formula": "y = 10^log10_factor * x^exponent",
            "exponent": self.exponent_interval().to_json(),
            "log10_factor": self.log10_factor_,
            "residual_sd_log10": self.residual_sd_,
            "points": self.points_,
        }


def mixture_half_width(own: float, dof: float, shared: Array, chance: Array, level: float) -> float:
    """Return what |error| exceeds with 1 - level: variance `own`, of dof, and one of `shared` [g].

    Given one of them, known, the sum is Student's t with Satterthwaite's degrees of freedom.
    """
    total = own + shared
    sd, dofs = np.sqrt(total), np.minimum(dof * (total / max(own, 1e-300)) ** 2, 1e9)
    if sd.max() == 0:
        return 0.0
    each = special.stdtrit(dofs, 0.5 + level / 2) * sd
    if np.ptp(each) <= EXACT * each.max():
        return float(each[0])

    def missed(half: float) -> float:
        return float(chance @ special.stdtr(dofs, -half / np.maximum(sd, 1e-300))) - tail

    tail = (1 - level) / 2
    return float(optimize.brentq(missed, each.min(), each.max()))


class OffsetPowerLaw:
    """y = a x^k + b with b <= min(y) (or b >= max(y) for rising laws), least squares in logs.

    b is scanned on a grid of the distance to the extreme value; for each b the rest is a straight
    line in logs, so no start values are needed. `rising` says whether y grows with x towards b.
    After `fit`: `factor_`, `exponent_`, `offset_`.
    """

    def __init__(self, rising: bool = False, grid: int = 200):
        self.rising = rising
        self.grid = grid

    def fit(self, x: Any, y: Any) -> Self:
        """Fit to positive x[n] and finite y[n]. Raises `FitError` with fewer than three x."""
        lx, y = np.log10(np.asarray(x, float)), np.asarray(y, float)
        if len(np.unique(lx)) < 3:
            raise FitError(f"a power law with offset needs 3 distinct x; got {len(np.unique(lx))}")
        scale = max(float(np.ptp(y)), 1e-12 * max(1.0, float(np.abs(y).max())))
        gaps = scale * np.logspace(-3, 3, self.grid)
        offsets = y.max() + gaps if self.rising else y.min() - gaps
        if not self.rising and y.min() > 0:  # a loss cannot fall below zero
            offsets = np.append(offsets[offsets > 0], 0.0)
        z = np.log10(np.abs(y[None, :] - offsets[:, None]))
        dx = lx - lx.mean()
        slope = (z * dx).sum(1) / (dx**2).sum()
        line = z.mean(1)[:, None] + slope[:, None] * dx
        fitted = offsets[:, None] + (-1 if self.rising else 1) * 10.0**line
        positive = bool((y > 0).all())
        error = np.log(np.maximum(fitted, 1e-300)) - np.log(y) if positive else fitted - y
        best = int(np.argmin((error**2).sum(1)))
        self.offset_, self.exponent_ = float(offsets[best]), float(slope[best])
        self.factor_ = float(10.0 ** (z[best].mean() - slope[best] * lx.mean()))
        self.factor_ *= -1 if self.rising else 1
        self.sd_ = float(np.sqrt((error[best] ** 2).sum() / max(len(y) - 3, 1)))
        self.dof_ = max(len(y) - 3, 1)
        return self

    def predict(self, x: Any) -> Any:
        """Return y at x."""
        return self.factor_ * np.asarray(x, float) ** self.exponent_ + self.offset_

    def to_json(self) -> dict[str, Any]:
        """Return the coefficients as plain values."""
        return {
            "formula": "y = factor * x^exponent + offset",
            "factor": self.factor_,
            "exponent": self.exponent_,
            "offset": self.offset_,
        }
