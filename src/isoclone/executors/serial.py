"""Run tasks one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from isoclone.base.errors import (
    FOREIGN,
    ExecutionError,
    ForeignFailure,
    IsocloneError,
    StoreError,
    words_of,
)
from isoclone.base.registry import trust_modules
from isoclone.base.trace import span, take_spans
from isoclone.executors.base import TRIES, Outcome, Task


class SerialExecutor:
    """Calls each task in this process; the easiest to debug."""

    workers = 1
    seen: Callable[[Outcome], None] = staticmethod(lambda outcome: None)

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            outcome = call(task)
            self.seen(outcome)
            yield outcome

    def __enter__(self) -> SerialExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def call(task: Task) -> Outcome:
    """Call a task; an exception becomes the error of its outcome.

    Raises:
        StoreError: the disk is full or cannot be written, which would fail all other tasks too.
    """
    trust_modules(task.modules)
    take_spans()  # of a call that was broken off
    with span("task", task.name):
        outcome = _outcome_of(task)
    return replace(outcome, spans=take_spans())


def _outcome_of(task: Task) -> Outcome:
    try:
        return Outcome(task, result=attempt(task.function, *task.args))
    except StoreError:
        raise
    except ExecutionError as error:
        return Outcome(task, error=str(error))
    except IsocloneError as error:
        return Outcome(task, error=one_line(error))


def attempt(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function, up to `TRIES` times; return what it returns.

    Errors of isoclone's own are raised at once, since they would only come again. That of an
    environment, whose process may have been killed, and any that is not ours may pass.

    Raises:
        ExecutionError: every try failed; the message is that of the last one.
    """
    for count in range(1, TRIES + 1):
        try:
            return function(*args)
        except ForeignFailure:
            if count == TRIES:
                raise
        except IsocloneError:
            raise
        except FOREIGN as error:
            if count == TRIES:
                raise ExecutionError(f"{one_line(error)} (tried {TRIES} times)") from error
    raise AssertionError("unreachable")


def one_line(error: BaseException) -> str:
    """Return an error as a single line: its kind and its message."""
    return words_of(error, 500)[:500]
