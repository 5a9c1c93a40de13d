"""Do a task in a Ray worker, on the worker's own machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from isoclone.base.errors import ExecutionError
from isoclone.base.store import write_bytes
from isoclone.base.userfile import run_packed
from isoclone.base.version import VERSION
from isoclone.executors.base import Files, Outcome, Task
from isoclone.executors.parcel import Parcel, pack, unpack
from isoclone.executors.serial import call
from isoclone.executors.setup import use_one_thread
from isoclone.remote import PATIENCE_SECONDS, Remote

# Name under the task's directory -> (stamp, [reference of the parcel]). A reference within a list
# is not fetched by Ray, so a machine that has the files already does not get them again.
Sent = dict[str, tuple[str, list[Any]]]

_RAN: set[tuple[str, str]] = set()  # the study files that this worker has run


@dataclass(frozen=True)
class Stored:
    """A task's directory in an object store: the address, and the directory's name below it."""

    address: str
    inside: str

    def names(self, names: Iterable[str]) -> list[str]:
        """Return names under the directory as the object store has them."""
        return [(PurePosixPath(self.inside) / name).as_posix() for name in names]


@dataclass(frozen=True)
class Setting:
    """The driver's working directory, its study file, and what is sent to workers."""

    cwd: str
    study_file: list[Any]  # the reference of (path, texts of it and its neighbours), or of None
    sent: Sent | None = None  # None: the disk is shared, or an object store is
    stored: Stored | None = None
    version: str = VERSION


def call_in_worker(task: Task, setting: Setting) -> tuple[Outcome, Parcel]:
    """Do a task; return its outcome, and what it wrote if that has to be sent back."""
    bare = replace(task, key=None, files=None)
    host = socket.gethostname()
    if setting.version != VERSION:
        said = f"isoclone {VERSION} on {host}, {setting.version} where the study was started"
        return Outcome(bare, error=f"{said}; install the same on both"), []
    _prepare(setting)
    if task.files is None:
        return call(bare), []
    if setting.sent is not None:
        return _call_in_copy(bare, task.files, setting.sent)
    if setting.stored is not None:
        return _call_in_store(bare, task.files, setting.stored), []
    if not task.files.home.exists():
        said = f"{task.files.home} is not there on {host}"
        hint = "put it on a disk that all machines share, or have files=sent"
        return Outcome(bare, error=f"{said}; {hint}"), []
    return call(bare), []


def _prepare(setting: Setting) -> None:
    import ray

    use_one_thread()
    if os.path.isdir(setting.cwd):  # so that relative paths mean the same as for the driver
        os.chdir(setting.cwd)
    found = ray.get(setting.study_file[0])
    if found is not None:
        path, texts = found
        digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:16]
        if (path, digest) not in _RAN:
            run_packed(path, texts, _scratch() / f"file-{digest}-{os.getpid()}")
            _RAN.add((path, digest))


def _call_in_copy(bare: Task, files: Files, sent: Sent) -> tuple[Outcome, Parcel]:
    """Do the task in a copy of its directory, on a disk of this machine."""
    home = _scratch() / hashlib.sha256(str(files.home).encode()).hexdigest()[:16]
    home.mkdir(exist_ok=True)
    with open(
        home / ".lock", "w", encoding="utf-8"
    ) as lock:  # one worker of this machine at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, (mark, reference) in sent.items():
            _put_down(home, name, mark, reference[0])
    outcome = call(replace(bare, args=(home, *bare.args[1:])))
    return outcome, [file for name in files.writes for file in pack(home / name, name)]


def _call_in_store(bare: Task, files: Files, stored: Stored) -> Outcome:
    """Do the task in this machine's copy of an object store, and push what it writes on the way."""
    remote = Remote(stored.address)
    home = remote.path / stored.inside
    reads = [name for name, place in files.reads.items() if place == files.home / name]
    remote.pull(stored.names({*reads, *files.writes}), patience=PATIENCE_SECONDS)
    with remote.kept(stored.names(files.writes)):
        return call(replace(bare, args=(home, *bare.args[1:])))


def _scratch() -> Path:
    """Return a folder that only this user can open; it may be deleted while no study is running."""
    folder = Path(tempfile.gettempdir()) / f"isoclone-{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise ExecutionError(f"{folder} belongs to another user; set TMPDIR on that machine")
    return folder


def _put_down(home: Path, name: str, mark: str, reference: Any) -> None:
    """Unpack what was sent as `name`, unless the very same was unpacked there before."""
    import ray

    note = home / ".sent" / hashlib.sha256(name.encode()).hexdigest()[:16]
    if note.exists() and note.read_text() == mark:
        return
    note.unlink(missing_ok=True)
    if (home / name).is_dir():
        shutil.rmtree(home / name)
    unpack(ray.get(reference), home, [name])
    write_bytes(note, mark.encode())
