"""Ways to foretell the frontier loss: each turns `Evidence` into log L as a function of log10 C.

    paper         straight line through (log10 C, log best loss): the published way
    persistence   the last best loss, for ever (baseline)
    last-slope    the line through the last two budgets (baseline)
    trend         damped local trend of the frontier (`trend`)
    soft          the lowest loss of the surface E + A/N^a + B N^g/D^b through the last 1.5 decades,
                  runs far above their budget's best counting less
    kriging, kriging-interaction
                  the lowest loss of a kriged surface over the last 3 decades (`kriging`), about the
                  surface `coupled` or `interaction`

All but `paper` start at the last best loss. The last four see different things (the frontier's
slope, what all curves have in common, a bend that small models have gone through), err in different
directions, and are combined by `ensemble` with the weights below. Each forgets what is more than
three decades old: small and large runs obey no common law over more (rows three decades old moved
a forecast by 6 % when kriging saw them). Sizes may grow beyond the sampled ones as fast as compute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from isoclone.base.errors import FitError
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.kriging import Kriging, above_best
from isoclone.laws.frontier.trend import damped, local_slope
from isoclone.laws.points import Points
from isoclone.laws.surface import Surface

Array = np.ndarray
Curve = Callable[[Array], Array]  # log10 C -> log L
Forecaster = Callable[[Evidence], Curve]

TREND_DAMPING = 0.2  # per decade
TREND_MEMORY = 0.15  # decades
KRIGED_DECADES = 3.0  # how far back kriging looks
SOFT_DECADES = 1.5  # and the soft surface
FEWEST = 15  # points: with fewer in that window, all are used
SOFT_SD, SOFT_FAR = 0.01, 0.2  # SD of log loss at the best, and for each unit above it
STARTS = 3  # of a surface's fit: more find the same minimum
GRID = 60  # sizes among which a surface's lowest loss is sought


def paper(evidence: Evidence) -> Curve:
    """Fit log L = c + k log10 C by least squares over all budgets."""
    slope, level = np.polyfit(evidence.x, evidence.y, 1)
    return lambda x: level + slope * x


def persistence(evidence: Evidence) -> Curve:
    """Forecast the last best loss, unchanged."""
    return lambda x: np.full(np.shape(x), evidence.y[-1])


def last_slope(evidence: Evidence) -> Curve:
    """Continue the line through the last two budgets."""
    return _trend(evidence, damping=0.0)


def trend(evidence: Evidence) -> Curve:
    """Continue the last slopes of the frontier, damped."""
    return _trend(evidence, TREND_DAMPING, TREND_MEMORY)


def _trend(evidence: Evidence, damping: float, memory: float = 0.0) -> Curve:
    x, y = evidence.x, evidence.y
    slope = local_slope(x, y, memory)
    return lambda at: y[-1] + slope * damped(np.maximum(at - x[-1], 0.0), damping)


def soft(evidence: Evidence) -> Curve:
    """Follow the lowest loss of a `coupled` surface through the last 1.5 decades."""
    points, above = _recent(evidence, SOFT_DECADES)
    try:
        sd = np.hypot(SOFT_SD, SOFT_FAR * above)
        surface = Surface("coupled", starts=STARTS).fit(
            points.params, points.samples, points.loss, sd
        )
    except FitError:
        return trend(evidence)
    return _lowest(evidence, surface.log_loss, points)


def kriging(evidence: Evidence, form: str = "coupled") -> Curve:
    """Follow the lowest loss of the kriged surface, about the parametric surface `form`."""
    points, _ = _recent(evidence, KRIGED_DECADES)
    try:
        surface = Kriging(form).fit(points)
    except FitError:
        return trend(evidence)
    return _lowest(evidence, surface.log_loss, points)


def _recent(evidence: Evidence, decades: float) -> tuple[Points, Array]:
    """Return the points of the last decades, and how far each lies above its budget's best."""
    points = evidence.points
    recent = np.log10(points.flops) >= evidence.x[-1] - decades - 1e-6
    if recent.sum() < FEWEST:
        recent = np.ones(len(points), dtype=bool)
    return points.keep(recent), above_best(points)[recent]


def _lowest(evidence: Evidence, surface: Callable[[Array, Array], Array], points: Points) -> Curve:
    """Return the surface's lowest loss over sizes, moved to start at the last best loss."""
    last, rule = evidence.x[-1], evidence.rule
    smallest, largest = float(points.params.min()), float(points.params.max())

    def low(x: Array) -> Array:
        x = np.maximum(np.ravel(x), last)
        sizes = np.geomspace(smallest, largest * 10.0 ** (x - last), GRID, axis=1)
        samples = rule.samples(10.0 ** x[:, None], sizes)
        return surface(sizes.ravel(), samples.ravel()).reshape(sizes.shape).min(1)

    lift = evidence.y[-1] - low(np.array([last]))[0]
    return lambda x: low(x) + lift


BASELINES: dict[str, Forecaster] = {
    "paper": paper,
    "persistence": persistence,
    "last-slope": last_slope,
}
FORECASTERS: dict[str, Forecaster] = {
    "trend": trend,
    "soft": soft,
    "kriging": kriging,
    "kriging-interaction": partial(kriging, form="interaction"),
}
# Chosen by leave-one-study-out over eleven studies (benchmarks/bench_forecast.py --choose); weights
# that follow a study's own past errors did no better.
WEIGHTS = {"trend": 0.1, "soft": 0.1, "kriging": 0.5, "kriging-interaction": 0.3}
