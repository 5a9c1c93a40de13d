"""Which runs next? The set within a FLOP budget that sharpens the forecast at a target C most.

The surface's parameters have a covariance V. A further run at (N, D) with noise sigma turns its
inverse into V^-1 + J J^T / sigma^2, J the gradient of log L there; the variance of what is
forecast, g^T V g with g the gradient of log L_opt(C) and of log N_opt(C), shrinks by a rank-one
update (Sherman & Morrison 1950):

    gain(N, D) = (g^T V J)^2 / (sigma^2 + J^T V J).

Runs are added greedily by gain per FLOP (c-optimal design), each of them once. A constant-rate run
to D also gives checkpoints on the way; only the last one is counted here, so real gains are larger.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoclone.base.errors import FitError, SpecError
from isoclone.laws.reinforcement.laws import ReturnLaws
from isoclone.laws.scaling import ScalingLaws
from isoclone.laws.surface import FORMS, LogSumExp, Surface

Array = np.ndarray
SIZES, COUNTS = 24, 24  # grid of candidate N and D
EXCESS = 0.4  # log loss above the best at its FLOPs: farther out the form itself is in doubt
RATIO = 1.0  # decades of N / D outside the sampled ones: farther out no run is proposed
SMALLEST = 50.0  # a run costs at least a fiftieth of the budget: crumbs are cheap, not useful


@dataclass(frozen=True)
class NextRun:
    """A run to do next: its size, samples and FLOPs, and the forecast's SDs once it is done."""

    params: float
    samples: float
    flops: float
    loss_sd_after: float  # of log L at the target C
    params_sd_log10_after: float


@dataclass(frozen=True)
class Design:
    """The runs to do next, in order, and the forecast's SDs at the target before them."""

    loss_sd: float  # of log L
    params_sd_log10: float
    runs: tuple[NextRun, ...]


def next_runs(
    laws: ScalingLaws | ReturnLaws, target_flops: float, budget_flops: float, most: int = 8
) -> Design:
    """Choose the next runs: their order, and the forecast's SDs before them.

    Raises `SpecError` for a budget that is not positive, `FitError` without a surface of losses.
    """
    if isinstance(laws, ReturnLaws):
        raise FitError("a design of the next runs needs dev_loss; the table has returns only")
    if not (np.isfinite(budget_flops) and budget_flops > 0):
        raise SpecError(f"the budget must be positive FLOPs; got {budget_flops!r}")
    surface = laws.allocation_.surface_
    if surface is None:
        raise FitError("too few points for a surface: no design without one")
    goals = goal_gradients(surface, target_flops, laws)
    candidates = _candidates(laws, budget_flops)
    covariance = surface.covariance()
    now = np.sqrt(np.diag(goals @ covariance @ goals.T))
    runs = _greedy(surface, goals, covariance, candidates, budget_flops, most, now)
    return Design(float(now[0]), float(now[1]), tuple(runs))


def goal_gradients(surface: Surface, flops: float, laws: ScalingLaws) -> Array:
    """Return the derivatives [2, P] of log L_opt and log10 N_opt at C by the parameters."""
    step, count = 1e-2, len(surface.theta_)
    moved = surface.theta_ + step * np.vstack([np.eye(count), -np.eye(count)])
    size, loss = surface.optimum(flops, laws.evidence_.rule, moved)
    return np.stack([(v[:count] - v[count:]) / (2 * step) for v in (loss, size)])


def run_gradients(surface: Surface, params: Array, samples: Array) -> Array:
    """Return the derivatives [m, P] of log L at N[m], D[m] by the parameters."""
    n = np.log(params) - surface.centre_[0]
    d = np.log(samples) - surface.centre_[1]
    model = LogSumExp(FORMS[surface.form], n, d)
    return model.value_and_jacobian(surface.theta_[None])[1][0].T


def _candidates(laws: ScalingLaws, budget: float) -> tuple[Array, Array, Array]:
    points, rule = laws.points_, laws.evidence_.rule
    n = np.geomspace(points.params.min() / 2, points.params.max() * 4, SIZES)
    d = np.geomspace(points.samples.min(), points.samples.max() * 4, COUNTS)
    params, samples = (v.ravel() for v in np.meshgrid(n, d))
    flops = rule.per_sample(params) * samples
    least = max(budget / SMALLEST, float(points.budgets[0]))  # below, nobody knows what is learned
    ratio, seen = np.log10(params / samples), np.log10(points.params / points.samples)
    known = (ratio >= seen.min() - RATIO) & (ratio <= seen.max() + RATIO)
    fits = (flops <= budget) & (flops >= least) & known
    params, samples, flops = params[fits], samples[fits], flops[fits]
    surface = laws.allocation_.surface_
    if surface is None or not len(flops):
        return params, samples, flops
    grid = np.linspace(np.log10(flops.min()), np.log10(flops.max()), 24)
    best = [surface.optimum(10.0**c, rule)[1][0] for c in grid]
    excess = surface.log_loss(params, samples) - np.interp(np.log10(flops), grid, best)
    near = excess <= EXCESS
    return params[near], samples[near], flops[near]


def _greedy(
    surface: Surface,
    goals: Array,
    covariance: Array,
    candidates: tuple[Array, Array, Array],
    budget: float,
    most: int,
    now: Array,
) -> list[NextRun]:
    params, samples, flops = candidates
    fresh = np.ones(len(flops), dtype=bool)
    gradients = run_gradients(surface, params, samples)
    noise, left = surface.sd_**2, budget
    runs: list[NextRun] = []
    importance = 1.0 / np.maximum(now, 1e-9) ** 2  # both goals count alike
    while len(runs) < most and len(flops):
        spread = gradients @ covariance
        variance = noise + (spread * gradients).sum(1)
        gain = importance @ ((goals @ spread.T) ** 2 / variance)
        rate = np.where(fresh & (flops <= left), gain / flops, 0.0)
        best = int(np.argmax(rate))
        if rate[best] <= 0:
            break
        covariance = covariance - np.outer(spread[best], spread[best]) / variance[best]
        left, fresh[best] = left - float(flops[best]), False
        after = np.sqrt(np.maximum(np.diag(goals @ covariance @ goals.T), 0.0))
        n, d, c = (float(v[best]) for v in (params, samples, flops))
        runs.append(NextRun(n, d, c, float(after[0]), float(after[1])))
    return runs
