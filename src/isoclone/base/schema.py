"""Columns of a table, derived from the fields of a dataclass and listed nowhere else.

A record such as `Point` declares each field by `label`, `count` or `figure`, with what it means.
Parquet types, CSV headings, rows of failed runs and the columns that laws read follow from that.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, get_args, get_type_hints

KINDS = (str, int, float)  # types of a cell that is not missing
COLUMN = "column"  # key of a field's metadata


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        kind: str, int or float; a cell is of that type, or None where it is missing.
        meaning: what the column holds, as a phrase.
        unit: of its numbers; empty for counts, shares and texts.
        role: 'label' (known before anything is measured), 'count' or 'figure'.
    """

    name: str
    kind: type
    meaning: str
    unit: str = ""
    role: str = "label"

    @property
    def heading(self) -> str:
        """Return the column's name in words, for tables on a page."""
        return self.name.replace("_", " ")

    @property
    def says(self) -> str:
        """Return what the column holds, with its unit."""
        return f"{self.meaning}, {self.unit}" if self.unit else self.meaning


def label(meaning: str, unit: str = "", **default: Any) -> Any:
    """Declare a field that is known before anything is measured."""
    return field(metadata={COLUMN: (meaning, unit, "label")}, **default)


def count(meaning: str, unit: str = "", **default: Any) -> Any:
    """Declare a field that counts work, and is 0 in a row where none was done."""
    return field(metadata={COLUMN: (meaning, unit, "count")}, **default)


def figure(meaning: str, unit: str = "", **default: Any) -> Any:
    """Declare a field that is measured, and is None in a row where it was not."""
    return field(metadata={COLUMN: (meaning, unit, "figure")}, **default)


@functools.cache
def field_types(record: type) -> dict[str, Any]:
    """Return the declared type of each field of a dataclass, in order."""
    hints = get_type_hints(record)
    return {f.name: hints[f.name] for f in dataclasses.fields(record)}


@functools.cache
def columns(record: type) -> tuple[Column, ...]:
    """Return the columns of a dataclass's table, in the order of its fields.

    Raises:
        TypeError: a field is not declared by `label`, `count` or `figure`, or its type is none
            that a cell can have.
    """
    types = field_types(record)
    found = []
    for each in dataclasses.fields(record):
        kinds = set(get_args(types[each.name]) or (types[each.name],)) - {NoneType}
        if COLUMN not in each.metadata or len(kinds) != 1 or not kinds <= set(KINDS):
            raise TypeError(
                f"{record.__name__}.{each.name} is no column: declare it by label, count or "
                "figure, as str, int or float, or one of these or None"
            )
        found.append(Column(each.name, kinds.pop(), *each.metadata[COLUMN]))
    return tuple(found)


def kinds(record: type) -> dict[str, type]:
    """Return {column: str, int or float}, as `base.store.write_rows` takes it."""
    return {column.name: column.kind for column in columns(record)}


def figures(record: type) -> tuple[Column, ...]:
    """Return the columns that hold measured numbers."""
    return tuple(c for c in columns(record) if c.role == "figure" and c.kind is not str)


def unmeasured(record: type) -> dict[str, float | None]:
    """Return the cells of a row where nothing was measured: counts are 0, figures None."""
    cells = [c for c in columns(record) if c.role != "label"]
    return {c.name: c.kind(0) if c.role == "count" else None for c in cells}


def as_table(records: Iterable[Any], record: type) -> dict[str, list[Any]]:
    """Return records column by column, as the laws take them; missing cells are None."""
    rows = [each.to_json() for each in records]
    return {name: [row[name] for row in rows] for name in kinds(record)}
