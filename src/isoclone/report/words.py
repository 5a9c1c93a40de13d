"""Numbers as a reader wants them: HTML, escaped, with no more digits than they deserve."""

from __future__ import annotations

import html
import math
from typing import Any

MISSING = "–"


def esc(value: Any) -> str:
    """Text that came from data, made harmless in HTML, in attributes and in chart labels."""
    return html.escape(str(value), quote=True)


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits: 0.0123, 4.56, 789, 12.3k, 4.5M; powers of ten outside that."""
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
    """A number below a thousand with that many significant digits."""
    if value == round(value) and abs(value) < 1000:
        return f"{value:.0f}".replace("-", "−")
    whole = int(f"{value:.{digits - 1}e}".split("e")[1]) + 1  # after rounding: .9996 is 1.00
    return f"{value:.{max(digits - whole, 0)}f}".replace("-", "−")


def power(value: float | None, digits: int = 3) -> str:
    """Scientific notation with a raised exponent; '1.00' is left out: 10⁸, 6.67×10⁹."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    raised = f"10<sup>{int(exponent)}</sup>".replace("-", "−")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    if mantissa == "1":
        return raised
    return f"{mantissa.replace('-', '−')}×{raised}"


def whole(value: float | None) -> str:
    """A count, digits in groups of three."""
    return MISSING if value is None else f"{value:,.0f}"


def bounds(low: float | None, high: float | None, digits: int = 3) -> str:
    """[low, high]; an open side is shown as unbounded."""
    left = "−∞" if low is None else number(low, digits)
    right = "∞" if high is None else number(high, digits)
    return f"[{left}, {right}]"


def with_error(value: float | None, error: float | None, digits: int = 3) -> str:
    """value ± error; the error has two significant digits and the value as many decimals."""
    if value is None:
        return MISSING
    if error is None or not math.isfinite(error) or error <= 0 or abs(value) >= 1e5:
        return number(value, digits)
    decimals = min(max(1 - math.floor(math.log10(error)), 0), 4)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}".replace("-", "−")


def percent(share: float, decimals: int = 0) -> str:
    """A share as per cent."""
    return f"{100 * share:.{decimals}f} %".replace("-", "−")


def plural(count: int, noun: str) -> str:
    """'1 run', '2 runs'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def decimals(value: float | None, digits: int = 2) -> str:
    return MISSING if value is None else f"{value:.{digits}f}".replace("-", "−")


def exponents(interval: dict[str, Any]) -> str:
    """An exponent's interval, two decimals."""
    return f"[{decimals(interval.get('low'))}, {decimals(interval.get('high'))}]"


def spaced(key: str) -> str:
    return str(key).replace("_", " ")


def flat(value: Any) -> str:
    """A nested value in one line of text."""
    if isinstance(value, dict):
        if {"value", "low", "high"} <= set(value):
            return f"{short(value['value'])} [{short(value['low'])}, {short(value['high'])}]"
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
    if isinstance(value, float):
        return f"{value:.4g}"
    return MISSING if value is None else str(value)
