"""Ways to foretell the frontier loss: each turns `Evidence` into log L as a function of log10 C.

    paper         straight line through (log10 C, log best loss): the published way
    persistence   the last best loss, for ever (baseline)
    last-slope    the line through the last two budgets (baseline)
    trend         damped local trend of the frontier (`trend`)
    envelope      every size's own learning curve continued, damped; the frontier is their lower
                  edge, smoothed
    bent-envelope as `envelope`, the damping halfway to what a fitted surface says of each curve
    surfaces      median over parametric surfaces, forms x windows, anchored at the last best loss

The last four see different things (the frontier's bend, who is about to overtake, the floor that
all curves approach), err in different directions, and are combined by `ensemble`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isoclone.errors import FitError
from isoclone.laws.evidence import Evidence
from isoclone.laws.surface import Surface, window
from isoclone.laws.trend import damped, local_slope

Array = np.ndarray
Curve = Callable[[Array], Array]  # log10 C -> log L
Forecaster = Callable[[Evidence], Curve]

TREND_DAMPING = 0.2  # per decade
CURVE_DAMPING = 0.5  # per decade: a single size flattens sooner than the frontier does
NEAR = 0.1  # curves within this of the best log loss can become the frontier
SOFTNESS = 0.1  # of the lower edge, in log loss
STRETCH = 3.0  # how far a curve's slope may differ from the surface's before it is clipped
BEND_WINDOW = (2.0, 2.5)
SURFACE_WINDOWS = ((1.4, 1.6), (2.0, 1.35), (2.0, 2.5), (3.0, 1.6))
SURFACE_FORMS = ("chinchilla", "coupled", "interaction")
MIN_BUDGETS = 3


def paper(evidence: Evidence) -> Curve:
    """log L = c + k log10 C by least squares over all budgets."""
    slope, level = np.polyfit(evidence.x, evidence.y, 1)
    return lambda x: level + slope * x


def persistence(evidence: Evidence) -> Curve:
    """The last best loss."""
    return lambda x: np.full(np.shape(x), evidence.y[-1])


def last_slope(evidence: Evidence) -> Curve:
    """The line through the last two budgets."""
    return _trend(evidence, damping=0.0)


def trend(evidence: Evidence) -> Curve:
    """The last slope of the frontier, damped."""
    return _trend(evidence, TREND_DAMPING)


def _trend(evidence: Evidence, damping: float) -> Curve:
    x, y = evidence.x, evidence.y
    slope = local_slope(x, y, memory=0.0)
    return lambda at: y[-1] + slope * damped(np.maximum(at - x[-1], 0.0), damping)


def envelope(evidence: Evidence) -> Curve:
    """The soft lower edge of the damped learning curves of the sizes near the frontier."""
    ends, slopes, _ = _contenders(evidence)

    def curve(x: Array) -> Array:
        ahead = damped(np.maximum(np.atleast_1d(x) - evidence.x[-1], 0.0), CURVE_DAMPING)
        return _lower_edge(evidence, ends, ends[:, None] + slopes[:, None] * ahead)

    return curve


def bent_envelope(evidence: Evidence) -> Curve:
    """The envelope, each curve continued halfway between plain damping and the surface's bend."""
    ends, slopes, sizes = _contenders(evidence)
    surface = _surface(evidence, "chinchilla", *BEND_WINDOW)
    if surface is None:
        return envelope(evidence)

    def curve(x: Array) -> Array:
        x = np.maximum(np.atleast_1d(x), evidence.x[-1])
        plain = slopes[:, None] * damped(x - evidence.x[-1], CURVE_DAMPING)
        bent = _bend(surface, evidence, sizes, slopes, x)
        return _lower_edge(evidence, ends, ends[:, None] + 0.5 * (plain + bent))

    return curve


def surfaces(evidence: Evidence) -> Curve:
    """Median of the forms and windows, moved so that each passes through the last best loss."""
    specs = [(form, *w) for form in SURFACE_FORMS for w in SURFACE_WINDOWS]
    fitted = [s for s in (_surface(evidence, *spec) for spec in specs) if s is not None]
    if not fitted:
        return trend(evidence)

    def curve(x: Array) -> Array:
        flat = np.concatenate([[evidence.x[-1]], np.maximum(np.ravel(x), evidence.x[-1])])
        lows = np.array([[s.optimum(10.0**c, evidence.rule)[1][0] for c in flat] for s in fitted])
        return evidence.y[-1] + np.median(lows[:, 1:] - lows[:, :1], axis=0)

    return curve


BASELINES: dict[str, Forecaster] = {
    "paper": paper,
    "persistence": persistence,
    "last-slope": last_slope,
}
EXPERTS: dict[str, Forecaster] = {
    "trend": trend,
    "envelope": envelope,
    "bent-envelope": bent_envelope,
    "surfaces": surfaces,
}


def _surface(evidence: Evidence, form: str, decades: float, factor: float) -> Surface | None:
    """The surface of a form over a window, or None where the window holds too little."""
    near = evidence.points.keep(window(evidence.points, decades, factor))
    if len(near) < 8:
        return None
    try:
        return Surface(form).fit(near.params, near.samples, near.loss, sd=0.02)
    except FitError:
        return None


def _contenders(evidence: Evidence) -> tuple[Array, Array, Array]:
    """Last log loss, last slope and size of the curves near the frontier at the last budget."""
    ends, slopes, sizes = [], [], []
    best = np.nanmin(evidence.curves[:, -1])
    for size, row in zip(evidence.sizes, evidence.curves, strict=True):
        seen = np.isfinite(row)
        if seen[-1] and seen.sum() > 1 and row[-1] <= best + NEAR:
            ends.append(row[-1])
            slopes.append(min(local_slope(evidence.x[seen], row[seen], 0.0), 0.0))
            sizes.append(size)
    if not ends:  # every size near the frontier is new: the frontier's own slope is all there is
        return evidence.y[-1:], np.array([local_slope(evidence.x, evidence.y, 0.0)]), np.array([1])
    return np.array(ends), np.array(slopes), np.array(sizes)


def _bend(surface: Surface, evidence: Evidence, sizes: Array, slopes: Array, x: Array) -> Array:
    """Change of log L from the last budget to x [size, x]: the surface's, scaled to the slopes."""
    back = 0.35  # decades over which the surface's own slope is taken
    at = np.concatenate([[evidence.x[-1] - back, evidence.x[-1]], x])
    n = np.repeat(sizes, len(at))
    d = evidence.rule.samples(10.0 ** np.tile(at, len(sizes)), n)
    value = surface.log_loss(n, d).reshape(len(sizes), len(at))
    own = np.minimum((value[:, 1] - value[:, 0]) / back, -1e-6)
    ratio = np.clip(slopes / own, 1 / STRETCH, STRETCH)
    return ratio[:, None] * (value[:, 2:] - value[:, 1:2])


def _lower_edge(evidence: Evidence, ends: Array, ahead: Array) -> Array:
    """Soft minimum over curves, moved so that it starts at the last best loss."""

    def soft(values: Array) -> Array:
        low = values.min(0)
        return low - SOFTNESS * np.log(np.exp(-(values - low) / SOFTNESS).mean(0))

    return evidence.y[-1] + soft(ahead) - soft(ends[:, None])
