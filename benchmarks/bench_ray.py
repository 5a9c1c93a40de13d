"""Ray against the process executor on the same sweeps, and how soon a dead worker is replaced.

Both have two workers that have already done a task of each kind, so start-up stays apart. Each
sweep is run in turn by one and by the other, on the same demonstrations; wall seconds, the best of
the rounds. Then a worker is killed in the middle of its task (SIGKILL), and the time is taken until
the task has begun anew.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from common import show

from isoclone.demos import RecordRequest, record
from isoclone.executors import Executor, Task, executor
from isoclone.study import pipeline
from isoclone.study.builtins import builtin
from isoclone.study.session import Session
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study

WORKERS, ROUNDS = 2, 3
TOY = builtin("toy").replace(
    samples=20_000, widths=(2, 4, 8, 16), budgets_flops=(3e7, 1e8, 3e8), forecast_flops=1e9
)
ATARI = builtin("breakout").replace(
    samples=6_000,
    game_options={"max_steps": 400},
    widths=(2, 3, 5),
    budgets_flops=(1e10, 2e10, 4e10),
    seeds=(0,),
    episodes=4,
    dev_samples=1_000,
    forecast_flops=8e10,
    forecast_episodes=4,
)


class KeptOpen:
    """The workers of an executor, not freed at the end of a study."""

    def __init__(self, inner: Executor):
        self.inner, self.run, self.workers = inner, inner.run, inner.workers

    def __enter__(self) -> KeptOpen:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def recorded(spec: StudySpec, folder: Path) -> StudySpec:
    """The study on demonstrations recorded now, outside the measured time."""
    path = folder / spec.name
    record(
        RecordRequest(spec.game, spec.expert, spec.samples, game_options=spec.game_options), path
    )
    return spec.replace(demos=str(path))


def seconds(spec: StudySpec, workers: KeptOpen, path: Path) -> float:
    """Wall seconds of a whole study, from its sweep to its report."""
    study = Study.create(path, spec)
    begun = time.perf_counter()
    pipeline.run(study, Session(workers))
    return time.perf_counter() - begun


@dataclass
class Attempts:
    """Where a task notes when it is begun."""

    folder: Path

    def times(self) -> list[float]:
        return sorted(float(p.name.partition("-")[0]) for p in self.folder.iterdir())

    def pid(self) -> int:
        (path,) = self.folder.iterdir()
        return int(path.name.partition("-")[2])


def note_and_wait(folder: Path) -> None:
    """Wait for ever when begun first."""
    (folder / f"{time.time()}-{os.getpid()}").touch()
    if len(list(folder.iterdir())) == 1:
        time.sleep(600)


def seconds_to_resume(workers: KeptOpen, folder: Path) -> float:
    """From the death of a worker to the new beginning of its task."""
    folder.mkdir()
    attempts, killed = Attempts(folder), []

    def kill() -> None:
        while not list(folder.iterdir()):
            time.sleep(0.02)
        killed.append(time.time())
        os.kill(attempts.pid(), signal.SIGKILL)

    threading.Thread(target=kill).start()
    (outcome,) = workers.run([Task(note_and_wait, (folder,))])
    assert outcome.error is None, outcome.error
    return attempts.times()[1] - killed[0]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        specs = [recorded(spec, folder) for spec in (TOY, ATARI)]
        begun = time.perf_counter()
        processes = KeptOpen(executor("processes", WORKERS))
        ray_executor = executor("ray", WORKERS)
        ray = KeptOpen(ray_executor)
        print(f"Ray started in {time.perf_counter() - begun:.1f} s")
        both = {"processes": processes, "ray": ray}
        for kind, workers in both.items():  # every worker has imported what it needs
            for spec in specs:
                seconds(spec, workers, folder / f"warm-{kind}-{spec.name}")
        best: dict[tuple[str, str], float] = {}
        for i in range(ROUNDS):
            for spec in specs:
                for kind, workers in both.items():
                    spent = seconds(spec, workers, folder / f"{i}-{kind}-{spec.name}")
                    print(f"round {i} {spec.name} {kind} {spent:.1f} s", flush=True)
                    best[spec.name, kind] = min(best.get((spec.name, kind), spent), spent)
        rows = [(s.name, best[s.name, "processes"], best[s.name, "ray"], "<= 1.15") for s in specs]
        total = [sum(best[s.name, kind] for s in specs) for kind in both]
        show("wall seconds, process executor and Ray", [*rows, ("both", *total, "<= 1.15")])
        resumed = [seconds_to_resume(both[kind], folder / f"resume-{kind}") for kind in both]
        show(
            "seconds from a worker's death", [("until its task has begun anew", *resumed, "<= 30")]
        )
        ray_executor.__exit__(None, None, None)


if __name__ == "__main__":
    main()
