"""Executors: each task has an outcome; dead workers are replaced; none outlives its driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from light_tasks import die_once, double, fail, full_disk, stop_once

from isoclone.api import register_executor
from isoclone.base.errors import DataError, ForeignFailure, SpecError, StoreError, UnknownNameError
from isoclone.cli import main
from isoclone.executors import Task, executor, executor_names, watch
from isoclone.executors.processes import _dealt_out
from isoclone.executors.serial import SerialExecutor


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_each_task_has_one_outcome(name):
    tasks = [Task(double, (i,), key=i) for i in range(20)]
    tasks.insert(7, Task(fail, (13,), key="bad"))
    with executor(name, 2) as workers:
        outcomes = {o.task.key: o for o in workers.run(tasks)}
    assert len(outcomes) == 21
    assert outcomes.pop("bad").error == "ValueError: no 13, never (tried 3 times)"
    assert all(o.result == 2 * key and o.error is None for key, o in outcomes.items())


@pytest.mark.parametrize(
    ("error", "tries"), [(ForeignFailure("reset by peer"), 3), (DataError("damaged"), 1)]
)
def test_an_environment_gets_another_try_and_damage_does_not(error, tries):
    calls = []

    def fail_at_first():
        calls.append(1)
        raise error

    (outcome,) = SerialExecutor().run([Task(fail_at_first, ())])
    assert str(error) in outcome.error
    assert len(calls) == tries


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_a_task_that_exits_has_failed(name):
    with executor(name, 1) as workers:
        (outcome,) = workers.run([Task(sys.exit, (0,))])
    assert outcome.error.endswith("called sys.exit(0) (tried 3 times)")


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_tasks_are_drawn_when_somebody_is_free_for_them(name):
    ended = []

    def tasks():
        for i in range(9):
            assert len(ended) >= i - 2
            yield Task(double, (i,))

    with executor(name, 2) as workers:
        for outcome in workers.run(tasks()):
            ended.append(outcome)
    assert len(ended) == 9


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_a_full_disk_stops_everything(name):
    with pytest.raises(StoreError, match="no space left"), executor(name, 2) as workers:
        list(workers.run([Task(full_disk, ())]))


def test_a_worker_that_was_killed_is_replaced(tmp_path):
    tasks = [Task(die_once, (tmp_path / "died",)), *(Task(double, (i,)) for i in range(6))]
    with executor("processes", 2) as workers:
        outcomes = list(workers.run(tasks))
    assert sorted(str(o.result) for o in outcomes) == ["0", "10", "2", "4", "6", "8", "survived"]


def gone_within(pid: int, seconds: float) -> bool:
    """Wait for a process to end, which may take a moment after it was killed; False if not."""
    deadline = time.monotonic() + seconds
    while (there := Path(f"/proc/{pid}").exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not there


@pytest.mark.skipif(not Path("/proc").exists(), reason="nobody tells of CPU time here")
def test_a_worker_that_stands_still_is_named_and_replaced(tmp_path):
    told, marker = [], tmp_path / "stopped"
    tasks = [Task(stop_once, (marker,), name="width 4"), *(Task(double, (i,)) for i in range(3))]
    with executor("processes", 2, stalled_after=4) as workers:
        workers.tell = told.append
        outcomes = list(workers.run(tasks))
    assert sorted(str(o.result) for o in outcomes) == ["0", "2", "4", "went on"]
    (said,) = told
    assert said.startswith(f"width 4: its worker died (process {marker.read_text()} had not moved")
    assert gone_within(int(marker.read_text()), seconds=10)


def test_time_in_which_the_watcher_itself_did_not_run_does_not_count(monkeypatch):
    """As after Ctrl-Z and `fg`, or when the lid was closed."""
    clock = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(watch, "_cpu_times", lambda: {7: (1, 100)})
    looks = watch.Watch(100.0)
    for passed, stands_still in ((5, False), (5, False), (9_000, False), (80, False)):
        clock[0] += passed
        assert bool(looks.stalled([7])) == stands_still
    for _ in range(30):
        clock[0] += 5
        found = looks.stalled([7])
    assert [pid for pid, _ in found] == [7]


def test_a_task_that_kills_its_worker_each_time_is_given_up():
    with executor("processes", 1) as workers:
        outcomes = list(workers.run([Task(die, ()), Task(double, (4,))]))
    assert sorted((o.error or o.result for o in outcomes), key=str) == [
        8,
        "its worker died 3 times",
    ]


def slowly(x):
    time.sleep(0.5)
    return x


def test_who_works_beside_a_task_that_kills_is_not_given_up():
    tasks = [Task(slowly, (1,)), Task(slowly, (2,)), Task(die, ()), Task(slowly, (3,))]
    with executor("processes", 3) as workers:
        outcomes = list(workers.run(tasks))
    assert {o.result for o in outcomes if o.error is None} == {1, 2, 3}


def fail_once(marker: Path):
    if not marker.exists():
        marker.touch()
        raise EOFError("the game's process is gone")
    return "played"


def refuse(marker: Path):
    marker.write_text(marker.read_text() + "x" if marker.exists() else "x")
    raise DataError("the table is empty")


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_trouble_of_the_moment_is_tried_again_and_our_own_errors_are_not(name, tmp_path):
    tasks = [Task(fail_once, (tmp_path / "failed",)), Task(refuse, (tmp_path / "refused",))]
    with executor(name, 1) as workers:
        played, refused = workers.run(tasks)
    assert played.result == "played"
    assert refused.error == "DataError: the table is empty"
    assert (tmp_path / "refused").read_text() == "x"


WAITING = """
import sys
sys.path.insert(0, {here!r})
from isoclone.executors import Task, executor
if __name__ == "__main__":
    with executor("processes", 2) as workers:
        from light_tasks import announce
        list(workers.run([Task(announce, ({pids!r},)), Task(announce, ({pids!r},))]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_driver(tmp_path, how):
    pids = tmp_path / "pids"
    pids.mkdir()
    script = tmp_path / "driver.py"
    script.write_text(WAITING.format(here=str(Path(__file__).parents[1]), pids=str(pids)))
    driver = subprocess.Popen(
        [sys.executable, script], stderr=subprocess.DEVNULL, preexec_fn=heed_interrupts
    )
    try:
        wait_until(lambda: len(list(pids.iterdir())) == 2)
        workers = [int(p.name) for p in pids.iterdir()]
        driver.send_signal(how)
        driver.wait(timeout=100)
    finally:
        driver.kill()
    wait_until(lambda: not any(is_running(pid) for pid in workers))


def wait_until(true: Callable[[], bool], seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def heed_interrupts():
    """A shell's background jobs, and so perhaps these tests, are born deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_executors_are_found_by_name():
    assert {"serial", "processes"} <= set(executor_names())
    with pytest.raises(UnknownNameError, match="did you mean serial"):
        executor("serail")
    register_executor("mine", lambda workers: SerialExecutor())
    assert isinstance(executor("mine"), SerialExecutor)


def seen():
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("gpus", "workers", "each"),
    [
        (0.5, 3, ["4", "4", "7"]),
        (0.1, 3, ["4", "4", "4"]),
        (1, 2, ["4", "7"]),
        (2, 1, ["4,7"]),
    ],
)
def test_workers_are_dealt_out_over_gpus(gpus, workers, each, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert _dealt_out(workers, gpus, ["4", "7"]) == each
    with executor("processes", workers, gpus=gpus) as pool:
        (outcome,) = pool.run([Task(seen, ())])
    assert outcome.result == each[0]


def test_more_than_the_gpus_here_is_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(SpecError, match=r"3 workers of 0\.5 GPU each need 2 GPUs and 1 are here"):
        executor("processes", 3, gpus=0.5)
    with pytest.raises(SpecError, match="a share of one GPU or a whole number"):
        executor("processes", 1, gpus=1.5)
    with pytest.raises(SpecError, match="executor 'serial'"):
        executor("serial", 1, gpus=1)


CANNOT_BE = {
    "slurm": "cpus=abc gpus=abc minutes=abc minutes=0.5 minutes=-1 memory_gb=abc memory_gb=-3 "
    "memory_gb=NaN poll_seconds=-1 poll_seconds=abc cpus=0.5 address=x workers=0 workers=abc "
    "folder=3 cluster=moon",
    "ray": "cpus=abc gpus=abc cpus=NaN cpus=-1 address=3 files=lost colour=blue workers=1.5",
    "processes": "gpus=abc gpus=NaN gpus=Infinity gpus=-1 gpus=1.5 cpus=1 address=x name=x",
    "serial": "gpus=1 name=x workers=true",
}


@pytest.mark.parametrize(
    ("name", "option"), [(name, word) for name, text in CANNOT_BE.items() for word in text.split()]
)
def test_an_option_that_cannot_be_is_one_line_before_anything_runs(name, option, tmp_path, capsys):
    words = ["--out", str(tmp_path / "study"), "--executor", name, "--executor-options", option]
    assert main(["run", "toy", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("isoclone: ")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("ray --cpus nan", "executor 'ray': cpus must be a finite number, not nan"),
        ("slurm --cpus 1.5", "Slurm gives out whole CPUs"),
        ("slurm --address foo", "--address is for --executor ray"),
        ("processes --gpus nan", "gpus must be a finite number"),
        ("serial --workers 2 --executor-options workers=3", "leave one out"),
        ("ray --executor-options cpus=abc", "executor 'ray': cpus must be a number, not 'abc'"),
    ],
)
def test_a_flag_that_cannot_be_is_named(words, complaint, tmp_path, capsys):
    assert main(["run", "toy", "--out", str(tmp_path / "x"), "--executor", *words.split()]) == 2
    assert complaint in capsys.readouterr().err


def test_options_may_be_numpys_and_paths(tmp_path):
    assert executor("processes", np.int64(2)).workers == 2
    executor("slurm", 2, folder=tmp_path, cluster="local", cpus=np.int64(1))
    assert executor(name="serial").workers == 1


def test_an_option_of_ones_own_executor_is_its_makers_business():
    def make(workers, priority: Priority = None, pace: float = 1, **rest):  # noqa: F821
        return SerialExecutor()

    register_executor("mine", make)
    executor("mine", 1, priority=[3], pace="fast", colour=float("nan"))
    register_executor("mine", lambda workers, pace: SerialExecutor())
    executor("mine", 1, pace="fast")
    with pytest.raises(SpecError, match="missing a required argument: 'pace'"):
        executor("mine", 1)
