"""Read a table of runs from CSV or Parquet, and say what is wrong with it in one line.

Columns known: those of a point (`base.records.Point`), `group` and `n_actions`. Others are
ignored with a notice. A cell that should be a number and is not becomes missing, and is counted;
rows no law can use are dropped later, by `laws.points`, with their reasons.
"""

from __future__ import annotations

import csv as csv_text
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base import parquet
from isoclone.base.errors import DataError, SpecError, UsageError
from isoclone.base.limits import check_unpacked
from isoclone.base.records import Point
from isoclone.base.schema import kinds
from isoclone.laws.exported import meant, with_our_names
from isoclone.laws.points import MEASURED, REQUIRED

KINDS = {"group": str, **kinds(Point), "n_actions": int}  # every column that is read
NO_GROUP = ""
CELL_BYTES = 64  # of a cell as a Python object in a list


@dataclass
class RunsTable:
    """Columns of equal length (text as str or None, numbers as float with NaN), and notices."""

    columns: dict[str, Any]
    notices: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def groups(self) -> dict[str, dict[str, Any]]:
        """Return the columns of each group, in order of appearance; one named '' if none is.

        Where no group is named, each of several games is one: they have no law in common.
        """
        games = len(set(self.columns.get("game", ()))) > 1
        by = "group" if "group" in self.columns else "game" if games else None
        if by is None:
            return {NO_GROUP: self.columns}
        names = [NO_GROUP if g is None else str(g) for g in self.columns[by]]
        order: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            order.setdefault(name, []).append(row)
        return {name: take(self.columns, rows) for name, rows in order.items()}


def take(columns: Mapping[str, Any], rows: list[int]) -> dict[str, Any]:
    """Return some rows of a table."""
    return {name: np.asarray(values, dtype=object)[rows] for name, values in columns.items()}


def read(path: str | Path) -> RunsTable:
    """Read the table in `path` (.csv, .tsv or .parquet).

    Raises `UsageError` if there is no such file, `DataError` if it is empty, damaged, of another
    kind, or lacks a column that every law needs.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a table; of a study give {path / 'points.csv'}")
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    return from_columns(_raw(path), str(path))


def one_group(path: str | Path) -> dict[str, Any]:
    """Read the columns of a table with one group.

    Raises:
        SpecError: it has several, or runs of several games.
        UsageError, DataError: as `read`.
    """
    groups = read(path).groups()
    if len(groups) > 1:
        raise SpecError(f"{path} has several groups, each with its own laws: {', '.join(groups)}")
    return next(iter(groups.values()))


def _raw(path: Path) -> dict[str, list[Any]]:
    import pyarrow

    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _read_parquet(path)
        if suffix in (".csv", ".tsv", ".txt"):
            return _read_csv(path, "\t" if suffix == ".tsv" else ",")
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, ValueError) as error:
        why = " ".join(str(error).split())[:160]
        raise DataError(f"{path}: cannot be read as {suffix[1:]} ({why})") from None
    raise UsageError(f"{path}: expected a .csv, .tsv or .parquet file")


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    """Read the columns that are known; of the others only the names, with no values."""
    metadata = parquet.check(path, ())
    names = list(metadata.schema.to_arrow_schema().names)
    known = [name for name in names if name.strip() in KINDS]
    _refuse_twins(path, names)
    check_unpacked(path, metadata.num_rows * len(known) * CELL_BYTES)
    table = parquet.read_table(path, known)
    return {name: table[name].to_pylist() if name in known else [] for name in names}


def _refuse_twins(path: Path, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: the column {twice!r} occurs twice in the header")


def _read_csv(path: Path, delimiter: str) -> dict[str, list[Any]]:
    """Read every cell as text, so that one bad cell does not make the file unreadable."""
    import pyarrow
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    names, lines = _header(path, delimiter)
    _refuse_twins(path, names)
    read = csv.ReadOptions(column_names=names, skip_rows=lines)
    types = {name: pyarrow.string() for name in names}
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=_NULL)
    return csv.read_csv(path, read, parse, convert).to_pydict()


def _header(path: Path, delimiter: str) -> tuple[list[str], int]:
    """Return the names of a table's columns, and how many lines they take.

    Raises:
        DataError: the file is UTF-16, or its columns are separated by semicolons.
    """
    with path.open("rb") as raw:
        first = raw.read(64)
    zeros = max(first[0::2].count(0), first[1::2].count(0))  # every second byte, of Latin letters
    if first[:2] in (b"\xff\xfe", b"\xfe\xff") or zeros > max(4, len(first) // 4):
        raise DataError(f"{path}: the file is UTF-16; save it as UTF-8")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv_text.reader(file, delimiter=delimiter)
        names = [name.strip() for name in next(rows, [])]
        lines = rows.line_num
        if len(names) < 2 and names and "\t" in names[0]:
            raise DataError(f"{path}: columns are separated by tabs; name the file .tsv")
        if len(names) < 2 and names and ";" in names[0]:
            commas = re.search(r"(^|;)-?\d+,\d+(;|$)", file.readline().strip())
            also = " and numbers have decimal commas" if commas else ""
            raise DataError(
                f"{path}: columns are separated by semicolons{also}; "
                f"separate them by commas{', with decimal points' if commas else ''}"
            )
    return names, lines


NUMBER_WITH_COMMAS = re.compile(r"-?\d+(,\d+)+([eE][+-]?\d+)?")
_NULL = ["", "null", "NULL", "None", "NA", "N/A", "nan", "NaN", "-"]


def from_columns(raw: Mapping[str, Any], where: str = "table") -> RunsTable:
    """Check columns of any kind; return them as a table. `where` names it in messages."""
    named = {str(name).strip(): values for name, values in raw.items()}
    columns, notices = with_our_names(named, KINDS)
    missing = [name for name in REQUIRED if name not in columns]
    if not missing and not set(MEASURED) & set(columns):
        missing = list(MEASURED)
    if not missing and not {"flops", "budget_flops"} & set(columns):
        missing = ["flops"]
    if missing:
        has = ", ".join(list(columns)[:12]) or "none"
        near = next((name for name in columns if meant(name, missing) == missing[0]), None)
        hint = f"; if {near!r} is it, rename it" if near else ""
        which = " or ".join(missing) if missing == list(MEASURED) else missing[0]
        raise DataError(f"{where}: lacks the column {which}; its columns: {has}{hint}")
    unknown = [name for name in columns if name not in KINDS]
    if unknown:
        absent = [name for name in KINDS if name not in columns]
        said = [f"{n} (did you mean {m}?)" if (m := meant(n, absent)) else n for n in unknown]
        notices.append(
            f"ignored columns: {', '.join(sorted(said, key=lambda text: '?' not in text)[:8])}"
        )
    kept: dict[str, Any] = {}
    for name, values in columns.items():
        if KINDS.get(name) is str:
            kept[name] = [None if _absent(v) else str(v).strip() for v in values]
        elif name in KINDS:
            kept[name], bad = _numbers(values)
            commas = next(
                (v for v in bad if re.fullmatch(NUMBER_WITH_COMMAS, str(v).strip())), None
            )
            if commas is not None:
                raise DataError(
                    f"{where}: {name} has commas within numbers, such as {commas!r}; write a "
                    "decimal point, and nothing between thousands"
                )
            if bad:
                are = "cell is not a number" if len(bad) == 1 else "cells are not numbers"
                notices.append(f"{name}: {len(bad)} {are}, such as {bad[0]!r:.40}")
    if not len(next(iter(kept.values()), [])):
        raise DataError(f"{where}: the table has a header but no rows")
    return RunsTable(kept, notices)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or value == ""


def _numbers(values: Any) -> tuple[np.ndarray, list[Any]]:
    """Return floats, NaN where missing, and the cells that should have been numbers."""
    out, bad = np.full(len(values), np.nan), []
    for row, value in enumerate(values):
        if _absent(value):
            continue
        try:
            out[row] = float(value)
        except (TypeError, ValueError, OverflowError):
            bad.append(value)
    return out, bad
