"""Ways to foretell the mean return of the frontier, on several scales, for `ensemble` to combine.

    paper    log R = c + k log C over all budgets, least squares (published; positive R only)
    linear   local trend of R
    root     local trend of sqrt(R - floor)
    log      damped local trend of log(R - floor)
    logit    local trend of log((R - floor) / (ceiling - R)): needs a ceiling, the expert's score
    by-loss  log(R - floor) as a local straight line in the loss, read at the forecast loss

`floor` is the random policy's return where given, else 0 while all R are positive. With negative
returns and no such floor only `linear` (and `logit`, with its own floor) are used: a log law on
shifted returns would depend on an arbitrary shift.
Forecasts are capped at the ceiling, the paper's too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isoclone.laws.frontier.ensemble import Settings
from isoclone.laws.frontier.trend import damped, local_slope

Array = np.ndarray
Curve = Callable[[Array], Array]

MEMORY, LOG_MEMORY, LOG_DAMPING = 0.3, 0.6, 0.4  # decades, decades, per decade
LOSS_MEMORY = 0.3  # decades over which returns are related to losses
# A return's slope is wrong by half; returns are noisy, and so are past errors: weights move slowly.
SETTINGS = Settings(kappa=0.5, growth=1.5, spread_share=1.0, prior_scales=30.0, sharpness=2.0)
MIN_RELATIVE_NOISE = 0.05


@dataclass(frozen=True)
class ReturnSeries:
    """Frontier returns: x [b] log10 C, value [b], se [b] (NaN if unknown), log loss [b].

    `loss` gives log L at log10 C beyond the evidence; floor and ceiling in the game's score.
    """

    x: Array
    value: Array
    se: Array
    log_loss: Array
    loss: Curve
    floor: float | None
    ceiling: float | None

    def until(self, count: int, loss: Curve) -> ReturnSeries:
        """Return the first `count` budgets, with the loss forecast made from them."""
        x, value, se, log_loss = (v[:count] for v in (self.x, self.value, self.se, self.log_loss))
        return ReturnSeries(x, value, se, log_loss, loss, self.floor, self.ceiling)

    def noise(self, seen: int) -> float:
        """Return the SD of one return after `seen` budgets: at least 5 % of the last returns."""
        late = slice(max(seen - 3, 0), seen)  # the noise of untrained policies is no guide
        size = np.maximum(np.abs(self.value[late]), 1e-9)
        known = (self.se[late] / size)[np.isfinite(self.se[late])]
        relative = float(np.median(known)) if len(known) else 0.0
        scale = float(np.abs(self.value[max(seen - 2, 0) : seen]).mean())
        return max(scale * float(np.hypot(min(relative, 1.0), MIN_RELATIVE_NOISE)), 1e-9)

    @property
    def base(self) -> float | None:
        """Return what is subtracted before logs are taken; None when they cannot be taken."""
        low = float(self.value.min())
        if self.floor is not None and self.floor < low:
            return self.floor
        return 0.0 if low > 0 else None

    @property
    def top(self) -> float | None:
        """Return the ceiling, never below what was reached."""
        if self.ceiling is None:
            return None
        return max(float(self.ceiling), float(self.value.max()))


def paper(s: ReturnSeries) -> Curve:
    """Fit the published law; forecast no change where a return is not positive."""
    if (s.value <= 0).any():
        return lambda x: np.full(np.shape(x), s.value[-1])
    slope, level = np.polyfit(s.x, np.log(s.value), 1)
    return lambda x: _capped(s, np.exp(np.minimum(level + slope * x, 700.0)))


def persistence(s: ReturnSeries) -> Curve:
    """Forecast the last return, unchanged."""
    return lambda x: np.full(np.shape(x), s.value[-1])


def last_slope(s: ReturnSeries) -> Curve:
    """Continue the line through the last two returns."""
    return _local(s, s.value, lambda v: v, 0.0, 0.0)


def linear(s: ReturnSeries) -> Curve:
    """Continue the local trend of R."""
    return _local(s, s.value, lambda v: v, MEMORY, 0.0)


def root(s: ReturnSeries) -> Curve:
    """Continue the local trend of sqrt(R - floor)."""
    base = _base(s)
    return _local(s, np.sqrt(s.value - base), lambda v: base + np.maximum(v, 0) ** 2, MEMORY, 0.0)


def log(s: ReturnSeries) -> Curve:
    """Continue the damped local trend of log(R - floor)."""
    base = _base(s)
    back = lambda v: base + np.exp(np.minimum(v, 700.0))  # noqa: E731
    return _local(s, np.log(s.value - base), back, LOG_MEMORY, LOG_DAMPING)


def logit(s: ReturnSeries) -> Curve:
    """Continue the local trend of the log odds between floor and ceiling."""
    assert s.top is not None
    low = float(s.value.min())
    base = s.base if s.base is not None else low - 0.05 * (s.top - low)
    span = 1.02 * (s.top - base)  # a little headroom, so that the ceiling itself has finite odds
    share = np.clip((s.value - base) / span, 1e-6, 1 - 1e-6)
    back = lambda v: base + span / (1 + np.exp(-np.clip(v, -50, 50)))  # noqa: E731
    return _local(s, np.log(share / (1 - share)), back, MEMORY, 0.0)


def by_loss(s: ReturnSeries) -> Curve:
    """Follow log(R - floor) against the loss, near the last budget."""
    base, loss = _base(s), np.exp(s.log_loss)
    y = np.log(s.value - base)
    weight = np.exp(-(s.x[-1] - s.x) / LOSS_MEMORY)
    dx, dy = loss - np.average(loss, weights=weight), y - np.average(y, weights=weight)
    slope = (weight * dx * dy).sum() / max((weight * dx**2).sum(), 1e-12)

    def curve(x: Array) -> Array:
        ahead = y[-1] + slope * (np.exp(s.loss(x)) - loss[-1])
        return _capped(s, base + np.exp(np.minimum(ahead, 700.0)))

    return curve


def _base(s: ReturnSeries) -> float:
    assert s.base is not None
    return s.base


def _local(
    s: ReturnSeries, y: Array, back: Callable[[Array], Array], memory: float, damping: float
) -> Curve:
    slope = local_slope(s.x, y, memory)

    def curve(x: Array) -> Array:
        ahead = damped(np.maximum(np.asarray(x, float) - s.x[-1], 0.0), damping)
        return _capped(s, back(y[-1] + slope * ahead))

    return curve


def _capped(s: ReturnSeries, value: Array) -> Array:
    return value if s.top is None else np.minimum(value, s.top)


BASELINES = {"paper": paper, "persistence": persistence, "last-slope": last_slope}


def forecasters(s: ReturnSeries) -> dict[str, Callable[[ReturnSeries], Curve]]:
    """Return the forecasters that the series allows, under the conditions given above."""
    if s.base is None:
        room = s.top is not None and s.top > s.value.min()
        return {"linear": linear, "logit": logit} if room else {"linear": linear}
    if s.top is None:
        return {"linear": linear, "root": root, "log": log, "by-loss": by_loss}
    return {"root": root, "log": log, "logit": logit, "by-loss": by_loss}
