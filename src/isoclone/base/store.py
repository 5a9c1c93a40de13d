"""Files that are whole or absent, and the tables made of them.

Every file is written under a temporary name and then renamed, so that a file that exists is
complete. The rename counts as done once the folder is flushed to disk as well: until then, a power
cut can take the new name away again. A temporary file is left behind only by a writer that was
killed; it is never read. Its name tells the host and the process that wrote it, since several hosts
may share the disk.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import functools
import hashlib
import io
import json
import os
import platform
import re
import shutil
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from itertools import accumulate, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclone.base.errors import SpecError, SpecMismatchError, StoreError
from isoclone.base.records import jsonable, shown

if TYPE_CHECKING:
    import pyarrow as pa

LEFTOVER = ".*.tmp"
SEAL, SEALED = "seal", "sealed"  # names in a JSON file: its digest, and a value that is no table
FOREIGN_SECONDS = 24 * 3600.0  # a living writer writes to its file more often than once a day
HOST_LENGTH = 24
NO_FOLDER_FLUSH = {errno.EINVAL, errno.EBADF, errno.ENOTSUP}  # where folders cannot be flushed


@contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path; on success it takes the place of `path`, atomically and for good.

    File, name and any folder that had to be made are on the disk when this returns, unless
    `flush` is false: then a power cut may lose them, until `flush_all` is called.

    Raises:
        StoreError: the disk is full, or the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{this_host()}.{os.getpid()}.tmp")
    try:
        _make_folder(path.parent)
        yield temporary
        if flush:
            _flush(temporary)
            _rename(temporary, path)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise StoreError(_explain(error, path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def flush_all() -> None:
    """Flush all that was written to disk: once for many files, where each would cost its time."""
    os.sync()


@functools.cache
def this_host() -> str:
    """Return this machine's name for use in file names: short; letters, digits and '-' only."""
    name = platform.node()
    plain = re.sub(r"[^A-Za-z0-9-]", "-", name)[:HOST_LENGTH]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def rename_folder(folder: Path, name: Path) -> None:
    """Give a folder that was written file by file its final name, atomically and for good.

    Everything in it is flushed first, so that the final name never shows half of it.

    Raises:
        StoreError: the disk is full, or the place cannot be written.
    """
    try:
        for inner, _, files in os.walk(folder):
            for file in files:
                _flush(Path(inner, file))
            _flush_folder(Path(inner))
        _rename(folder, name)
    except OSError as error:
        raise StoreError(_explain(error, name)) from error


def _rename(old: Path, new: Path) -> None:
    os.replace(old, new)
    _flush_folder(new.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it; a new folder's name must last as long as what is in it."""
    missing = list(takewhile(lambda f: not f.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _flush_folder(made.parent)


def _flush(path: Path) -> None:
    """Flush a file's bytes to disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush a folder's list of names to disk, where the file system can do that."""
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder that may be written, but not listed
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NO_FOLDER_FLUSH:
            raise
    finally:
        os.close(number)


def _explain(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"no space left for {path}; free some and run the same command again"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{path} cannot be written: {error.strerror}; choose another directory"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path} cannot be written: a file stands where a directory should be"
    return f"{path}: {error.strerror or error}"


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes to a file, all of them or none."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys and a seal, all of it or nothing.

    The seal is a digest of the value: `read_json` sees by it that a file was changed. A value that
    is no table becomes one, `{"sealed": value, "seal": ...}`.
    """
    plain = jsonable(value)
    table = plain if isinstance(plain, dict) else {SEALED: plain}
    sealed = {**table, SEAL: _seal_of(table)}
    text = json.dumps(sealed, indent=2, sort_keys=True, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def read_json(path: Path, sealed: bool = False, remedy: str = "restore it or delete it") -> Any:
    """Read a JSON file, without its seal; what somebody else wrote has none.

    Args:
        sealed: whether it must have a seal.
        remedy: what to do about a damaged file, for the message.

    Raises:
        StoreError: it is missing, not JSON, or not what was written.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        return _unsealed(found, sealed)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing") from error
    except (ValueError, OSError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        raise StoreError(f"{path} is damaged ({why}); {remedy}") from error


def _unsealed(found: Any, must: bool) -> Any:
    if not (isinstance(found, dict) and isinstance(found.get(SEAL), str)):
        if must:
            raise ValueError("it has lost its seal")
        return found
    table = {name: value for name, value in found.items() if name != SEAL}
    if found[SEAL] != _seal_of(table):
        raise ValueError("it was changed since it was written")
    return table[SEALED] if table.keys() == {SEALED} else table


def _seal_of(table: dict[str, Any]) -> str:
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(_explain(error, path)) from error


def is_free(folder: Path) -> bool:
    """Return whether a folder is absent, or holds nothing but what a killed writer left behind."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(fnmatch(p.name, LEFTOVER) for p in folder.iterdir())


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file appear in another place: a hard link, or a copy where the disk has none."""
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copy(source, temporary)


def claim(folder: Path, name: str, declared: dict[str, Any], held: tuple[str, str]) -> None:
    """Take a free folder for a request, or check that it was taken for the very same one.

    Temporary files that killed writers left in the folder are deleted.

    Args:
        name: the file in the folder that holds the request.
        declared: the request, as JSON values.
        held: words for messages: what the folder holds if it belongs to another request
            ("other demonstrations"), and what it should hold ("demonstrations").

    Raises:
        SpecMismatchError: the folder belongs to another request; the message says how it differs.
        SpecError: the folder holds something else.
        StoreError: the request's file is damaged.
    """
    file = folder / name
    if not file.exists():
        if not is_free(folder):
            raise SpecError(f"{folder} is not empty and holds no {held[1]}; choose another place")
        write_json(file, declared)
        return
    there = read_claim(folder, name)
    held_there, asked = _leaves({key: there.get(key) for key in declared}), _leaves(declared)
    differing = [k for k in held_there | asked if held_there.get(k) != asked.get(k)]
    if differing:
        others = "; ".join(
            f"{k}: {shown(held_there.get(k))} there, {shown(asked.get(k))} asked" for k in differing
        )
        raise SpecMismatchError(f"{folder} holds {held[0]} ({others})")
    sweep_leftovers(folder)


def _leaves(table: dict[str, Any], at: str = "") -> dict[str, Any]:
    """Return the values in a table, and in the tables in it, by dotted names."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _leaves(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return found


def read_claim(folder: Path, name: str) -> dict[str, Any]:
    """Read what a folder was taken for.

    Raises:
        StoreError: the file is missing or damaged.
    """
    remedy = f"restore it, or delete {folder} to begin anew"
    there = read_json(folder / name, remedy=remedy)
    if not isinstance(there, dict):
        raise StoreError(f"{folder / name} is damaged; {remedy}")
    return there


def sweep_leftovers(folder: Path) -> None:
    """Delete temporary files whose writers no longer run.

    For files of this host the process is looked up. Processes of other hosts cannot be seen from
    here, so their files are deleted once they have not been written to for a day.
    """
    for temporary in folder.rglob(LEFTOVER):
        if _is_left_over(temporary):
            temporary.unlink(missing_ok=True)


def _is_left_over(temporary: Path) -> bool:
    host, pid = temporary.name.split(".")[-3:-1]
    if host == this_host() and pid.isdecimal():
        return not is_alive(int(pid))
    try:
        return time.time() - temporary.stat().st_mtime > FOREIGN_SECONDS
    except OSError:  # its writer finished just now
        return False


@contextmanager
def alone(file: Path, what: str) -> Iterator[str | None]:
    """Hold a lock while the block runs; the lock goes with the process, however that ends.

    Args:
        file: the lock's file; it stays when the lock is given back.
        what: what is worked on, for the message.

    Yields:
        A name for the lock that no other lock has until this machine is started anew; None where
        the system cannot tell.

    Raises:
        StoreError: another process holds the lock.
    """
    try:
        held = open(file, "w", encoding="utf-8")  # noqa: SIM115 - closed by the `with` below
    except OSError as error:
        advice = "copy it to a place that can be written, and go on there"
        raise StoreError(f"{what} cannot be written ({error.strerror}); {advice}") from error
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"another isoclone process is at work on {what}; wait for it or stop it"
            ) from error
        lock.write(str(os.getpid()))
        lock.flush()
        yield _name_of(os.fstat(lock.fileno()))


def _name_of(lock: os.stat_result) -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return f"{boot}:{lock.st_dev}:{lock.st_ino}"


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended and only waits for its parent to ask how."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            == "Z"
        )
    except OSError:
        return False


def write_parquet(
    path: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, type]
) -> None:
    """Write rows to a Parquet file whose pages have checksums; None is a missing value."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: _column([row[name] for row in rows], kind) for name, kind in columns.items()}
    table = pa.table(arrays)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _column(values: Sequence[Any], kind: type) -> pa.Array:
    """Return values as an Arrow array.

    `pyarrow.array` imports pandas where it is installed, which takes longer than the rest.

    Raises:
        TypeError: a value is not of the kind.
    """
    import numpy as np
    import pyarrow as pa

    present = [value is not None for value in values]
    bits = None if all(present) else np.packbits(np.array(present, bool), bitorder="little")
    known: list[Any]
    if kind is str:
        known = [b"" if value is None else value.encode() for value in values]
        ends = array("i", accumulate(map(len, known), initial=0))
        parts, of = [bits, ends, b"".join(known)], pa.string()
    else:
        of, code = (pa.int64(), "q") if kind is int else (pa.float64(), "d")
        parts = [bits, array(code, [0 if value is None else value for value in values])]
    buffers = [None if part is None else pa.py_buffer(part) for part in parts]
    return pa.Array.from_buffers(of, len(values), buffers)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, type]) -> None:
    """Write rows to `path`.parquet and `path`.csv with the same columns; None is a missing value.

    Floats are written by their shortest exact form, so equal numbers give equal bytes.
    """
    write_parquet(path.with_suffix(".parquet"), rows, columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row[name] is None else row[name] for name in columns])
    write_bytes(path.with_suffix(".csv"), text.getvalue().encode())
