"""Slurm: each batch of tasks is an array job, submitted and watched by submitit.

A job that is preempted or runs out of time is put back into the queue with the same task, and goes
on from the state that its run has saved. The study's directory must be on a disk that all nodes
share.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from isoclone.base.errors import ExecutionError, MissingExtraError, SpecError, StoreError
from isoclone.executors.base import Outcome, Task
from isoclone.executors.pool import Pool, WorkerLost
from isoclone.executors.serial import call, one_line
from isoclone.executors.setup import run_study_file, use_one_thread

JOBS = 64  # default number of jobs at once
TIMES_OUT = 1000  # how often a job may run out of time: it resumes each time


class SlurmExecutor(Pool):
    """Jobs of a Slurm cluster.

    Args:
        workers: jobs that run at once.
        cpus: CPUs of each job.
        gpus: GPUs of each job on an accelerator; Slurm gives out whole ones.
        minutes: time limit of a job; one that needs longer is put into the queue again.
        memory_gb: memory of a job.
        folder: where submitit keeps scripts, logs and (pickled) tasks; on the shared disk.
        poll_seconds: how often the jobs are looked at.
        cluster: 'slurm', or 'local' to run the jobs as processes of this machine.
        sbatch: any other option of sbatch, by its long name: partition, account, qos, ...

    Raises:
        SpecError: an option has a value it cannot have.
    """

    def __init__(
        self,
        workers: int | None = None,
        cpus: float = 1,
        gpus: float = 1,
        minutes: int = 240,
        memory_gb: float = 4.0,
        folder: str = "slurm-out",
        poll_seconds: float = 5.0,
        cluster: str = "slurm",
        **sbatch: Any,
    ):
        if cpus < 1 or gpus < 1 or int(cpus) != cpus or int(gpus) != gpus:
            raise SpecError("Slurm gives out whole CPUs and GPUs: cpus and gpus must be 1 or more")
        if min(minutes, memory_gb, poll_seconds) < 0:
            raise SpecError("minutes, memory_gb and poll_seconds must not be below 0")
        if "address" in sbatch:
            raise SpecError("Slurm has no address: --address is for --executor ray")
        if cluster not in ("slurm", "local"):
            raise SpecError(f"cluster must be 'slurm' or 'local', not '{cluster}'")
        self._workers = workers or JOBS
        self._gpus, self._poll_seconds = int(gpus), poll_seconds
        self._cluster, self._folder = cluster, Path(folder).resolve()
        self._wants = {
            "name": "isoclone",
            "timeout_min": minutes,
            "mem_gb": memory_gb,
            "cpus_per_task": int(cpus),
            "slurm_array_parallelism": self._workers,
            "slurm_additional_parameters": {"requeue": True, **sbatch},
        }
        self._submitit: Any = None
        self._under_way: set[Any] = set()

    @property
    def workers(self) -> int:
        return self._workers

    def _submitter(self, accelerated: bool) -> Any:
        """Return submitit's executor, set to what the next jobs ask for."""
        if self._submitit is None:
            self._submitit = self._open()
        wants = self._wants | ({"gpus_per_node": self._gpus} if accelerated else {})
        self._submitit.update_parameters(**wants)
        return self._submitit

    def _open(self) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise MissingExtraError("the executor 'slurm'", "slurm") from error
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what it pickles is code
        try:
            return submitit.AutoExecutor(
                self._folder, self._cluster, slurm_max_num_timeout=TIMES_OUT
            )
        except RuntimeError as error:
            raise ExecutionError(
                "no Slurm here (srun is not found): start this where jobs can be submitted"
            ) from error

    def script(self, accelerated: bool = False) -> str:
        """Return the job script that sbatch gets for a single task."""
        inner = self._submitter(accelerated)._executor
        text: str = inner._make_submission_file_text(inner._submitit_command_str, "task")
        return text

    def begin(self, tasks: Sequence[Task]) -> list[Hashable]:
        jobs: dict[int, Any] = {}
        for accelerated in {task.accelerated for task in tasks}:  # each kind is an array
            chosen = [i for i, task in enumerate(tasks) if task.accelerated == accelerated]
            setting = os.getcwd()
            submitter = self._submitter(accelerated)
            with _refusals_in_one_line(), submitter.batch():
                for i in chosen:
                    bare = replace(tasks[i], key=None, files=None)
                    jobs[i] = submitter.submit(CallInJob(), bare, setting)
            self._under_way.update(jobs.values())
        return [jobs[i] for i in range(len(tasks))]

    def wait(self, handles: Sequence[Hashable]) -> Iterable[Hashable]:
        jobs: Sequence[Any] = handles
        done = [job for job in jobs if job.done()]
        if not done:
            time.sleep(self._poll_seconds)
        return done

    def outcome(self, handle: Hashable, task: Task) -> Outcome:
        import submitit

        job: Any = handle
        self._under_way.discard(job)
        try:
            outcome, full = job.result()
        except submitit.core.utils.FailedJobError as error:  # our code failed, not the worker
            return Outcome(task, error=str(error).strip().splitlines()[-1])
        except submitit.core.utils.UncompletedJobError as error:
            raise WorkerLost(f"job {job.job_id}: {one_line(error)[:200]}") from error
        if full is not None:
            raise StoreError(full)
        return replace(outcome, task=task)

    def __enter__(self) -> SlurmExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        jobs, self._under_way = self._under_way, set()
        for job in jobs:  # their results are not needed
            job.cancel(check=False)


@contextmanager
def _refusals_in_one_line() -> Iterator[None]:
    """Raise ExecutionError with what sbatch said, which submitit only prints."""
    import submitit

    try:
        with redirect_stderr(io.StringIO()):
            yield
    except submitit.core.utils.FailedJobError as error:
        said = str(error).strip() or one_line(error.__cause__ or error)
        raise ExecutionError(f"the jobs could not be submitted: {said}") from error


class CallInJob:
    """The work of a job. submitit asks `checkpoint` what to put back into the queue."""

    def __call__(self, task: Task, cwd: str) -> tuple[Outcome | None, str | None]:
        """Do the task; return its outcome, or why the study's directory cannot be written."""
        use_one_thread()
        os.chdir(cwd)
        run_study_file()
        try:
            return call(task), None
        except StoreError as error:
            return None, str(error)

    def checkpoint(self, task: Task, cwd: str) -> Any:
        """Return the same work again: the run has saved its own state."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, task, cwd)
