"""Slurm: array jobs by submitit, here run as local processes; and the script sbatch would get."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import pytest
from light_tasks import die_once, double, fail, full_disk, wait_for_preemption
from support import tiny_spec

from isoclone.base.errors import ExecutionError, SpecError, StoreError
from isoclone.cli import main
from isoclone.executors import Task, executor
from isoclone.executors.slurm import SlurmExecutor
from isoclone.study.jobs import Job, train_all
from isoclone.study.session import Session
from isoclone.study.study import Study

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'isoclone[slurm]'")


def local(tmp_path: Path, workers: int = 2) -> SlurmExecutor:
    return executor(
        "slurm", workers, cluster="local", folder=str(tmp_path / "jobs"), poll_seconds=0.05
    )


@pytest.fixture(autouse=True)
def found_by_jobs(monkeypatch):
    tests, sources = Path(__file__).parents[1], Path(__file__).parents[2] / "src"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tests), str(sources)]))


def test_each_task_has_one_outcome_and_one_whose_job_dies_is_begun_anew(tmp_path):
    tasks = [Task(double, (4,), key="fine"), Task(fail, (13,), key="bad")]
    tasks.append(Task(die_once, (tmp_path / "died",), key="once"))
    with local(tmp_path, 3) as workers:
        outcomes = {o.task.key: o for o in workers.run(tasks)}
    assert outcomes["fine"].result == 8
    assert outcomes["bad"].error == "ValueError: no 13, never (tried 3 times)"
    assert outcomes["once"].result == "survived"
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0


def test_a_full_disk_stops_everything(tmp_path):
    with pytest.raises(StoreError, match="no space left"), local(tmp_path) as workers:
        list(workers.run([Task(full_disk, ())]))


def test_a_preempted_job_is_put_back_into_the_queue(tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()

    def preempt(workers):
        while not list(begun.iterdir()):
            time.sleep(0.05)
        for job in list(workers._under_way):
            job._interrupt()  # what Slurm sends before it takes the node away

    with local(tmp_path) as workers:
        threading.Thread(target=preempt, args=(workers,), daemon=True).start()
        (outcome,) = workers.run([Task(wait_for_preemption, (begun,))])
    assert outcome.result == 2


def test_a_study_by_jobs_has_the_same_points(tmp_path, finished_study):
    path = tmp_path / "tiny"
    study = Study.create(path, tiny_spec(demos=str(finished_study / "demos")))
    with local(tmp_path) as workers:
        run = study.spec.run_for(2, 0, study.demos().fingerprint, 3e6)
        train_all([Job(study, run, (3e6,))], "sweep", Session(workers))
    (point,) = study.points()
    assert point in Study.open(finished_study).points()


def test_the_job_script(tmp_path, monkeypatch):
    (tmp_path / "srun").touch(mode=0o755)  # submitit looks whether there is one
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    options = {"folder": str(tmp_path / "jobs"), "partition": "gpu", "minutes": 30, "cpus": 2}
    text = executor("slurm", 20, **options, gpus=1).script(accelerated=True)
    flags = set(re.findall(r"^#SBATCH --(\S+)$", text, re.MULTILINE))
    assert {"requeue", "partition=gpu", "time=30", "cpus-per-task=2", "gpus-per-node=1"} <= flags
    assert {"signal=USR2@90", "mem=4GB", "job-name=isoclone", "open-mode=append"} <= flags
    assert "gpus-per-node" not in executor("slurm", 20, **options).script()


def test_what_cannot_be_done_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutionError, match="no Slurm here"):
        list(executor("slurm", 1, folder=str(tmp_path)).run([Task(double, (1,))]))
    with pytest.raises(SpecError, match="whole CPUs and GPUs"):
        executor("slurm", 1, gpus=0.5)
    with pytest.raises(SpecError, match="'slurm' or 'local'"):
        executor("slurm", 1, cluster="moon")


def test_what_sbatch_refuses_is_one_line(tmp_path, monkeypatch, capfd):
    (tmp_path / "srun").touch(mode=0o755)
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: nope' >&2\nexit 1\n"
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    words = [
        "--executor",
        "slurm",
        "--executor-options",
        "partition=nope",
        f"folder={tmp_path}/jobs",
    ]
    assert main(["run", "toy", "--samples", "2000", "--out", str(tmp_path / "study"), *words]) == 1
    said_by_sbatch = "sbatch: error: invalid partition specified: nope"
    said = capfd.readouterr().err
    assert said.splitlines()[-1] == f"isoclone: the jobs could not be submitted: {said_by_sbatch}"
    assert said.count("invalid partition") == 1
    assert "Traceback" not in said
