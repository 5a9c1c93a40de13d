"""Recordings as NLE writes them: where they are, whether they are whole, and their frames.

A `<name>.ttyrec3.bz2` holds three interleaved channels: 0 terminal bytes, 1 one byte for each key
pressed, 2 the score as int32. Version 2 lacks the scores; version 1, as kept by public servers
(NLD-NAO), lacks the keys and the channels. Frame t is the screen that was seen before key t.

Decoding is done by NLE's own converter, which trusts what it reads: it writes a score that has no
key beyond its buffers, and repeats a character as often as it is told. So no recording is handed to
it before `check_whole` has followed its records to the end.
"""

from __future__ import annotations

import bz2
import csv
import math
import re
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isoclone.base.errors import DataError, MissingExtraError
from isoclone.nethack.recordings.xlogfile import Log, read_xlogfile, whole_number

ROWS, COLUMNS = 24, 80
VERSIONS = (2, 3)  # those with keys
BLOCK = 1 << 20
HEADER = struct.Struct("<iiiB")  # seconds, microseconds, bytes that follow, channel
OLD_HEADER = struct.Struct("<iii")  # of version 1
LONGEST = 1 << 20  # more than any screen's worth of terminal output
TERMINAL, KEY, SCORE = range(3)
IN_SEQUENCE = bytes(range(ord("0"), ord("9") + 1)) + b"\x00\x1b[(*+);?"  # before its last byte
REPEAT_DIGITS = 4  # a thousand of one character is no screen of NetHack's
PLAIN_SET = b"\x1b(B"  # letters are letters, not parts of lines
RECORDINGS = "*.ttyrec*.bz2"
_NAME = re.compile(r"\.ttyrec(\d*)\.bz2$")


@dataclass(frozen=True)
class Told:
    """What the recorder told of a game in `games.csv`; None where it did not.

    `seed` is NetHack's, `steps` the number of the player's steps, `game` which game it was,
    `returned` the sum of the rewards, `terminated` whether the game ended by itself.
    """

    seed: int | None = None
    steps: int | None = None
    game: str | None = None
    returned: float | None = None
    terminated: bool | None = None


@dataclass(frozen=True)
class Recording:
    """One game's file.

    `name` is its path below the source; `log` its line in the xlogfile.
    """

    path: Path
    name: str
    version: int
    log: Log | None
    told: Told


class Frames(NamedTuple):
    """Consecutive frames: chars and colors (n, 24, 80) uint8, cursor (n, 2) uint8 (row, column),
    keys (n,) uint8, scores (n,) int32."""

    chars: np.ndarray
    colors: np.ndarray
    cursor: np.ndarray
    keys: np.ndarray
    scores: np.ndarray


def folder_of(name: str) -> str:
    """The folder that the recording lies in, below the source; '' for the source itself."""
    return name.rpartition("/")[0]


def holds_recordings(source: Path) -> bool:
    """Whether there is a recording in a folder, or below."""
    return any(source.rglob(RECORDINGS))


def find_recordings(source: Path) -> list[Recording]:
    """Every recording in a folder and the folders below it, in the order of their names.

    A table `games.csv` in the recordings' folder or the one above it may tell more: columns
    `ttyrec` (the file's name), `seed`, `env_steps` and, above, `folder`; of games that are not the
    challenge also `game`, `return`, `death` and `how_it_ended`.

    Raises:
        DataError: no such folder, not a single recording in it, or a damaged table or xlogfile.
    """
    if not source.is_dir():
        raise DataError(f"{source} is not a folder of recordings")
    paths = sorted(source.rglob(RECORDINGS), key=lambda path: natural(path.as_posix()))
    if not paths:
        raise DataError(f"{source} holds no *.ttyrec3.bz2 files in it or below")
    folders = {path.parent for path in paths}
    logs = {folder: _logs(folder) for folder in folders}
    tables = {folder: _games_table(folder) for folder in folders}
    found = []
    for path in paths:
        version = _NAME.search(path.name)
        if version:
            name, folder = path.relative_to(source).as_posix(), path.parent
            log, told = logs[folder].get(path.name), tables[folder].get(path.name, Told())
            found.append(Recording(path, name, int(version[1] or 1), log, told))
    return found


def natural(name: str) -> list[str | int]:
    """What to sort by, so that nle.7.10 comes after nle.7.9."""
    words = re.split(r"(\d+)", name)
    return [int(word) if i % 2 else word for i, word in enumerate(words)]


def _logs(folder: Path) -> dict[str, Log]:
    """The logs of a folder's recordings, by the recording's file name."""
    logs: dict[str, Log] = {}
    for xlogfile in sorted(folder.glob("*xlogfile*")):
        for name, log in read_xlogfile(xlogfile).items():
            if logs.setdefault(name, log) != log:
                raise DataError(f"{xlogfile}: another xlogfile tells otherwise about {name}")
    return logs


def _games_table(folder: Path) -> dict[str, Told]:
    """What is told about a folder's recordings, by the recording's file name."""
    rows: dict[str, Told] = {}
    for table in (folder.parent / "games.csv", folder / "games.csv"):
        if table.is_file():
            of_folder = folder.name if table.parent != folder else None
            rows |= _rows_of(table, of_folder)
    return rows


def _rows_of(table: Path, folder: str | None) -> dict[str, Told]:
    """Rows of a table about recordings, those of a folder only; none if it is about other things.

    Raises:
        DataError: the table is damaged: a count that cannot be read would be play lost or added.
    """
    rows: dict[str, Told] = {}
    with open(table, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            columns = set(reader.fieldnames or ())
            if not columns & {"ttyrec", "env_steps"}:
                return {}
            if missing := {"ttyrec", *(["folder"] if folder else [])} - columns:
                raise ValueError(f"it lacks the column {min(missing)}")
            for cells in reader:
                if None in cells or None in cells.values():
                    raise ValueError("more or fewer cells than columns")
                if folder in (None, cells.get("folder")):
                    row = _told(cells)
                    if rows.setdefault(cells["ttyrec"], row) != row and cells["ttyrec"]:
                        raise ValueError(f"another line tells otherwise about {cells['ttyrec']}")
        except (csv.Error, ValueError) as error:
            raise DataError(f"{table}, line {reader.line_num} is damaged: {error}") from error
    return rows


def _told(cells: dict[str, str]) -> Told:
    """A line of the table.

    Raises:
        ValueError: a number that is none.
    """
    seed, steps = (_whole_number(cells, column) for column in ("seed", "env_steps"))
    if not cells.get("game"):
        return Told(seed, steps)
    returned = float(cells["return"]) if cells.get("return") else None
    if returned is not None and not math.isfinite(returned):
        raise ValueError("return is no number")
    terminated = cells.get("how_it_ended") == cells.get("death")  # as `record.table_row` has it
    return Told(seed, steps, cells["game"], returned, terminated)


def _whole_number(cells: dict[str, str], column: str) -> int | None:
    return whole_number(cells[column], column) if cells.get(column) else None


class Stream(NamedTuple):
    """How many frames a recording holds, and whether its very last record makes one."""

    frames: int
    breaks_off: bool


def check_whole(path: Path, version: int) -> Stream:
    """Decompress a recording to its end and follow its records.

    NLE's converter loads a truncated or garbled file as far as it can make sense of it, and says so
    on stderr at most; see above for what else it does.

    Raises:
        DataError: the file is truncated, damaged, or no recording at all.
    """
    records = _Records(version)
    try:
        for block in _decompressed(path):
            records.follow(block)
    except EOFError as error:
        raise DataError(f"{path} is truncated") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} is damaged ({why})") from error
    if records.rest:
        raise DataError(f"{path} is truncated: it ends within a record")
    return Stream(records.frames, records.at_frame)


def _decompressed(path: Path) -> Iterator[bytes]:
    """A bz2 file's contents in blocks. NLE reads no second stream, so there must be none.

    Raises:
        EOFError: the file ends early.
        ValueError: it goes on after its end.
        OSError: it is damaged, or cannot be read.
    """
    machine = bz2.BZ2Decompressor()
    with open(path, "rb") as file:
        while not machine.eof:
            fed = file.read(BLOCK) if machine.needs_input else b""
            if machine.needs_input and not fed:
                raise EOFError
            yield machine.decompress(fed, BLOCK)
        if machine.unused_data or file.read(1):
            raise ValueError("something follows after its end")


class _Records:
    """Follows the records of a recording, which comes in blocks, and counts its frames.

    `rest` are bytes of a record that has begun; `at_frame` tells whether the last one made a frame.
    """

    def __init__(self, version: int):
        self.frames, self.rest, self.at_frame = 0, b"", False
        self._version, self._header = version, HEADER if version > 1 else OLD_HEADER
        self._scored, self._tail = False, b""

    def follow(self, block: bytes) -> None:
        """Read on.

        Raises:
            ValueError: this cannot be a recording of that version.
        """
        data, at, shown = self.rest + block, 0, [self._tail]
        size, head = len(data), self._header.size
        while at + head <= size:
            length, channel = self._lengths(data, at)
            if not 0 < length <= LONGEST:
                raise ValueError("not a ttyrec, or garbled")
            end = at + head + length
            if end > size:
                break
            if channel == TERMINAL:
                shown.append(data[at + head : end])
            else:
                self._press(channel, length)
            self.at_frame = channel == KEY or self._version == 1
            self.frames += self.at_frame
            at = end
        self.rest = data[at:]
        self._tail = _without_repeats(b"".join(shown))

    def _lengths(self, data: bytes, at: int) -> tuple[int, int]:
        if self._version == 1:
            return OLD_HEADER.unpack_from(data, at)[2], TERMINAL
        return HEADER.unpack_from(data, at)[2:]

    def _press(self, channel: int, length: int) -> None:
        """A key or the score before it: in version 3 they take turns."""
        wanted = SCORE if self._version == 3 and not self._scored else KEY
        if channel != wanted or length != (4 if channel == SCORE else 1):
            raise ValueError("not a ttyrec, or garbled: keys and scores do not take turns")
        self._scored = channel == SCORE


def _without_repeats(text: bytes) -> bytes:
    """The beginning of a control sequence that the text ends with, if it does.

    Raises:
        ValueError: the terminal is told to repeat a character without end, which it would.
    """
    *sequences, tail = (p[len(p.rstrip(IN_SEQUENCE)) :] for p in text.split(b"b"))
    for sequence in sequences:
        escaped = sequence.partition(b"\x1b")[2]
        if sum(48 <= byte < 58 for byte in escaped) >= REPEAT_DIGITS:
            raise ValueError("not a ttyrec, or garbled: a character is repeated without end")
    return tail


def decode(path: Path, version: int, stream: Stream, count: int) -> Iterator[Frames]:
    """A recording's frames, `count` at a time, the last time fewer. The arrays are used again.

    Args:
        stream: what `check_whole` said of it.

    Raises:
        MissingExtraError: NLE is not installed.
        DataError: the converter cannot read on, or leaves frames out.
    """
    converter, arrays, decoded = _converter(version), _arrays(count), 0
    chars, colors, cursor, _, keys, scores = arrays
    missing = 0
    with _readable(path, version, stream) as file:
        converter.load_ttyrec(str(file))
        while not missing:
            try:
                missing = converter.convert(*arrays)
            except RuntimeError as error:
                raise DataError(f"{path} is damaged ({error})") from error
            n = min(count - missing, stream.frames - decoded)
            decoded += n
            if n:
                places = cursor[:n].astype(np.uint8)
                yield Frames(chars[:n], colors[:n].view(np.uint8), places, keys[:n], scores[:n])
    if decoded != stream.frames:
        raise DataError(f"{path}: {decoded} of {stream.frames} frames can be decoded")


@contextmanager
def _readable(path: Path, version: int, stream: Stream) -> Iterator[Path]:
    """The file, or a copy of it with a record more: NLE 1.3 leaves out the last one of a file.

    It only matters where that record makes a frame: in recordings that break off at a key, and in
    all of version 1.
    """
    if not stream.breaks_off:
        yield path
        return
    with tempfile.NamedTemporaryFile() as copy:
        machine = bz2.BZ2Compressor(1)
        for block in _decompressed(path):
            copy.write(machine.compress(block))
        copy.write(machine.compress(_plain(version)) + machine.flush())
        copy.flush()
        yield Path(copy.name)


def _plain(version: int) -> bytes:
    """A record that makes letters letters."""
    length = len(PLAIN_SET)
    header = HEADER.pack(0, 0, length, TERMINAL) if version > 1 else OLD_HEADER.pack(0, 0, length)
    return header + PLAIN_SET


def _arrays(count: int) -> tuple[np.ndarray, ...]:
    """What the converter writes so many frames to."""
    return (
        np.zeros((count, ROWS, COLUMNS), np.uint8),
        np.zeros((count, ROWS, COLUMNS), np.int8),
        np.zeros((count, 2), np.int16),
        np.zeros(count, np.int64),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int32),
    )


def _converter(version: int):  # type: ignore[no-untyped-def]  # a class of NLE's, in C++
    """A fresh converter.

    One thing it shares with all others of the process: which set of characters a reset terminal
    has. A game that switched to line drawing would garble the next one, so it is switched back.
    """
    try:
        from nle import _pyconverter
    except ImportError as error:
        raise MissingExtraError("reading ttyrecs", "nethack") from error
    converter = _pyconverter.Converter(ROWS, COLUMNS, version)
    with tempfile.NamedTemporaryFile() as file:
        file.write(bz2.compress(2 * _plain(version)))  # the last record of a file is not read
        file.flush()
        converter.load_ttyrec(file.name)
        converter.convert(*_arrays(1))
    return converter
