"""Set up a worker process before its first task, on any machine."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

from isoclone.base.quiet import hush
from isoclone.base.userfile import run_file

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEEP_BYTES = 1 << 30

STUDY_FILE_VARIABLE = "ISOCLONE_STUDY_FILE"  # a user's Python file that each worker runs first


def use_one_thread() -> None:
    """Set libraries to one thread each, since tasks already run in parallel; and silence them."""
    hush()
    os.environ["OMP_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)
    keep_freed_memory()


@functools.cache
def keep_freed_memory() -> None:
    """Set the C library to keep freed memory for later use.

    By default glibc gives blocks of megabytes back to the kernel at once. Each training step asks
    for the same blocks again and pays a page fault for every page: 3,500 in a step of 64 stacks, a
    third of its time (docs/log.md). C libraries other than glibc are left as they are.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def run_study_file() -> None:
    """Run the user's Python file, if there is one, so that this process knows what it registers."""
    path = os.environ.get(STUDY_FILE_VARIABLE)
    if path:
        run_file(path)
