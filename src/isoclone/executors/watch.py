"""Watch processes of this machine: which of them do not move, since they were stopped or hang.

A process moves if it, or one that it started, uses the CPU. Where /proc is not there to be asked,
nothing is known to stand still.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

STALLED_SECONDS = 300.0
LOOKS = 4  # at least so many before a process is said to stand still


class Watch:
    """The time for which each of some processes has not moved.

    Args:
        seconds: how long a process may stand still. Time that the watcher itself did not run (it
            was stopped too, or the machine slept) does not count.
    """

    def __init__(self, seconds: float):
        self._limit = seconds
        self.seconds_between = min(seconds / LOOKS, 5.0)
        self._looked = time.monotonic()
        self._still: dict[int, tuple[int, float]] = {}  # CPU time at the last look, seconds since

    def stalled(self, pids: Iterable[int]) -> list[tuple[int, float]]:
        """Return the processes that stood still for too long, and for how many seconds.

        Processes that are not among `pids` are forgotten.
        """
        now = time.monotonic()
        passed = now - self._looked
        if passed < self.seconds_between:
            return []
        self._looked = now
        passed = min(passed, 2 * self.seconds_between)
        used, before = _cpu_times(), self._still
        self._still = {}
        for pid in pids:
            if (ticks := _of_all(pid, used)) is not None:
                last, still = before.get(pid, (-1, 0.0))
                self._still[pid] = (ticks, still + passed if ticks == last else 0.0)
        return [(pid, still) for pid, (_, still) in self._still.items() if still >= self._limit]


def end_all(pid: int) -> None:
    """Kill a process and all that it started."""
    for one in (pid, *_offspring(pid, _cpu_times())):
        with suppress(OSError):
            os.kill(one, signal.SIGKILL)


def _cpu_times() -> dict[int, tuple[int, int]]:
    """Return the parent and the CPU time in ticks, that of ended children included, of each."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):  # it ended just now
            fields = path.read_text().rpartition(")")[2].split()
            found[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    return found


def _of_all(pid: int, used: dict[int, tuple[int, int]]) -> int | None:
    """Return the CPU time of a process and of all that it started; None if it is not there."""
    if pid not in used:
        return None
    return used[pid][1] + sum(used[one][1] for one in _offspring(pid, used))


def _offspring(pid: int, used: dict[int, tuple[int, int]]) -> list[int]:
    found, new = [], [pid]
    while new:
        new = [one for one, (parent, _) in used.items() if parent in new]
        found += new
    return found
