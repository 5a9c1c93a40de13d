"""The paper's parametric fit: log L quadratic in log N and log D (Tuyls et al. 2023).

    log L = b0 + bN n + bD d + bNN n^2 + bND n d + bDD d^2,   n = log N, d = log D

Under C = 6 N D, n + d = log(C / 6), and setting the derivative of the Lagrangian to zero gives

    n* = [(2 bDD - bND) log(C / 6) + bD - bN] / (2 (bNN + bDD - bND)).

It assumes that the optimum's exponent does not change with C, and it has no floor: far out, a
quadratic turns up again. Good for interpolation, poor for extrapolation.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from isoclone.base.errors import FitError

Array = np.ndarray
NAMES = ("b0", "bN", "bD", "bNN", "bND", "bDD")


class QuadraticSurface:
    """The quadratic-in-logs surface. After `fit`: `coef_` by name, `sd_` of log residuals."""

    def fit(self, params: Any, samples: Any, loss: Any) -> Self:
        """Fit by least squares to N[n], D[n], loss[n]; raise `FitError` below 7 points."""
        n, d, y = (np.log(np.asarray(v, float)) for v in (params, samples, loss))
        design = self._design(n, d)
        if len(y) < 7 or np.linalg.matrix_rank(design) < 6:
            raise FitError(
                "a quadratic surface needs 7 points, and three sizes and sample counts that vary "
                f"apart; it has {len(y)} points, of {len(np.unique(n))} and {len(np.unique(d))}"
            )
        coef, *_ = np.linalg.lstsq(design, y, rcond=None)
        self.coef_ = dict(zip(NAMES, coef.tolist(), strict=True))
        self.sd_ = float(np.sqrt(((design @ coef - y) ** 2).sum() / (len(y) - 6)))
        return self

    @staticmethod
    def _design(n: Array, d: Array) -> Array:
        return np.column_stack([np.ones_like(n), n, d, n**2, n * d, d**2])

    @property
    def exponents_(self) -> tuple[float, float]:
        """Return (a, b) of N_opt ~ C^a and D_opt ~ C^b under C = 6 N D.

        Raises FitError where the surface does not bend, as where all losses are equal.
        """
        b = self.coef_
        bend = 2 * (b["bNN"] + b["bDD"] - b["bND"])
        if not bend:
            raise FitError("the quadratic surface has no minimum")
        a = (2 * b["bDD"] - b["bND"]) / bend
        return a, 1 - a
