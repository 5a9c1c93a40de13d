"""Local-trend extrapolation of a frontier: level and slope now, slope damped as it goes on.

With x = log10 C and y the figure on its scale (log L, say), the slope s is the mean of the slopes
between neighbouring budgets, weighted by exp(-age / memory), age in decades before the last one.
The forecast h decades on is y_last + s (1 - exp(-damping h)) / damping (damped trend of Gardner &
McKenzie 1985, in continuous steps). A frontier bends slowly, so its last stretch foretells the
next one better than a straight line through all of it; damping guards against carrying a steep
stretch on for ever.

The error of such a forecast grows with the horizon and with the slope itself: its standard
deviation is taken as sqrt(noise^2 + (slope_error |s| h)^2), the ratio learnt from past errors.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from isoclone.base.errors import FitError

Array = np.ndarray

# Medians over frontiers of published studies; `docs/laws/backtest.md` shows how they were chosen.
DEFAULT_MEMORY = 0.3  # decades
DEFAULT_DAMPING = 0.2  # per decade
DEFAULT_SLOPE_ERROR = 0.25  # relative error of a slope carried one decade on


class LocalTrend:
    """y(x) from the last stretch of y[n] at ascending x[n]; see the module for the formula.

    `memory` in decades, `damping` per decade, `slope_error` a ratio. After `fit`: `level_`,
    `slope_` (per decade), `noise_` (SD of a single y).
    """

    def __init__(
        self,
        memory: float = DEFAULT_MEMORY,
        damping: float = DEFAULT_DAMPING,
        slope_error: float = DEFAULT_SLOPE_ERROR,
    ):
        self.memory = memory
        self.damping = damping
        self.slope_error = slope_error

    def fit(self, x: Any, y: Any, noise: float = 0.0) -> Self:
        """Fit to finite x[n], y[n]; raises `FitError` with fewer than two distinct x."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        order = np.argsort(x, kind="stable")
        self.x_, self.y_ = x[order], y[order]
        if len(np.unique(x)) < 2:
            raise FitError("a trend needs at least two budgets")
        self.slope_ = float(local_slope(self.x_, self.y_, self.memory))
        self.level_, self.noise_ = float(self.y_[-1]), noise
        return self

    def predict(self, x: Any) -> Array:
        """y at x: interpolated inside the evidence, extrapolated beyond it, flat before it."""
        x = np.asarray(x, float)
        ahead = damped(np.maximum(x - self.x_[-1], 0.0), self.damping)
        return np.interp(x, self.x_, self.y_) + self.slope_ * ahead

    def prediction_sd(self, x: Any) -> Array:
        """SD of a newly measured y at x."""
        ahead = np.maximum(np.asarray(x, float) - self.x_[-1], 0.0)
        return np.sqrt(self.noise_**2 + (self.slope_error * self.slope_ * ahead) ** 2)


def local_slope(x: Array, y: Array, memory: float) -> float:
    """Mean slope between neighbours, weighted by exp(-age / memory); memory 0 is the last slope."""
    dx = np.diff(x)
    wide = dx > 1e-9
    dx, slopes, age = dx[wide], (np.diff(y)[wide] / dx[wide]), (x[-1] - x[1:])[wide]
    weights = dx * np.exp(-age / max(memory, 1e-9))
    return float((weights * slopes).sum() / weights.sum())


def damped(ahead: Array, damping: float) -> Array:
    """The effective horizon (1 - exp(-damping h)) / damping; h itself at damping 0."""
    return ahead if damping <= 0 else -np.expm1(-damping * ahead) / damping
