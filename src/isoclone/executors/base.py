"""What an executor is: something that calls functions, elsewhere perhaps, and reports back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

TRIES = 3  # how often a task is begun before it is given up


@dataclass(frozen=True)
class Files:
    """What a task reads and writes in a directory, for workers that do not share a disk with us.

    Attributes:
        home: the directory; it is the task's first argument.
        reads: name under `home` -> the file or folder that is to be found there.
        writes: names under `home`, files or folders, that the task may leave there.
    """

    home: Path
    reads: Mapping[str, Path] = field(default_factory=dict)
    writes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A call to be made: a module-level function and its picklable arguments.

    `accelerated` says that it uses the study's device, so that a GPU is asked for; `files` what it
    needs where no disk is shared (None: nothing); `modules` those that the driver trusts (see
    `base.registry`), which a pool fills in.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    key: Any = None
    accelerated: bool = False
    files: Files | None = None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a result, or the one-line error of its last try."""

    task: Task
    result: Any = None
    error: str | None = None


class Executor(Protocol):
    """Calls tasks' functions. Used as a context manager; leaving it frees the workers."""

    @property
    def workers(self) -> int:
        """Tasks that may be under way at once."""
        ...

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield an outcome for each task, in the order they end.

        The iterable is drawn from lazily, a task for each idle worker, so that what is asked for
        may depend on what has already come back.
        """
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exception: object) -> None: ...
