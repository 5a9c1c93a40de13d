"""One episode on disk: a zstd Parquet file of single frames, actions and rewards.

Each frame is stored once, in the order of play. Pages are large, since zstd compresses what
consecutive frames have in common only within a page. Stacks are made later, when they are needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.base.parquet import check
from isoclone.base.records import conform
from isoclone.base.store import replacing
from isoclone.games import FrameSpec

PAGE_BYTES = 8 << 20


@dataclass(frozen=True)
class EpisodeInfo:
    """A row of the episode table.

    `episode_return` is None where the source of imported play has no rewards. `end` is 'terminated'
    (the game ended), 'truncated' (the step limit was reached), or of imported play 'unknown'.
    """

    index: int
    seed: int
    length: int
    episode_return: float | None
    end: str
    content_sha256: str
    action_error: float | None = None  # mean distance to the bins' centres, if actions have bins

    def __post_init__(self) -> None:
        conform(self)


@dataclass(frozen=True)
class Episode:
    """Frames (t, *shape), actions (t,) int16, rewards (t,) float32.

    Actions are (t, factors) where they have several, int32 where a factor has so many values;
    rewards are float64 where float32 would round one. `action_error` is no part of the contents.
    Row t holds the frame that was seen, the action that the expert chose, and the reward for it;
    NaN is a reward that the source of imported play does not have.
    """

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    action_error: float | None = None  # see `EpisodeInfo`

    def content_sha256(self) -> str:
        """Return a hash of the contents, which does not depend on the file format."""
        digest = hashlib.sha256()
        for array in (self.frames, self.actions, self.rewards):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def exact(rewards: Sequence[float]) -> np.ndarray:
    """Return rewards as float32 if that rounds none of them, else as float64."""
    wide = np.array(rewards, np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    return narrow if (narrow == wide).all() else wide


def return_of(episode: Episode) -> float | None:
    """Return the sum of an episode's rewards; None where they are missing (NaN)."""
    total = float(episode.rewards.sum(dtype=np.float64))
    return None if np.isnan(total) else total


def write_episode(path: Path, episode: Episode, info: EpisodeInfo, flush: bool = True) -> None:
    """Write an episode, whole or not at all; without `flush` it may yet be lost by a power cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = episode.frames[0].nbytes
    buffer = pa.py_buffer(np.ascontiguousarray(episode.frames))
    frames = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), len(episode.frames), [None, buffer]
    )
    actions: Any = episode.actions
    if actions.ndim == 2:
        flat = pa.array(np.ascontiguousarray(actions).reshape(-1))
        actions = pa.FixedSizeListArray.from_arrays(flat, actions.shape[1])
    columns = {"frame": frames, "action": actions, "reward": episode.rewards}
    table = pa.table(columns, metadata={"isoclone": json.dumps(asdict(info))})
    with replacing(path, flush) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=6,
            use_dictionary=["action", "action.list.element", "reward"],
            data_page_size=PAGE_BYTES,
            write_statistics=False,
        )


def read_info(path: Path) -> EpisodeInfo:
    """Read the episode's row from the file's own metadata.

    Raises:
        DataError: the file is damaged or not an episode.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
        return EpisodeInfo(**json.loads(metadata[b"isoclone"]))
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged or not an isoclone episode; record it again") from error


def read_actions(path: Path) -> np.ndarray:
    """Read an episode's actions alone, (t,) or (t, factors).

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check(path, ["action"])
        return _actions(pq.ParquetFile(path).read(["action"])["action"])  # imports no pandas
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())[:100]})") from error


def _actions(column: Any) -> np.ndarray:
    """Return the column of actions as an array."""
    size = getattr(column.type, "list_size", None)
    whole = column.combine_chunks()
    return _array(whole) if size is None else _array(whole.flatten()).reshape(-1, size)


def _array(values: Any) -> np.ndarray:
    """Return numbers of Arrow's, none of them null, as an array; `to_numpy` imports pandas."""
    return np.array(np.from_dlpack(values))


def read_episode(path: Path, frame: FrameSpec) -> Episode:
    """Read an episode back.

    Raises:
        DataError: the file is damaged, or its frames are not of `frame`'s size.
    """
    raw = _read_raw(path)
    try:
        frames = raw.frames.reshape(-1).view(frame.dtype).reshape(len(raw.frames), *frame.shape)
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error})") from error
    return Episode(frames, raw.actions, raw.rewards)


def read_sound_info(path: Path) -> EpisodeInfo:
    """Read the episode's row from the file's own metadata, and hold its contents to it.

    Raises:
        DataError: the file is damaged or not an episode.
    """
    info = read_info(path)
    if _read_raw(path).content_sha256() != info.content_sha256:
        raise DataError(f"{path} does not hold what was recorded; record it again")
    return info


def _read_raw(path: Path) -> Episode:
    """Read an episode; its frames are (t, bytes of one) uint8, whatever they hold."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check(path, ["frame", "action", "reward"])
        table = pq.ParquetFile(path).read(["frame", "action", "reward"]).combine_chunks()
        column = table["frame"].chunk(0)
        return Episode(
            np.frombuffer(column.buffers()[1], np.uint8).reshape(len(table), -1),
            _actions(table["action"]),
            _array(table["reward"].combine_chunks()),
        )
    except (pa.ArrowException, OSError, KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())[:100]})") from error
