"""NetHack recordings: transitions per second into batches, import on two cores, bytes per frame.

The reference is NLE's own loader, `nle.dataset.TtyrecDataset`, which decodes the recordings anew
each time. Both hand out unrolls of 32 frames of 16 games, whole screens with colours, on one core.

    python benchmarks/bench_nld.py [FOLDER OF RECORDINGS] [--games 16] [--store IMPORTED DEMOS]

With --store, ours is measured on demonstrations that are imported already, with 32 and 128 lanes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from common import alternating, rate, show

from isoclone.executors import executor
from isoclone.nethack.recordings import NldDemonstrations, Unrolls, import_nld
from isoclone.nethack.recordings.ttyrec import find_recordings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "nld-aa-mini"
UNROLL, LANES = 32, 16


def smallest(source: Path, count: int, home: Path) -> Path:
    """A folder of links to the smallest recordings and their xlogfiles."""
    chosen = sorted(find_recordings(source), key=lambda r: r.path.stat().st_size)[:count]
    for recording in chosen:
        place = home / recording.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(recording.path, place)
        for log in recording.path.parent.glob("*.xlogfile"):
            with contextlib.suppress(FileExistsError):
                os.symlink(log, place.parent / log.name)
    return home


def nle_loader(source: Path, home: Path) -> Callable[[], int]:
    """One batch of NLE's loader at each call, for ever; returns its transitions."""
    from nle import dataset

    database = str(home / "ttyrecs.db")
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.db.create(database)
        dataset.add_nledata_directory(str(source), "all", database)
    loader = dataset.TtyrecDataset(
        "all", batch_size=LANES, seq_length=UNROLL, dbfilename=database, loop_forever=True
    )
    batches: Iterator[dict[str, object]] = iter(loader)

    def batch() -> int:
        next(batches)
        return LANES * UNROLL

    return batch


def our_loader(demos: NldDemonstrations, lanes: int) -> Callable[[], int]:
    """The next unroll at each call; returns its transitions."""
    unrolls, k = Unrolls(demos, "train", lanes, UNROLL, seed=0), iter(range(1 << 40))
    return lambda: unrolls.take(next(k)).samples


def timed_import(source: Path, out: Path, workers: int) -> tuple[NldDemonstrations, float, float]:
    """Import; returns the demonstrations, wall seconds, and CPU seconds of all processes."""

    def cpu() -> float:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, -1))
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    begun, cpu_begun = time.monotonic(), cpu()
    demos = import_nld(source, out, executor=executor("processes", workers))
    wall = time.monotonic() - begun
    for worker in multiprocessing.active_children():  # counted once they are buried
        worker.join(10)
    return demos, wall, cpu() - cpu_begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--games", type=int, default=LANES)
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        source = smallest(given.source, given.games, home / "source")
        one, wall_1, cpu_1 = timed_import(source, home / "one", 1)
        two, wall_2, cpu_2 = timed_import(source, home / "two", 2)
        assert one.fingerprint == two.fingerprint
        theirs = nle_loader(source, home)
        first, ours = alternating(theirs, our_loader(one, LANES))
        rows = [(f"unrolls of {UNROLL} x {LANES}", first, ours, ">= 10")]
        if given.store:
            demos = NldDemonstrations.open(given.store, verify=False)
            for lanes in (32, 128):
                call = our_loader(demos, lanes)
                rows.append((f"unrolls of {UNROLL} x {lanes}, --store", first, rate(call), ""))
        show("transitions per CPU second, one core: TtyrecDataset, ours", rows)
        frames = sum(info.frames for info in one.episodes)
        show(
            f"import of {len(one.episodes)} games, {frames:,} frames: 1 worker, 2 workers",
            [
                ("frames a second", frames / wall_1, frames / wall_2, ">= 1.8"),
                ("frames a CPU second", frames / cpu_1, frames / cpu_2, ""),
            ],
        )
        print(f"load on the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
        bz2 = sum(path.stat().st_size for path in source.rglob("*.bz2")) / frames
        size = sum(one.episode_path(info.index).stat().st_size for info in one.episodes) / frames
        show("bytes per frame: ttyrec3.bz2, ours", [("whole games", bz2, size, "<= 30 bytes")])


if __name__ == "__main__":
    main()
