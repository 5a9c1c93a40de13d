"""Executors: who calls the functions of a study. Serial and process pools are built in."""

from __future__ import annotations

import os
from collections.abc import Callable

from isoclone.errors import SpecError
from isoclone.executors.base import Executor, Outcome, Task
from isoclone.executors.processes import ProcessExecutor
from isoclone.executors.serial import SerialExecutor
from isoclone.registry import Registry

__all__ = ["Executor", "Outcome", "Task", "executor", "executor_names", "register_executor"]

_EXECUTORS = Registry("executor")
_EXECUTORS.add("serial", lambda workers: SerialExecutor())
_EXECUTORS.add("processes", ProcessExecutor)


def default_workers() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(workers: int | None) -> int:
    """The number of workers asked for, or one a core.

    Raises:
        SpecError: fewer than one.
    """
    if workers is not None and workers < 1:
        raise SpecError(f"workers must be at least 1, not {workers}")
    return workers or default_workers()


def executor(name: str = "processes", workers: int | None = None) -> Executor:
    """The executor of that name ('serial', 'processes', or a registered one).

    Raises:
        UnknownNameError: no such executor.
        SpecError: fewer than one worker.
    """
    return _EXECUTORS.make(name, check_workers(workers))


def executor_names() -> list[str]:
    """Every registered name."""
    return _EXECUTORS.names()


def register_executor(name: str, maker: Callable[[int], Executor]) -> None:
    """Add an executor under a name; `maker(workers)` returns it."""
    _EXECUTORS.add(name, maker)
