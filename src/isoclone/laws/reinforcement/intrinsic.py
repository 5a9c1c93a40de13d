"""Intrinsic performance: returns told in the compute that they take, whose laws have no ceiling.

An agent's intrinsic performance I is the least compute at which an agent of any size reaches its
return, read off the best returns against C (Hilton, Tang & Schulman 2023, "Scaling laws for
single-agent reinforcement learning", arXiv 2301.13442, sections 2 and 3). It follows

    I^-b = (Nc / N)^aN + (Ec / E)^aE,  1 / b = r / aN + 1 / aE

with N parameters and E environment steps. The condition on b holds since I = C for the best size,
where C grows as N^r E (r = 1 in the paper; here it is read off the table's FLOPs); N_opt then grows
as C^(b / aN). Fitted by least squares on log I, outliers counting less. A return below the first
best one, or at the ceiling, has no intrinsic performance: such cells are left out, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special

from isoclone.base.records import Interval
from isoclone.laws.base import Exponents
from isoclone.laws.reinforcement.cells import Cells
from isoclone.laws.reinforcement.optima import Optima

Array = np.ndarray
FEWEST = 8  # cells
SIZES = 3
RISE = 0.01  # of the span of z: a step of the best return that is one
ENDS = np.array([300.0, 300.0, 4.0, 4.0])  # of the coefficients' logs, either way
NAME = "intrinsic performance"
SOURCE = "Hilton et al. 2023, arXiv 2301.13442"
FORMULA = "I^-b = (Nc/N)^aN + (Ec/E)^aE, 1/b = r/aN + 1/aE, C ~ N^r E"


@dataclass(frozen=True)
class Intrinsic:
    """The fitted law, in natural logs, and as it is without each of the sizes."""

    theta: Array  # log Nc, log Ec, log aN, log aE
    jackknife: Array  # [s, 4], one size left out each time
    rise: float  # r
    residual_sd: float  # of log I
    cells: int
    left_out: int

    def exponents(self, level: float = 0.95) -> Exponents:
        """Return how N_opt and E_opt grow with C; their intervals leave one size out in turn."""
        value = float(_share(self.theta, self.rise))
        others = _share(self.jackknife, self.rise)
        count = len(others)
        sd = float(np.sqrt((count - 1) / count * ((others - others.mean()) ** 2).sum()))
        half = float(special.stdtrit(max(count - 2, 1), 0.5 + level / 2)) * sd
        low, high, r = value - half, value + half, self.rise
        down, up = sorted((1 - r * low, 1 - r * high))
        return Exponents(
            Interval(value, low, high, level), Interval(1 - r * value, down, up, level)
        )

    def to_json(self) -> dict[str, Any]:
        """Return formula, source and coefficients as plain values."""
        log_n, log_e, log_a, log_b = (float(v) for v in self.theta)
        a_n, a_e = np.exp(log_a), np.exp(log_b)
        return {
            "name": NAME,
            "formula": FORMULA,
            "source": SOURCE,
            "Nc": float(np.exp(np.clip(log_n, -600, 600))),
            "Ec": float(np.exp(np.clip(log_e, -600, 600))),
            "aN": float(a_n),
            "aE": float(a_e),
            "r": self.rise,
            "b": float(1 / (self.rise / a_n + 1 / a_e)),
            "residual_sd_log_i": self.residual_sd,
            "cells": self.cells,
            "left_out": self.left_out,
        }


def fit_intrinsic(cells: Cells, optima: Optima, use: Array, rise: float) -> Intrinsic | None:
    """Fit the law to the cells of the budgets `use` [b]; None where too few have an I.

    `rise` is r, the exponent of a sample's FLOPs against the size.
    """
    log_i = _least_compute(cells, optima, use)
    known = np.isfinite(log_i) & np.isfinite(cells.log_samples)
    s, b = np.nonzero(known)
    if len(s) < FEWEST or len(np.unique(s)) < SIZES or len(np.unique(b)) < 2:
        return None
    n, e, y = np.log(cells.sizes)[s], cells.log_samples[s, b], log_i[s, b]
    start = np.array([n.mean() - y.mean() / 2, e.mean() - y.mean() / 2, 0.0, 0.0])
    theta, sd = _solved(n, e, y, start, rise)
    sizes = np.unique(s)
    others = [_solved(n[s != k], e[s != k], y[s != k], theta, rise, 1)[0] for k in sizes]
    left_out = int(cells.known.sum()) - len(s)
    return Intrinsic(theta, np.array(others), rise, sd, len(s), left_out)


def _least_compute(cells: Cells, optima: Optima, use: Array) -> Array:
    """Return log I [s, b] of each cell: where the best z, never falling, reaches the cell's."""
    x, best = np.log(cells.budgets)[use], np.maximum.accumulate(optima.z[use])
    out = np.full(cells.mean.shape, np.nan)
    if not len(best) or best[-1] <= best[0]:
        return out
    rises = np.append(True, np.diff(best) > RISE * (best[-1] - best[0]))
    x, best = x[rises], best[rises]
    mean = np.where(cells.known, cells.mean, np.nan)
    inside = (mean >= best[0]) & (mean <= best[-1])
    out[inside] = np.interp(mean[inside], best, x)
    return out


def _log_i(theta: Array, n: Array, e: Array, rise: float) -> Array:
    log_nc, log_ec, log_a, log_b = theta
    a_n, a_e = np.exp(log_a), np.exp(log_b)
    return -(rise / a_n + 1 / a_e) * np.logaddexp(a_n * (log_nc - n), a_e * (log_ec - e))


def _solved(
    n: Array, e: Array, y: Array, start: Array, rise: float, starts: int = 3
) -> tuple[Array, float]:
    best: Any = None
    for shift in (0.0, 1.0, -1.0)[:starts]:
        told = start + np.array([0.0, 0.0, shift, -shift])
        found = optimize.least_squares(
            lambda t: _log_i(t, n, e, rise) - y,
            np.clip(told, -ENDS + 0.1, ENDS - 0.1),
            bounds=(-ENDS, ENDS),
            loss="soft_l1",
            max_nfev=300,
        )
        if best is None or found.cost < best.cost:
            best = found
    rest = _log_i(best.x, n, e, rise) - y
    return best.x, float(np.sqrt((rest**2).sum() / max(len(y) - 4, 1)))


def _share(theta: Array, rise: float) -> Array:
    """Return b / aN = aE / (aN + r aE) of coefficients [..., 4]."""
    a_n, a_e = np.exp(theta[..., 2]), np.exp(theta[..., 3])
    return a_e / (a_n + rise * a_e)
