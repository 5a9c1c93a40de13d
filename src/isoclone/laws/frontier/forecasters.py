"""Ways to foretell the frontier loss: each turns `Evidence` into log L as a function of log10 C.

    paper         straight line through (log10 C, log best loss): the published way
    persistence   the last best loss, for ever (baseline)
    last-slope    the line through the last two budgets (baseline)
    trend         damped local trend of the frontier (`trend`)
    envelope      every size's own learning curve continued, damped; the frontier is their lower
                  edge, smoothed
    kriging       the lowest loss of a surface over all runs (`kriging`), anchored at the last best

The last three see different things (the frontier's bend, who is about to overtake, what all curves
have in common), err in different directions, and are combined by `ensemble`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isoclone.base.errors import FitError
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.kriging import Kriging
from isoclone.laws.frontier.trend import damped, local_slope

Array = np.ndarray
Curve = Callable[[Array], Array]  # log10 C -> log L
Forecaster = Callable[[Evidence], Curve]

TREND_DAMPING = 0.2  # per decade
CURVE_DAMPING = 0.5  # per decade: a single size flattens sooner than the frontier does
NEAR = 0.1  # curves within this of the best log loss can become the frontier
SOFTNESS = 0.1  # of the lower edge, in log loss
GRID = 60  # sizes among which the kriged surface's lowest loss is sought


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
    """Continue the last slope of the frontier, damped."""
    return _trend(evidence, TREND_DAMPING)


def _trend(evidence: Evidence, damping: float) -> Curve:
    x, y = evidence.x, evidence.y
    slope = local_slope(x, y, memory=0.0)
    return lambda at: y[-1] + slope * damped(np.maximum(at - x[-1], 0.0), damping)


def envelope(evidence: Evidence) -> Curve:
    """Follow the soft lower edge of the damped learning curves near the frontier."""
    ends, slopes = _contenders(evidence)

    def curve(x: Array) -> Array:
        ahead = damped(np.maximum(np.atleast_1d(x) - evidence.x[-1], 0.0), CURVE_DAMPING)
        return _lower_edge(evidence, ends, ends[:, None] + slopes[:, None] * ahead)

    return curve


def kriging(evidence: Evidence) -> Curve:
    """Follow the lowest loss of the kriged surface between the sampled sizes."""
    try:
        surface = Kriging().fit(evidence.points)
    except FitError:
        return trend(evidence)
    sizes = np.geomspace(evidence.sizes[0], evidence.sizes[-1], GRID)

    def low(x: float) -> float:
        return float(surface.log_loss(sizes, evidence.rule.samples(10.0**x, sizes)).min())

    last = evidence.x[-1]
    lift = evidence.y[-1] - low(last)
    return lambda x: np.array([low(max(at, last)) + lift for at in np.ravel(x)])


BASELINES: dict[str, Forecaster] = {
    "paper": paper,
    "persistence": persistence,
    "last-slope": last_slope,
}
FORECASTERS: dict[str, Forecaster] = {"trend": trend, "envelope": envelope, "kriging": kriging}
# Before any error is known: half to the view of the whole surface, half to the last stretch.
PRIOR_WEIGHTS = {"trend": 0.25, "envelope": 0.25, "kriging": 0.5}


def _contenders(evidence: Evidence) -> tuple[Array, Array]:
    """Return last log loss and last slope of the curves near the frontier at the last budget."""
    ends, slopes = [], []
    best = np.nanmin(evidence.curves[:, -1])
    for row in evidence.curves:
        seen = np.isfinite(row)
        if seen[-1] and seen.sum() > 1 and row[-1] <= best + NEAR:
            ends.append(row[-1])
            slopes.append(min(local_slope(evidence.x[seen], row[seen], 0.0), 0.0))
    if not ends:  # every size near the frontier is new: the frontier's own slope is all there is
        return evidence.y[-1:], np.array([local_slope(evidence.x, evidence.y, 0.0)])
    return np.array(ends), np.array(slopes)


def _lower_edge(evidence: Evidence, ends: Array, ahead: Array) -> Array:
    """Return the soft minimum over curves, moved to start at the last best loss."""

    def soft(values: Array) -> Array:
        low = values.min(0)
        return low - SOFTNESS * np.log(np.exp(-(values - low) / SOFTNESS).mean(0))

    return evidence.y[-1] + soft(ahead) - soft(ends[:, None])
