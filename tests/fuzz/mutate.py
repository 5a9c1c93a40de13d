"""Ways to ruin things: bytes, JSON values, table cells, words of a command line.

All chance is drawn from Hypothesis (`draw`), so that a failure shrinks and comes back.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

_NUMBERS = """0 -1 1 2 7 255 256 2147483648 -2147483648 9223372036854775808 18446744073709551616
1000000000000000000000000000000 0.5 -0.0 1e-320 1e308 NaN Infinity -Infinity"""
_WORDS = """nan ../../etc/passwd /etc/passwd a/b .. . - --json <script>alert(1)</script> [bold] ';
é drop toy mlp cnn exact 6nd lean __class__ {} %s 1e999 0x10 １２"""

NUMBERS = st.sampled_from([json.loads(text) for text in _NUMBERS.split()])
TEXTS = st.sampled_from(["", " ", "\x00", "\n", "\ud800", "𝒩" * 40, "x" * 5_000, *_WORDS.split()])
ODD = st.sampled_from([None, True, False, [], {}, [[]], [None], {"": None}, [1, 2, 3]])
VALUES = st.one_of(NUMBERS, TEXTS, ODD).map(copy.deepcopy)  # they are changed in turn
DEEP = 200  # levels of nesting; three times that is still less than what `json.dumps` refuses


def damaged_bytes(draw: Draw, data: bytes) -> bytes:
    """The bytes after one to three accidents."""
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from(_ACCIDENTS))(draw, data)
    return data


def _place(draw: Draw, data: bytes) -> int:
    """A position; both ends, where formats keep their headers, come up often."""
    last = max(len(data) - 1, 0)
    near_end = st.integers(max(0, last - 400), last)
    return draw(st.one_of(st.integers(0, last), st.integers(0, min(400, last)), near_end))


def _flip(draw: Draw, data: bytes) -> bytes:
    if not data:
        return data
    where = _place(draw, data)
    return data[:where] + bytes([data[where] ^ (1 << draw(st.integers(0, 7)))]) + data[where + 1 :]


def _cut(draw: Draw, data: bytes) -> bytes:
    return data[: _place(draw, data)]


def _behead(draw: Draw, data: bytes) -> bytes:
    return data[_place(draw, data) :]


def _insert(draw: Draw, data: bytes) -> bytes:
    where = _place(draw, data)
    return data[:where] + draw(st.binary(min_size=1, max_size=16)) + data[where:]


def _overwrite(draw: Draw, data: bytes) -> bytes:
    where = _place(draw, data)
    new = draw(st.binary(min_size=1, max_size=16))
    return data[:where] + new + data[where + len(new) :]


def _remove(draw: Draw, data: bytes) -> bytes:
    where = _place(draw, data)
    return data[:where] + data[where + draw(st.integers(1, 64)) :]


def _repeat(draw: Draw, data: bytes) -> bytes:
    where, size = _place(draw, data), draw(st.integers(1, 256))
    return data[: where + size] + data[where:]


def _zero(draw: Draw, data: bytes) -> bytes:
    where, size = _place(draw, data), draw(st.integers(1, 512))
    part = data[where : where + size]
    return data[:where] + bytes(len(part)) + data[where + size :]


def _extreme(draw: Draw, data: bytes) -> bytes:
    """A length or an offset that cannot be."""
    where = _place(draw, data)
    number = draw(st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8)]))
    return data[:where] + number + data[where + len(number) :]


def _garbage(draw: Draw, data: bytes) -> bytes:
    return draw(st.binary(max_size=64))


_ACCIDENTS = [
    _flip,
    _cut,
    _behead,
    _insert,
    _overwrite,
    _remove,
    _repeat,
    _zero,
    _extreme,
    _garbage,
]


def damaged_json(draw: Draw, value: Any) -> Any:
    """A copy with one to three changes anywhere in it: values, keys, nesting."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        value = _change(draw, value)
    return value


def _change(draw: Draw, value: Any) -> Any:
    holder, key = _somewhere(draw, value)
    if holder is None:
        return draw(VALUES)
    how = draw(st.sampled_from(["set", "set", "set", "delete", "rename", "wrap", "twice", "deep"]))
    if how == "delete":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[draw(TEXTS)] = holder.pop(key)
    elif how == "wrap":
        holder[key] = [holder[key]]
    elif how == "twice":
        holder[key] = [holder[key], holder[key]]
    elif how == "deep":
        for _ in range(DEEP):
            holder[key] = [holder[key]]
    else:
        holder[key] = draw(VALUES)
    return value


def _somewhere(draw: Draw, value: Any) -> tuple[Any, Any]:
    """A container within the value and one of its keys, the deeper ones as likely as the top."""
    found = list(_places(value, 0))
    return draw(st.sampled_from(found)) if found else (None, None)


def _places(value: Any, depth: int) -> Any:
    if depth > 20:
        return
    if not isinstance(value, dict | list):
        return
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        yield from _places(value[key], depth + 1)


def json_text(draw: Draw, value: Any) -> bytes:
    """The value's text after changes to it, to its bytes, or both."""
    how = draw(st.sampled_from([*["value"] * 6, "bytes", "bytes", "both", "nest"]))
    if how in ("value", "both"):
        value = damaged_json(draw, value)
    data = json.dumps(value).encode(errors="surrogatepass")
    if how == "nest":  # deeper than any parser likes
        where = data.index(b":") + 1
        return data[:where] + b"[" * 100_000 + data[where:]
    return data if how == "value" else damaged_bytes(draw, data)


def damaged_table(draw: Draw, rows: list[list[str]]) -> list[list[str]]:
    """Rows of cells, the header first, after one to four changes."""
    rows = copy.deepcopy(rows)
    for _ in range(draw(st.integers(1, 4))):
        row = draw(st.integers(0, len(rows) - 1)) if rows else 0
        how = draw(st.sampled_from(["cell", "cell", "cell", "row", "copy", "column", "ragged"]))
        if not rows or not rows[row]:
            return rows
        column = draw(st.integers(0, len(rows[row]) - 1))
        if how == "cell":
            rows[row][column] = str(draw(VALUES))
        elif how == "row":
            del rows[row]
        elif how == "copy":
            rows.insert(row, list(rows[row]))
        elif how == "column":
            new = draw(VALUES)
            for other in rows[1:]:
                if column < len(other):
                    other[column] = str(new)
        else:
            rows[row] = rows[row][:column]
    return rows


def damaged_words(draw: Draw, words: list[str], spare: st.SearchStrategy[str]) -> list[str]:
    """A command line with one to three words replaced, left out, doubled, swapped or added."""
    words = list(words)
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.integers(0, max(len(words) - 1, 0)))
        how = draw(st.sampled_from(["replace", "replace", "leave out", "double", "swap", "add"]))
        if how == "add" or not words:
            words.insert(where, draw(spare))
        elif how == "replace":
            words[where] = draw(spare)
        elif how == "leave out":
            del words[where]
        elif how == "double":
            words.insert(where, words[where])
        else:
            words[where], words[0] = words[0], words[where]
    return words
