"""Read and write an object store file by file; its errors say in one line where they happened."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeVar

from isoclone.base.errors import SpecError, StoreError
from isoclone.remote.address import refuse_secrets

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# Parameters of Arrow that we set unless the address does. For S3: an upload is one request, not
# three. For Google: its client tries again for 10 s, not for 15 minutes, since we try again too.
USUAL = {"s3": ("allow_delayed_open", "true"), "gs": ("retry_limit_seconds", "10")}
PIECE_BYTES = 2**20
CHANNELS = 16  # transfers at once: objects are many and small
PATIENCE_SECONDS = 60.0  # how long a driver may be silent, and a store give no answer
AGAIN_SECONDS = 3.0  # before a store that did not answer is asked again

Seen = tuple[int, int]  # size in bytes, time of the last change in ns
T = TypeVar("T")


class StoreAwayError(StoreError):
    """The object store did not do a request; it may succeed later."""


class Objects:
    """The files at an address.

    Raises:
        SpecError: the address is not valid, or has a password in it.
        StoreError: the object store cannot be reached.
    """

    def __init__(self, address: str):
        refuse_secrets(address)
        self.address = address
        self._system, self._root = _connect(address)

    def each(self, act: Callable[[str], T], names: Iterable[str]) -> Iterator[tuple[str, T]]:
        """Call `act` for each file, several at a time; yield each name with what `act` returned."""

        def one(name: str) -> tuple[str, T]:
            with self._explained(name):
                return name, act(name)

        with ThreadPoolExecutor(CHANNELS) as pool:
            yield from pool.map(one, names)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield an object's bytes in pieces."""
        # Without `compression=None` Arrow unpacks files named .bz2 or .gz.
        with (
            self._explained(name),
            self._system.open_input_stream(self._at(name), compression=None) as stream,
        ):
            while piece := stream.read(PIECE_BYTES):
                yield piece

    def write(self, name: str, source: IO[bytes]) -> None:
        with (
            self._explained(name),
            self._system.open_output_stream(self._at(name), compression=None) as stream,
        ):
            shutil.copyfileobj(source, stream)

    def delete(self, name: str) -> None:
        with self._explained(name), suppress(FileNotFoundError):
            self._system.delete_file(self._at(name))

    def listed(self, names: list[str] | None) -> dict[str, Seen]:
        """Return size and time of all files, or of these files and of those in these folders.

        Folders are listed even for a single file: some servers round the time of a file that is
        asked for alone in another way.
        """

        def files(name: str) -> list[Any]:
            place = self._at(name).rstrip("/")
            if PurePosixPath(name).suffix:  # most likely a file: its folder's list has it
                beside = self._infos(str(PurePosixPath(place).parent))
                found = [info for info in beside if info.path == place]
                if found and found[0].is_file:
                    return found
            return self._infos(place, recursive=True)

        found = self.each(files, [""] if names is None else names)
        infos = [info for _, some in found for info in some if info.is_file]
        told = {info.path[len(self._root) + 1 :]: info for info in infos}
        for name in told:
            self._refuse_odd(name, told)
        return {name: (info.size, info.mtime_ns) for name, info in told.items()}

    def inside(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder."""
        with self._explained(folder):
            found = self._infos(self._at(folder))
        return [f"{folder}/{info.base_name}" for info in found if info.is_file]

    def _infos(self, place: str, recursive: bool = False) -> list[Any]:
        from pyarrow import fs

        selector = fs.FileSelector(place, allow_not_found=True, recursive=recursive)
        return list(self._system.get_file_info(selector))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _refuse_odd(self, name: str, names: Container[str]) -> None:
        """Raise StoreError if a file of the copy cannot have that name beside those others."""
        parts = name.split("/")
        folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
        if not name.isprintable() or {"", ".", ".."} & {*parts}:
            why = "has no valid file name"
        elif any(folder in names for folder in folders):
            why = "lies in a folder that is a file as well"
        else:
            return
        raise StoreError(
            f"{self.address} holds an object {name[:200]!a} that {why}; delete it there"
        )

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn an error of the object store into one line that says where it happened."""
        try:
            yield
        except StoreError:
            raise
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            place = f"{self.address.partition('?')[0]}/{name}".rstrip("/")
            raise StoreAwayError(
                f"{place}: {said}; run the same command again when the store works"
            ) from error


def insist(act: Callable[[], None], patience: float) -> None:
    """Call `act`; while the store does not answer, try again for `patience` seconds."""
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
        # Few servers besides Amazon's know checksums that follow the data.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    try:
        system, root = fs.FileSystem.from_uri(f"{path}?{query}")
    except (OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise SpecError(f"{address} cannot be used: {said}") from error
    if "/" not in root.strip("/") or {".", ".."} & {*root.split("/")}:
        raise SpecError(f"{address} must name a folder of the bucket, as in s3://bucket/study")
    return system, root.rstrip("/")
