"""The best return against compute, continued: local trends on the scale of the returns, combined.

The series is z of the best size at each budget, off the budget's curve: the best of several noisy
means is too high, the curve is not. Continued are its slopes near the end (`frontier.trend`), each
weighted by exp(-age / memory) and damped as it goes on, and the straight line through all budgets.
They are combined and get intervals by `frontier.ensemble`, from what each would have said before.

The interval is that of the mean of so many further agents: the spread between runs is in it, with
that of their episodes. It is symmetric on the scale, so between random play and a known ceiling it
narrows where little is left to come, and never ends before something could be missed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from isoclone.laws.frontier.ensemble import Ensemble, Settings, quantile
from isoclone.laws.frontier.replay import FIRST_ORIGIN
from isoclone.laws.frontier.trend import damped, local_slope
from isoclone.laws.reinforcement.scale import ReturnScale

Array = np.ndarray
Curve = Callable[[Array], Array]
# Chosen by leaving one game out (docs/laws/returns.md, benchmarks/bench_returns.py).
KAPPA = {"return": 1.2, "root": 0.5, "log odds": 0.7}  # relative error of a slope, by scale
TRENDS = {"trend": (0.3, 0.4), "slow trend": (0.6, 0.4)}  # memory in decades, damping per decade
TAKEN_OFF = 0.25  # of the way from random play to the ceiling
LINE = 1.0  # decades that the straight line looks back on


def settings_of(scale: ReturnScale, last: float) -> Settings:
    """Return the constants of the intervals, where the best return so far is `last`.

    Errors are larger in a young study because nobody foresees when learning takes off. Where the
    way from random play to the ceiling is known, and a quarter of it done, it has.
    """
    floor, ceiling, young = scale.floor, scale.ceiling, True
    if floor is not None and ceiling is not None:
        young = last - floor < TAKEN_OFF * (ceiling - floor)
    return Settings(KAPPA[scale.kind], 1.0, 1.0, prior_scales=100.0, sharpness=0.0, young=young)


def continued(x: Array, z: Array, noise: Array, settings: Settings) -> Ensemble:
    """Return the combination of the trends of z [b] at log10 C [b], ascending.

    `noise` [b] is the SD of z of one further run at each budget.
    """
    late = np.array([_late(noise[: max(seen, 1)]) for seen in range(len(x) + 1)])
    prior = dict.fromkeys([*TRENDS, "line"], 1.0)
    whole = Ensemble(x, z, late, prior, settings)
    whole.replay(lambda seen: _curves(x[:seen], z[:seen]), min(FIRST_ORIGIN, len(x)))
    return whole


def _curves(x: Array, z: Array) -> list[Curve]:
    trends = [partial(_trend, x, z, *how) for how in TRENDS.values()]
    return [*trends, partial(_line, x, z)]


def _trend(x: Array, z: Array, memory: float, damping: float, at: Array) -> Array:
    ahead = damped(np.maximum(np.asarray(at, float) - x[-1], 0.0), damping)
    return z[-1] + local_slope(x, z, memory) * ahead


def _line(x: Array, z: Array, at: Array) -> Array:
    """Return the least-squares line through the last budgets at `at`."""
    weight = np.exp(-(x[-1] - x) / LINE)
    dx = x - np.average(x, weights=weight)
    slope = (weight * dx * z).sum() / max((weight * dx**2).sum(), 1e-12)
    return np.average(z, weights=weight) + slope * (np.asarray(at, float) - x[-1] + dx[-1])


def _late(noise: Array) -> float:
    return float(noise[-3:].mean())


def half_width(series: Ensemble, x: Array, level: float, noise: Array) -> Array:
    """Return half the width of the interval at log10 C [m], on the scale.

    `noise` [b] is the SD of z at each budget of what will be measured: one run's, as in
    `continued`, or that of the mean of several.
    """
    half = series.half_width(x, level, _late(noise))
    return np.maximum(half, quantile(level) * _late(noise))
