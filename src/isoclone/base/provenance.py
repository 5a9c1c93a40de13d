"""Versions, device and precision that made a point; they are not part of a run's identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata

from isoclone.base.records import Point
from isoclone.base.version import VERSION

UNKNOWN = "unknown"  # of points older than these columns
MADE_BY = {  # column -> how a sentence about it begins
    "isoclone_version": "points were made by isoclone",
    "torch_version": "points were made with torch",
    "device": "points were made on the device",
    "precision": "points were made in precision",
}


def made_by(device: str, precision: str) -> dict[str, str]:
    """Return the columns of a point for versions, device and precision, without importing torch.

    Args:
        device: such as 'cpu' or 'cuda:1'; only its kind is kept.
        precision: of training, 'float32' or 'bfloat16'.
    """
    return {
        "isoclone_version": VERSION,
        "torch_version": metadata.version("torch"),
        "device": device.partition(":")[0],
        "precision": precision,
    }


def others(points: Iterable[Point], now: Mapping[str, str]) -> list[str]:
    """Return a sentence for each column in which points were made by other means than now.

    Args:
        now: what is at work, as `made_by` returns it.
    """
    made = [point for point in points if point.status != "failed"]
    said = []
    for name, beginning in MADE_BY.items():
        found = Counter(getattr(point, name) or UNKNOWN for point in made)
        theirs = [f"{value} ({n})" for value, n in sorted(found.items()) if value != now[name]]
        if theirs:
            said.append(f"{beginning} {', '.join(theirs)}; this is {now[name]}")
    return said


def mixtures(points: Iterable[Point]) -> list[str]:
    """Return a sentence for each of the four columns in which points differ, with counts.

    Failed points are left out. The most frequent value comes first.
    """
    made = [point for point in points if point.status != "failed"]
    said = []
    for name, beginning in MADE_BY.items():
        found = Counter(getattr(point, name) or UNKNOWN for point in made)
        if len(found) > 1:
            order = sorted(found.items(), key=lambda item: (-item[1], item[0]))
            parts = [f"{value} ({times})" for value, times in order]
            said.append(f"{beginning} {', '.join(parts[:-1])} and {parts[-1]}")
    return said
