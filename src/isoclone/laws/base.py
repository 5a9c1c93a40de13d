"""What a law is, and what the rest of the package asks of a fitted one.

A law is a function `fit(table) -> fitted`; `fitted.forecast(flops)` returns a `Forecast`. That is
all a user's law needs: `fit_law` completes it to a `FittedLaw`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.base.records import Forecast, Interval, Record, Status, conformed, jsonable
from isoclone.base.tables import LAWS

Array = np.ndarray

DEFAULT_LAW = "isoclone"
LAWS.add(DEFAULT_LAW, "isoclone.laws.chosen:fit")


@dataclass(frozen=True)
class Band:
    """A curve with its interval: value, low and high, arrays of one length."""

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Curves:
    """The best size, samples, dev loss and return on a grid of FLOPs; not measured, no band."""

    flops: Array
    params: Band
    samples: Band
    dev_loss: Band | None = None
    return_mean: Band | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a quantity that is not forecast is absent."""
        out: dict[str, Any] = jsonable(self)
        return {name: value for name, value in out.items() if value is not None}


@dataclass(frozen=True)
class Exponents(Record):
    """Exponents of the best size and sample count against C, each with its interval."""

    params: Interval
    samples: Interval


class IsoFlopCurve(Protocol):
    """One budget's curve of a figure against size, and the best size.

    `key` names the figure, 'dev_loss' or 'return_mean', and `value` is what it is at the best size;
    `edge` says why that is no optimum where `interior` is false.
    """

    @property
    def key(self) -> str: ...
    @property
    def budget(self) -> float: ...
    @property
    def params(self) -> float: ...
    @property
    def samples(self) -> float: ...
    @property
    def value(self) -> float: ...
    @property
    def params_sd_log10(self) -> float: ...
    @property
    def interior(self) -> bool: ...
    @property
    def edge(self) -> str | None: ...

    def curve(self, count: int = 60) -> dict[str, Array]:
        """Return the fitted curve for drawing: 'params', and the figure by its `key`."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        ...


def check_settings(seed: int, **returns: float | None) -> None:
    """Check the settings that laws share: a seed, and returns by the names of their settings.

    Raises:
        SpecError: the seed is no whole number or negative, or a return is not a finite number.
    """
    for name, value in returns.items():
        if not np.isfinite(_typed(value, float | None, name) or 0.0):
            raise SpecError(f"{name} must be a finite number, not {value}")
    if _typed(seed, int, "seed") < 0:
        raise SpecError(f"seed must not be negative, not {seed}")


def check_agents(agents: int, episodes: int | None = None) -> None:
    """Raise SpecError unless a forecast can be of so many agents, with so many episodes each."""
    counts = {"agents": (agents, int), "episodes": (episodes, int | None)}
    for name, (number, hint) in counts.items():
        count = _typed(number, hint, name)
        if count is not None and count < 1:
            raise SpecError(f"{name} must be at least 1, not {number}")


def _typed(value: Any, hint: Any, name: str) -> Any:
    """Return a setting as its type has it; raise SpecError if it is of another."""
    try:
        return conformed(value, hint, name)
    except TypeError as error:
        raise SpecError(str(error)) from None


class CanForecast(Protocol):
    """What a law must return: an object that forecasts."""

    def forecast(self, flops: float, /) -> Forecast:
        """Return what to train at `flops`, and what loss and return to expect of it."""
        ...


class Law(Protocol):
    """A function from a table of runs to a fitted law.

    In a table of reinforcement learning every `dev_loss` is NaN; a law may forecast returns alone.

    The table has the columns of `clean_table`. A law with parameters named `expert_return` and
    `random_return` is given those scores too, as keywords; they are None where not known. One whose
    `forecast` has parameters `agents` and `episodes` is asked for the interval of the mean of so
    many agents, each of which plays so many episodes.
    """

    def __call__(self, table: dict[str, Array], /) -> CanForecast:
        """Fit to a table of runs."""
        ...


class FittedLaw(CanForecast, Protocol):
    """What the rest of the package asks of a fitted law: all of it can be drawn and written."""

    name: str  # the law's name in `LAWS`
    status: tuple[Status, ...]  # soft trouble of the fit, a law that failed included

    def forecast(
        self, flops: float, /, *, agents: int = 1, episodes: int | None = None
    ) -> Forecast:
        """Return the forecast, with intervals of the mean of so many agents if the law has them.

        Each of them plays so many episodes; None for as many as the points.
        """
        ...

    def curves(self, flops: Any, /) -> Curves:
        """Return the forecasts on a grid of FLOPs [m], ascending."""
        ...

    def isoflop_curves(self) -> Sequence[IsoFlopCurve]:
        """Return each budget's measured figures against size, with a parabola through them."""
        ...

    def exponents(self) -> dict[str, Exponents]:
        """Return the exponents by each way of fitting them; none where none can be told."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the law's figures as plain values, for `laws.json`."""
        ...
