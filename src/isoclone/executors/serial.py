"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from isoclone.errors import IsocloneError, StoreError
from isoclone.executors.base import TRIES, Outcome, Task


class SerialExecutor:
    """Calls each task here and now; the easiest to debug."""

    workers = 1

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            yield call(task)

    def __enter__(self) -> SerialExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def call(task: Task) -> Outcome:
    """Call a task; an exception becomes its outcome's error.

    Errors of our own would come again: they end the task. Any other may be of the moment (a game's
    process was killed, a library ran out of memory), so the task is begun `TRIES` times in all.
    A full disk is not the task's fault and would fail all the others as well: it goes on up.
    """
    for _ in range(TRIES):
        try:
            return Outcome(task, result=task.function(*task.args))
        except StoreError:
            raise
        except IsocloneError as error:
            return Outcome(task, error=one_line(error))
        except Exception as error:
            said = one_line(error)
    return Outcome(task, error=f"{said} (tried {TRIES} times)")


def one_line(error: BaseException) -> str:
    """The error as a single line: its kind and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
