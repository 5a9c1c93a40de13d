"""At which budgets there is nothing to tell apart: returns at the ceiling, or nothing learned yet.

At the ceiling every good size scores alike: which is best is chance, and a power of C means
nothing. Saturated is a budget at which two sizes or more, and at least half of those around the
best, score within 2 % of the top: the known ceiling, else, from two such budgets at the end on, the
highest mean of all. Learned was something once the best return has come 5 % of the way to the
highest one.
"""

from __future__ import annotations

import numpy as np

from isoclone.laws.reinforcement.cells import Cells
from isoclone.laws.reinforcement.optima import ReturnIsoFlop
from isoclone.laws.reinforcement.scale import ReturnScale

Array = np.ndarray
AT_TOP = 0.02  # of the span from the floor to the top
LEARNED = 0.05  # of the way from the lowest to the highest best return


def saturated(curves: list[ReturnIsoFlop], scale: ReturnScale) -> Array:
    """Return the budgets [b] whose returns are at the top."""
    every = np.concatenate([c.returns for c in curves])
    top = float(every.max()) if scale.ceiling is None else scale.ceiling
    low = float(every.min()) if scale.floor is None else scale.floor
    near = [_near_top(c, top - AT_TOP * (top - low)) for c in curves]
    last = np.logical_and.accumulate(near[::-1])[::-1]  # up to the end
    if scale.ceiling is None and last.sum() < 2:
        return np.zeros(len(curves), dtype=bool)
    return last


def _near_top(curve: ReturnIsoFlop, least: float) -> bool:
    around = np.array(curve.returns)[np.array(curve.used)]
    return bool((around >= least).sum() >= max(2, len(around) / 2))


def learned(cells: Cells, best: Array) -> Array:
    """Return the budgets [b] at which the best return has left the lowest of them."""
    low, high = float(best.min()), float(best.max())
    found = best - low >= LEARNED * (high - low)
    return found if found.sum() >= 2 else np.ones(len(cells.budgets), dtype=bool)
