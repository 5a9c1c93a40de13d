"""The copy of an object store's folder on this machine; it is kept up to date here.

One copy on each machine serves all processes there.

    <cache>/copies/<hash of the address>/remote.json   the address, and what was equal on both sides
    <cache>/copies/<hash of the address>/<name>/       the copy

`<cache>` is ISOCLONE_CACHE, or isoclone under the user's cache directory. It can be deleted while
nothing runs, if all was pushed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclone.base.errors import StoreError
from isoclone.base.store import alone, read_json, replacing, write_json
from isoclone.base.timers import calling
from isoclone.remote.address import address_of, name_of
from isoclone.remote.lease import Lease
from isoclone.remote.objects import PATIENCE_SECONDS, Objects, Seen, insist
from isoclone.remote.order import CLAIMS, RANKS, among, is_spoken_of, of_rank, shared

NOTE = "remote.json"
PUSH_SECONDS = 30.0  # between pushes while work is going on


def local(place: str | Path, but: Iterable[str] = ()) -> Path:
    """Return the local directory of a place; a folder of an object store is copied first.

    Args:
        but: files and folders of the store that are not needed.

    Raises:
        StoreError: the object store cannot be read.
        SpecError: the address is not valid.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    remote = Remote(address)
    remote.pull(but=but)
    return remote.path


def remote_of(path: Path) -> Remote | None:
    """Return the object store that a directory is a copy of, or lies in one of; None if neither."""
    for folder in (path.parent, path.parent.parent):
        if folder.parent == copies() and (folder / NOTE).exists():
            return Remote(str(_note(folder / NOTE)["address"]))
    return None


def copies() -> Path:
    """Return the folder where copies are kept on this machine."""
    named = os.environ.get("ISOCLONE_CACHE")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else caches / "isoclone").absolute() / "copies"


@dataclass(frozen=True)
class _Equal:
    """Size and time of a file in the copy and in the store, when both were equal."""

    here: Seen
    there: Seen


class Remote:
    """One address in an object store and its copy on this machine.

    Args:
        address: 's3://bucket/path' or 'gs://bucket/path', with Arrow's own parameters behind a
            question mark ('?endpoint_override=localhost:9000&scheme=http'). Credentials come from
            the environment, as for any other program.

    Raises:
        SpecError: the address is not valid, or has a password in it.
        StoreError: the object store cannot be reached.
    """

    def __init__(self, address: str):
        self.address = address
        self._objects = Objects(address)
        self._home = copies() / hashlib.sha256(address.encode()).hexdigest()[:16]
        self.path = self._home / name_of(address)
        self._lease: Lease | None = None  # while we drive

    def place(self, name: str) -> str:
        """Return the address of a file."""
        path, mark, parameters = self.address.partition("?")
        return f"{path}/{name}{mark}{parameters}"

    def holds(self, folder: str, name: str) -> bool:
        """Return whether the store has a file of that name directly in a folder."""
        return f"{folder}/{name}" in self._objects.inside(folder)

    # ------------------------------------------------------------------ both ways

    def pull(
        self,
        names: Iterable[str] | None = None,
        but: Iterable[str] = (),
        patience: float = 0.0,
    ) -> None:
        """Bring files from the store to the copy.

        A file that changed in the copy alone stays as it is, to be pushed; of one that changed on
        both sides, the store's version is taken.

        Args:
            names: files and folders to bring; all if None.
            but: files and folders to leave out.
            patience: seconds for which a store that does not answer is asked again.

        Raises:
            StoreError: the object store cannot be read, or the disk cannot be written; or the store
                lacks the files it had, as when the bucket was emptied or is another one.
        """
        wanted, unwanted = None if names is None else list(names), list(but)
        insist(lambda: self._pull(wanted, unwanted), patience)

    def _pull(self, wanted: list[str] | None, unwanted: list[str]) -> None:
        with self._equal() as equal:
            there, here = self._there(wanted), self._here(wanted)
            lost = [n for n in equal if n not in there]
            if wanted is None and lost and (not there or any(n in CLAIMS for n in lost)):
                raise StoreError(
                    f"{self.address} lacks {len(lost)} of the {len(equal)} files that were there; "
                    "nothing was deleted here: restore the bucket, or credentials that see it; "
                    f"or, to start afresh there, delete {self._home}"
                )
            there = {n: seen for n, seen in there.items() if not among(n, unwanted)}
            self.path.mkdir(parents=True, exist_ok=True)
            new = [
                n for n in there if n not in equal or n not in here or equal[n].there != there[n]
            ]
            for rank in RANKS:
                for name, seen in self._objects.each(self._download, of_rank(rank, new)):
                    equal[name] = _Equal(seen, there[name])
            asked = [n for n in equal if among(n, wanted) and not among(n, unwanted)]
            for name in [n for n in asked if n not in there]:
                if name in here and here[name] == equal[name].here:
                    (self.path / name).unlink(missing_ok=True)
                del equal[name]

    def push(self, names: Iterable[str] | None = None, patience: float = 0.0) -> None:
        """Bring files from the copy to the store.

        Args:
            names: files and folders to bring; all if None.
            patience: seconds for which a store that does not answer is asked again.

        Raises:
            StoreError: the object store cannot be written, or another driver has taken over.
        """
        wanted = None if names is None else list(names)
        insist(lambda: self._push(wanted), patience)

    def _push(self, wanted: list[str] | None) -> None:
        with self._equal() as equal:
            here = self._here_in_turn(wanted)
            changed = [n for n in here if n not in equal or equal[n].here != here[n]]
            gone = [n for n in equal if among(n, wanted) and not (self.path / n).exists()]
            gone = [n for n in gone if not is_spoken_of(n, here)]
            if not changed and not gone:
                return
            if self._lease:
                self._lease.check()
            for rank in reversed(RANKS):  # first the marks that others are complete
                for name, _ in self._objects.each(self._objects.delete, of_rank(rank, gone)):
                    del equal[name]
            sent: list[str] = []
            try:
                for rank in RANKS:
                    for name, _ in self._objects.each(self._upload, of_rank(rank, changed)):
                        sent.append(name)
            finally:
                there = self._there(wanted) if sent else {}
                arrived = [n for n in sent if n in there and there[n][0] == here[n][0]]
                equal |= {n: _Equal(here[n], there[n]) for n in arrived}

    @contextmanager
    def kept(self, names: Iterable[str] | None = None) -> Iterator[None]:
        """Push every `PUSH_SECONDS` while the block runs, and once more when it is over.

        A push that fails while the block runs is tried again later; the last one must succeed.

        Raises:
            StoreError: the last push failed for a minute; what was done is in the copy.
        """
        chosen = None if names is None else list(names)

        def push() -> None:
            with suppress(StoreError):
                self.push(chosen)

        try:
            with calling(push, PUSH_SECONDS):
                yield
        finally:
            self.push(chosen, PATIENCE_SECONDS)

    @contextmanager
    def driven(self, tell: Callable[[str], None] = lambda said: None) -> Iterator[None]:
        """Hold this address for one driver among all machines, while the block runs (see `Lease`).

        Args:
            tell: called with the reason for a wait.

        Raises:
            StoreError: another driver is at work; or another one has taken over from this one.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with alone(self._home / ".driver.lock", self.address) as lock:
            self._lease = Lease(self._objects, lock, self.path)
            try:
                with self._lease.held(tell):
                    yield
            finally:
                self._lease = None

    def _download(self, name: str) -> Seen:
        path = self.path / name
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise StoreError(f"{path} is behind a link that leaves the copy; delete the link")
        with replacing(path) as temporary:
            with open(temporary, "wb") as file:
                file.writelines(self._objects.read(name))
            return _seen(temporary.lstat())

    def _upload(self, name: str) -> None:
        path = self.path / name
        try:
            file = open(path, "rb")  # noqa: SIM115 (its own error, not the store's)
        except FileNotFoundError:  # deleted just now: the next push deletes it in the store
            return
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}; nothing is lost") from error
        with file:
            self._objects.write(name, file)

    # ------------------------------------------------------------------ lists of files

    def _here(self, names: list[str] | None) -> dict[str, Seen]:
        """List the files of the copy that belong on both sides."""
        roots = [self.path] if names is None else [self.path / name for name in names]
        found = {}
        for path in (path for root in roots for path in _walk(root)):
            with suppress(FileNotFoundError, NotADirectoryError):  # replaced or deleted just now
                told = path.lstat()
                if stat.S_ISREG(told.st_mode):
                    found[path.relative_to(self.path).as_posix()] = _seen(told)
        return found

    def _there(self, names: list[str] | None) -> dict[str, Seen]:
        """List the files of the object store that belong on both sides."""
        return {n: seen for n, seen in self._objects.listed(names).items() if shared(n)}

    def _here_in_turn(self, names: list[str] | None) -> dict[str, Seen]:
        """List the files of the copy, so that all files that must be pushed before one are listed.

        Workers may write during this. So the files to be pushed last are listed first: all that
        they depend on was written before them, and is found later.
        """
        looks = [(rank, self._here(names)) for rank in reversed(RANKS)]
        return {name: here[name] for rank, here in looks for name in of_rank(rank, here)}

    @contextmanager
    def _equal(self) -> Iterator[dict[str, _Equal]]:
        """Lock and yield the record of what was equal on both sides; write it if it changes."""
        self._home.mkdir(parents=True, exist_ok=True)
        with open(self._home / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            note = self._home / NOTE
            known = _noted(note) if note.exists() else None
            equal = dict(known or {})
            try:
                yield equal
            finally:
                if equal != known:
                    told = {n: [*e.here, *e.there] for n, e in equal.items()}
                    write_json(note, {"address": self.address, "equal": told})


def _note(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict) or not {"address", "equal"} <= set(found):
        raise StoreError(f"{path} is damaged; delete it: what is in the object store is safe")
    return found


def _noted(path: Path) -> dict[str, _Equal]:
    """Read from JSON what was equal on both sides."""
    try:
        rows = _note(path)["equal"].items()
        return {n: _Equal((r[0], r[1]), (r[2], r[3])) for n, r in rows}
    except (AttributeError, TypeError, LookupError) as error:
        raise StoreError(
            f"{path} is damaged; delete it: what is in the object store is safe"
        ) from error


def _seen(told: os.stat_result) -> Seen:
    return told.st_size, told.st_mtime_ns


def _walk(root: Path) -> Iterator[Path]:
    """Yield a path and all files below it that belong on both sides; links are not followed."""
    yield root
    for folder, inside, files in os.walk(root):
        inside[:] = filter(shared, inside)
        yield from (Path(folder, name) for name in files if shared(name))
