"""Format numbers and times for people: pure functions, for the terminal and for messages."""

from __future__ import annotations

import re
from typing import Any

from isoclone.base.records import Interval

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


def plus_minus(value: float | None, error: float | None, digits: int = 3) -> str:
    """Return '0.512 ± 0.004', without what is missing."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text if error is None else f"{text} ± {error:.{digits}f}"


def interval_text(interval: Interval | dict[str, Any] | None, spec: str = ".3g") -> str:
    """Return '0.51 [0.47, 0.55]'; '-' for a missing interval or end."""
    if interval is None:
        return "-"
    row = interval if isinstance(interval, dict) else interval.to_json()
    low, high = ("-" if row[k] is None else f"{row[k]:{spec}}" for k in ("low", "high"))
    return f"{row['value']:{spec}} [{low}, {high}]"
