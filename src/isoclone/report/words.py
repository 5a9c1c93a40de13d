"""Numbers as text with a suitable number of digits: filters of the templates.

Text with HTML (a raised exponent) is `Markup`; every other text is escaped by the page.
"""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

from isoclone.base.formatting import ends_text, interval_text
from isoclone.base.records import Forecast

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Return three significant digits: 0.0123, 4.56, 789, 12.3k, 4.5M; else powers of ten."""
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    if value == 0:
        return "0"
    for limit, divisor, unit in ((1e3, 1.0, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if size < limit * (1 - 0.5 * 10**-digits):
            return _plain(value / divisor, digits) + unit if size >= 1e-4 else power(value, digits)
    return power(value, digits)


def _plain(value: float, digits: int) -> str:
    """Return a number below a thousand with that many significant digits."""
    if value == round(value) and abs(value) < 1000:
        return minus(f"{value:.0f}")
    whole = int(f"{value:.{digits - 1}e}".split("e")[1]) + 1  # after rounding: .9996 is 1.00
    return minus(f"{value:.{max(digits - whole, 0)}f}")


def power(value: float | None, digits: int = 3) -> Markup:
    """Return scientific notation with a raised exponent; a factor of 1 is left out: 10⁸."""
    if value is None or not math.isfinite(value):
        return Markup(MISSING)
    if value == 0:
        return Markup("0")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    raised = Markup("10<sup>{}</sup>").format(minus(str(int(exponent))))
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return raised if mantissa == "1" else Markup("{}×{}").format(minus(mantissa), raised)


def minus(text: str) -> str:
    """Return the text with hyphens as minus signs."""
    return text.replace("-", "−")


def whole(value: float | None) -> str:
    """Return a count, digits in groups of three."""
    return MISSING if value is None else f"{value:,.0f}"


def bounds(
    low: float | None,
    high: float | None,
    value: float | None = None,
    digits: int = 3,
    excludes: float | None = None,
) -> Markup:
    """Return [low, high], or in words where the ends say nothing, see `formatting.ends_text`."""
    return Markup(ends_text(low, high, value, lambda x: str(escape(number(x, digits))), excludes))


def bounds_of(forecast: Forecast, key: str) -> str:
    """Return the ends of a quantity's interval, judged by what they exclude of what could come."""
    said = getattr(forecast, key)
    return bounds(said.low, said.high, said.value, excludes=forecast.excludes.get(key))


def with_error(value: float | None, error: float | None, digits: int = 3) -> str:
    """Return value ± error; the error has two significant digits, the value as many decimals."""
    if value is None:
        return MISSING
    if error is None or not math.isfinite(error) or error <= 0 or abs(value) >= 1e5:
        return number(value, digits)
    decimals = min(max(1 - math.floor(math.log10(error)), 0), 4)
    return minus(f"{value:.{decimals}f} ± {error:.{decimals}f}")


def percent(share: float | None, decimals: int = 0) -> str:
    """Return a share as per cent."""
    return MISSING if share is None else minus(f"{100 * share:.{decimals}f} %")


def decimals(value: float | None, digits: int = 2) -> str:
    """Return a number with that many decimals."""
    return MISSING if value is None else minus(f"{value:.{digits}f}")


def exponents(interval: dict[str, Any]) -> str:
    """Return an exponent's interval, two decimals."""
    return ends_text(interval.get("low"), interval.get("high"), interval.get("value"), decimals)


def spaced(key: Any) -> str:
    """Return a key as words: 'dev_loss' is 'dev loss'."""
    return str(key).replace("_", " ")


def flat(value: Any) -> str:
    """Return a nested value in one line of text."""
    if isinstance(value, dict):
        if {"value", "low", "high"} <= set(value):
            return interval_text(value, ".4g")
        told = (
            f"{spaced(k)} ({flat(v)})" if _nested(v) else f"{spaced(k)} {flat(v)}"
            for k, v in value.items()
        )
        return ", ".join(told) or "none"
    if isinstance(value, list):
        return ", ".join(flat(v) for v in value) or "none"
    return short(value)


def _nested(value: Any) -> bool:
    return isinstance(value, dict) and not {"value", "low", "high"} <= set(value)


def short(value: Any) -> str:
    """Return one value as text, a number with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return MISSING if value is None else str(value)
