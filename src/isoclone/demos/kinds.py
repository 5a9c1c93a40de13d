"""Demonstrations of any kind, opened by what their directory says they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isoclone.demos.demonstrations import DONE, Demonstrations
from isoclone.errors import StoreError
from isoclone.store import read_json

if TYPE_CHECKING:
    from isoclone.demos.nld.store import NldDemonstrations


def open_demos(path: str | Path, verify: bool = True) -> Demonstrations | NldDemonstrations:
    """Open finished demonstrations: recorded by isoclone, or imported NetHack recordings.

    `verify=False` leaves out the check of every file against its recorded hash.

    Raises:
        DataError: none there, unfinished, of a newer format, or a file damaged or edited.
    """
    try:
        kind = read_json(Path(path) / DONE).get("kind")
    except (StoreError, AttributeError):  # not there or damaged: `Demonstrations` says which
        kind = None
    if kind != "nld":
        return Demonstrations.open(path, verify)
    from isoclone.demos.nld.store import NldDemonstrations

    return NldDemonstrations.open(path, verify)
