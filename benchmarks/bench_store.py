"""What it costs to have a small file on disk for good: one JSON file, with and without its folder.

    python benchmarks/bench_store.py [--writes 300] [--folder DIR]

Prints milliseconds for each write, as medians. `flushed` is what isoclone does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from unittest.mock import patch

from isoclone.base import store

ROW = {"run_id": "0123456789ab", **{f"figure_{i}": i / 7 for i in range(24)}}  # like a point's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where to write; the system's temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        places = {"in one folder": "", "each in a new folder": "{:06d}/"}
        for place, inside in places.items():
            kinds: dict[str, list[float]] = {"file only": [], "flushed": []}
            for i in range(args.writes):  # in turn, so that a busy disk disturbs both alike
                for kind, took in kinds.items():
                    path = Path(folder, place, kind, inside.format(i), f"{i:06d}.json")
                    with folders_left_out() if kind == "file only" else nullcontext():
                        start = time.perf_counter()
                        store.write_json(path, ROW)
                        took.append(1000 * (time.perf_counter() - start))
            took_ms = {kind: round(median(took), 3) for kind, took in kinds.items()}
            print(json.dumps({"place": place, **took_ms}))


@contextmanager
def folders_left_out() -> Iterator[None]:
    """Leave out the flush of folders."""
    with patch.object(store, "_flush_folder", lambda folder: None):
        yield


if __name__ == "__main__":
    main()
