"""Which files are for both sides, and in which order they move.

What says whose a folder is moves before what is in it, and what says that something is complete (a
point, finished demonstrations) after all that it speaks of, both ways: whoever reads the store sees
whole points or none, and can go on with what a killed driver had pushed by halves.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import PurePosixPath

MARKS = ("demonstrations.json", "game.json")  # beside points: they say that something is complete
CLAIMS = (
    "study.json",
    "request.json",
    "recording.json",
)  # they say whose a folder is that is not empty
RANKS = range(4)


def shared(name: str) -> bool:
    """Whether a file is for both sides: caches, locks and what is being written are not."""
    parts = PurePosixPath(name).parts
    return "cache" not in parts and not any(part.startswith(".") for part in parts)


def among(name: str, names: list[str] | None) -> bool:
    return names is None or any(name == n or name.startswith(f"{n}/") for n in names)


def of_rank(rank: int, names: Iterable[str]) -> list[str]:
    return [name for name in names if _rank(name) == rank]


def _rank(name: str) -> int:
    """When a file's turn is: what says whose a folder is comes before what is in it, what says that
    something is complete after what it speaks of.
    """
    path = PurePosixPath(name)
    if path.name in CLAIMS:
        return 0
    if path.name == "forecast.json":
        return 3
    return 2 if path.parent.name == "points" or path.name in MARKS else 1


def is_spoken_of(name: str, here: Container[str]) -> bool:
    """Whether something here says that a file is complete: then nobody can have deleted that."""
    path = PurePosixPath(name)
    point = path.parent.parent / "points" / f"{path.stem}.json"
    marks = [folder / mark for folder in path.parents for mark in MARKS]
    return any(file.as_posix() in here for file in (point, *marks) if file != path)
