"""`study.log`: who did what in a study, and when; one line each, failures included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from isoclone.base.errors import IsocloneError
from isoclone.base.formatting import duration, visible
from isoclone.base.trace import this_process


class Journal:
    """The log of a study. A line is appended by one write, so none is torn when processes die."""

    def __init__(self, path: Path):
        self._path, self._ends = path, False

    def write(self, what: str) -> None:
        """Append a line: the time (UTC), host and process, and what was done.

        A log that cannot be written stops nothing: what matters is written elsewhere, too.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        line = f"{now} {this_process()} {visible(' '.join(what.split()))}\n"
        with suppress(OSError):
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            file = os.open(self._path, flags, 0o666)
            try:
                os.write(file, self._beginning(file) + line.encode())
            finally:
                os.close(file)

    def _beginning(self, file: int) -> bytes:
        """Return a newline if the last line lacks its own, as after a power cut."""
        size = 0 if self._ends else os.fstat(file).st_size
        self._ends = True
        return b"\n" if size and os.pread(file, 1, size - 1) != b"\n" else b""

    @contextmanager
    def told(self, begins: str) -> Iterator[None]:
        """Write that work begins, and how it ended, whatever happens in between."""
        begun = datetime.now(UTC)
        self.write(f"begins: {begins}")
        try:
            yield
        except BaseException as error:
            self.write(f"ended after {_since(begun)}: {_reason(error)}")
            raise
        self.write(f"done after {_since(begun)}")


def _since(begun: datetime) -> str:
    return duration((datetime.now(UTC) - begun).total_seconds())


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "stopped by a signal"
    return str(error) if isinstance(error, IsocloneError) else f"{type(error).__name__}: {error}"
