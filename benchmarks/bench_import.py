"""Seconds to `import isoclone`, over an interpreter that imports nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import show


def seconds(code: str) -> float:
    """Median wall time of a fresh interpreter running the code."""
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    bare = seconds("pass")
    ours = seconds("import isoclone, sys; assert 'torch' not in sys.modules")
    rows = [("import isoclone, milliseconds", 1000 * bare, 1000 * ours, "< 300 ms more")]
    show("import time, a bare interpreter as the reference", rows)


if __name__ == "__main__":
    main()
