"""Functions for workers to call; a module that imports little, as each new worker imports it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from isoclone.base.errors import StoreError


def double(x):
    return 2 * x


def fail(x):
    raise ValueError(f"no {x},\nnever")


def full_disk():
    raise StoreError("no space left")


def die_once(marker: Path):
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def stop_once(marker: Path):
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def where(home: Path):
    return home


def copy_up(home: Path):
    (home / "out").mkdir(exist_ok=True)
    (home / "out" / "copy").write_text((home / "in").read_text().upper())
    return str(home)


def wait_for_preemption(folder: Path):
    """Hangs when it is called first; the second time it says how often it was called."""
    (folder / f"begun{len(list(folder.iterdir()))}").touch()
    if len(list(folder.iterdir())) == 1:
        time.sleep(300)
    return len(list(folder.iterdir()))


def announce(folder):
    """Say under which process number this runs, and stay."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(300)
