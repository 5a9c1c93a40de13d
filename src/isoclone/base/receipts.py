"""Remember, within this process alone, which files were read whole and found sound.

Nothing is written down. A receipt on disk could be changed by whoever can change the file, and a
file's times can be set back: it would hide from one run to the next what a check is there to find.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Generic, TypeVar

SETTLED_SECONDS = 0.1  # clocks of file systems tick: a younger change may have the same time
T = TypeVar("T")
Stamp = tuple[int, ...]


def stamp(path: Path) -> Stamp:
    """Return what a file system says of a file's identity and age; `os.utime` cannot set it all.

    Raises:
        OSError: there is no such file.
    """
    told = os.stat(path)
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


class Receipts(Generic[T]):
    """What was found in files that have not changed since; forgotten with the process."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[Stamp, T]] = {}
        self._turn = threading.Lock()

    def of(self, path: Path, now: Stamp) -> T | None:
        """Return what was found in a file, None if it was not read or has changed since."""
        with self._turn:
            before, found = self._held.get(path, (None, None))
        return found if before == now else None

    def keep(self, path: Path, before: Stamp, found: T) -> None:
        """Keep what was found in a file whose stamp was taken before it was read.

        A file that has only just been written is not kept: it could change within a clock's tick.
        """
        if time.time_ns() - before[-1] > SETTLED_SECONDS * 1e9:
            with self._turn:
                self._held[path] = before, found
