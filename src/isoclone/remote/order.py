"""The files that belong on both sides, and the order in which they move.

A file that declares a folder's purpose moves before all others in it. A file that marks something
as complete (a point, finished demonstrations) moves after the files that it stands for. That holds
both ways: a reader of the store finds whole points or none, and can go on where a driver was killed
in the middle of a push.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import PurePosixPath

MARKS = ("demonstrations.json", "game.json")  # besides points, these mark "complete"
CLAIMS = (
    "study.json",
    "request.json",
    "recording.json",
)  # they say what a folder is for
RANKS = range(4)


def shared(name: str) -> bool:
    """Return whether a file belongs on both sides: caches, locks and temporary files do not."""
    parts = PurePosixPath(name).parts
    return "cache" not in parts and not any(part.startswith(".") for part in parts)


def among(name: str, names: list[str] | None) -> bool:
    return names is None or any(name == n or name.startswith(f"{n}/") for n in names)


def of_rank(rank: int, names: Iterable[str]) -> list[str]:
    return [name for name in names if _rank(name) == rank]


def _rank(name: str) -> int:
    """Return a file's place in the order; those of rank 0 move first."""
    path = PurePosixPath(name)
    if path.name in CLAIMS:
        return 0
    if path.name == "forecast.json":
        return 3
    return 2 if path.parent.name == "points" or path.name in MARKS else 1


def is_spoken_of(name: str, here: Container[str]) -> bool:
    """Return whether a file here marks another as complete, which must therefore be kept."""
    path = PurePosixPath(name)
    point = path.parent.parent / "points" / f"{path.stem}.json"
    marks = [folder / mark for folder in path.parents for mark in MARKS]
    return any(file.as_posix() in here for file in (point, *marks) if file != path)
