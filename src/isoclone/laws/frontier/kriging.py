"""Kriging of the loss surface: a parametric surface, and a Gaussian process for what it misses.

    log L(N, D) = log S(N, D) + g(log N) + h(log D) + k(log N, log D)

S is a parametric surface (`coupled` or `interaction`); g, h, k are Gaussian processes with
Matern-5/2 covariance (universal kriging; Rasmussen & Williams 2006, ch. 2 and 5). h is the heart of
it: small models have long since seen the sample counts that larger ones are coming to, and a bend
that all learning curves share (a skill is learnt, the data run dry) is known before the frontier
arrives there.

A run that lies far above its budget's best (under-trained, or at its plateau) obeys other laws and
is trusted less: its log loss has the variance noise^2 + (FAR * distance above the best)^2.
Amplitudes, length scales and noise are those of the highest marginal likelihood times a broad
log-normal prior.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy import linalg, optimize

from isoclone.base.errors import FitError
from isoclone.laws.points import Points
from isoclone.laws.surface import Surface

Array = np.ndarray

FAR = 0.2  # SD of log loss, for each unit of log loss above the budget's best
NOISE_FLOOR = 0.005  # SD of log loss
SURFACE_SD = 0.02  # of a run at the best, while the parametric surface is fitted
MOST = 70  # points, those nearest their budget's best: more cost more (a cube) and say less
STARTS = 3  # of the parametric surface's fit
STEPS = 8  # of the search for amplitudes and lengths; 30 forecast no better
KERNELS = ((1, 0), (0, 1), (1, 1))  # which of log N and log D enters g, h and k
# Centre and SD (in logs) of the priors: three amplitudes (log loss), two lengths (in log N and
# log D), one noise SD. See docs/laws/backtest.md for how they were chosen.
PRIOR = np.log([0.2, 0.2, 0.05, 6.0, 6.0, 0.01])
PRIOR_SD = np.array([1.0, 1.0, 1.0, 0.7, 0.7, 0.7])


class Kriging:
    """log L over (N, D); see the module. `form` is that of the parametric surface S.

    After `fit`: `surface_`, `theta_` (logs, as `PRIOR`).
    """

    def __init__(self, form: str = "interaction"):
        self.form = form

    def fit(self, points: Points) -> Self:
        """Fit to runs of several sizes and sample counts; `FitError` where no surface can be."""
        above = above_best(points)
        if len(points) > MOST:
            near = np.sort(np.argsort(above, kind="stable")[:MOST])
            points, above = points.keep(np.isin(np.arange(len(points)), near)), above[near]
        far = FAR * above
        sd = np.hypot(SURFACE_SD, far)
        surface = Surface(self.form, starts=STARTS).fit(
            points.params, points.samples, points.loss, sd
        )
        self.surface_ = surface
        self._at = np.log([points.params, points.samples])
        self._square = (self._at[:, :, None] - self._at[:, None, :]) ** 2
        self._residual = np.log(points.loss) - surface.log_loss(points.params, points.samples)
        self._variance = NOISE_FLOOR**2 + far**2
        try:
            found = optimize.minimize(
                self._cost,
                PRIOR,
                jac=True,
                method="L-BFGS-B",
                bounds=[(centre - 3.0, centre + 3.0) for centre in PRIOR],
                options={"maxiter": STEPS},
            )
            self.theta_: Array = found.x
            self._weights = self._solve(self.theta_)
        except np.linalg.LinAlgError as error:
            raise FitError(f"kriging: the points contradict each other ({error})") from None
        return self

    def log_loss(self, params: Array, samples: Array) -> Array:
        """Return log L at N[m], D[m]."""
        to = np.log([params, samples])
        square = (to[:, :, None] - self._at[:, None, :]) ** 2
        covariance = sum(part for part, _ in _parts(square, self.theta_))
        return self.surface_.log_loss(params, samples) + covariance @ self._weights

    def _solve(self, theta: Array) -> Array:
        factor = linalg.cho_factor(self._covariance(theta)[0], lower=True)
        return linalg.cho_solve(factor, self._residual)

    def _covariance(self, theta: Array) -> tuple[Array, list[Array]]:
        """Return the points' covariance [n, n], and its derivatives by the first five of theta."""
        total = np.diag(self._variance + np.exp(2 * theta[5]))
        slopes = [np.zeros_like(total) for _ in range(5)]
        parts = _parts(self._square, theta)
        for index, (use, (part, steep)) in enumerate(zip(KERNELS, parts, strict=True)):
            total += part
            slopes[index] = 2 * part
            for axis in (0, 1):
                if use[axis]:
                    slopes[3 + axis] += steep * self._square[axis] * np.exp(-2 * theta[3 + axis])
        return total, slopes

    def _cost(self, theta: Array) -> tuple[float, Array]:
        """Return minus the log posterior of theta, up to a constant, and its gradient."""
        covariance, slopes = self._covariance(theta)
        factor = np.linalg.cholesky(covariance)
        half = linalg.solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False)
        inverse = half.T @ half
        weights = inverse @ self._residual
        outer = inverse - np.outer(weights, weights)
        z = (theta - PRIOR) / PRIOR_SD
        cost = 0.5 * self._residual @ weights + np.log(np.diag(factor)).sum() + 0.5 * (z**2).sum()
        gradient = [0.5 * np.vdot(outer, slope) for slope in slopes]
        gradient.append(np.exp(2 * theta[5]) * np.trace(outer))
        return float(cost), np.array(gradient) + z / PRIOR_SD


def _parts(square: Array, theta: Array) -> list[tuple[Array, Array]]:
    """Return for g, h, k the covariance at squared distances [2, m, n], and -2 d/d(r^2) of it."""
    scaled = square * np.exp(-2 * theta[3:5])[:, None, None]
    out = []
    for amplitude, use in zip(np.exp(2 * theta[:3]), KERNELS, strict=True):
        r = np.sqrt(5 * (use[0] * scaled[0] + use[1] * scaled[1]))
        fade = amplitude * np.exp(-r)
        out.append(((1 + r + r**2 / 3) * fade, 5 / 3 * (1 + r) * fade))
    return out


def above_best(points: Points) -> Array:
    """Return how far each run's log loss lies above the best at its budget or a smaller one [n]."""
    budgets, group = np.unique(points.budget, return_inverse=True)
    best = np.full(len(budgets), np.inf)
    log_loss = np.log(points.loss)
    np.minimum.at(best, group, log_loss)
    return log_loss - np.minimum.accumulate(best)[group]
