"""Import of demonstrations made by others: transitions a second from each format, and memory.

    python benchmarks/bench_foreign.py [--vectors 1000000] [--pictures 100000] [--formats npz ...]

Vectors: 17 floats and 6 continuous actions (as HalfCheetah has), episodes of 500 steps. Pictures:
84x84 grey, 18 actions, episodes of 500. Each format is imported by a process of its own, and its
frames are compared with the source's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

LENGTH = 500


def vectors(count: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Episodes of smooth random walks with continuous actions."""
    for number in range(count // LENGTH):
        rng = np.random.default_rng(number)
        seen = rng.normal(size=(LENGTH, 17)).cumsum(0).astype(np.float32)
        yield seen, rng.uniform(-1, 1, (LENGTH, 6)).astype(np.float32), np.ones(LENGTH)


def pictures(count: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Episodes of a bright square that moves over a pattern."""
    pattern = np.random.default_rng(0).integers(0, 60, (84, 84), np.uint8)
    for number in range(count // LENGTH):
        rng = np.random.default_rng(number)
        seen = np.broadcast_to(pattern, (LENGTH, 84, 84)).copy()
        for t, (x, y) in enumerate(np.abs(rng.integers(-2, 3, (LENGTH, 2)).cumsum(0)) % 76):
            seen[t, x : x + 8, y : y + 8] = 200
        yield seen, rng.integers(0, 18, LENGTH), np.ones(LENGTH)


SOURCES = {"vectors": vectors, "pictures": pictures}


def flat(episodes: Iterator[tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
    """All steps in a row."""
    parts = [np.concatenate(column) for column in zip(*episodes, strict=True)]
    ends = np.arange(LENGTH, len(parts[1]) + 1, LENGTH)
    return dict(zip(("observations", "actions", "rewards"), parts, strict=True)) | {
        "episode_ends": ends
    }


def write(form: str, kind: str, count: int, folder: Path) -> tuple[str, str, dict[str, str]]:
    """Write a dataset; return the kind of import, the place and the reader's options."""
    make = SOURCES[kind]
    if form == "function":
        return "arrays", f"{__file__}:{kind}_of_{count}", {}
    if form in ("npz", "npy", "hdf5", "zarr"):
        columns = flat(make(count))
        return "arrays", write_arrays(form, columns, folder), {}
    if form == "parquet":
        return "parquet", write_parquet(kind, make(count), folder), {"episode": "episode"}
    if form == "minari":
        return "minari", write_minari(kind, make(count), folder), {}
    return "lerobot", write_lerobot(kind, make(count), folder), {}


def write_arrays(form: str, columns: dict[str, np.ndarray], folder: Path) -> str:
    place = folder / f"data.{form}"
    if form == "npz":
        np.savez(place, **columns)
    elif form == "npy":
        place.mkdir()
        for name, column in columns.items():
            np.save(place / f"{name}.npy", column)
    elif form == "hdf5":
        import h5py

        with h5py.File(place, "w") as file:
            for name, column in columns.items():
                file[name] = column
    else:
        import zarr

        group = zarr.open_group(str(place), mode="w")
        for name, column in columns.items():
            chunks = (min(len(column), 2 * LENGTH), *column.shape[1:])
            group.create_array(name, data=column, chunks=chunks)
    return str(place)


def write_parquet(kind: str, episodes: Iterator[tuple[np.ndarray, ...]], folder: Path) -> str:
    import cv2
    import pyarrow as pa
    import pyarrow.parquet as pq

    place, writer = folder / "data.parquet", None
    for number, (seen, actions, rewards) in enumerate(episodes):
        if kind == "pictures":
            column = pa.array([cv2.imencode(".png", frame)[1].tobytes() for frame in seen])
        else:
            column = pa.FixedSizeListArray.from_arrays(seen.ravel(), seen.shape[1])
        if actions.ndim > 1:
            actions = pa.FixedSizeListArray.from_arrays(actions.ravel(), actions.shape[1])
        ids = np.full(LENGTH, number)
        table = pa.table(
            {"observations": column, "actions": actions, "rewards": rewards, "episode": ids}
        )
        writer = writer or pq.ParquetWriter(place, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return str(place)


def write_minari(kind: str, episodes: Iterator[tuple[np.ndarray, ...]], folder: Path) -> str:
    import minari
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    sides = (84, 84) if kind == "pictures" else (17,)
    ends = (0, 255, sides, np.uint8) if kind == "pictures" else (-np.inf, np.inf, sides)
    done = spaces.Discrete(18) if kind == "pictures" else spaces.Box(-1, 1, (6,))
    kept = None
    for number, (seen, actions, rewards) in enumerate(episodes):
        flags = np.zeros((2, LENGTH), bool)
        flags[1, -1] = True
        seen = np.concatenate([seen, seen[-1:]])
        buffer = [EpisodeBuffer(number, None, None, seen, actions, rewards, *flags)]
        if kept is None:
            kept = minari.create_dataset_from_buffers(
                "bench-v0", buffer, observation_space=spaces.Box(*ends), action_space=done,
                jpeg_encoding=False,
            )  # fmt: skip
        else:
            kept.update_dataset_from_buffer(buffer)
    return "bench-v0"


def write_lerobot(kind: str, episodes: Iterator[tuple[np.ndarray, ...]], folder: Path) -> str:
    import av
    import pyarrow as pa
    import pyarrow.parquet as pq

    root, fps, rows, first = folder / "robot", 30, [], 0
    for inner in ("data/chunk-000", "meta/episodes/chunk-000", "videos/observation.eye/chunk-000"):
        (root / inner).mkdir(parents=True)
    films = kind == "pictures"
    low, high, writer = np.inf, -np.inf, None
    for number, (seen, actions, rewards) in enumerate(episodes):
        columns = {"action": actions, "next.reward": rewards.astype(np.float32)}
        if actions.ndim > 1:
            low, high = np.minimum(low, actions.min(0)), np.maximum(high, actions.max(0))
            columns["action"] = pa.FixedSizeListArray.from_arrays(actions.ravel(), 6)
        if not films:
            columns["observation.state"] = pa.FixedSizeListArray.from_arrays(seen.ravel(), 17)
        ids = {"episode_index": np.full(LENGTH, number), "index": np.arange(first, first + LENGTH)}
        table = pa.table({**columns, **ids})
        writer = writer or pq.ParquetWriter(root / "data/chunk-000/file-000.parquet", table.schema)
        writer.write_table(table)
        place = {"data/chunk_index": 0, "data/file_index": 0}
        place |= {f"videos/observation.eye/{k}": 0 for k in ("chunk_index",)}
        place |= {"videos/observation.eye/file_index": number}
        place |= {"videos/observation.eye/from_timestamp": 0.0}
        spans = {"dataset_from_index": first, "dataset_to_index": first + LENGTH}
        rows.append({"episode_index": number, **place, **spans})
        first += LENGTH
        if films:
            video = root / f"videos/observation.eye/chunk-000/file-{number:03d}.mp4"
            with av.open(str(video), "w") as file:
                options = {"crf": "0", "preset": "ultrafast"}
                stream = file.add_stream("libx264rgb", rate=fps, options=options)
                stream.width, stream.height, stream.pix_fmt = 84, 84, "rgb24"
                for frame in seen:
                    three = np.repeat(frame[..., None], 3, 2)
                    for packet in stream.encode(av.VideoFrame.from_ndarray(three)):
                        file.mux(packet)
                for packet in stream.encode():
                    file.mux(packet)
    assert writer is not None
    writer.close()
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, root / "meta/episodes/chunk-000/file-000.parquet")
    stats = {"action": {"min": np.ravel(low).tolist(), "max": np.ravel(high).tolist()}}
    (root / "meta/stats.json").write_text(json.dumps(stats if not films else {}))
    seen_as = {"observation.eye": {"dtype": "video"}} if films else {}
    seen_as |= {} if films else {"observation.state": {"dtype": "float32"}}
    features = {**seen_as, "action": {"dtype": "int64" if films else "float32"}}
    features |= {"next.reward": {"dtype": "float32"}}
    files = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    info = {"codebase_version": "v3.0", "fps": fps, "data_path": f"data/{files}.parquet"}
    info |= {"video_path": f"videos/{{video_key}}/{files}.mp4", "features": features}
    (root / "meta/info.json").write_text(json.dumps(info))
    return str(root)


def __getattr__(name: str) -> object:
    """Return `vectors_of_N` and `pictures_of_N`, functions without arguments."""
    kind, _, count = name.partition("_of_")
    if kind in SOURCES and count.isdecimal():
        return lambda: ((*one, False, True) for one in SOURCES[kind](int(count)))
    raise AttributeError(name)


def peak_gib() -> float:
    """Return the most memory that this process held; getrusage counts its parent's as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def bring(task: dict) -> dict[str, float]:
    """Import, in this process; return the figures, or raise if frames differ from the source's."""
    import isoclone as ic

    options = {"action_space": "-1:1"} if task["kind"] == "vectors" else {}
    if task["form"] in ("minari", "lerobot") and task["kind"] == "vectors":
        options = {}
    reading = {"stack": 4} if task["kind"] == "pictures" else None
    clock, spent = time.perf_counter(), time.process_time()
    if task["form"] == "function":
        made = ic.demos_from(
            __getattr__(f"{task['kind']}_of_{task['count']}"), path=task["out"], reading=reading,
            **options,
        )  # fmt: skip
    else:
        made = ic.import_demos(
            task["importer"], task["place"], path=task["out"], reading=reading,
            options=task["options"], **options,
        )  # fmt: skip
    clock, spent = time.perf_counter() - clock, time.process_time() - spent
    peak = peak_gib()
    for number, (one, episode) in enumerate(
        zip(SOURCES[task["kind"]](task["count"]), made, strict=True)
    ):
        if number % 10 == 0 and not np.array_equal(episode.frames, one[0]):
            raise SystemExit(f"{task['form']}: frames of episode {number} differ")
    return {
        "per_s": made.samples / clock,
        "per_cpu_s": made.samples / spent,
        "peak_gib": peak,
        "samples": made.samples,
    }


FORMATS = ("function", "npz", "npy", "hdf5", "zarr", "parquet", "minari", "lerobot")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=FORMATS)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(json.dumps(bring(json.loads(asked.inside))))
        return
    print("format    what         samples  a second  a CPU second  GiB at most")
    for kind in SOURCES:
        for form in asked.formats:
            count = getattr(asked, kind)
            with tempfile.TemporaryDirectory() as name:
                os.environ["MINARI_DATASETS_PATH"] = f"{name}/minari"
                importer, place, options = write(form, kind, count, Path(name))
                task = {"form": form, "kind": kind, "count": count, "out": f"{name}/out"}
                task |= {"importer": importer, "place": place, "options": options}
                words = [sys.executable, __file__, "--inside", json.dumps(task)]
                done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                print(f"{form:10}{kind:10} failed: {done.stderr[-300:]}", flush=True)
                continue
            told = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{form:10}{kind:10}{told['samples']:10,.0f}{told['per_s']:10,.0f}"
                f"{told['per_cpu_s']:14,.0f}{told['peak_gib']:13.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
