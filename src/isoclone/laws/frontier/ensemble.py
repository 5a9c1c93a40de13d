"""Combine forecasters by fixed weights, or by how well each did so far; intervals that hold.

At every past budget each forecaster is asked for the budgets that followed. An error e at a
horizon of h decades is measured against the change that really came,
u = e / (share |change| + noise), so that easy and hard stretches count alike. Forecaster k, of
prior weight p_k, gets the weight

    w_k ~ p_k ((c + sum_t u_t^2) / (c + T))^-sharpness   over T past errors, c = `PRIOR_ERRORS`,

which is p_k itself where `sharpness` is 0, and else the prior's for a young study and sharper as it
grows. Nothing after the moment of forecasting enters: the weights used at budget i come from
budgets up to i. What was said from fewer than `SCORED_FROM` budgets does not count: it says little
of what a forecaster is worth later.

The interval is conformal in spirit: past errors of the combination, each divided by its scale
s_h = youth sqrt(noise^2 + (kappa |slope| h^growth)^2 + (spread_share spread)^2), with spread the
forecasters' weighted standard deviation, say by how much s_h must be stretched. `prior_scales`
errors with a stretch of 1, those of other studies, are added to them. Judged are the forecasts that
were made for about .3, .5, 1 and 1.5 decades ahead (`AHEAD`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

Array = np.ndarray
Curve = Callable[[Array], Array]

SHARE = 0.2  # of a change, that a good forecast misses
PRIOR_ERRORS = 4.0  # how many past errors the prior weights are worth
SCORED_FROM = 5  # budgets
WILD = 10.0  # times the range so far: a change beyond it is no forecast
AHEAD = (0.3, 0.5, 1.0, 1.5)  # decades: horizons at which past forecasts are judged
ABOUT = 0.4  # of such a horizon: a budget nearer to it than that stands for it
SLOPE_DECADES = 0.5  # over which the last slope is taken
DOF = 20.0  # of the t-distribution that turns a scale into an interval


@dataclass(frozen=True)
class Settings:
    """The constants of the formulas above; see docs/laws/backtest.md for how they were chosen."""

    kappa: float  # relative error of a slope carried over a horizon
    growth: float  # of that error with the horizon
    spread_share: float
    prior_scales: float  # how many past errors of other studies count
    sharpness: float  # exponent of the weights
    young: bool = True  # whether errors are larger while few budgets are known, see `youth`


LOSS = Settings(kappa=0.14, growth=1.2, spread_share=0.8, prior_scales=15.0, sharpness=0.0)


class Ensemble:
    """Forecasters fitted at every origin of a series, and their combination at the last one.

    `origins` maps how many budgets were seen to the curves of the forecasters fitted on them;
    `x`, `y` are the series itself, `noise` [b + 1] the SD of one y as it was known after each
    budget, `prior` the forecasters' names and prior weights.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        noise: Array,
        prior: Mapping[str, float],
        settings: Settings = LOSS,
    ):
        self.x, self.y, self.noise, self.names = x, y, noise, list(prior)
        self.prior = np.array(list(prior.values()))
        self.settings = settings
        self._said: dict[tuple[int, int], Array] = {}
        self._curves: list[Curve] = []
        self._history: dict[int, list[Curve]] = {}

    def replay(self, fit: Callable[[int], list[Curve]], first: int) -> None:
        """Fit all forecasters at every origin from `first` budgets on; keep what they said."""
        for seen in range(first, len(self.x) + 1):
            self._curves = fit(seen)
            self._history[seen] = self._curves
            ahead = self.x[seen:]
            if not len(ahead):
                continue
            values = np.array([np.ravel(curve(ahead)) for curve in self._curves])
            for step, column in enumerate(values.T):
                self._said[seen, seen + step] = self._guard(column, seen)

    def _guard(self, values: Array, seen: int) -> Array:
        """Replace a wild or missing forecast by the last value: no change is expected."""
        span = WILD * max(float(np.ptp(self.y[:seen])), 1e-9)
        sane = np.isfinite(values) & (np.abs(values - self.y[seen - 1]) <= span)
        return np.where(sane, values, self.y[seen - 1])

    @cached_property
    def judged(self) -> list[tuple[int, int]]:
        """Return (budgets seen, target) of the forecasts that are judged, by origin."""
        pairs = []
        for seen in sorted({origin for origin, _ in self._said}):
            ahead = self.x[seen:] - self.x[seen - 1]
            for horizon in AHEAD:
                nearest = int(np.argmin(np.abs(np.log(ahead / horizon))))
                if abs(ahead[nearest] - horizon) <= ABOUT * horizon:
                    pairs.append((seen, seen + nearest))
        return list(dict.fromkeys(pairs))

    def weights(self, seen: int) -> Array:
        """Return the forecasters' weights when the first `seen` budgets are known."""
        if not self.settings.sharpness:
            return self.prior / self.prior.sum()
        total, count = np.zeros(len(self.names)), 0
        for origin, target in self.judged:
            if target >= seen or origin < SCORED_FROM:
                continue  # not known yet, or too early to count
            said = self._said[origin, target]
            change = abs(self.y[target] - self.y[origin - 1])
            unit = (said - self.y[target]) / (SHARE * change + self.noise[origin])
            total, count = total + np.minimum(unit**2, 100.0), count + 1
        score = (PRIOR_ERRORS + total) / (PRIOR_ERRORS + count)
        weight = self.prior * score**-self.settings.sharpness
        return weight / weight.sum()

    def said(self, name: str, seen: int, target: int) -> float:
        """Return one forecaster's forecast of y[target] from the first `seen` budgets."""
        return float(self._said[seen, target][self.names.index(name)])

    def combined(self, seen: int, target: int) -> float:
        """Return the combination's forecast of y[target] from the first `seen` budgets."""
        return float(self.weights(seen) @ self._said[seen, target])

    def curve(self, seen: int) -> Curve:
        """Return the combination as it stood when `seen` budgets were known."""
        if seen not in self._history:
            return lambda x: np.full(np.shape(x), self.y[seen - 1])
        curves, weights = self._history[seen], self.weights(seen)

        def at(x: Array) -> Array:
            said = np.array([np.ravel(c(np.atleast_1d(x))) for c in curves])
            return np.array([self._guard(column, seen) for column in said.T]) @ weights

        return at

    def predict(self, x: Array) -> Array:
        """Return the combination at log10 C; interpolated inside the evidence."""
        x = np.atleast_1d(np.asarray(x, float))
        inside = np.interp(x, self.x, self.y)
        beyond = x > self.x[-1]
        if not beyond.any():
            return inside
        inside[beyond] = self._ask(x[beyond]) @ self.weights(len(self.x))
        return inside

    def _ask(self, x: Array) -> Array:
        """Return what each forecaster says at x beyond the evidence, [x, forecasters]."""
        said = np.array([np.ravel(curve(x)) for curve in self._curves])
        return np.array([self._guard(column, len(self.x)) for column in said.T])

    # ---- intervals -----------------------------------------------------------------------------

    def scale(self, seen: int, said: Array, horizon: Array, noise: float | None = None) -> Array:
        """Return s_h before stretching, for forecasts [m, k] at horizons [m] in decades.

        `noise` stands in for that of the series, where what will be measured has another.
        """
        noise = self.noise[seen] if noise is None else noise
        first = min(int(np.searchsorted(self.x, self.x[seen - 1] - SLOPE_DECADES)), seen - 2)
        step = self.x[seen - 1] - self.x[first]
        last = abs(self.y[seen - 1] - self.y[first]) / max(step, 1e-9)
        weights = self.weights(seen)
        middle = said @ weights
        slope = 0.5 * (np.abs(middle - self.y[seen - 1]) / np.maximum(horizon, 1e-9) + last)
        spread = (said - middle[:, None]) ** 2 @ weights
        carried = self.settings.kappa * slope * horizon**self.settings.growth
        spread = self.settings.spread_share**2 * spread
        early = youth(seen) if self.settings.young else 1.0
        return early * np.sqrt(noise**2 + carried**2 + spread)

    def _past_scale(self, seen: int, target: int) -> float:
        horizon = np.array([self.x[target] - self.x[seen - 1]])
        return float(self.scale(seen, self._said[seen, target][None], horizon)[0])

    def stretch(self, seen: int) -> float:
        """Return the RMS of past errors over their scales, with the prior's errors (of 1) added."""
        total = count = self.settings.prior_scales
        for origin, target in self.judged:
            if target >= seen:
                continue
            error = self.combined(origin, target) - self.y[target]
            total += min((error / self._past_scale(origin, target)) ** 2, 9.0)
            count += 1.0
        return float(np.sqrt(total / count))

    def half_width(self, x: Array, level: float = 0.95, noise: float | None = None) -> Array:
        """Return half the width of the interval around `predict(x)` (`noise` as in `scale`)."""
        x = np.atleast_1d(np.asarray(x, float))
        half = np.full(len(x), self.noise[-1] if noise is None else noise)
        beyond = x > self.x[-1]
        if beyond.any():
            horizon = x[beyond] - self.x[-1]
            half[beyond] = self.scale(len(self.x), self._ask(x[beyond]), horizon, noise)
        return quantile(level) * self.stretch(len(self.x)) * half

    def past_half_width(self, seen: int, target: int, level: float = 0.95) -> float:
        """Return the half-width that would have been stated for y[target] from `seen` budgets."""
        return quantile(level) * self.stretch(seen) * self._past_scale(seen, target)

    def to_json(self) -> dict[str, Any]:
        """Return the weights and stretch at the last budget."""
        weights = self.weights(len(self.x))
        return {
            "weights": {n: round(float(w), 4) for n, w in zip(self.names, weights, strict=True)},
            "stretch": round(self.stretch(len(self.x)), 4),
        }


def youth(seen: int) -> float:
    """Return how much larger errors are, for their scale, when `seen` budgets are known.

    Read off published studies, cut short: four times after three budgets, 1.2 times after five.
    """
    return 1.0 + 12.0 * (2.25 / max(seen, 2)) ** 5


def quantile(level: float) -> float:
    """Return the two-sided t-quantile: the scale is itself an estimate."""
    return float(special.stdtrit(DOF, 0.5 + level / 2))
