"""A directory of this machine that has a twin in an object store (`s3://`, `gs://`).

Everything works on the directory, the *copy*; `pull` brings it what the store has, `push` brings
the store what it has. One copy on each machine serves all processes there. What says that something
is complete (a point, finished demonstrations) is pushed after all that it speaks of, so whoever
reads the store sees whole points or none.

    <cache>/copies/<hash of the address>/remote.json   the address, and what was equal on both sides
    <cache>/copies/<hash of the address>/<name>/       the copy

`<cache>` is ISOCLONE_CACHE, or isoclone under the user's cache directory. It can be deleted while
nothing runs, if all was pushed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from isoclone.errors import IsocloneError, SpecError, StoreError
from isoclone.store import is_alive, read_json, replacing, write_json
from isoclone.timers import calling

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

ADDRESS = re.compile(r"(s3|gs|gcs):/+(.+)")
NOTE = "remote.json"
DRIVERS = ".drivers"
CHANNELS = 16  # transfers at once: objects are many and small
PUSH_SECONDS = 30.0  # between pushes while work is going on
BEAT_SECONDS = 15.0  # between signs of life of a driver
PATIENCE_SECONDS = 60.0  # without a sign of life, after which a driver counts as dead

Seen = tuple[int, int]  # size in bytes, time of the last change in ns


def address_of(place: str | Path) -> str | None:
    """'s3://bucket/study' if a place lies in an object store; None for one on a disk.

    >>> address_of(Path("s3://bucket/study/")), address_of("studies/toy")
    ('s3://bucket/study', None)
    """
    found = ADDRESS.fullmatch(str(place).rstrip("/"))  # a Path has lost a slash
    return f"{found[1]}://{found[2]}" if found else None


def local(place: str | Path, but: Iterable[str] = ()) -> Path:
    """The directory here that a place means: itself, or the up-to-date copy of an object store's.

    Args:
        but: what need not be up to date, or there at all.

    Raises:
        StoreError: the object store cannot be read.
        SpecError: an address that cannot be.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    remote = Remote(address)
    remote.pull(but=but)
    return remote.path


def remote_of(path: Path) -> Remote | None:
    """The object store whose copy a directory is, or lies in; None if there is none."""
    for folder in (path.parent, path.parent.parent):
        if folder.parent == copies() and (folder / NOTE).exists():
            return Remote(str(_note(folder / NOTE)["address"]))
    return None


def copies() -> Path:
    """Where copies are kept on this machine."""
    named = os.environ.get("ISOCLONE_CACHE")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else caches / "isoclone").absolute() / "copies"


@dataclass(frozen=True)
class _Equal:
    """How a file looked here and there when both were equal."""

    here: Seen
    there: Seen


class Remote:
    """One address in an object store and its copy on this machine.

    Args:
        address: 's3://bucket/path' or 'gs://bucket/path', with Arrow's own parameters behind a
            question mark ('?endpoint_override=localhost:9000&scheme=http'). Credentials come from
            the environment, as for any other program.

    Raises:
        SpecError: an address that cannot be, or one with a password in it.
        StoreError: the object store cannot be reached.
    """

    def __init__(self, address: str):
        self.address = address
        _refuse_passwords(address)
        self._home = copies() / hashlib.sha256(address.encode()).hexdigest()[:16]
        self.path = self._home / (PurePosixPath(address.partition("?")[0]).name or "root")
        self._system, self._root = _connect(address)

    # ------------------------------------------------------------------ both ways

    def pull(self, names: Iterable[str] | None = None, but: Iterable[str] = ()) -> None:
        """Have here what is there: all of it, or these files and folders, but for some.

        What changed here alone stays, to be pushed; what changed on both sides is taken from there.

        Raises:
            StoreError: the object store cannot be read, or the disk not written.
        """
        wanted, unwanted = None if names is None else list(names), list(but)
        with self._equal() as equal:
            there, here = self._listed(wanted), self._here(wanted)
            there = {n: seen for n, seen in there.items() if not _among(n, unwanted)}
            self.path.mkdir(parents=True, exist_ok=True)
            new = [
                n for n in there if n not in equal or n not in here or equal[n].there != there[n]
            ]
            for _ in self._each(self._download, new):
                pass
            equal |= {n: _Equal(_seen(self.path / n), there[n]) for n in new}
            asked = [n for n in equal if _among(n, wanted) and not _among(n, unwanted)]
            for name in [n for n in asked if n not in there]:
                if name in here and here[name] == equal[name].here:
                    (self.path / name).unlink(missing_ok=True)
                del equal[name]

    def push(self, names: Iterable[str] | None = None) -> None:
        """Have there what is here: all of it, or these files and folders.

        Raises:
            StoreError: the object store cannot be written.
        """
        wanted = None if names is None else list(names)
        with self._equal() as equal:
            first = self._here(wanted)  # what is complete in here speaks of files in `here`
            here = self._here(wanted)
            gone = [n for n in equal if _among(n, wanted) and n not in here]
            for name in self._each(self._delete, gone):
                del equal[name]
            changed = [n for n in here if n not in equal or equal[n].here != here[n]]
            for rank in range(3):
                turn = [n for n in changed if _rank(n) == rank and (rank == 0 or n in first)]
                for _ in self._each(self._upload, turn):
                    pass
                there = self._look(turn)
                equal |= {n: _Equal(here[n], there[n]) for n in turn if n in there}

    @contextmanager
    def kept(self, names: Iterable[str] | None = None) -> Iterator[None]:
        """Push now and then while the block runs, and once more when it is over.

        A push that fails on the way is tried again; the last one has to succeed.

        Raises:
            StoreError: the last push failed; what was done is in the copy.
        """
        chosen = None if names is None else list(names)

        def push() -> None:
            with suppress(IsocloneError):
                self.push(chosen)

        try:
            with calling(push, PUSH_SECONDS):
                yield
        finally:
            self.push(chosen)

    def _each(self, act: Callable[[str], None], names: Iterable[str]) -> Iterator[str]:
        """Do something to each of the files, some at a time; yields each when it is done."""

        def one(name: str) -> str:
            with self._explained(name):
                act(name)
            return name

        with ThreadPoolExecutor(CHANNELS) as pool:
            yield from pool.map(one, names)

    def _download(self, name: str) -> None:
        with (
            replacing(self.path / name) as temporary,
            open(temporary, "wb") as file,
            self._system.open_input_stream(self._at(name)) as stream,
        ):
            shutil.copyfileobj(stream, file)

    def _upload(self, name: str) -> None:
        with (
            suppress(FileNotFoundError),  # deleted here just now: the next push will tell
            open(self.path / name, "rb") as file,
            self._system.open_output_stream(self._at(name)) as stream,
        ):
            shutil.copyfileobj(file, stream)

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._system.delete_file(self._at(name))

    # ------------------------------------------------------------------ what is where

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _here(self, names: list[str] | None) -> dict[str, Seen]:
        """Files of the copy that are for both sides."""
        found = {}
        for path in self.path.rglob("*"):
            name = path.relative_to(self.path).as_posix()
            if _shared(name) and _among(name, names):
                with suppress(FileNotFoundError):  # replaced or deleted just now
                    if path.is_file():
                        found[name] = _seen(path)
        return found

    def _listed(self, names: list[str] | None) -> dict[str, Seen]:
        """Files of the object store that are for both sides."""
        from pyarrow import fs

        def files(name: str) -> list[Any]:
            place = self._at(name).rstrip("/")
            selector = fs.FileSelector(place, allow_not_found=True, recursive=True)
            with self._explained(name):
                inside = self._system.get_file_info(selector)
                return inside or ([self._system.get_file_info(place)] if name else [])

        with ThreadPoolExecutor(CHANNELS) as pool:
            found = [*pool.map(files, [""] if names is None else names)]
        return self._told(info for infos in found for info in infos)

    def _look(self, names: list[str]) -> dict[str, Seen]:
        """How these files look in the object store."""
        with self._explained(""):
            return self._told(self._system.get_file_info([self._at(name) for name in names]))

    def _told(self, infos: Iterable[Any]) -> dict[str, Seen]:
        files = [info for info in infos if info.is_file]
        names = [info.path.removeprefix(self._root).lstrip("/") for info in files]
        known = zip(names, files, strict=True)
        return {n: (info.size, info.mtime_ns) for n, info in known if _shared(n)}

    @contextmanager
    def _equal(self) -> Iterator[dict[str, _Equal]]:
        """What was equal on both sides, kept for the next time; one process at a time."""
        self._home.mkdir(parents=True, exist_ok=True)
        with open(self._home / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            note = self._home / NOTE
            rows = _note(note)["equal"] if note.exists() else {}
            equal = {n: _Equal((r[0], r[1]), (r[2], r[3])) for n, r in rows.items()}
            try:
                yield equal
            finally:
                told = {n: [*e.here, *e.there] for n, e in equal.items()}
                write_json(note, {"address": self.address, "equal": told})

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Have an error of the object store say where it happened, in one line."""
        try:
            yield
        except StoreError:
            raise
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            place = f"{self.address.partition('?')[0]}/{name}".rstrip("/")
            raise StoreError(
                f"{place}: {said}; run the same command again when it is mended"
            ) from (error)

    # ------------------------------------------------------------------ one driver

    @contextmanager
    def driven(self) -> Iterator[None]:
        """Be the only driver at work on this address, on whatever machine.

        Each driver shows signs of life in an object of its own. Whoever comes and finds another's
        waits until that has shown one, and gives up, or long enough to call it dead. Two that come
        in the same moment may both give up.

        Raises:
            StoreError: another driver is at work; or this one was taken for dead.
        """
        own = f"{DRIVERS}/{uuid.uuid4().hex}.json"
        beats = iter(range(1 << 62))
        self._beat(own, next(beats))
        try:
            with calling(lambda: self._go_on(own, beats), BEAT_SECONDS):
                for other in self._drivers():
                    if other != own:
                        self._see_off(other)
                yield
                if own not in self._drivers():
                    raise StoreError(
                        f"{self.address} was taken over by another isoclone process, as nothing "
                        f"was heard of this one; what it did is in {self.path}"
                    )
        finally:
            with suppress(IsocloneError), self._explained(own):
                self._delete(own)

    def _go_on(self, own: str, beats: Iterator[int]) -> None:
        """A sign of life, unless we were declared dead."""
        with suppress(IsocloneError):
            if own in self._drivers():
                self._beat(own, next(beats))

    def _beat(self, own: str, count: int) -> None:
        said = f'{{"host": "{socket.gethostname()}", "pid": {os.getpid()}, "beat": {count}}}'
        with self._explained(own), self._system.open_output_stream(self._at(own)) as stream:
            stream.write(said.encode())

    def _drivers(self) -> list[str]:
        from pyarrow import fs

        selector = fs.FileSelector(self._at(DRIVERS), allow_not_found=True)
        with self._explained(DRIVERS):
            found = self._system.get_file_info(selector)
        return [f"{DRIVERS}/{info.base_name}" for info in found if info.is_file]

    def _see_off(self, other: str) -> None:
        """Raise StoreError if another driver lives; forget it if it does not."""
        first, until = self._said_by(other), time.monotonic() + PATIENCE_SECONDS
        while not _is_dead(first) and time.monotonic() < until:
            time.sleep(min(1.0, PATIENCE_SECONDS / 10))
            now = self._said_by(other)
            if now not in (None, first):
                who = f"(process {first.get('pid')} on {first.get('host')})" if first else ""
                raise StoreError(
                    f"another isoclone process {who} is at work on {self.address}; wait for it or "
                    "stop it"
                )
            if now is None:  # it has left
                return
        with self._explained(other):
            self._delete(other)

    def _said_by(self, other: str) -> dict[str, Any] | None:
        """A driver's last sign of life; None if it has left."""
        import json

        try:
            with self._explained(other), self._system.open_input_stream(self._at(other)) as stream:
                found = json.loads(stream.read())
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return found if isinstance(found, dict) else {}


def _is_dead(said: Mapping[str, Any] | None) -> bool:
    """Whether a driver of this machine is no more; of others that cannot be told at once."""
    if not said or said.get("host") != socket.gethostname():
        return False
    pid = said.get("pid")
    return isinstance(pid, int) and not is_alive(pid)


def _connect(address: str) -> tuple[FileSystem, str]:
    from pyarrow import fs

    try:
        system, root = fs.FileSystem.from_uri(address)
    except (OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise SpecError(f"{address} cannot be used: {said}") from error
    if "/" not in root.strip("/"):
        raise SpecError(f"{address} must name a folder of the bucket, as in {address}/study")
    return system, root.rstrip("/")


def _refuse_passwords(address: str) -> None:
    user, at, _ = address.partition("://")[2].partition("@")
    if at and "/" not in user and user != "anonymous":
        raise SpecError(
            "an address must not hold credentials (they would be written down with it): leave them "
            "to the environment, as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def _note(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict) or not {"address", "equal"} <= set(found):
        raise StoreError(f"{path} is damaged; delete it: what is in the object store is safe")
    return found


def _seen(path: Path) -> Seen:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _shared(name: str) -> bool:
    """Whether a file is for both sides: caches, locks and what is being written are not."""
    parts = PurePosixPath(name).parts
    return "cache" not in parts and not any(part.startswith(".") for part in parts)


def _among(name: str, names: list[str] | None) -> bool:
    return names is None or any(name == n or name.startswith(f"{n}/") for n in names)


def _rank(name: str) -> int:
    """When a file's turn is: what says that something is complete comes after what it speaks of."""
    path = PurePosixPath(name)
    if path.name == "forecast.json":
        return 2
    return int(path.parent.name == "points" or path.name in ("demonstrations.json", "game.json"))
