"""Spans of work: what a process did, from when to when; a study's trace is made of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from isoclone.base.store import this_host


@dataclass(frozen=True)
class Span:
    """A stretch of a process's time.

    Attributes:
        kind: 'record', 'train', 'evaluate', 'film', 'task' around what a worker does in one go, or
            'drive' for a phase of the process that hands out the tasks.
        begin, end: seconds since 1970 by the clock of the machine.
        worker: host and process.
        name: of the phase, or of what was worked on.
        workers: of 'drive': how many there were to work.
    """

    kind: str
    begin: float
    end: float
    worker: str
    name: str = ""
    workers: int = 0

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


_FOUND: list[Span] = []  # of this process's task


def this_process() -> str:
    """Return host and process, as spans name a worker."""
    return f"{this_host()}:{os.getpid()}"


@contextmanager
def span(kind: str, name: str = "") -> Iterator[None]:
    """Note what is done inside as a span of this process."""
    begin = time.time()
    try:
        yield
    finally:
        _FOUND.append(Span(kind, begin, time.time(), this_process(), name))


def take_spans() -> tuple[Span, ...]:
    """Return the spans noted since the last call, and forget them."""
    found = tuple(_FOUND)
    _FOUND.clear()
    return found


def add_spans(path: Path, spans: Iterable[Span]) -> None:
    """Append spans to a trace, a line of JSON each; one that cannot be written stops nothing."""
    lines = "".join(json.dumps(asdict(span)) + "\n" for span in spans)
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(lines)


def read_spans(path: Path) -> list[Span]:
    """Read a trace; lines that a power cut left torn are left out. No trace has no spans."""
    found = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                span = Span(**json.loads(line))
                if span.end >= span.begin:
                    found.append(span)
    return found
