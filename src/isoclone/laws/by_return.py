"""Optima by return, and return laws that saturate.

The size that scores best at a budget need not be the one of lowest loss. And returns have an end:

    R = 1 / (a C^g + b)          `saturating_by_flops`, g < 0
    R = 1 / (a (1/L)^d + b)      `saturating_by_loss`, d < 0

both rise to 1 / b. They are fitted as 1 / R = a x^k + b (`OffsetPowerLaw`), to positive returns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isoclone.base.errors import FitError
from isoclone.laws.base import Exponents
from isoclone.laws.points import Points
from isoclone.laws.power import OffsetPowerLaw, PowerLaw

Array = np.ndarray
FEWEST = 4  # budgets


def best_scoring(points: Points) -> tuple[Array, Array, Array]:
    """Return budgets, and the size and samples of the best mean return at each [b].

    Runs of one size are averaged; a budget at which fewer than three sizes were played is left out.
    """
    rows = []
    for budget in points.budgets:
        here = points.keep((points.budget == budget) & np.isfinite(points.returns))
        sizes, group = np.unique(here.params, return_inverse=True)
        if len(sizes) < 3:
            continue
        group = group.reshape(-1)
        count = np.bincount(group)
        best = int(np.argmax(np.bincount(group, here.returns) / count))
        samples = np.exp(np.bincount(group, np.log(here.samples))[best] / count[best])
        rows.append((budget, sizes[best], samples))
    columns = np.array(rows).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def exponents_by_return(points: Points) -> Exponents | None:
    """Return the exponents of the best-scoring size and its samples; None with too few budgets.

    A budget whose best size is the smallest or the largest of all tells only a bound.
    """
    budgets, params, samples = best_scoring(points)
    inside = (params > points.params.min()) & (params < points.params.max())
    budgets, params, samples = budgets[inside], params[inside], samples[inside]
    if len(budgets) < FEWEST:
        return None
    laws = [PowerLaw().fit(budgets, column) for column in (params, samples)]
    return Exponents(*(law.exponent_interval() for law in laws))


def saturating(flops: Array, log_loss: Array | None, returns: Array) -> dict[str, Any] | None:
    """Fit the saturating laws to the frontier's C[b], log L[b] and R[b]; None unless all R > 0.

    Without losses, that by FLOPs alone.
    """
    if len(returns) < FEWEST or (returns <= 0).any():
        return None
    out = {}
    by_loss = {} if log_loss is None else {"by_loss": np.exp(-log_loss)}
    for name, x in {"by_flops": flops, **by_loss}.items():
        try:
            law = OffsetPowerLaw().fit(x, 1 / returns)
        except FitError:
            return None
        letter = "C" if name == "by_flops" else "(1/L)"
        out[f"saturating_{name}"] = {
            "formula": f"R = 1 / (a {letter}^k + b)",
            "a": law.factor_,
            "k": law.exponent_,
            "b": law.offset_,
            "ceiling": 1 / law.offset_ if law.offset_ > 0 else None,
            "residual_sd": law.sd_,
        }
    return out
