"""Format numbers and times for people: pure functions, for the terminal and for messages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from isoclone.base.records import Interval
from isoclone.base.results import SAYS_SOMETHING, UNDETERMINED, undetermined

WIDEST = 1e3  # an interval whose ends are further apart, as a factor, excludes nothing
NO_ENDS, UNBOUNDED = "not determined", "unbounded"

# What a terminal obeys instead of showing: C0 but tab and newline, DEL, C1; separators of lines;
# what turns the direction of writing; halves of characters, among them bytes that are no UTF-8.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BYTES = range(0xDC80, 0xDD00)  # how Python keeps bytes of a path that are no UTF-8


def visible(text: str) -> str:
    """Return a text with every character that a terminal would obey written out.

    Tabs and newlines stay.

    >>> visible("a\\x1b]52;c;eA==\\x07 \\u202e \\udcff")
    'a\\\\x1b]52;c;eA==\\\\x07 \\\\u202e \\\\xff'
    """
    return _OBEYED.sub(lambda found: _written_out(ord(found[0])), text)


def _written_out(code: int) -> str:
    code = code - 0xDC00 if code in _BYTES else code
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def si(value: float | None, unit: str = "") -> str:
    """Return a number for people: '12,300' or '3.20e+11'; '-' for a missing one."""
    if value is None:
        return "-"
    if value != 0 and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.2e}{unit}"
    return f"{value:,.0f}{unit}" if abs(value) >= 100 else f"{value:.3g}{unit}"


def duration(seconds: float) -> str:
    """Return a time for people: '45 s', '3 min 20 s', '2 h 05 min'.

    >>> duration(45), duration(200), duration(7500)
    ('45 s', '3 min 20 s', '2 h 05 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def plural(count: int, noun: str) -> str:
    """Return '1 run', '2 runs'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


HUGE = 1e7  # from where a number's digits are counted from its front


def plus_minus(value: float | None, error: float | None, digits: int = 3) -> str:
    """Return '0.512 ± 0.004', without what is missing."""
    if value is None:
        return "-"
    spec = f".{digits}f" if abs(value) < HUGE else ".4g"
    text = f"{value:{spec}}"
    return text if error is None else f"{text} ± {error:{spec}}"


def interval_text(
    interval: Interval | dict[str, Any] | None, spec: str = ".3g", excludes: float | None = None
) -> str:
    """Return '0.51 [0.47, 0.55]', or in words where the ends say nothing; '-' for none.

    Args:
        spec: how numbers are written.
        excludes: which share of what could come lies outside, where that is known (`ends_text`).
    """
    if interval is None:
        return "-"
    row = interval if isinstance(interval, dict) else interval.to_json()
    if not _tells(excludes) and undetermined(row):
        return UNDETERMINED
    value = row["value"]
    ends = ends_text(row["low"], row["high"], value, lambda x: f"{x:{spec}}", excludes)
    return f"{value:{spec}} {ends}"


def ends_text(
    low: float | None,
    high: float | None,
    value: float | None,
    text: Callable[[float], str],
    excludes: float | None = None,
) -> str:
    """Return the ends of an interval: '[0.47, 0.55]', '[0.47, unbounded]', '[not determined]'.

    Ends so far apart that nothing is excluded are not printed. Where it is known how much of what
    could come they exclude, that decides; near a value of 0 nothing else can. Else a factor of more
    than `WIDEST`, or, where an end is not positive, a distance of more than that many times the
    value.

    Args:
        low: None, or not finite, where there is no such end.
        value: what the interval is about; None where it is not known.
        text: turns a number into text.
        excludes: which share of what could come lies outside (`Forecast.excludes`), or None.
    """
    left, right = (None if x is None or not math.isfinite(x) else x for x in (low, high))
    wide = not _tells(excludes) and _says_nothing(left, right, value)
    if (left is None and right is None) or wide:
        return f"[{NO_ENDS}]"
    shown = (UNBOUNDED if x is None else text(x) for x in (left, right))
    return f"[{', '.join(shown)}]"


def _tells(excludes: float | None) -> bool:
    return excludes is not None and excludes >= SAYS_SOMETHING


def _says_nothing(low: float | None, high: float | None, value: float | None) -> bool:
    if low is None or high is None:
        return False
    if low > 0 or high < 0:
        return max(low / high, high / low) > WIDEST
    return bool(value) and high - low > WIDEST * abs(value or 0.0)
