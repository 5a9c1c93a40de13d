"""The paper's way, exactly (Tuyls et al. 2023, arXiv 2307.09423), as named methods.

Best point or log-log parabola per budget; ordinary least squares in logs with t-intervals for
N, D, L and R against C and R against 1/L; the same with an offset; the quadratic surface with its
Lagrange optimum. Rolling cross-validation of these is the method `paper` of `backtest`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isoclone.base.errors import FitError
from isoclone.laws.isoflop import IsoFlop, fit_isoflops
from isoclone.laws.points import SAME_BUDGET_DECADES, Points
from isoclone.laws.power import OffsetPowerLaw, PowerLaw
from isoclone.laws.quadratic import QuadraticSurface
from isoclone.laws.surface import window

Array = np.ndarray
NEAR = 1.3  # times the budget's best loss: so near its vertex, an isoFLOP curve is a parabola


def published_way(points: Points, from_flops: float = 0.0) -> dict[str, Any]:
    """Fit every law of the paper to these points; return plain values.

    `from_flops` drops smaller budgets from the power laws (the paper's windows are by eye; here
    the window is stated). `parabola` uses every run of a budget, `parabola_near` those within
    `loss_within` times its best loss. A law that cannot be fitted is None.
    """
    late = points.keep(points.budget >= from_flops * 10 ** (-SAME_BUDGET_DECADES / 2))
    if not len(late):
        raise FitError(f"no budget reaches {from_flops:.3g} FLOPs")
    curves = fit_isoflops(late, local=False)
    near = late.keep(window(late, decades=99.0, factor=NEAR))
    return {
        "from_flops": float(late.budget.min()),
        "to_flops": float(late.budget.max()),
        "budgets": len(curves),
        "loss_within": NEAR,
        "parabola": _by_parabola(curves, late),
        "parabola_near": _by_parabola(fit_isoflops(near, local=False), near),
        "best_point": _by_best(curves, late),
        "returns": _returns(late),
        "quadratic": _quadratic(late),
    }


def _law(x: Any, y: Any) -> dict[str, Any] | None:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 3 or (y <= 0).any():
        return None
    try:
        plain = PowerLaw().fit(x, y).to_json()
        offset = OffsetPowerLaw(rising=bool(y[-1] > y[0])).fit(x, y).to_json()
    except FitError:
        return None
    return {**plain, "with_offset": offset}


def _by_parabola(curves: list[IsoFlop], points: Points) -> dict[str, Any]:
    """Fit laws to the vertices of log L against log N for N, against log D for D."""
    x = [c.budget for c in curves if c.vertex_params]
    return {
        "params": _law(x, [c.vertex_params for c in curves if c.vertex_params]),
        "samples": _law(*_sample_vertices(points)),
        "dev_loss": _law(x, [c.vertex_loss for c in curves if c.vertex_params]),
    }


def _sample_vertices(points: Points) -> tuple[list[float], list[float]]:
    x, y = [], []
    for budget in points.budgets:
        here = points.budget == budget
        d, loss = np.log10(points.samples[here]), np.log10(points.loss[here])
        if len(np.unique(d)) < 3:
            continue
        bend, slope, _ = np.polyfit(d - d.mean(), loss, 2)
        vertex = d.mean() - slope / (2 * bend)
        if bend > 0 and abs(vertex - d.mean()) < 6:
            x.append(float(budget))
            y.append(float(10**vertex))
    return x, y


def _by_best(curves: list[IsoFlop], points: Points) -> dict[str, Any]:
    x = [c.budget for c in curves]
    return {
        "params": _law(x, [c.best_params for c in curves]),
        "samples": _law(x, [c.best_samples for c in curves]),
        "dev_loss": _law(x, [c.best_loss for c in curves]),
    }


def _returns(points: Points) -> dict[str, Any] | None:
    """Fit the best return per budget against C, and all returns against 1 / loss."""
    known = points.keep(np.isfinite(points.returns))
    if len(known) < 3:
        return None
    budgets = known.budgets
    best = [float(known.returns[known.budget == b].max()) for b in budgets]
    return {
        "by_flops": _law(budgets, best),
        "by_inverse_loss": _law(1 / known.loss, known.returns),
    }


def _quadratic(points: Points) -> dict[str, Any] | None:
    try:
        fitted = QuadraticSurface().fit(points.params, points.samples, points.loss)
        a, b = fitted.exponents_
    except FitError:
        return None
    return {"coef": fitted.coef_, "residual_sd": fitted.sd_, "exponents": {"N": a, "D": b}}
