"""The data-limited law on a real study: the toy game from 1,000 to 30,000 demonstrations.

python benchmarks/bench_datalimited.py [FOLDER] runs four small studies (about two minutes on two
cores; finished ones in FOLDER are read, not run again), leaves out one number of demonstrations at
a time, and compares what the law and a plain surface, blind to repeats, say of it. Losses are the
best so far of each run, since repeats overfit and the law knows no harm.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from isoclone.laws import tables
from isoclone.laws.datalimited import DataLimitedLaw, best_so_far
from isoclone.laws.surface import Surface

Array = np.ndarray
DEMONSTRATIONS = (1_000, 3_000, 10_000, 30_000)
SD = 0.03  # of log loss


def points(folder: Path, count: int) -> Array:
    """[n, 6]: demonstrations, run, N, D, U, best loss so far; the study is run if need be."""
    out = folder / f"toy-{count}"
    if not (out / "forecast.json").exists():
        command = [sys.executable, "-m", "isoclone", "run", "toy", "--out", str(out), "--json"]
        command += ["--samples", str(count), "--episodes", "2"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    c = tables.read(out / "points.csv").columns
    ok = np.array([status == "ok" for status in c["status"]])
    _, run = np.unique(np.array(c["run_id"])[ok], return_inverse=True)
    params, samples, loss = (c[name][ok] for name in ("params", "samples", "dev_loss"))
    whole = np.ones(len(run))
    unique = whole * np.nanmax(c["unique_samples"])
    best = best_so_far(run, samples, loss)
    return np.column_stack([count * whole, 1000 * count + run, params, samples, unique, best])


def main(folder: Path) -> None:
    rows = np.concatenate([points(folder, count) for count in DEMONSTRATIONS])
    print(
        f"{'left out':>9s} {'points':>6s} {'law':>7s} {'plain':>7s}  r* [95 %]  (RMS of log loss)"
    )
    for count in DEMONSTRATIONS:
        known, new = rows[rows[:, 0] != count], rows[rows[:, 0] == count]
        law = DataLimitedLaw().fit(*known[:, 2:6].T, run=known[:, 1], sd=SD)
        plain = Surface().fit(known[:, 2], known[:, 3], known[:, 5], SD)
        said = law.predict(*new[:, 2:5].T), plain.predict(*new[:, 2:4].T)
        errors = [np.sqrt(np.mean(np.log(s / new[:, 5]) ** 2)) for s in said]
        r = law.repeats_
        span = f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]"
        print(f"{count:9,d} {len(new):6d} {errors[0]:7.3f} {errors[1]:7.3f}  {span}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
