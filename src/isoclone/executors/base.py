"""The protocol of executors: they call functions, here or on other machines, and report back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from isoclone.base.trace import Span

TRIES = 3  # how often a task is begun before it is given up


@dataclass(frozen=True)
class Files:
    """The files that a task reads and writes, for workers that do not share a disk with the driver.

    Attributes:
        home: the directory; it is the task's first argument.
        reads: name under `home` -> the file or folder that the worker must find there.
        writes: names of files or folders under `home` that the task may write.
    """

    home: Path
    reads: Mapping[str, Path] = field(default_factory=dict)
    writes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A function call: a module-level function and its picklable arguments.

    Attributes:
        key: for the caller's own use; it comes back with the outcome.
        accelerated: the task uses the study's device, so a GPU is asked for.
        files: what it reads and writes, where no disk is shared; None if it needs no files.
        name: for people, in messages.
        modules: those that the driver trusts (see `base.registry`); a pool fills them in.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    key: Any = None
    accelerated: bool = False
    files: Files | None = None
    modules: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a task ended: with a result, or with the one-line error of its last try."""

    task: Task
    result: Any = None
    error: str | None = None
    spans: tuple[Span, ...] = ()  # what its worker did when, for the trace


class Executor(Protocol):
    """Caller of the functions of tasks. A context manager: leaving it frees the workers.

    It may have a `tell`, to be set to a function that takes messages for people, and a `seen`, to
    be set to one that takes each outcome.
    """

    @property
    def workers(self) -> int:
        """The number of tasks that may run at once."""
        ...

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Call every task; yield an outcome for each, in the order they end.

        A task is taken from the iterable only when a worker is idle, so an iterable may decide what
        comes next by the outcomes so far.
        """
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exception: object) -> None: ...
