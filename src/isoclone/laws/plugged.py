"""Laws by name: a user's law fitted, checked, and completed to what the package asks of any law.

Whatever goes wrong inside a user's law becomes a `Status` with the code `law_failed`, and the
default law answers in its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from isoclone.base.errors import FOREIGN, FitError, SpecError, words_of
from isoclone.base.records import Forecast, Interval, Status, jsonable
from isoclone.base.registry import is_reference
from isoclone.laws.base import (
    DEFAULT_LAW,
    LAWS,
    Band,
    CanForecast,
    Curves,
    Exponents,
    FittedLaw,
    IsoFlopCurve,
    check_agents,
)
from isoclone.laws.chosen import fit
from isoclone.laws.isoflop import fit_isoflops
from isoclone.laws.points import MEASURED, Points, clean_table
from isoclone.laws.sharpness import excluded

Array = np.ndarray
FIGURES = ("params", "samples")  # what every forecast must hold, beside what is measured


def fit_law(
    name: str,
    table: Mapping[str, Any],
    *,
    expert_return: float | None = None,
    random_return: float | None = None,
    seed: int = 0,
) -> FittedLaw:
    """Fit the law of a name to a table of runs (columns as in `Points.from_table`).

    A law that fails is replaced by the default; the result's `name` and `status` say so.

    Raises:
        UnknownNameError: no law has that name.
        SpecError: "package.module:Name" that cannot be imported, or may not be.
        DataError: the table lacks a column.
        FitError: the default law is needed, and the table has too few usable rows for it.
    """
    scores = {"expert_return": expert_return, "random_return": random_return}
    default: Callable[[], FittedLaw] = partial(fit, table, **scores, seed=seed)
    if name == DEFAULT_LAW:
        return default()
    try:
        fitted = fit_strictly(name, clean_table(table), **scores)
        return PluggedLaw(
            name, fitted, Points.from_table(table), default, random_return, expert_return
        )
    except FitError as error:
        laws = default()
        laws.status = (_failure(error), *laws.status)
        return laws


def fit_strictly(name: str, table: dict[str, Array], **scores: float | None) -> CanForecast:
    """Fit the law of a name to a clean table, without the default to fall back on.

    Raises:
        UnknownNameError, SpecError: as `fit_law`.
        FitError: the law failed; the message names it and the reason.
    """
    try:
        call, first = LAWS.find(name)
    except SpecError as error:
        if is_reference(name):  # the user's mistake; a registered law is somebody else's
            raise
        raise FitError(f"law '{name}' failed: {error}") from error
    wanted = _called(name, lambda: _accepted(call, scores))
    fitted: CanForecast = _called(name, lambda: call(*first, table, **wanted))
    if not callable(getattr(fitted, "forecast", None)):
        raise FitError(f"law '{name}' failed: what its fit returned has no method forecast(flops)")
    return fitted


def forecast_strictly(
    name: str,
    fitted: CanForecast,
    flops: float,
    measure: str = "dev_loss",
    agents: int = 1,
    episodes: int | None = None,
) -> Forecast:
    """Ask a fitted law, and check its answer.

    Args:
        measure: what it must forecast, 'dev_loss' or, of runs without losses, 'return_mean'.
        agents: of how many agents' mean the intervals are to be; a law whose `forecast` has no
            such parameter answers for one.
        episodes: how many each of them plays, for a law that has such a parameter.

    Raises:
        FitError: it failed, or what it said is no forecast.
    """
    ask: Callable[..., Any] = fitted.forecast
    asked = {"agents": agents, "episodes": episodes}
    said = _called(name, lambda: ask(flops, **_accepted(ask, asked)))
    if not isinstance(said, Forecast):
        raise FitError(f"law '{name}' failed: forecast() gave {type(said).__name__}, no Forecast")
    fault = forecast_fault(said, measure)
    if fault is not None:
        raise FitError(f"law '{name}' failed: at {flops:.3g} FLOPs {fault}")
    return said


def forecast_fault(said: Forecast, measure: str = "dev_loss") -> str | None:
    """Return what is wrong with a forecast, the first field only; None where nothing is.

    Args:
        measure: what it must forecast beside size and samples, 'dev_loss' or 'return_mean'.
    """
    for figure in (*FIGURES, *MEASURED):
        interval = getattr(said, figure)
        if interval is None and figure in MEASURED and figure != measure:
            continue
        fault = "is missing" if interval is None else _interval_fault(interval, figure)
        if fault is not None:
            return f"its {figure} {fault}"
    if not np.isfinite(said.decades_beyond):
        return f"its decades_beyond is {said.decades_beyond}, not a finite number"
    for name in ("agents", "episodes"):
        count = getattr(said, name)
        if count is not None and count < 1:
            return f"its {name} is {count}, not at least 1"
    return None


def _interval_fault(interval: Interval, figure: str) -> str | None:
    """Return what is wrong with an interval; only a return may be below zero."""
    value, low, high = interval.value, interval.low, interval.high
    positive = figure != "return_mean"
    if not np.isfinite(value) or (positive and value <= 0):
        return f"is {value}, not {'positive and ' if positive else ''}finite"
    for name, end in (("low", low), ("high", high)):
        if end is not None and not np.isfinite(end):
            return f"has {name} = {end}; an open end is None"
    if positive and low is not None and low < 0:
        return f"has low = {low}, below zero; an open end is None"
    if not (value if low is None else low) <= value <= (value if high is None else high):
        return f"is {value}, outside its own interval [{low}, {high}]"
    if not 0 < interval.level < 1:
        return f"has level = {interval.level}, not between 0 and 1"
    return None


class PluggedLaw:
    """A user's fitted law, completed: what it does not say is derived from its forecasts.

    Where it fails after all, the default law answers, fitted when first needed.
    """

    def __init__(
        self,
        name: str,
        fitted: CanForecast,
        points: Points,
        default: Callable[[], FittedLaw],
        random_return: float | None = None,
        expert_return: float | None = None,
    ):
        self.name, self.fitted, self.points_ = name, fitted, points
        self.scores = (random_return, expert_return)
        self._measure = MEASURED[points.by_return]
        self._default = default
        own = _called(name, lambda: list(getattr(fitted, "status", ())))
        said = [s for s in own if isinstance(s, Status)]
        self.status: tuple[Status, ...] = (*points.status, *said)

    @cached_property
    def default_(self) -> FittedLaw:
        """Return the default law on the same table."""
        return self._default()

    def forecast(
        self, flops: float, /, *, agents: int = 1, episodes: int | None = None
    ) -> Forecast:
        """Return the law's forecast, or the default's with a status that says why."""
        if not 0 < flops < np.inf:
            raise SpecError(f"flops must be positive and finite; got {flops!r}")
        check_agents(agents, episodes)
        try:
            asked = (flops, self._measure, agents, episodes)
            said = forecast_strictly(self.name, self.fitted, *asked)
        except FitError as error:
            instead = self.default_.forecast(flops, agents=agents, episodes=episodes)
            return replace(instead, status=(_failure(error), *instead.status))
        shares = excluded(self.points_, flops, said.dev_loss, said.return_mean, *self.scores)
        return replace(said, method={"law": self.name, **said.method}, excludes=shares)

    def curves(self, flops: Any) -> Curves:
        """Return the forecasts on a grid of FLOPs [m]; the default's if one of them fails."""
        grid = np.asarray(flops, float)
        try:
            said = [
                forecast_strictly(self.name, self.fitted, float(c), self._measure) for c in grid
            ]
        except FitError:
            return self.default_.curves(grid)
        return Curves(
            flops=grid,
            params=_band([f.params for f in said]),
            samples=_band([f.samples for f in said]),
            dev_loss=_whole([f.dev_loss for f in said]),
            return_mean=_whole([f.return_mean for f in said]),
        )

    def isoflop_curves(self) -> Sequence[IsoFlopCurve]:
        """Return each budget's measured figures with a parabola through them, whatever the law."""
        if self.points_.by_return:
            return self.default_.isoflop_curves()
        return fit_isoflops(self.points_)

    def exponents(self) -> dict[str, Exponents]:
        """Return the slopes of log N and log D over the decade beyond the last budget."""
        last = float(self.points_.budgets[-1])
        try:
            near, far = (
                forecast_strictly(self.name, self.fitted, c, self._measure)
                for c in (last, 10 * last)
            )
        except FitError:
            return {}
        params, samples = _rise(near.params, far.params), _rise(near.samples, far.samples)
        return {"forecasts": Exponents(params, samples)}

    def to_json(self) -> dict[str, Any]:
        """Return exponents and status, and under `fitted` what the law says of itself."""
        exponents = {road: e.to_json() for road, e in self.exponents().items()}
        laws = {key: {"exponent": value} for key, value in exponents.get("forecasts", {}).items()}
        own = getattr(self.fitted, "to_json", dict)
        status, said = list(self.status), None
        try:
            said = _called(self.name, lambda: jsonable(own()))
        except FitError as error:
            status.append(_failure(error))
        body = {
            "law": self.name,
            "points": len(self.points_),
            "dropped": self.points_.dropped,
            "budgets": self.points_.budgets,
            "isoflops": [c.to_json() for c in self.isoflop_curves()],
            "laws": laws,
            "exponents": exponents,
            "fitted": said,
            "status": [s.to_json() for s in status],
        }
        out: dict[str, Any] = jsonable(body)
        return out


def _failure(error: FitError) -> Status:
    return Status("law_failed", f"{error}; the default law stands in its place")


def _called(name: str, call: Callable[[], Any]) -> Any:
    """Call a user's code; turn whatever it raises into a FitError that names the law."""
    try:
        return call()
    except FOREIGN as error:  # whatever is wrong with somebody's law
        raise FitError(f"law '{name}' failed: {words_of(error, 160)}") from error


def _accepted(call: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the settings that a user's function has a parameter for."""
    parameters = inspect.signature(call).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {name: v for name, v in settings.items() if takes_any or name in parameters}


def _whole(intervals: list[Interval | None]) -> Band | None:
    """Return intervals as arrays; None where one of them is missing."""
    known = [i for i in intervals if i is not None]
    return _band(known) if len(known) == len(intervals) else None


def _band(intervals: list[Interval]) -> Band:
    """Return intervals as arrays; an open end is drawn at the value."""

    def column(ends: list[float | None]) -> Array:
        return np.array([i.value if e is None else e for i, e in zip(intervals, ends, strict=True)])

    return Band(
        np.array([i.value for i in intervals]),
        column([i.low for i in intervals]),
        column([i.high for i in intervals]),
    )


def _rise(near: Interval, far: Interval) -> Interval:
    """Return the slope over one decade, without an interval."""
    return Interval(float(np.log10(far.value / near.value)), None, None)
