"""Samples per second into batches, and bytes per stored sample: the paper's way and ours.

The paper's way, in a few lines: one Parquet file for each episode, each row a flattened stack of
four frames as integers, read through PyArrow into float arrays.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from common import alternating, show

import isoclone as ic
from isoclone.demos import open_cache
from isoclone.demos.batches import Batches, to_input
from isoclone.games import stack_indices

BATCH = 64


def paper_files(demos: ic.Demonstrations, folder: Path, episodes: int) -> list[Path]:
    """The first episodes as the paper stores them."""
    paths = []
    for info in demos.episodes[:episodes]:
        episode = demos.read(info.index)
        rows = stack_indices(np.arange(info.length), np.zeros(info.length, np.int64), 4)
        stacks = episode.frames[rows].reshape(info.length, -1)
        flat = pa.array(stacks.reshape(-1).astype(np.int64))
        column = pa.FixedSizeListArray.from_arrays(flat, stacks.shape[1])
        path = folder / f"{info.index}.parquet"
        pq.write_table(pa.table({"observation": column, "action": episode.actions}), path)
        paths.append(path)
    return paths


def main() -> None:
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        game = ic.game("atari/Breakout", max_steps=400)
        demos = ic.record("scripted", game, samples=8_000, path=folder / "demos")
        paths = paper_files(demos, folder, 6)
        stored = sum(info.length for info in demos.episodes[:6])
        turn = iter(paths * 10_000)

        def paper() -> int:
            table = pq.read_table(next(turn), use_threads=False)
            values = table["observation"].combine_chunks().values
            batch = values.to_numpy().reshape(len(table), 4, 84, 84).astype(np.float32)
            return len(batch)

        cache = open_cache(demos, "standardise", "blocks4")
        batches, rng = Batches(cache), np.random.default_rng(0)

        def codes() -> int:
            return len(batches.gather(rng.choice(cache.train, BATCH))[0])

        def floats() -> int:
            found, _ = batches.gather(rng.choice(cache.train, BATCH))
            return len(to_input(found, cache.encoder, torch.float32))

        theirs, ours_float = alternating(paper, floats)
        again, ours_codes = alternating(paper, codes)
        show(
            "samples per CPU second into batches, 1 core",
            [
                ("float batches", theirs, ours_float, ">= 15"),
                ("uint8 batches", again, ours_codes, ">= 60"),
            ],
        )
        paper_bytes = sum(path.stat().st_size for path in paths) / stored
        own = sum(demos.episode_path(i.index).stat().st_size for i in demos.episodes)
        show(
            "bytes per stored sample",
            [("zstd single frames", paper_bytes, own / demos.samples, "<= 40 bytes")],
        )


if __name__ == "__main__":
    main()
