"""Looking at a study of 2,000 points: CPU and wall seconds of status, plan, report and resuming.

    python benchmarks/bench_points.py [--points 2000] [--keep FOLDER]

The study is made here: files as the code itself writes them, losses by a law and a little noise,
weights of the real sizes. Demonstrations are recorded, a few hundred samples.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from isoclone.agents.checkpoint import save_tensors
from isoclone.base.provenance import made_by
from isoclone.base.records import Point, Run
from isoclone.base.store import write_json
from isoclone.policies import policy_flops, policy_params
from isoclone.study.builtins import builtin
from isoclone.study.jobs import declare, write_tables
from isoclone.study.plan import grid
from isoclone.study.recording import record
from isoclone.study.session import Session
from isoclone.study.study import Study

BUDGETS, WIDTHS = 20, 20


def make(folder: Path, points: int) -> Study:
    """Write a study whose sweep is complete, with so many points."""
    seeds = max(1, round(points / BUDGETS / WIDTHS))
    spec = builtin("toy").replace(
        name="many",
        samples=600,
        widths=tuple(range(2, 2 + WIDTHS)),
        budgets_flops=tuple(float(f"{b:.6e}") for b in np.logspace(7, 9, BUDGETS)),
        seeds=tuple(range(seeds)),
        adaptive=False,
        extend=0,
        episodes=8,
        forecast_episodes=4,
        dev_samples=100,
    )
    study = Study.create(folder, spec)
    spec = study.spec
    record(study, Session())
    fingerprint = study.demos(verify=False).fingerprint
    rng, made = np.random.default_rng(0), made_by("cpu", spec.recipe["precision"])
    the_game = spec.make_game()
    for cell in grid(spec):
        run = spec.run_for(cell.width, cell.seed, fingerprint, cell.budget_flops)
        declare(study, run)
        shape = (spec.policy, cell.width, the_game.frame, the_game.n_actions)
        params, cost = policy_params(*shape), policy_flops(*shape, spec.flop_convention)
        _write(study, run, cell.budget_flops, params, cost, rng, made)
    write_tables(study)
    return study


def _write(
    study: Study,
    run: Run,
    budget: float,
    params: int,
    cost: float,
    rng: np.random.Generator,
    made: dict[str, str],
) -> None:
    """Write a point and what belongs to it."""
    samples, folder = int(budget / cost), study.folder.run(run.id)
    loss = 0.2 + (200 / params) ** 0.5 + (300 / samples) ** 0.5 + rng.normal(0, 0.003)
    weights = {"weights": torch.from_numpy(rng.standard_normal(params))}
    about = {"run": run.to_json(), "samples": samples}
    save_tensors(folder.checkpoint(budget), weights, about)
    write_json(folder.seconds(budget), 1.0)
    figures = {
        "flops": samples * cost,
        "samples": samples,
        "unique_samples": min(samples, 500),
        "epochs": samples / 500,
        "dev_loss": loss,
        "dev_loss_se": 0.003,
        "dev_accuracy": 0.8,
        "train_loss": loss,
        "return_mean": 20 - 5 * loss,
        "return_se": 0.5,
        "episodes": 8,
        "checkpoint": folder.checkpoint(budget).relative_to(study.path).as_posix(),
    }
    point = Point.of_run(run, budget, params, "sweep", **figures, **made)
    write_json(folder.point(budget), point.to_json())


def timed(*words: object) -> tuple[float, float]:
    """Return the CPU and wall seconds of a command."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "isoclone", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(done.stderr[-300:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary) / "many"
        if not (folder / "study.json").exists():
            make(folder, asked.points)
        study = Study.open(folder)
        print(f"{len(study.points())} points")
        for verb, *words in (
            ("status", folder),
            ("plan", folder),
            ("run", folder, "--executor", "serial"),
            ("run", folder, "--executor", "serial"),
            ("report", folder),
        ):
            cpu, wall = timed(verb, *words)
            print(f"{verb:8s} {cpu:6.2f} s CPU {wall:6.2f} s wall", flush=True)
        size = (folder / "report.html").stat().st_size
        print(f"report.html {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
