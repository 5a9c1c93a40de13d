"""Executors: they call the functions of a study, here or on other machines.

serial      this process, one task after the other
processes   processes on this machine
ray         a Ray cluster, or a Ray started here (extra `ray`)
slurm       jobs of a Slurm cluster (extra `slurm`)
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isoclone.base.errors import SpecError
from isoclone.base.records import conformed
from isoclone.base.tables import EXECUTORS
from isoclone.executors.base import Executor, Files, Outcome, Task
from isoclone.executors.processes import ProcessExecutor
from isoclone.executors.ray import RayExecutor
from isoclone.executors.serial import SerialExecutor
from isoclone.executors.slurm import SlurmExecutor

__all__ = [
    "Executor",
    "Files",
    "Outcome",
    "Task",
    "executor",
    "executor_names",
    "near",
]

_SIZED_BY_CLUSTER = (
    "ray",
    "slurm",
)  # by the cluster's room, not by this machine's cores
_PLAIN = (int, float, str, bool)  # types that an option's value is checked against

EXECUTORS.add("serial", lambda workers: SerialExecutor())
EXECUTORS.add("processes", ProcessExecutor)
EXECUTORS.add("ray", RayExecutor)
EXECUTORS.add("slurm", SlurmExecutor)


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(workers: int | None) -> int:
    """Return the number of workers asked for, or one for each core.

    Raises:
        SpecError: fewer than one, or no whole number.
    """
    try:
        count = conformed(workers, int | None, "workers")
    except TypeError as error:
        raise SpecError(str(error)) from error
    if count is not None and count < 1:
        raise SpecError(f"workers must be at least 1, not {count}")
    return count or default_workers()


def executor(name: str = "processes", workers: int | None = None, **options: Any) -> Executor:
    """Make an executor by name: 'serial', 'processes', 'ray', 'slurm', or a registered one.

    Args:
        workers: tasks that run at once; None for one for each core, or on a cluster for as many as
            it has room for.
        options: the executor's own, see its class: `gpus`, `cpus`, `address`, `files`, ...

    Raises:
        UnknownNameError: no such executor.
        SpecError: fewer than one worker, or an option that it does not have or cannot take.
        MissingExtraError: its extra is not installed.
    """
    maker, _ = EXECUTORS.find(name)
    count = check_workers(workers)
    try:
        _check(maker, count, options)
    except TypeError as error:
        raise SpecError(f"executor '{name}': {error}") from error
    made: Executor = maker(workers if name in _SIZED_BY_CLUSTER else count, **options)
    return made


def _check(maker: Callable[..., Executor], workers: int, options: dict[str, Any]) -> None:
    """Raise TypeError for an option that the maker does not have, or that is of another type."""
    try:
        signature = inspect.signature(maker, eval_str=True)
    except Exception:  # a user's maker may have hints that cannot be evaluated here
        signature = inspect.signature(maker)
    signature.bind(workers, **options)
    for name in options.keys() & signature.parameters.keys():
        hint = signature.parameters[name].annotation
        if hint in _PLAIN or hint in [kind | None for kind in _PLAIN]:
            given = options[name]
            given = os.fspath(given) if isinstance(given, os.PathLike) else given
            value = conformed(given, hint, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise TypeError(f"{name} must be a finite number, not {value}")


def near(given: Executor | None, place: Path) -> Executor | None:
    """Return the given executor if its workers see a directory of this machine, else processes."""
    sees = getattr(given, "sees", None)
    return given if sees is None or sees(place) else ProcessExecutor(default_workers())


def executor_names() -> list[str]:
    """Return every registered name."""
    return EXECUTORS.names()
