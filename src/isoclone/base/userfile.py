"""A user's Python file: run it, and find by name what it defines.

A file may import its neighbours, as a script may: its folder is the first on Python's path while
it runs, and stays on it, as the last, for what is imported later.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isoclone.base.errors import SpecError, foreign_fails
from isoclone.base.store import sha256_file, write_bytes

_ELSEWHERE: dict[str, dict[str, Any]] = {}  # a file of another machine -> the names that it set
_RUN: dict[tuple[str, str], dict[str, Any]] = {}  # (path, hash) -> the names that it set


def run_file(path: str | Path) -> dict[str, Any]:
    """Run a user's Python file; return the names it sets.

    Raises:
        SpecError: it is not there, raises, or ends the program; the message says what.
    """
    if not Path(path).is_file():
        raise SpecError(f"{path} does not exist")
    with foreign_fails(SpecError, f"{path} cannot be run"), _folder_on_path(Path(path)):
        return runpy.run_path(str(path))


@contextmanager
def _folder_on_path(path: Path) -> Iterator[None]:
    """Put a file's folder first on Python's path for the block, and last from then on."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def is_file_reference(name: str) -> bool:
    """Return whether a name means something in a Python file: 'players.py' or 'players.py:Name'."""
    return split_reference(name)[0].endswith(".py")


def split_reference(name: str) -> tuple[str, str]:
    """Return the file and the name in it; the name is '' if none is given.

    >>> split_reference("my/players.py:Careful"), split_reference("players.py")
    (('my/players.py', 'Careful'), ('players.py', ''))
    """
    file, colon, inner = name.rpartition(":")
    return (file, inner) if colon and file.endswith(".py") else (name, "")


def found_in_file(reference: str, usual: str) -> Any:
    """Return what 'players.py:Name' names; each file runs once in a process.

    Args:
        usual: the name that is meant where none is given.

    Raises:
        SpecError: the file cannot be run, or has no such name.
    """
    file, name = split_reference(reference)
    if Path(file).is_file():
        key = str(Path(file).resolve()), sha256_file(Path(file))
        if key not in _RUN:
            _RUN[key] = run_file(file)
        names = _RUN[key]
    elif file in _ELSEWHERE:
        names = _ELSEWHERE[file]
    else:
        raise SpecError(f"{file} does not exist")
    if (name or usual) not in names:
        hint = "" if name else f"; say which is meant, as in {file}:Name"
        raise SpecError(f"{file} has no `{name or usual}`{hint}")
    return names[name or usual]


def packed(path: str | Path) -> dict[str, str]:
    """Return the texts of a file and of the neighbours that it has imported, by relative path.

    Workers on machines without the file are sent these.
    """
    path = Path(path).resolve()
    texts = {path.name: path.read_text()}
    for module in list(sys.modules.values()):
        own = getattr(module, "__file__", None)
        if not own or not own.endswith(".py"):
            continue
        place = Path(own).resolve()
        if place.is_relative_to(path.parent) and "site-packages" not in place.parts:
            texts[place.relative_to(path.parent).as_posix()] = place.read_text()
    return texts


def run_packed(path: str, texts: dict[str, str], folder: Path) -> None:
    """Run a file of another machine: write it and its neighbours into a folder, and run it there.

    Raises:
        SpecError: as `run_file`.
    """
    for name, text in texts.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, text.encode())
    _ELSEWHERE[path] = run_file(folder / Path(path).name)
