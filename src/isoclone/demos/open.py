"""Demonstrations of any kind, opened by what their directory says they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isoclone.base.errors import StoreError
from isoclone.base.store import read_json
from isoclone.demos.demonstrations import DONE, Demonstrations
from isoclone.remote import Remote, address_of

if TYPE_CHECKING:
    from isoclone.nethack.recordings.store import NldDemonstrations


def demos_here(place: str | Path) -> Path:
    """The directory of demonstrations that a place means; an object store's are copied here once.

    Raises:
        StoreError: the object store cannot be read.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    remote = Remote(address)
    if not (remote.path / DONE).exists():  # what is finished never changes
        remote.pull()
    return remote.path


def open_demos(path: str | Path, verify: bool = True) -> Demonstrations | NldDemonstrations:
    """Open finished demonstrations: recorded by isoclone, or imported NetHack recordings.

    `path` may be in an object store, as in 's3://bucket/demos/aa'.
    `verify=False` leaves out the check of every file against its recorded hash.

    Raises:
        DataError: none there, unfinished, of a newer format, or a file damaged or edited.
    """
    path = demos_here(path)
    try:
        kind = read_json(path / DONE).get("kind")
    except (StoreError, AttributeError):  # not there or damaged: `Demonstrations` says which
        kind = None
    if kind != "nld":
        return Demonstrations.open(path, verify)
    from isoclone.nethack.recordings.store import NldDemonstrations

    return NldDemonstrations.open(path, verify)
