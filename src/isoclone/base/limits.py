"""Refuse files that unpack to more than memory can hold, before they are unpacked.

A file of kilobytes can hold gigabytes: packed zeros, one value repeated by a dictionary, a view of
one number as a matrix. Its headers tell the size, so they are read first. The limit is that of one
file, 2 GiB unless the user says otherwise.

| what comes in | ask |
|---|---|
| zip archives: .npz, SB3, torch | `check_zip(path)`, or `check_archive` of an open one |
| arrays of .npy, and those in .npz | `check_zip` or `check_array(path, shape, dtype)` |
| Parquet | `base.parquet.read_table(path, columns)`, or `check` there |
| Parquet that is read in pieces | `base.parquet.groups(path, columns)`, and each piece |
| gzip, bz2, xz streams | `limited(stream, path)`, since no header can be believed |
| pictures and video | `check_array(path, (frames, height, width, channels), "uint8")` |
| anything else whose header tells a size | `check_unpacked(path, size)` |
"""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from isoclone.base.errors import DataError, SpecError

VARIABLE = "ISOCLONE_UNPACK_LIMIT"  # bytes; workers inherit it
DEFAULT = 2 << 30
BLOCK = 1 << 20
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def unpack_limit(unless_said: int = DEFAULT) -> int:
    """Return how many bytes one file may unpack to: what the user said, or that default."""
    said = os.environ.get(VARIABLE)
    return parse_size(said, VARIABLE) if said else unless_said


def raise_limit(text: str, flag: str) -> None:
    """Set the limit for this process and those it starts: '8GiB', '500M' or bytes.

    Raises:
        SpecError: it is no size.
    """
    os.environ[VARIABLE] = str(parse_size(text, flag))


def parse_size(text: str, flag: str) -> int:
    """Return a size in bytes from '8GiB', '8G', '500 MiB' or '1000'.

    >>> parse_size("8GiB", "--unpack-limit")
    8589934592

    Raises:
        SpecError: it is none; `flag` names where it was given.
    """
    found = re.fullmatch(r"(\d{1,15}) ?(|[kmgt])(?:i?b)?", text.strip(), re.ASCII | re.IGNORECASE)
    if found is None or not int(found[1]):
        raise SpecError(f"{flag} wants a size such as 8GiB, not {text!r:.40}")
    return int(found[1]) << _UNITS[found[2].lower()]


def size_text(size: float) -> str:
    """Return a size for people.

    >>> size_text(2 << 30), size_text(300)
    ('2.0 GiB', '0.0 MiB')
    """
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def check_unpacked(path: object, size: float, unless_said: int = DEFAULT) -> None:
    """Raise DataError if a file would unpack to more bytes than the limit.

    Args:
        path: names the file in the message.
        size: bytes that it would take.
        unless_said: the limit, unless the user gave another.
    """
    limit = unpack_limit(unless_said)
    if size > limit:
        raise DataError(
            f"{path} would unpack to {size_text(size)}, and {size_text(limit)} is the limit; "
            "if the file is to be trusted, --unpack-limit raises it"
        )


def check_array(path: object, shape: Sequence[int], dtype: Any) -> None:
    """Raise DataError if an array of that shape would take more bytes than the limit."""
    check_unpacked(path, math.prod(max(0, int(n)) for n in shape) * np.dtype(dtype).itemsize)


def check_zip(path: Path, unless_said: int = DEFAULT) -> None:
    """Raise DataError if a zip archive (.npz, SB3, torch) unpacks to more than the limit.

    What an entry holds beyond the size that its header tells is never unpacked.

    Raises:
        DataError: also if it is no zip archive.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(path, archive, unless_said)
    except (DataError, OSError):
        raise
    except Exception as error:  # zipfile has many of its own, and struct's, zlib's
        raise DataError(f"{path} is damaged or no zip archive") from error


def check_archive(path: object, archive: zipfile.ZipFile, unless_said: int = DEFAULT) -> None:
    """Raise DataError if an open zip archive unpacks to more than the limit."""
    check_unpacked(path, sum(info.file_size for info in archive.infolist()), unless_said)


def limited(stream: IO[bytes], path: object) -> Iterator[bytes]:
    """Yield an unpacking stream (`gzip.open`, `bz2.open`) in blocks, up to the limit.

    Raises:
        DataError: there is more.
    """
    seen = 0
    while block := stream.read(BLOCK):
        seen += len(block)
        check_unpacked(path, seen)
        yield block
