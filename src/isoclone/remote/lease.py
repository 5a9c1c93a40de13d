"""Allow one driver at a time, among all machines."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from isoclone.base.errors import StoreError
from isoclone.base.timers import calling
from isoclone.remote.objects import PATIENCE_SECONDS, Objects

DRIVERS = ".drivers"
BEAT_SECONDS = 15.0  # between signs of life of a driver


class Lease:
    """The right to be the only driver of an address, among all machines.

    Each driver writes signs of life into an object of its own, and only then looks for others; so
    of two that start at the same moment at least one sees the other. A driver that finds another
    one waits. If the other shows a new sign of life, the one that waited gives up; if it stays
    silent for long enough, it is taken for dead. Clocks of different machines are never compared.
    A driver that was taken for dead is interrupted and pushes nothing more.

    Args:
        lock: this machine's name for the lock that the driver holds, if it has one.
        copy: where this driver's work is, for the message if another takes over.
    """

    def __init__(self, objects: Objects, lock: str | None, copy: Path):
        self._objects, self._lock, self._copy = objects, lock, copy
        self._name = f"{DRIVERS}/{uuid.uuid4().hex}.json"
        self._count = 0  # signs shown
        self._gone = False  # another driver has taken over
        self._buried: list[str] = []  # drivers whose place we have taken
        self._turn = threading.Lock()

    @contextmanager
    def held(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Hold the right while the block runs, showing signs of life.

        Args:
            tell: called with the reason for a wait.

        Raises:
            StoreError: another driver is at work; or another one has taken over from this one.
        """
        self._show()
        try:
            with _interruptible(), calling(self._go_on, BEAT_SECONDS):
                self._see_others_off(tell)
                yield
            self.check()
        except KeyboardInterrupt:
            if self._gone:
                self.check()
            raise
        finally:
            with suppress(StoreError):
                self._objects.delete(self._name)

    def check(self) -> None:
        """Raise StoreError if another driver has taken over, since this one was silent."""
        if self._is_buried():
            raise StoreError(
                f"{self._objects.address} was taken over by another isoclone process, as nothing "
                f"was heard of this one for {PATIENCE_SECONDS:g} s; what it did is in {self._copy}"
            )

    def _show(self) -> None:
        """Write a sign of life, which differs from the one before."""
        with self._turn:
            self._count += 1
            said = {"host": socket.gethostname(), "pid": os.getpid(), "lock": self._lock}
            said |= {"buried": self._buried, "beat": self._count}
            self._objects.write(self._name, io.BytesIO(json.dumps(said).encode()))

    def _go_on(self) -> None:
        """Write a sign of life; or interrupt the main thread if another driver has taken over."""
        with suppress(StoreError):
            if not self._is_buried():
                self._show()
            elif not self._gone:
                self._gone = True
                _interrupt()

    def _is_buried(self) -> bool:
        """Return whether another driver has taken over.

        It has deleted our object then. We may have written ours again just after that; so a driver
        that deletes an object also notes that in its own.
        """
        drivers = self._objects.inside(DRIVERS)
        others = [self._said_by(other) for other in drivers if other != self._name]
        return self._name not in drivers or any(
            self._name in str(said.get("buried")) for said in others if said
        )

    def _see_others_off(self, tell: Callable[[str], None]) -> None:
        for other in self._objects.inside(DRIVERS):
            if other != self._name:
                self._see_off(other, tell)

    def _see_off(self, other: str, tell: Callable[[str], None]) -> None:
        """Raise StoreError if another driver lives; delete its object if it does not."""
        first, until = self._said_by(other), time.monotonic() + PATIENCE_SECONDS
        if first is None:
            return
        who = f"process {first.get('pid')} on {first.get('host')}"
        if self._lock is None or first.get("lock") != self._lock:  # else its lock is now ours
            tell(f"for a sign of life of {who}, {PATIENCE_SECONDS:g} s at most")
            while time.monotonic() < until:
                time.sleep(min(1.0, PATIENCE_SECONDS / 10))
                now = self._said_by(other)
                if now is None:  # it has left
                    return
                if now != first:
                    raise StoreError(
                        f"another isoclone process ({who}) is at work on {self._objects.address}; "
                        "wait for it or stop it"
                    )
        self._buried.append(other)
        self._show()
        self._objects.delete(other)

    def _said_by(self, other: str) -> dict[str, Any] | None:
        """Read the last sign of life of a driver; None if it has left."""
        try:
            said = b"".join(self._objects.read(other))
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        with suppress(ValueError):
            found = json.loads(said)
            return found if isinstance(found, dict) else {}
        return {}


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let `_interrupt` end the block, if the main thread runs it.

    SIGUSR1 is used for that, since programs that a script starts in the background ignore SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before or signal.SIG_DFL)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _interrupt() -> None:
    """Stop the main thread as Ctrl-C does, even while it waits for something."""
    ident = threading.main_thread().ident
    if ident is not None and signal.getsignal(signal.SIGUSR1) is _stop:
        signal.pthread_kill(ident, signal.SIGUSR1)
