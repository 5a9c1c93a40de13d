"""Continue a frontier from its last stretch: the slope now, damped as it goes on.

With x = log10 C and y the figure on its scale (log L, say), the slope s is the mean of the slopes
between neighbouring budgets, weighted by exp(-age / memory), age in decades before the last one.
The forecast h decades on is y_last + s (1 - exp(-damping h)) / damping (damped trend of Gardner &
McKenzie 1985, in continuous steps). A frontier bends slowly, so its last stretch foretells the
next one better than a straight line through all of it; damping guards against carrying a steep
stretch on for ever.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def local_slope(x: Array, y: Array, memory: float) -> float:
    """Return the mean slope between neighbours, weighted by exp(-age / memory).

    With memory 0 it is the last slope.
    """
    dx = np.diff(x)
    wide = dx > 1e-9
    dx, slopes, age = dx[wide], (np.diff(y)[wide] / dx[wide]), (x[-1] - x[1:])[wide]
    weights = dx * np.exp(-age / max(memory, 1e-9))
    return float((weights * slopes).sum() / weights.sum())


def damped(ahead: Array, damping: float) -> Array:
    """Return the effective horizon (1 - exp(-damping h)) / damping; h itself at damping 0."""
    return ahead if damping <= 0 else -np.expm1(-damping * ahead) / damping
