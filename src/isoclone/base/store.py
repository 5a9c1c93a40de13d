"""Files that are whole or absent, and the tables made of them.

Everything is written beside its place and moved there by an atomic rename, so that a file that
exists is complete. What was being written when the power went is a `.tmp` file nobody reads. Its
name tells the host and the process that wrote it, since many hosts may share the disk.
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
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from isoclone.base.errors import DataError, SpecError, SpecMismatchError, StoreError
from isoclone.base.records import jsonable, shown

LEFTOVER = ".*.tmp"
FOREIGN_SECONDS = 24 * 3600.0  # nobody is a day without a word to the file that he writes
HOST_LENGTH = 24


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it takes the place of `path`, atomically.

    Raises:
        StoreError: the disk is full, or the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{this_host()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(_explain(error, path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@functools.cache
def this_host() -> str:
    """This machine's name as part of a file's: short, of letters, digits and '-' alone."""
    name = platform.node()
    plain = re.sub(r"[^A-Za-z0-9-]", "-", name)[:HOST_LENGTH]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _flush(path: Path) -> None:
    """Have the bytes on disk before the name points at them."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _explain(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"no space left for {path}; free some and run the same command again"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{path} cannot be written: {error.strerror}; choose another directory"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path} cannot be written: a file stands where a directory should be"
    return f"{path}: {error.strerror or error}"


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, whole or not at all."""
    text = json.dumps(jsonable(value), indent=2, sort_keys=True, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(), parse_constant=_no_number)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing") from error
    except (ValueError, OSError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        raise StoreError(f"{path} is damaged ({why}); restore it or delete it") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(_explain(error, path)) from error


def is_free(folder: Path) -> bool:
    """Whether nothing is there but what a killed writer of ours may have left."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(fnmatch(p.name, LEFTOVER) for p in folder.iterdir())


def claim(folder: Path, name: str, declared: dict[str, Any], held: tuple[str, str]) -> None:
    """Take a free folder by writing there what was asked for, or check that it is just that.

    What killed writers left in a folder that is ours is deleted.

    Args:
        name: of the file that says what was asked for.
        declared: what is asked for, as JSON values.
        held: what the folder would hold in messages: of somebody else's, and at all.

    Raises:
        SpecMismatchError: the folder belongs to another request; the message says how it differs.
        SpecError: it holds something else.
        DataError: the file is damaged.
    """
    file = folder / name
    if not file.exists():
        if not is_free(folder):
            raise SpecError(f"{folder} is not empty and holds no {held[1]}; choose another place")
        write_json(file, declared)
        return
    there = read_json(file)
    if not isinstance(there, dict):
        raise DataError(f"{file} is damaged; delete it to record again")
    differing = [key for key in declared if there.get(key) != declared[key]]
    if differing:
        others = "; ".join(
            f"{k}: {shown(there.get(k))} there, {shown(declared[k])} asked" for k in differing
        )
        raise SpecMismatchError(f"{folder} holds {held[0]} ({others})")
    sweep_leftovers(folder)


def sweep_leftovers(folder: Path) -> None:
    """Delete temporary files of writers that are no more.

    Of this host's those whose process is gone; of other hosts', whose processes cannot be seen from
    here, those that nobody has written to for a day.
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
    except OSError:  # its writer has just finished
        return False


@contextmanager
def alone(file: Path, what: str) -> Iterator[str | None]:
    """Be the only one at work on something; the lock goes with the process, however it ends.

    Yields what no other lock has for a name, as long as this machine runs (None: it has none).

    Raises:
        StoreError: another is at work.
    """
    with open(file, "w") as lock:
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
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return f"{boot}:{lock.st_dev}:{lock.st_ino}"


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Killed, but not yet buried by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, type]) -> None:
    """Write rows as `path`.parquet and `path`.csv with the same columns; None is a missing value.

    Floats are written by their shortest exact form, so equal numbers give equal bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    table = pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows], schema)
    with replacing(path.with_suffix(".parquet")) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row[name] is None else row[name] for name in columns])
    write_bytes(path.with_suffix(".csv"), text.getvalue().encode())
