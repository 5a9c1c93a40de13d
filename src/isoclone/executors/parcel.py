"""Send files with a task where no disk is shared, and bring back what it wrote.

A parcel is a list of (name, contents), in the order in which the files were written. It is unpacked
in that order, so that the file that says "complete" is written last here as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from isoclone.base.errors import DataError
from isoclone.base.store import write_bytes

Parcel = list[tuple[str, bytes]]


def files_in(place: Path) -> list[Path]:
    """List a file, or all files in a folder except temporary ones, oldest first."""
    if place.is_file():
        return [place]
    files = [p for p in place.rglob("*") if p.is_file() and not p.name.endswith(".tmp")]
    return sorted(files, key=lambda p: (p.stat().st_mtime_ns, p))


def pack(place: Path, name: str) -> Parcel:
    """Read the file or folder at `place` into a parcel that unpacks as `name`."""
    return [(_name_of(file, place, name), file.read_bytes()) for file in files_in(place)]


def _name_of(file: Path, place: Path, name: str) -> str:
    return name if file == place else f"{name}/{file.relative_to(place).as_posix()}"


def stamp(place: Path) -> str:
    """Return a digest of names, sizes and times, which changes when the files at `place` do."""
    seen = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files_in(place)]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def unpack(parcel: Parcel, home: Path, allowed: Iterable[str]) -> None:
    """Write a parcel's files under `home`, each whole or not at all.

    Raises:
        DataError: a name is neither among the `allowed` ones nor in a folder of them.
    """
    roots = [PurePosixPath(name) for name in allowed]
    for name, data in parcel:
        path = PurePosixPath(name)
        if ".." in path.parts or not any(path.is_relative_to(root) for root in roots):
            raise DataError(f"a worker sent '{name}', a file that its task may not write")
        write_bytes(home / path, data)
