"""A directory of this machine that has a twin in an object store (`s3://`, `gs://`).

Everything works on the directory, the *copy*; `pull` brings it what the store has, `push` brings
the store what it has. One copy on each machine serves all processes there. What says whose a folder
is moves before what is in it, and what says that something is complete (a point, finished
demonstrations) after all that it speaks of, both ways: whoever reads the store sees whole points or
none, and can go on with what a killed driver had pushed by halves.

    <cache>/copies/<hash of the address>/remote.json   the address, and what was equal on both sides
    <cache>/copies/<hash of the address>/<name>/       the copy

`<cache>` is ISOCLONE_CACHE, or isoclone under the user's cache directory. It can be deleted while
nothing runs, if all was pushed.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import threading
import time
import uuid
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeVar

from isoclone.errors import SpecError, StoreError
from isoclone.store import alone, read_json, replacing, write_json
from isoclone.timers import calling

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

ADDRESS = re.compile(r"(s3|gs|gcs):/+(.+)")
# Arrow's own parameters, unless the address has them: an upload is one request and not three;
# Google's client tries again for seconds and not for a quarter of an hour: we do that ourselves.
USUAL = {"s3": ("allow_delayed_open", "true"), "gs": ("retry_limit_seconds", "10")}
SECRET = re.compile(r"key|secret|token|password|credential")
NOTE = "remote.json"
DRIVERS = ".drivers"
MARKS = ("demonstrations.json", "game.json")  # beside points: they say that something is complete
CLAIMS = (
    "study.json",
    "request.json",
    "recording.json",
)  # they say whose a folder is that is not empty
RANKS = range(4)
PIECE_BYTES = 2**20
CHANNELS = 16  # transfers at once: objects are many and small
PUSH_SECONDS = 30.0  # between pushes while work is going on
BEAT_SECONDS = 15.0  # between signs of life of a driver
PATIENCE_SECONDS = 60.0  # without a sign of life a driver counts as dead, without an answer a store
AGAIN_SECONDS = 3.0  # before a store that did not answer is asked again

Seen = tuple[int, int]  # size in bytes, time of the last change in ns
T = TypeVar("T")


def address_of(place: str | Path) -> str | None:
    """'s3://bucket/study' if a place lies in an object store; None for one on a disk.

    >>> address_of(Path("s3://bucket/study/")), address_of("studies/toy")
    ('s3://bucket/study', None)
    """
    found = ADDRESS.fullmatch(str(place).rstrip("/"))  # a Path has lost a slash
    return f"{found[1]}://{found[2]}" if found else None


def name_of(place: str | Path) -> str:
    """The last part of a place: what stands there is called so."""
    address = address_of(place)
    return PurePosixPath(address.partition("?")[0]).name if address else Path(place).name


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


class StoreAwayError(StoreError):
    """The object store did not do what it was asked for; later it may."""


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
        _refuse_secrets(address)
        self.address = address
        self._home = copies() / hashlib.sha256(address.encode()).hexdigest()[:16]
        self.path = self._home / name_of(address)
        self._system, self._root = _connect(address)
        self._sign: _Sign | None = None  # that we drive

    def place(self, name: str) -> str:
        """The address of a file."""
        path, mark, parameters = self.address.partition("?")
        return f"{path}/{name}{mark}{parameters}"

    # ------------------------------------------------------------------ both ways

    def pull(
        self,
        names: Iterable[str] | None = None,
        but: Iterable[str] = (),
        patience: float = 0.0,
    ) -> None:
        """Have here what is there: all of it, or these files and folders, but for some.

        What changed here alone stays, to be pushed; what changed on both sides is taken from there.

        Args:
            patience: seconds for which a store that does not answer is asked again.

        Raises:
            StoreError: the object store cannot be read, or the disk not written.
        """
        wanted, unwanted = None if names is None else list(names), list(but)
        _insist(lambda: self._pull(wanted, unwanted), patience)

    def _pull(self, wanted: list[str] | None, unwanted: list[str]) -> None:
        with self._equal() as equal:
            there, here = self._listed(wanted), self._here(wanted)
            there = {n: seen for n, seen in there.items() if not _among(n, unwanted)}
            self.path.mkdir(parents=True, exist_ok=True)
            new = [
                n for n in there if n not in equal or n not in here or equal[n].there != there[n]
            ]
            for rank in RANKS:
                for name, seen in self._each(self._download, _of_rank(rank, new)):
                    equal[name] = _Equal(seen, there[name])
            asked = [n for n in equal if _among(n, wanted) and not _among(n, unwanted)]
            for name in [n for n in asked if n not in there]:
                if name in here and here[name] == equal[name].here:
                    (self.path / name).unlink(missing_ok=True)
                del equal[name]

    def push(self, names: Iterable[str] | None = None, patience: float = 0.0) -> None:
        """Have there what is here: all of it, or these files and folders.

        Args:
            patience: seconds for which a store that does not answer is asked again.

        Raises:
            StoreError: the object store cannot be written, or another driver has taken over.
        """
        wanted = None if names is None else list(names)
        _insist(lambda: self._push(wanted), patience)

    def _push(self, wanted: list[str] | None) -> None:
        with self._equal() as equal:
            here = self._here_in_turn(wanted)
            changed = [n for n in here if n not in equal or equal[n].here != here[n]]
            gone = [n for n in equal if _among(n, wanted) and not (self.path / n).exists()]
            gone = [n for n in gone if not _is_spoken_of(n, here)]
            if not changed and not gone:
                return
            self._check_driver()
            for rank in reversed(RANKS):  # nothing is complete that lacks what it speaks of
                for name, _ in self._each(self._delete, _of_rank(rank, gone)):
                    del equal[name]
            sent: list[str] = []
            try:
                for rank in RANKS:
                    for name, _ in self._each(self._upload, _of_rank(rank, changed)):
                        sent.append(name)
            finally:
                there = self._listed(wanted) if sent else {}
                arrived = [n for n in sent if n in there and there[n][0] == here[n][0]]
                equal |= {n: _Equal(here[n], there[n]) for n in arrived}

    @contextmanager
    def kept(self, names: Iterable[str] | None = None) -> Iterator[None]:
        """Push now and then while the block runs, and once more when it is over.

        A push that fails on the way is tried again; the last one has to succeed, within a minute.

        Raises:
            StoreError: the last push failed; what was done is in the copy.
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

    def _each(self, act: Callable[[str], T], names: Iterable[str]) -> Iterator[tuple[str, T]]:
        """Do something to each of the files, some at a time; yields each and what came of it."""

        def one(name: str) -> tuple[str, T]:
            with self._explained(name):
                return name, act(name)

        with ThreadPoolExecutor(CHANNELS) as pool:
            yield from pool.map(one, names)

    def _download(self, name: str) -> Seen:
        path = self.path / name
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise StoreError(f"{path} is behind a link that leaves the copy; delete the link")
        with replacing(path) as temporary:
            with open(temporary, "wb") as file:
                file.writelines(self._read(name))
            return _seen(temporary.lstat())

    def _read(self, name: str) -> Iterator[bytes]:
        """An object's bytes, in pieces; errors of the store are told from those of a disk."""
        # Without `compression=None` Arrow unpacks what is called .bz2 or .gz.
        with (
            self._explained(name),
            self._system.open_input_stream(self._at(name), compression=None) as stream,
        ):
            while piece := stream.read(PIECE_BYTES):
                yield piece

    def _upload(self, name: str) -> None:
        try:
            file = open(self.path / name, "rb")  # noqa: SIM115 (its own error, not the store's)
        except FileNotFoundError:  # deleted here just now: the next push will tell
            return
        with file:
            self._write(name, file)

    def _write(self, name: str, source: IO[bytes]) -> None:
        with self._system.open_output_stream(self._at(name), compression=None) as stream:
            shutil.copyfileobj(source, stream)

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._system.delete_file(self._at(name))

    # ------------------------------------------------------------------ what is where

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _here(self, names: list[str] | None) -> dict[str, Seen]:
        """Files of the copy that are for both sides."""
        roots = [self.path] if names is None else [self.path / name for name in names]
        found = {}
        for path in (path for root in roots for path in _walk(root)):
            with suppress(FileNotFoundError, NotADirectoryError):  # replaced or deleted just now
                told = path.lstat()
                if stat.S_ISREG(told.st_mode):
                    found[path.relative_to(self.path).as_posix()] = _seen(told)
        return found

    def _here_in_turn(self, names: list[str] | None) -> dict[str, Seen]:
        """Files of the copy, each with all that has to be pushed before it, though more is written.

        What is pushed last is looked for first.
        """
        looks = [(rank, self._here(names)) for rank in reversed(RANKS)]
        return {n: seen for rank, here in looks for n, seen in here.items() if _rank(n) == rank}

    def _listed(self, names: list[str] | None) -> dict[str, Seen]:
        """Files of the object store that are for both sides.

        Always by a listing: asked for one object, some servers round its time otherwise.
        """
        from pyarrow import fs

        def files(name: str) -> list[Any]:
            place = self._at(name).rstrip("/")
            if PurePosixPath(name).suffix:  # most likely a file, which its folder tells of
                here = fs.FileSelector(str(PurePosixPath(place).parent), allow_not_found=True)
                found = [i for i in self._system.get_file_info(here) if i.path == place]
                if found and found[0].is_file:
                    return found
            selector = fs.FileSelector(place, allow_not_found=True, recursive=True)
            return list(self._system.get_file_info(selector))

        def explained(name: str) -> list[Any]:
            with self._explained(name):
                return files(name)

        with ThreadPoolExecutor(CHANNELS) as pool:
            infos = [*pool.map(explained, [""] if names is None else names)]
        told = {i.path[len(self._root) + 1 :]: i for found in infos for i in found if i.is_file}
        for name in told:
            self._refuse_odd(name, told)
        return {n: (i.size, i.mtime_ns) for n, i in told.items() if _shared(n)}

    def _refuse_odd(self, name: str, names: Container[str]) -> None:
        """Raise StoreError if a name cannot be that of a file in the copy, beside those others."""
        parts = name.split("/")
        folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
        if not name.isprintable() or {"", ".", ".."} & {*parts}:
            why = "is no name for a file"
        elif any(folder in names for folder in folders):
            why = "lies in a folder that is a file as well"
        else:
            return
        raise StoreError(
            f"{self.address} holds an object {name[:200]!a} that {why}; delete it there"
        )

    @contextmanager
    def _equal(self) -> Iterator[dict[str, _Equal]]:
        """What was equal on both sides, kept for the next time; one process at a time."""
        self._home.mkdir(parents=True, exist_ok=True)
        with open(self._home / ".lock", "w") as lock:
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
            raise StoreAwayError(
                f"{place}: {said}; run the same command again when it is mended"
            ) from error

    # ------------------------------------------------------------------ one driver

    @contextmanager
    def driven(self, tell: Callable[[str], None] = lambda said: None) -> Iterator[None]:
        """Be the only driver at work on this address, on whatever machine.

        Each driver shows signs of life in an object of its own: it writes it, and only then looks
        for others, so of two that come in the same moment at least one sees the other. Whoever
        finds another waits until that has shown a new sign, and gives up, or long enough to call it
        dead. No clock is compared with another. A driver that was called dead is interrupted, and
        pushes nothing more.

        Args:
            tell: is told what is waited for.

        Raises:
            StoreError: another driver is at work; or this one was taken for dead.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with alone(self._home / ".driver.lock", self.address) as lock:
            sign = _Sign(f"{DRIVERS}/{uuid.uuid4().hex}.json", lock)
            self._show(sign)
            self._sign = sign
            try:
                with _interruptible(), calling(lambda: self._go_on(sign), BEAT_SECONDS):
                    self._see_others_off(sign, tell)
                    yield
                self._check_driver()
            except KeyboardInterrupt:
                if sign.gone:
                    self._check_driver()
                raise
            finally:
                self._sign = None
                with suppress(StoreError), self._explained(sign.name):
                    self._delete(sign.name)

    def _check_driver(self) -> None:
        """Raise StoreError if we drive no more, but another may."""
        if self._sign is not None and self._is_buried(self._sign):
            raise StoreError(
                f"{self.address} was taken over by another isoclone process, as nothing was heard "
                f"of this one for {PATIENCE_SECONDS:g} s; what it did is in {self.path}"
            )

    def _go_on(self, sign: _Sign) -> None:
        """A sign of life; or the end, if we were called dead."""
        with suppress(StoreError):
            if not self._is_buried(sign):
                self._show(sign)
            elif not sign.gone:
                sign.gone = True
                _interrupt()

    def _is_buried(self, sign: _Sign) -> bool:
        """Whether somebody has called us dead.

        Our object is gone then; or stands again, if we were just about to write it: so whoever
        deletes one says in its own that it does.
        """
        drivers = self._drivers()
        others = [self._said_by(other) for other in drivers if other != sign.name]
        return sign.name not in drivers or any(
            sign.name in str(said.get("buried")) for said in others if said
        )

    def _show(self, sign: _Sign) -> None:
        with sign.turn, self._explained(sign.name):
            self._write(sign.name, io.BytesIO(sign.next()))

    def _drivers(self) -> list[str]:
        from pyarrow import fs

        selector = fs.FileSelector(self._at(DRIVERS), allow_not_found=True)
        with self._explained(DRIVERS):
            found = self._system.get_file_info(selector)
        return [f"{DRIVERS}/{info.base_name}" for info in found if info.is_file]

    def _see_others_off(self, sign: _Sign, tell: Callable[[str], None]) -> None:
        for other in self._drivers():
            if other != sign.name:
                self._see_off(other, sign, tell)

    def _see_off(self, other: str, sign: _Sign, tell: Callable[[str], None]) -> None:
        """Raise StoreError if another driver lives; forget it if it does not."""
        first, until = self._said_by(other), time.monotonic() + PATIENCE_SECONDS
        if first is None:
            return
        who = f"process {first.get('pid')} on {first.get('host')}"
        if sign.lock is None or first.get("lock") != sign.lock:  # else it is dead: we hold its lock
            tell(f"for a sign of life of {who}, {PATIENCE_SECONDS:g} s at most")
            while time.monotonic() < until:
                time.sleep(min(1.0, PATIENCE_SECONDS / 10))
                now = self._said_by(other)
                if now is None:  # it has left
                    return
                if now != first:
                    raise StoreError(
                        f"another isoclone process ({who}) is at work on {self.address}; wait for "
                        "it or stop it"
                    )
        sign.buried.append(other)
        self._show(sign)
        with self._explained(other):
            self._delete(other)

    def _said_by(self, other: str) -> dict[str, Any] | None:
        """A driver's last sign of life; None if it has left."""
        try:
            said = b"".join(self._read(other))
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        with suppress(ValueError):
            found = json.loads(said)
            return found if isinstance(found, dict) else {}
        return {}


@dataclass
class _Sign:
    """The object in which a driver shows that it lives."""

    name: str
    lock: str | None  # what this machine calls the lock that the driver holds, if anything
    count: int = 0
    gone: bool = False  # somebody has called us dead
    buried: list[str] = field(default_factory=list)  # whom we have called dead
    turn: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> bytes:
        """What it says this time: something new."""
        self.count += 1
        said = {"host": socket.gethostname(), "pid": os.getpid(), "lock": self.lock}
        said["buried"] = self.buried
        return json.dumps({**said, "beat": self.count}).encode()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let `_interrupt` end the block, if it is the main thread's.

    By a signal of our own: SIGINT is ignored by what a script has put into the background.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before or signal.SIG_DFL)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _interrupt() -> None:
    """Have the main thread stop as by Ctrl-C, also where it waits for something."""
    ident = threading.main_thread().ident
    if ident is not None and signal.getsignal(signal.SIGUSR1) is _stop:
        signal.pthread_kill(ident, signal.SIGUSR1)


def _insist(act: Callable[[], None], patience: float) -> None:
    """Do something that a store away for a while does not stop."""
    until = time.monotonic() + patience
    while True:
        try:
            return act()
        except StoreAwayError:
            if time.monotonic() >= until:
                raise
        time.sleep(min(AGAIN_SECONDS, patience / 10))


def _connect(address: str) -> tuple[FileSystem, str]:
    from pyarrow import fs

    path, _, query = address.partition("?")
    scheme = path.partition(":")[0].replace("gcs", "gs")
    name, value = USUAL[scheme]
    if name not in query:
        query = f"{query}&{name}={value}".lstrip("&")
    if scheme == "s3" and ("endpoint_override" in query or "AWS_ENDPOINT_URL" in os.environ):
        # Servers other than Amazon's seldom know checksums behind the data: only where they must.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    try:
        system, root = fs.FileSystem.from_uri(f"{path}?{query}")
    except (OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise SpecError(f"{address} cannot be used: {said}") from error
    if "/" not in root.strip("/") or {".", ".."} & {*root.split("/")}:
        raise SpecError(f"{address} must name a folder of the bucket, as in s3://bucket/study")
    return system, root.rstrip("/")


def _refuse_secrets(address: str) -> None:
    place, _, query = address.partition("://")[2].partition("?")
    user, at, _ = place.partition("@")
    named = at and (":" in user or "/" not in user) and user != "anonymous"
    if named or any(SECRET.search(part.partition("=")[0].lower()) for part in query.split("&")):
        raise SpecError(
            "an address must not hold credentials (they would be written down with it): leave them "
            "to the environment, as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def _note(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict) or not {"address", "equal"} <= set(found):
        raise StoreError(f"{path} is damaged; delete it: what is in the object store is safe")
    return found


def _noted(path: Path) -> dict[str, _Equal]:
    """What a note says was equal."""
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
    """What is in a folder, or the file itself, for both sides; links are not followed."""
    yield root
    for folder, inside, files in os.walk(root):
        inside[:] = filter(_shared, inside)
        yield from (Path(folder, name) for name in files if _shared(name))


def _shared(name: str) -> bool:
    """Whether a file is for both sides: caches, locks and what is being written are not."""
    parts = PurePosixPath(name).parts
    return "cache" not in parts and not any(part.startswith(".") for part in parts)


def _among(name: str, names: list[str] | None) -> bool:
    return names is None or any(name == n or name.startswith(f"{n}/") for n in names)


def _of_rank(rank: int, names: Iterable[str]) -> list[str]:
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


def _is_spoken_of(name: str, here: Container[str]) -> bool:
    """Whether something here says that a file is complete: then nobody can have deleted that."""
    path = PurePosixPath(name)
    point = path.parent.parent / "points" / f"{path.stem}.json"
    marks = [folder / mark for folder in path.parents for mark in MARKS]
    return any(file.as_posix() in here for file in (point, *marks) if file != path)
