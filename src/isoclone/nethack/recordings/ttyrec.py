"""Find NLE's recordings, check that they are complete, and decode their frames.

A `<name>.ttyrec3.bz2` holds three interleaved channels: 0 terminal bytes, 1 one byte for each key
pressed, 2 the score as int32. Version 2 lacks the scores; version 1, as kept by public servers
(NLD-NAO), lacks the keys and the channels. Frame t is the screen that was seen before key t.

Decoding is done by NLE's own converter, which does not check its input: it writes a score without a
key beyond its buffers, and repeats a character any number of times. So `check_whole` follows the
records of a recording to the end before the converter reads it.
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
VERSIONS = (2, 3)  # the ones with keys
BLOCK = 1 << 20
HEADER = struct.Struct("<iiiB")  # seconds, microseconds, bytes that follow, channel
OLD_HEADER = struct.Struct("<iii")  # of version 1
LONGEST = 1 << 20  # more than any screen's worth of terminal output
TERMINAL, KEY, SCORE = range(3)
IN_SEQUENCE = bytes(range(ord("0"), ord("9") + 1)) + b"\x00\x1b[(*+);?"  # before its last byte
REPEAT_DIGITS = 4  # NetHack never repeats a character a thousand times
PLAIN_SET = b"\x1b(B"  # selects letters instead of line drawing
RECORDINGS = "*.ttyrec*.bz2"
_NAME = re.compile(r"\.ttyrec(\d*)\.bz2$")


@dataclass(frozen=True)
class Told:
    """Facts about a game in `games.csv`; None if missing.

    `seed` is NetHack's, `steps` the number of the player's steps, `game` the name of the game,
    `returned` the sum of the rewards, `terminated` whether the game ended by itself.
    """

    seed: int | None = None
    steps: int | None = None
    game: str | None = None
    returned: float | None = None
    terminated: bool | None = None


@dataclass(frozen=True)
class Recording:
    """The file of one game.

    `name` is its path below the source, `log` its line in the xlogfile.
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
    """Return the folder of a recording, below the source; '' for the source itself."""
    return name.rpartition("/")[0]


def holds_recordings(source: Path) -> bool:
    """Return whether there is a recording in a folder or below it."""
    return any(source.rglob(RECORDINGS))


def find_recordings(source: Path) -> list[Recording]:
    """Return every recording in a folder and below it, in the order of their names.

    A table `games.csv` in the recordings' folder or the one above it may add facts: columns
    `ttyrec` (the file's name), `seed`, `env_steps` and, above, `folder`; for games other than the
    challenge also `game`, `return`, `death` and `how_it_ended`.

    Raises:
        DataError: no such folder, no recordings in it, or a damaged table or xlogfile.
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
    """Return a key for sorting, by which nle.7.10 comes after nle.7.9."""
    words = re.split(r"(\d+)", name)
    return [int(word) if i % 2 else word for i, word in enumerate(words)]


def _logs(folder: Path) -> dict[str, Log]:
    """Return the logs of a folder's recordings, by the recording's file name."""
    logs: dict[str, Log] = {}
    for xlogfile in sorted(folder.glob("*xlogfile*")):
        for name, log in read_xlogfile(xlogfile).items():
            if logs.setdefault(name, log) != log:
                raise DataError(f"{xlogfile}: the line about {name} differs in another xlogfile")
    return logs


def _games_table(folder: Path) -> dict[str, Told]:
    """Return the facts in games.csv about a folder's recordings, by the recording's file name."""
    rows: dict[str, Told] = {}
    for table in (folder.parent / "games.csv", folder / "games.csv"):
        if table.is_file():
            of_folder = folder.name if table.parent != folder else None
            rows |= _rows_of(table, of_folder)
    return rows


def _rows_of(table: Path, folder: str | None) -> dict[str, Told]:
    """Return the rows of a table about the recordings of a folder; {} if it is another table.

    Raises:
        DataError: the table is damaged; without its counts the games could be cut wrongly.
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
                        raise ValueError(f"another line about {cells['ttyrec']} differs")
        except (csv.Error, ValueError) as error:
            raise DataError(f"{table}, line {reader.line_num} is damaged: {error}") from error
    return rows


def _told(cells: dict[str, str]) -> Told:
    """Return the facts in a line of the table.

    Raises:
        ValueError: a cell is not a number.
    """
    seed, steps = (_whole_number(cells, column) for column in ("seed", "env_steps"))
    if not cells.get("game"):
        return Told(seed, steps)
    returned = float(cells["return"]) if cells.get("return") else None
    if returned is not None and not math.isfinite(returned):
        raise ValueError("return is not a number")
    terminated = cells.get("how_it_ended") == cells.get("death")  # as `record.table_row` writes it
    return Told(seed, steps, cells["game"], returned, terminated)


def _whole_number(cells: dict[str, str], column: str) -> int | None:
    return whole_number(cells[column], column) if cells.get(column) else None


class Stream(NamedTuple):
    """Number of frames of a recording, and whether its last record completes one."""

    frames: int
    breaks_off: bool


def check_whole(path: Path, version: int) -> Stream:
    """Decompress a recording to its end and follow its records.

    NLE's converter loads a truncated or garbled file as far as possible and at most prints to
    stderr; the module's docstring says what else it does.

    Raises:
        DataError: the file is truncated, damaged, or not a recording.
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
    """Yield the contents of a bz2 file in blocks; a second stream, which NLE ignores, is an error.

    Raises:
        EOFError: the file ends early.
        ValueError: there is data after its end.
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
            raise ValueError("there is data after its end")


class _Records:
    """A parser of a recording's records, fed in blocks, that counts the frames.

    `rest` are the bytes of an incomplete record; `at_frame` says whether the last complete record
    made a frame.
    """

    def __init__(self, version: int):
        self.frames, self.rest, self.at_frame = 0, b"", False
        self._version, self._header = version, HEADER if version > 1 else OLD_HEADER
        self._scored, self._tail = False, b""

    def follow(self, block: bytes) -> None:
        """Parse the next block.

        Raises:
            ValueError: it is not a recording of that version.
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
        """Raise ValueError unless keys, and in version 3 scores before them, come in order."""
        wanted = SCORE if self._version == 3 and not self._scored else KEY
        if channel != wanted or length != (4 if channel == SCORE else 1):
            raise ValueError("not a ttyrec, or garbled: keys and scores do not alternate")
        self._scored = channel == SCORE


def _without_repeats(text: bytes) -> bytes:
    """Return the incomplete control sequence at the end of a text; b"" without one.

    Raises:
        ValueError: the text orders a character to be repeated a thousand times or more.
    """
    *sequences, tail = (p[len(p.rstrip(IN_SEQUENCE)) :] for p in text.split(b"b"))
    for sequence in sequences:
        escaped = sequence.partition(b"\x1b")[2]
        if sum(48 <= byte < 58 for byte in escaped) >= REPEAT_DIGITS:
            raise ValueError("not a ttyrec, or garbled: a character is repeated without end")
    return tail


def decode(path: Path, version: int, stream: Stream, count: int) -> Iterator[Frames]:
    """Yield a recording's frames, `count` at a time, the last time fewer; arrays are reused.

    Args:
        stream: the result of `check_whole`.

    Raises:
        MissingExtraError: NLE is not installed.
        DataError: the converter fails, or leaves frames out.
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
    """Yield the file, or a copy with one more record: NLE 1.3 leaves out a file's last record.

    This matters only if that record makes a frame: in recordings that break off at a key, and in
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
    """Return a record that selects letters instead of line drawing."""
    length = len(PLAIN_SET)
    header = HEADER.pack(0, 0, length, TERMINAL) if version > 1 else OLD_HEADER.pack(0, 0, length)
    return header + PLAIN_SET


def _arrays(count: int) -> tuple[np.ndarray, ...]:
    """Return the arrays for `count` frames that the converter fills."""
    return (
        np.zeros((count, ROWS, COLUMNS), np.uint8),
        np.zeros((count, ROWS, COLUMNS), np.int8),
        np.zeros((count, 2), np.int16),
        np.zeros(count, np.int64),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int32),
    )


def _converter(version: int):  # type: ignore[no-untyped-def]  # a class of NLE's, in C++
    """Return a new converter, with its character set reset.

    All converters of a process share the character set of a reset terminal. A game that switched
    to line drawing would garble the next one, so it is switched back.
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
