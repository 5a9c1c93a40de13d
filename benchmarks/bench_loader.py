"""Samples per second into batches, and bytes per stored sample: the paper's way and ours.

The paper's way, in a few lines: one Parquet file for each episode, each row a flattened stack of
four frames as integers, read through PyArrow into float arrays.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from common import alternating, show

import isoclone as ic
from isoclone.demos import FrameCache, open_cache
from isoclone.demos.batches import Batches
from isoclone.executors.setup import keep_freed_memory
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
    keep_freed_memory()  # as every worker does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        game = ic.game("atari/Breakout", max_steps=400)
        demos = ic.record("scripted", game, samples=6_000, path=folder / "demos")
        paths = paper_files(demos, folder, 6)
        stored = sum(info.length for info in demos.episodes[:6])
        turn = iter(paths * 10_000)

        def paper() -> int:
            table = pq.read_table(next(turn), use_threads=False)
            values = table["observation"].combine_chunks().values
            batch = values.to_numpy().reshape(len(table), 4, 84, 84).astype(np.float32)
            return len(batch)

        plain = open_cache(demos, "unit", "rows")  # frames as they were recorded
        blocks = open_cache(demos, "standardise", "blocks4")  # as the CNN wants them
        rng = np.random.default_rng(0)

        def codes(cache: FrameCache) -> Callable[[], int]:
            batches = Batches(cache)
            return lambda: len(batches.gather(rng.choice(cache.train, BATCH))[0])

        def floats(cache: FrameCache) -> Callable[[], int]:
            batches = Batches(cache)

            def batch() -> int:
                found, _ = batches.gather(rng.choice(cache.train, BATCH))
                return len(found.float().mul_(cache.encoder.scale))

            return batch

        jobs = {
            "float batches": (floats(plain), ">= 15"),
            "float batches, the CNN's layout": (floats(blocks), ">= 15"),
            "uint8 batches": (codes(plain), ">= 60"),
            "int8 batches, the CNN's layout": (codes(blocks), ">= 60"),
        }
        rows = [(what, *alternating(paper, ours), aim) for what, (ours, aim) in jobs.items()]
        show("samples per CPU second into batches, 1 core", rows)
        paper_bytes = sum(path.stat().st_size for path in paths) / stored
        own = sum(demos.episode_path(i.index).stat().st_size for i in demos.episodes)
        show(
            "bytes per stored sample",
            [("zstd single frames", paper_bytes, own / demos.samples, "<= 40 bytes")],
        )


if __name__ == "__main__":
    main()
