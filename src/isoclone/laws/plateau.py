"""The plateau before learning begins: at the first budgets the loss is still the actions' entropy.

No law here has a plateau: its budgets would bend every frontier and surface that begins on it. The
first two or more budgets are one if their best losses lie within `LEVEL` of the highest of them,
and later ones fall by `FALL` times as much.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
LEVEL = 0.02  # of log loss
FALL = 5.0  # times that, by the last budget: a frontier that never falls is no plateau
MIN_LEFT = 3  # budgets that must be left


def on_plateau(budget: Array, loss: Array) -> Array:
    """Return a mask [n] of the rows at budgets where no run had learned anything yet."""
    budgets, group = np.unique(budget, return_inverse=True)
    best = np.full(len(budgets), np.inf)
    np.minimum.at(best, group, np.log(loss))
    low = np.minimum.accumulate(best)
    flat = int(np.argmin(np.append(low >= best[0] - LEVEL, False)))
    falls = best[0] - low[-1] >= FALL * LEVEL
    if flat < 2 or not falls or len(budgets) - flat < MIN_LEFT:
        return np.zeros(len(budget), dtype=bool)
    return np.asarray(group < flat)
