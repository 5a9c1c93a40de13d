"""Open demonstrations of any kind; their directory says which kind they are."""

from __future__ import annotations

from pathlib import Path

from isoclone.base.errors import DataError, StoreError, UnknownNameError
from isoclone.base.store import read_json
from isoclone.base.tables import DEMONSTRATIONS
from isoclone.demos.base import Demonstrations
from isoclone.demos.demonstrations import DONE, REQUEST, FrameDemonstrations
from isoclone.remote import Remote, address_of

FRAMES = "frames"  # the kind of demonstrations whose table does not name one
# kind -> opener(path, verify)
DEMONSTRATIONS.add(FRAMES, FrameDemonstrations.open)


def demos_here(place: str | Path) -> Path:
    """Return the directory of demonstrations; those in an object store are copied here once.

    Raises:
        StoreError: the object store cannot be read.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    remote = Remote(address)
    if not (remote.path / DONE).exists():  # finished demonstrations never change
        remote.pull()
    return remote.path


def demos_in(path: str | Path) -> Path | str:
    """Return the demonstrations that a place holds, or is: a study and a recording hold them."""
    address = address_of(path)
    if address:
        remote = Remote(address)
        return remote.place("demos") if remote.holds("demos", REQUEST) else address
    inner = Path(path) / "demos"
    return inner if (inner / REQUEST).exists() else Path(path)


def open_demos(path: str | Path, verify: bool = True) -> Demonstrations:
    """Open finished demonstrations of any kind: recorded frames, or a kind of a plugin.

    `path` may be in an object store, as in 's3://bucket/demos/aa'.
    `verify=False` leaves out the check of every file against its recorded hash.

    Raises:
        DataError: none there, unfinished, of a newer format or a kind that is not installed, or a
            file damaged or edited.
    """
    path = demos_here(path)
    try:
        kind = read_json(path / DONE).get("kind", FRAMES)
    except (StoreError, AttributeError):  # missing or damaged: the opener says which
        kind = FRAMES
    try:
        demos: Demonstrations = DEMONSTRATIONS.make(str(kind), path, verify)
    except UnknownNameError as error:
        raise DataError(f"{path}: {error}") from error
    return demos
