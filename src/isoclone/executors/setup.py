"""What every worker process does before its first task, wherever it runs."""

from __future__ import annotations

import ctypes
import functools
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from isoclone.base.errors import IsocloneError, SpecError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEEP_BYTES = 1 << 30

STUDY_FILE_VARIABLE = "ISOCLONE_STUDY_FILE"  # a user's Python file that each worker runs first


def use_one_thread() -> None:
    """Have the libraries use one thread each; the tasks are what runs in parallel."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)
    keep_freed_memory()


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep what was freed for the next who asks.

    By default glibc hands blocks of megabytes back to the kernel at once. A training step asks
    for the same blocks again and pays for them page by page: 3,500 page faults a step of 64
    stacks, a third of its time (docs/log.md). Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def run_study_file() -> None:
    """Run the user's Python file, if there is one, so that what it registers is known here too."""
    path = os.environ.get(STUDY_FILE_VARIABLE)
    if path:
        run_file(path)


def run_file(path: str) -> dict[str, Any]:
    """Run a user's Python file; returns the names it sets.

    Raises:
        SpecError: it is not there, raises, or ends the program; the message says what.
    """
    if not Path(path).exists():
        raise SpecError(f"{path} does not exist")
    try:
        return runpy.run_path(path)
    except IsocloneError:
        raise
    except SystemExit as stop:
        raise SpecError(f"{path} cannot be run: it ends the program (SystemExit: {stop})") from stop
    except Exception as error:
        said = " ".join(str(error).split())
        raise SpecError(f"{path} cannot be run: {type(error).__name__}: {said}") from error
