"""Demonstrations expanded for training: one memory-mapped row of codes for each frame.

The cache is made once for each way of encoding and can be deleted at any time. Stacks are
gathered from it by row numbers that never cross the start of an episode.

Each process checks a cache as it first opens it, against checksums of each episode's codes that
were counted before they were written; a cache with a changed byte is made again.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isoclone.base.errors import StoreError
from isoclone.base.receipts import Receipts, stamp
from isoclone.base.store import read_json, replacing, sha256_file, write_json
from isoclone.demos.episode import Episode, EpisodeInfo
from isoclone.executors import default_workers
from isoclone.games import FrameSpec, stack_indices
from isoclone.policies.encode import FrameEncoder, fit_encoder

DONE, CODES, STATISTICS = "done.json", "codes.bin", ("mean", "inverse_sd")
EXPAND, EXPAND_AGAIN = "expand", "expand again"  # what progress is told of; the latter is a repair
STATISTICS_FRAMES = 4_000  # enough for a mean and an SD per pixel to two digits
_SOUND: Receipts[list[int]] = Receipts()  # codes, with the checksums that were found
CHUNK = 32  # frames encoded at a time: their float32 copy stays in a core's cache


class Recorded(Protocol):
    """The part of recorded demonstrations that is needed to expand their frames."""

    @property
    def path(self) -> Path: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def frame(self) -> FrameSpec: ...

    @property
    def dev_episodes(self) -> frozenset[int]: ...

    @property
    def episodes(self) -> Sequence[EpisodeInfo]: ...

    @property
    def samples(self) -> int: ...

    def in_split(self, split: str) -> list[Any]: ...

    def samples_in(self, split: str) -> int: ...

    def read(self, index: int) -> Episode: ...


@dataclass(frozen=True)
class FrameCache:
    """Encoded frames of finished demonstrations.

    `codes` is (samples, size), memory-mapped; `actions` (samples,) int64; `starts` (samples,)
    int64 the first row of each sample's episode; `train` and `dev` are row numbers; `episodes`
    (samples,) int64 the episode each row belongs to.
    """

    encoder: FrameEncoder
    codes: np.ndarray
    actions: np.ndarray
    starts: np.ndarray
    episodes: np.ndarray
    train: np.ndarray
    dev: np.ndarray

    def stack_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of the frames that make the observations of (b,) rows, (b, stack)."""
        return stack_indices(rows, self.starts[rows], self.encoder.spec.stack)


def open_cache(
    demos: Recorded,
    frames: str,
    layout: str,
    progress: Callable[[str, float, float], None] | None = None,
) -> FrameCache:
    """Open the cache for one way of encoding; it is made first if it is not there.

    Args:
        frames: 'unit' or 'standardise', see `policies.encode`.
        layout: 'rows', 'blocks4' or 'raw'.
        progress: called with ('expand', frames done, frames), 'expand again' if the cache that was
            there is damaged.
    """
    folder = demos.path / "cache" / f"{demos.fingerprint}-{frames}-{layout}"
    if not _is_whole(folder):
        _expand(demos, frames, layout, folder, progress)
    encoder = _load_encoder(demos, frames, layout, folder)
    lengths = np.array([info.length for info in demos.episodes])
    is_dev = np.repeat([info.index in demos.dev_episodes for info in demos.episodes], lengths)
    # Copy-on-write: torch asks for writable memory; the file itself is never changed.
    codes = np.memmap(folder / CODES, encoder.dtype, "c", shape=(len(is_dev), demos.frame.size))
    return FrameCache(
        encoder=encoder,
        codes=codes,
        actions=np.load(folder / "actions.npy"),
        starts=np.repeat(first_rows(demos), lengths),
        episodes=np.repeat(np.arange(len(lengths)), lengths),
        train=np.flatnonzero(~is_dev),
        dev=np.flatnonzero(is_dev),
    )


def _expand(
    demos: Recorded,
    frames: str,
    layout: str,
    folder: Path,
    progress: Callable[[str, float, float], None] | None,
) -> None:
    """Write the codes of all frames, decoding and encoding on every core.

    Threads are enough for that: Arrow and NumPy release Python's lock while they work.
    """
    actions, checksums, written, total = [], [], 0, demos.samples
    what = EXPAND_AGAIN if (folder / DONE).exists() else EXPAND
    with ThreadPoolExecutor(default_workers()) as threads:
        encoder = fit_encoder(frames, layout, demos.frame, _statistics_frames(demos, threads.map))
        with replacing(folder / CODES) as temporary, open(temporary, "wb") as file:

            def expand(info: EpisodeInfo, first: int) -> tuple[np.ndarray, int]:
                return _expand_episode(demos.read(info.index), encoder, file.fileno(), first)

            for part, checksum in threads.map(expand, demos.episodes, first_rows(demos)):
                actions.append(part)
                checksums.append(checksum)
                written += len(part)
                if progress:
                    progress(what, written, total)
    for name, array in (
        ("actions", np.concatenate(actions).astype(np.int64)),
        ("mean", encoder.mean),
        ("inverse_sd", encoder.inverse_sd),
    ):
        with replacing(folder / f"{name}.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, array)
    row_bytes = demos.frame.size * encoder.dtype.itemsize
    parts = [
        [len(part) * row_bytes, checksum] for part, checksum in zip(actions, checksums, strict=True)
    ]
    write_json(folder / DONE, {"samples": written, "files": _facts(folder), "codes": parts})


def _is_whole(folder: Path) -> bool:
    """Return whether a cache is complete and unchanged; one that is not is made again."""
    try:
        told = read_json(folder / DONE)
        return bool(told["files"] == _facts(folder)) and _are_sound(
            folder / CODES, [(int(size), int(checksum)) for size, checksum in told["codes"]]
        )
    except (StoreError, OSError, KeyError, TypeError, ValueError):
        return False


def _facts(folder: Path) -> dict[str, str]:
    """Return the hashes of the small files, which must not change."""
    return {name: sha256_file(folder / f"{name}.npy") for name in ("actions", *STATISTICS)}


def _are_sound(path: Path, parts: list[tuple[int, int]]) -> bool:
    """Return whether the codes have the checksum of each part: (bytes, CRC-32) in order.

    Codes that this process found sound, and that have not changed since, are not read again.
    """
    before, wanted = stamp(path), [checksum for _, checksum in parts]
    if _SOUND.of(path, before) == wanted:
        return True
    sizes = np.array([0, *(size for size, _ in parts)])
    ends = sizes.cumsum()
    if path.stat().st_size != ends[-1]:
        return False
    codes = np.memmap(path, np.uint8, "r")
    pieces = [codes[ends[at] : ends[at + 1]].data for at in range(len(parts))]
    with ThreadPoolExecutor(default_workers()) as threads:  # zlib releases Python's lock
        sound = list(threads.map(zlib.crc32, pieces)) == wanted
    if sound:
        _SOUND.keep(path, before, wanted)
    return sound


def _expand_episode(
    episode: Episode, encoder: FrameEncoder, file: int, first: int
) -> tuple[np.ndarray, int]:
    """Write an episode's codes into the file, from row `first` on.

    Returns:
        The episode's actions, and the CRC-32 of its codes.
    """
    checksum = 0
    for start in range(0, len(episode.frames), CHUNK):
        codes = encoder.encode(episode.frames[start : start + CHUNK])
        checksum = zlib.crc32(codes.data, checksum)
        if os.pwrite(file, codes.data, (first + start) * codes[0].nbytes) < codes.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the disk is full
    return episode.actions, checksum


def first_rows(demos: Recorded) -> np.ndarray:
    """Return the row of each episode's first frame, (episodes,) int64."""
    lengths = np.array([info.length for info in demos.episodes])
    return lengths.cumsum() - lengths


def _statistics_frames(demos: Recorded, apply: Callable[..., Iterable[Any]]) -> np.ndarray:
    """Return training frames, evenly thinned to about `STATISTICS_FRAMES`."""
    every = max(1, demos.samples_in("train") // STATISTICS_FRAMES)
    train = [info.index for info in demos.in_split("train")]
    return np.concatenate(
        list(apply(lambda index: demos.read(index).frames[::every].copy(), train))
    )


def _load_encoder(demos: Recorded, frames: str, layout: str, folder: Path) -> FrameEncoder:
    mean, inverse_sd = (np.load(folder / f"{name}.npy") for name in STATISTICS)
    return FrameEncoder(frames, layout, demos.frame, mean, inverse_sd)
