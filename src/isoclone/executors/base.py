"""What an executor is: something that calls functions, elsewhere perhaps, and reports back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

TRIES = 3  # how often a task is begun before it is given up


@dataclass(frozen=True)
class Task:
    """A call to be made: a module-level function and its picklable arguments."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    key: Any = None


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a result, or the one-line error of its last try."""

    task: Task
    result: Any = None
    error: str | None = None


class Executor(Protocol):
    """Calls tasks' functions. Used as a context manager; leaving it frees the workers."""

    workers: int

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield an outcome for each task, in the order they end.

        The iterable is drawn from lazily, a task for each idle worker, so that what is asked for
        may depend on what has already come back.
        """
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exception: object) -> None: ...
