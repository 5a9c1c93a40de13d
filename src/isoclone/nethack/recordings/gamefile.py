"""The file of one game in the store: Arrow IPC with whole screens, in batches compressed by zstd.

Consecutive screens are nearly equal, so zstd stores only a few bytes of each: fewer than bz2 needs
for the terminal stream, and one call decompresses a batch at gigabytes a second. A reader holds
one batch of `FRAMES` screens at a time.

All recorded frames are kept, also those after the last action (see `cut`); a game's `length` says
how many of them are demonstrations.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from isoclone.base.errors import DataError
from isoclone.base.store import replacing
from isoclone.nethack.recordings.ttyrec import COLUMNS, ROWS, Frames

FRAMES = 512  # 2 MB of screens; 1,024 would take a tenth less on disk and twice the memory
LEVEL = 9
CELLS = ROWS * COLUMNS
FACTS = b"isoclone"
SCHEMA = pa.schema(
    [
        ("chars", pa.binary(CELLS)),
        ("colors", pa.binary(CELLS)),
        ("cursor", pa.binary(2)),
        ("key", pa.uint8()),
        ("score", pa.int32()),
    ]
)
SCREENS, MOVES = [0, 1, 2], [3, 4]


class Screens(NamedTuple):
    """Consecutive screens: chars and colors (n, 24, 80), cursor (n, 2), all uint8, read-only."""

    chars: np.ndarray
    colors: np.ndarray
    cursor: np.ndarray


def write_game(path: Path, batches: Iterator[Frames], facts: dict[str, Any]) -> None:
    """Write a game, whole or not at all.

    Args:
        batches: frames, `FRAMES` at a time; the last batch may be shorter.
        facts: kept with the last batch, as JSON.
    """
    options = pa.ipc.IpcWriteOptions(
        compression=pa.Codec("zstd", compression_level=LEVEL), use_threads=False
    )
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, SCHEMA, options=options) as writer,
    ):
        held = None
        for frames in batches:
            if held is not None:
                writer.write_batch(held)
            held = _record_batch(frames)
        if held is not None:  # only here are the facts known
            writer.write_batch(held, custom_metadata={FACTS: json.dumps(facts).encode()})


def _record_batch(frames: Frames) -> pa.RecordBatch:
    n = len(frames.keys)
    parts = (frames.chars, frames.colors, frames.cursor)
    columns = [
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(part[0].nbytes), n, [None, pa.py_buffer(part.tobytes())]
        )
        for part in parts
    ]
    return pa.record_batch(
        [*columns, pa.array(frames.keys.copy()), pa.array(frames.scores.copy())], schema=SCHEMA
    )


class GameFile:
    """A stored game, open for reading; `screens(i)` decompresses a batch at each call."""

    def __init__(self, path: Path, frames: int | None = None):
        """Open the file.

        Args:
            frames: the number of frames it must hold, if known.

        Raises:
            DataError: it is missing, damaged, or no stored game.
        """
        self.path, self._frames = path, frames
        with self._reading():
            self._file = pa.memory_map(str(path))
            self._screens = self._open(SCREENS)

    def _open(self, fields: list[int]) -> pa.RecordBatchFileReader:
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=fields)
        opened = pa.ipc.open_file(self._file, options=options)
        if opened.schema != pa.schema([SCHEMA.field(i) for i in fields]):
            raise ValueError("it has other columns")
        return opened

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of reading the file into DataError, within a `with` block."""
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())[:100]
            raise DataError(f"{self.path} is damaged ({said}); import it again") from error

    def _check_length(self, length: int, first: int = 0, most: int = sys.maxsize) -> None:
        """Raise ValueError unless `length` is the number of frames from `first` on, or `most`."""
        if self._frames is not None and length != min(most, self._frames - first):
            raise ValueError(f"{length} frames from number {first} on, of {self._frames} in all")

    @property
    def batches(self) -> int:
        """Number of batches of screens; all but the last hold `FRAMES`."""
        return int(self._screens.num_record_batches)

    def screens(self, i: int) -> Screens:
        """Return the screens of batch `i`.

        Raises:
            DataError: the file is damaged.
        """
        with self._reading():
            batch = self._screens.get_batch(i)
            batch.validate()  # raises unless all bytes that are read below are there
            n = len(batch)
            self._check_length(n, i * FRAMES, FRAMES)
            chars, colors, cursor = (_bytes(column, n) for column in batch.columns)
        return Screens(
            chars.reshape(n, ROWS, COLUMNS), colors.reshape(n, ROWS, COLUMNS), cursor.reshape(n, 2)
        )

    def moves(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all keys, (n,) uint8, and scores, (n,) int32, of the recording.

        Raises:
            DataError: the file is damaged.
        """
        with self._reading():
            table = self._open(MOVES).read_all()
            table.validate()
            self._check_length(len(table))
            return table["key"].to_numpy(), table["score"].to_numpy()

    def facts(self) -> dict[str, Any]:
        """Return the facts that were written with the game.

        Raises:
            DataError: the file is damaged.
        """
        with self._reading():
            found = self._screens.get_batch_with_custom_metadata(self.batches - 1)
            facts: dict[str, Any] = json.loads(found.custom_metadata[FACTS])
        return facts


def _bytes(column: pa.Array, n: int) -> np.ndarray:
    size = n * column.type.byte_width
    return np.frombuffer(column.buffers()[1], np.uint8, size)
