"""Run luck: the part of a run's log loss that lasts through all its budgets.

A run's weights are drawn once, so checkpoints of one run err together: tiny networks of two seeds
differ by 5 to 20 % at every budget. The run's effect is u_r ~ N(0, tau_r^2) in log loss, beside
noise of SD sigma that is new at every budget,

    log L_rb = f(N, C_b) + u_r + e_rb,    tau_r = tau (N_r / N_middle)^-fall.

Where sizes have several runs, u is read off what sets these runs apart; else off the residuals
about the isoFLOP parabolas. Either way the means of a run's residuals are Gaussian with a
covariance that is linear in tau^2 and sigma^2, so their likelihood (a restricted one, Patterson &
Thompson 1971) needs no form for f. Few runs say little of tau: it is never one value, but a grid of
(tau, fall) with the probability of each, flat in log tau, and an interval is that of the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, special

from isoclone.laws.isoflop import IsoFlop
from isoclone.laws.points import Points
from isoclone.laws.power import mixture_half_width

Array = np.ndarray

SPREADS = np.geomspace(1e-4, 0.6, 30)  # tau: SD of log loss
FALLS = np.linspace(-0.2, 0.8, 11)  # decades of tau for each decade of N
FALL, FALL_SD = 0.1, 0.15  # its prior: small networks have more luck, if any difference is seen
REPLICATES = 3  # runs beyond the first of their size, that suffice to read luck off them
MOST_RUNS = 120  # from which luck is read: more cost more and say nothing new
LEAST_NOISE = 1e-4  # SD of log loss
EXACT = 1e-8  # share of the largest eigenvalue, below which a direction is not in the data


@dataclass(frozen=True)
class Luck:
    """The probability [g] of each `spread` [g] (tau) and `fall` [g], about log10 N = `middle`."""

    chance: Array
    spread: Array
    fall: Array
    middle: float

    def variance(self, params: Array) -> Array:
        """Return the variance of a run's log loss, shared by its budgets, at N[m]: [g, m]."""
        decades = np.log10(params) - self.middle
        return self.spread[:, None] ** 2 * 10.0 ** (-2 * self.fall[:, None] * decades)

    @property
    def sd(self) -> float:
        """Return the middle of what tau, the SD of log loss at the middle size, may be."""
        return float(np.exp(self.chance @ np.log(self.spread)))

    def mean_variance(self, params: Array) -> Array:
        """Return the expectation of that variance at N[m]."""
        return self.chance @ self.variance(params)


def half_width_with(
    luck: Luck, params: Array, half: Array, dof: float, level: float, agents: int = 1
) -> Array:
    """Return half-widths [m] of intervals that hold the luck of runs too, at N[m].

    `half` [m] are those without it, of Student's t with `dof` degrees of freedom. The mean of so
    many further agents has luck of its own, and so has the run that the forecast starts from.
    """
    own = (half / special.stdtrit(dof, 0.5 + level / 2)) ** 2
    shared = luck.variance(params) * (1 + 1 / agents)
    each = zip(own, shared.T, strict=True)
    return np.array([mixture_half_width(o, dof, s, luck.chance, level) for o, s in each])


@dataclass(frozen=True)
class _Rows:
    """Rows inside the curves' windows; `run` is a run's number, -1 where it has one row only."""

    y: Array
    log_params: Array
    curve: Array
    run: Array

    @property
    def member(self) -> Array:
        """Return which row belongs to which run, [n, runs]."""
        return (self.run[:, None] == np.arange(self.run.max() + 1)).astype(float)


def run_luck(points: Points, curves: list[IsoFlop]) -> Luck | None:
    """Estimate the luck of runs from the points inside the curves' windows.

    None where no run passes through two budgets, or nothing tells its luck from its size.
    """
    rows = _rows(points, curves)
    if rows is None:
        return None
    projector = _residual_maker(rows)
    member = rows.member
    mean = member.T @ projector / member.sum(0)[:, None]  # [runs, rows], of a run's residuals
    noise = _noise(rows, projector)
    if noise is None:
        return None
    basis = linalg.orth(mean @ mean.T, rcond=EXACT)
    if not basis.shape[1]:
        return None
    mean = basis.T @ mean
    sizes = (member.T @ rows.log_params) / member.sum(0)
    middle = float(sizes.mean())
    spread, fall = (v.ravel() for v in np.meshgrid(SPREADS, FALLS, indexing="ij"))
    luck = Luck(np.full(len(spread), 1.0 / len(spread)), spread, fall, middle)
    score = _log_likelihood(mean @ rows.y, noise * mean @ mean.T, mean @ member, luck, sizes)
    score -= 0.5 * ((fall - FALL) / FALL_SD) ** 2
    chance = np.exp(score - score.max())
    return Luck(chance / chance.sum(), spread, fall, middle)


def _rows(points: Points, curves: list[IsoFlop]) -> _Rows | None:
    curve = np.full(len(points), -1)
    for place, c in enumerate(curves):
        used = np.array(c.sizes)[np.array(c.used)]
        curve[(points.budget == c.budget) & np.isin(points.params, used)] = place
    inside = curve >= 0
    runs, code, count = np.unique(points.run[inside], return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")[:MOST_RUNS]
    lasting = order[count[order] > 1]
    if len(lasting) < 2:
        return None
    number: Array = np.full(len(runs), -1)
    number[lasting] = np.arange(len(lasting))
    y, size = np.log(points.loss[inside]), np.log10(points.params[inside])
    return _Rows(y, size, curve[inside], number[code.reshape(-1)])


def _residual_maker(rows: _Rows) -> Array:
    """Return the matrix [n, n] that takes out of y what is no luck.

    That is the mean of each size at each budget where sizes have several runs, else each curve's
    parabola, and a cubic term that the curves have in common: no curve is quite a parabola.
    """
    sizes = np.unique(np.column_stack([rows.run, rows.log_params])[rows.run >= 0], axis=0)
    if len(sizes) - len(np.unique(sizes[:, 1])) >= REPLICATES:
        cell = np.column_stack([rows.curve, rows.log_params])
        number = np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)
        design = (number[:, None] == np.unique(number)).astype(float)
    else:
        curve = (rows.curve[:, None] == np.unique(rows.curve)).astype(float)
        dn = rows.log_params[:, None] - curve @ (curve.T @ rows.log_params / curve.sum(0))[:, None]
        design = np.hstack([curve, curve * dn, curve * dn**2, dn**3])
    basis = linalg.orth(design, rcond=EXACT)
    return np.eye(len(rows.y)) - basis @ basis.T


def _noise(rows: _Rows, projector: Array) -> float | None:
    """Return sigma^2 from what varies inside runs; None where nothing does."""
    shared = projector @ rows.member
    basis = linalg.orth(shared, rcond=EXACT)
    left = projector @ rows.y
    left = left - basis @ (basis.T @ left)
    free = round(float(np.trace(projector))) - basis.shape[1]
    return max(float(left @ left) / free, LEAST_NOISE**2) if free > 0 else None


def _log_likelihood(z: Array, own: Array, member: Array, luck: Luck, sizes: Array) -> Array:
    """Return the log density [g] of z ~ N(0, own + member diag(tau_r^2) member')."""
    variance = luck.variance(10.0**sizes)
    covariance = own + np.einsum("ir,gr,jr->gij", member, variance, member, optimize=True)
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, np.broadcast_to(z[:, None], (len(factor), len(z), 1)))
    size = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
    return -size - 0.5 * (white[..., 0] ** 2).sum(1)
