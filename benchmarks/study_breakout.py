"""The demo's wall time and memory, and whether its forecast holds, over several training seeds.

    python benchmarks/study_breakout.py --repeats 3      # about half an hour on two cores

Every repeat is the whole study `breakout` with other training seeds on the same demonstrations.
Memory is the sum of proportional set sizes (PSS) over the process tree, looked at every second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found


def pss_bytes(pid: int) -> int:
    """Proportional set size of the whole tree."""
    total = 0
    for one in tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024


def run(command: list[str]) -> tuple[float, int, dict]:
    """(wall seconds, peak PSS in bytes, the command's JSON document)."""
    begun, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    while process.poll() is None:
        time.sleep(1)
        try:
            peak = max(peak, pss_bytes(process.pid))
        except OSError:
            break
    assert process.stdout is not None
    document = json.loads(process.stdout.read())
    return time.perf_counter() - begun, peak, document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("studies-out/repeats"))
    options = parser.parse_args()
    demos = options.out / "0" / "demos"
    print(f"{'seeds':>8s} {'minutes':>8s} {'GiB':>6s} {'points':>7s} {'interior':>9s} "
          f"{'loss forecast':>22s} {'measured':>9s} {'holds':>6s} {'return':>22s} {'measured':>9s}"
          )  # fmt: skip
    for repeat in range(options.repeats):
        seeds = [str(2 * repeat), str(2 * repeat + 1)]
        command = [sys.executable, "-m", "isoclone", "run", "breakout", "--json"]
        command += ["--out", str(options.out / str(repeat)), "--seeds", *seeds]
        if repeat:
            command += ["--demos", str(demos)]
        wall, peak, said = run(command)
        forecast, point = said["forecast"], said["point"]
        interior = sum(curve["interior"] for curve in said["laws"]["isoflops"])
        loss, score = forecast["dev_loss"], forecast["return_mean"]
        print(
            f"{','.join(seeds):>8s} {wall / 60:8.1f} {peak / 2**30:6.2f} {said['points']:7d} "
            f"{interior:9d} {loss['value']:7.3f} [{loss['low']:.3f}, {loss['high']:.3f}] "
            f"{point['dev_loss']:9.3f} {said['holds']['dev_loss']!s:>6s} "
            f"{score['value']:7.1f} [{score['low']:.1f}, {score['high']:.1f}] "
            f"{point['return_mean']:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
