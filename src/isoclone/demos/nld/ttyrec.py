"""Recordings as NLE writes them: where they are, whether they are whole, and their frames.

A `<name>.ttyrec3.bz2` holds three interleaved channels: 0 terminal bytes, 1 one byte for each key
pressed, 2 the score as int32. Version 2 lacks the scores; version 1, as kept by public servers
(NLD-NAO), lacks the keys too. Frame t is the screen that was seen before key t. Decoding is done by
NLE's own converter.
"""

from __future__ import annotations

import bz2
import csv
import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isoclone.demos.nld.xlogfile import Log, read_xlogfile
from isoclone.errors import DataError, MissingExtraError

ROWS, COLUMNS = 24, 80
VERSIONS = (2, 3)  # those with keys
BLOCK = 1 << 20
HEADER = struct.Struct("<iiiB")  # seconds, microseconds, bytes that follow, channel
LONGEST = 1 << 20  # more than any screen's worth of terminal output
Row = dict[str, str | None]
_NAME = re.compile(r"\.ttyrec(\d*)\.bz2$")


@dataclass(frozen=True)
class Recording:
    """One game's file.

    `name` is its path below the source; `log` its line in the xlogfile; `seed` and `steps` are
    NetHack's seed and the number of the player's steps, where the recorder told them.
    """

    path: Path
    name: str
    version: int
    log: Log | None
    seed: int | None
    steps: int | None

    @property
    def folder(self) -> str:
        """The folder it lies in, below the source; '' for the source itself."""
        return self.name.rpartition("/")[0]


class Frames(NamedTuple):
    """Consecutive frames: chars and colors (n, 24, 80) uint8, cursor (n, 2) uint8 (row, column),
    keys (n,) uint8, scores (n,) int32."""

    chars: np.ndarray
    colors: np.ndarray
    cursor: np.ndarray
    keys: np.ndarray
    scores: np.ndarray


def find_recordings(source: Path) -> list[Recording]:
    """Every recording in a folder and the folders below it, in the order of their names.

    A table `games.csv` in the recordings' folder or the one above it may tell more: columns
    `ttyrec` (the file's name), `seed`, `env_steps` and, above, `folder`.

    Raises:
        DataError: no such folder, or not a single recording in it.
    """
    if not source.is_dir():
        raise DataError(f"{source} is not a folder of recordings")
    paths = sorted(source.rglob("*.ttyrec*.bz2"), key=_natural)
    if not paths:
        raise DataError(f"{source} holds no *.ttyrec3.bz2 files in it or below")
    logs: dict[Path, dict[str, Log]] = {}
    tables: dict[Path, dict[str, Row]] = {}
    for folder in {path.parent for path in paths}:
        logs[folder] = {}
        for xlogfile in sorted(folder.glob("*xlogfile*")):
            logs[folder] |= read_xlogfile(xlogfile)
        tables[folder] = _games_table(folder)
    found = []
    for path in paths:
        version = _NAME.search(path.name)
        if version:
            name, folder = path.relative_to(source).as_posix(), path.parent
            log, row = logs[folder].get(path.name), tables[folder].get(path.name, {})
            seed, steps = _whole_number(row, "seed"), _whole_number(row, "env_steps")
            found.append(Recording(path, name, int(version[1] or 1), log, seed, steps))
    return found


def _natural(path: Path) -> list[str | int]:
    """nle.7.10 comes after nle.7.9."""
    words = re.split(r"(\d+)", path.as_posix())
    return [int(word) if i % 2 else word for i, word in enumerate(words)]


def _games_table(folder: Path) -> dict[str, Row]:
    """Rows about a folder's recordings, by the recording's file name."""
    rows: dict[str, Row] = {}
    for table in (folder.parent / "games.csv", folder / "games.csv"):
        if table.exists():
            with open(table, newline="", encoding="utf-8", errors="replace") as file:
                for row in csv.DictReader(file):
                    if table.parent == folder or row.get("folder") == folder.name:
                        rows[row.get("ttyrec") or ""] = row
    return rows


def _whole_number(row: Row, column: str) -> int | None:
    text = row.get(column) or ""
    return int(text) if text.isdigit() else None


class Stream(NamedTuple):
    """What a recording holds: SHA-256 of its decompressed bytes, and how many keys."""

    sha256: str
    keys: int


def check_whole(path: Path) -> Stream:
    """Decompress a recording to its end and follow its records.

    NLE's converter loads a truncated or garbled file as far as it can make sense of it, and says so
    on stderr at most.

    Raises:
        DataError: the file is truncated, damaged, or no recording at all.
    """
    digest, keys, rest = hashlib.sha256(), 0, b""
    try:
        with bz2.open(path) as file:
            while block := file.read(BLOCK):
                digest.update(block)
                found, rest = _count_keys(rest + block)
                keys += found
    except EOFError as error:
        raise DataError(f"{path} is truncated") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error})") from error
    if rest:
        raise DataError(f"{path} is truncated: it ends within a record")
    return Stream(digest.hexdigest(), keys)


def _count_keys(data: bytes) -> tuple[int, bytes]:
    """Keys among the whole records of `data`, and the bytes after them.

    Raises:
        ValueError: this cannot be a record.
    """
    keys, at, size = 0, 0, len(data)
    while at + HEADER.size <= size:
        _, _, length, channel = HEADER.unpack_from(data, at)
        if channel > 2 or not 0 <= length <= LONGEST:
            raise ValueError("not a ttyrec, or garbled")
        if at + HEADER.size + length > size:
            break
        keys += channel == 1
        at += HEADER.size + length
    return keys, data[at:]


def decode(path: Path, version: int, count: int) -> Iterator[Frames]:
    """A recording's frames, `count` at a time, the last time fewer. The arrays are used again.

    Raises:
        MissingExtraError: NLE is not installed.
        DataError: the converter cannot read on.
    """
    converter = _converter(version)
    converter.load_ttyrec(str(path))
    chars = np.zeros((count, ROWS, COLUMNS), np.uint8)
    colors = np.zeros((count, ROWS, COLUMNS), np.int8)
    cursor = np.zeros((count, 2), np.int16)
    times, keys = np.zeros(count, np.int64), np.zeros(count, np.uint8)
    scores = np.zeros(count, np.int32)
    missing = 0
    while not missing:
        try:
            missing = converter.convert(chars, colors, cursor, times, keys, scores)
        except RuntimeError as error:
            raise DataError(f"{path} is damaged ({error})") from error
        n = count - missing
        if n:
            places = cursor[:n].astype(np.uint8)
            yield Frames(chars[:n], colors[:n].view(np.uint8), places, keys[:n], scores[:n])


def _converter(version: int):  # type: ignore[no-untyped-def]  # a class of NLE's, in C++
    try:
        from nle import _pyconverter
    except ImportError as error:
        raise MissingExtraError("reading ttyrecs", "nethack") from error
    return _pyconverter.Converter(ROWS, COLUMNS, version)
