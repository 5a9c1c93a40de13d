"""Let all copies of NetHack's library in a process run the same memory pages of code.

NLE loads a copy of the library for each environment, since the game keeps its state in global
variables. Code and constants of all copies are alike, but lie in memory once for each: 96
environments that take turns push 288 MB of it through the caches. Here the copies' own pages are
replaced by those of the library's file, which all share (figures: docs/log.md).
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

MAP_FIXED = 0x10  # <sys/mman.h> of Linux
FAILED = ctypes.c_void_p(-1).value

Bytes = ctypes.Array[ctypes.c_char]


class _Mapping(NamedTuple):
    """A stretch of memory that shows a part of a file."""

    start: int
    size: int
    protection: int
    offset: int  # in the file


def share_code(nethack: Any) -> int:
    """Replace the pages of NLE's loaded copy that equal its file by those of the file.

    NLE loads the copy again for each new game, so call it after each. Nothing is done where the
    system is not Linux or does not allow it.

    Args:
        nethack: NLE's `nethack.Nethack`, whose game has begun.

    Returns:
        The bytes that are shared now.
    """
    original = _original()
    if original is None:
        return 0
    file, contents = original
    shared = 0
    for mapping in _mappings_of(os.fstat(nethack._dl.fileno()).st_ino):
        if _equal(mapping, contents) and _mapped(mapping, file):
            shared += mapping.size
    return shared


@functools.cache
def _original() -> tuple[int, Bytes] | None:
    """Return the library's file, open, and its bytes; None where its pages cannot be shared."""
    if sys.platform != "linux":
        return None
    from nle.nethack.nethack import DLPATH

    file = os.open(DLPATH, os.O_RDONLY)
    size = os.fstat(file).st_size
    contents = (ctypes.c_char * size).from_buffer_copy(os.pread(file, size, 0))
    try:  # a system may forbid code from this file, or at all
        mmap.mmap(file, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    except OSError:
        os.close(file)
        return None
    return file, contents


def _mappings_of(inode: int) -> Iterator[_Mapping]:
    """Yield this process's read-only mappings of a file in memory, code among them."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
        found = [line.split(maxsplit=5) for line in lines if f" {inode} " in line]
    for addresses, may, offset, _, number, *name in found:
        if int(number) != inode or "memfd:" not in "".join(name) or may not in ("r-xp", "r--p"):
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        execute = mmap.PROT_EXEC if "x" in may else 0
        yield _Mapping(start, end - start, mmap.PROT_READ | execute, int(offset, 16))


def _equal(mapping: _Mapping, contents: Bytes) -> bool:
    """Return whether memory holds what the file does; pages that were relocated do not."""
    size = min(mapping.size, len(contents) - mapping.offset)
    held = ctypes.addressof(contents) + mapping.offset
    return bool(_libc().memcmp(mapping.start, held, size) == 0)


def _mapped(mapping: _Mapping, file: int) -> bool:
    """Let a stretch of memory show a file's pages instead of its own; return whether it does."""
    where = _libc().mmap(
        mapping.start,
        mapping.size,
        mapping.protection,
        mmap.MAP_PRIVATE | MAP_FIXED,
        file,
        mapping.offset,
    )
    return bool(where != FAILED)


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    size, number = ctypes.c_size_t, ctypes.c_int
    libc.mmap.argtypes = [ctypes.c_void_p, size, number, number, number, ctypes.c_long]
    libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, size]
    return libc
