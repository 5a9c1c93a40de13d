"""Named arrays in .npz, .npy, HDF5 and Zarr, read row by row: no array is in memory as a whole.

Every format becomes a tree: a dict whose values are columns or dicts of them. A column has a
`shape` and a `dtype`, and `rows(start, stop)` reads some of it.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isoclone.base.errors import DataError, MissingExtraError
from isoclone.base.limits import check_array, check_unpacked

Tree = dict[str, Any]  # name -> Column or Tree
SKIP_BYTES = 8 << 20
HDF5 = (".h5", ".hdf5", ".hdf")


class Column(Protocol):
    """An array on disk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read some rows; cheap when taken in order."""
        ...


class Sliced:
    """A column of anything that is sliced like an array: a memory map, h5py, Zarr."""

    def __init__(self, array: Any, name: str):
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self._array, self._name = array, name

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read some rows.

        Raises:
            DataError: they, or a chunk, which is unpacked as a whole, are beyond the limit.
        """
        check_array(self._name, (stop - start, *self.shape[1:]), self.dtype)
        check_array(self._name, getattr(self._array, "chunks", None) or (), self.dtype)
        return np.asarray(self._array[start:stop])


class Zipped:
    """A column in an .npz file, compressed or not, read as a stream."""

    def __init__(self, path: Path, member: str):
        self._path, self._member = path, member
        self.shape, self.dtype = self._open()

    def _open(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        archive = zipfile.ZipFile(self._path)
        there = archive.getinfo(self._member).file_size
        self._stream = archive.open(self._member)
        self._at = 0
        header = np.lib.format
        read = {(1, 0): header.read_array_header_1_0, (2, 0): header.read_array_header_2_0}
        version = header.read_magic(self._stream)
        if version not in read:
            raise DataError(f"{self._path}: {self._member} has format {version} of .npy")
        shape, fortran, dtype = read[version](self._stream)
        if dtype.hasobject:
            raise DataError(
                f"{self._path}: {self._member} holds Python objects, which are pickled: save it as "
                "an array of numbers"
            )
        if fortran and len(shape) > 1:
            raise DataError(
                f"{self._path}: {self._member} is in Fortran order: save np.ascontiguousarray of it"
            )
        if math.prod(shape) * dtype.itemsize > there:
            raise DataError(f"{self._path}: {self._member} ends too early for its shape {shape}")
        return shape, dtype

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read some rows.

        Raises:
            DataError: they are beyond the limit of what is unpacked, or the file ends.
        """
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        check_unpacked(f"{self._path}: {self._member}", size * (stop - start))
        if start < self._at:
            self._open()
        skipped = (start - self._at) * size
        while skipped > 0:
            skipped -= len(self._read(min(skipped, SKIP_BYTES)))
        data = self._read((stop - start) * size)
        self._at = stop
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            count = self._stream.readinto(view[got:])  # type: ignore[attr-defined]
            if not count:
                raise DataError(f"{self._path}: {self._member} ends too early")
            got += count
        return data


def open_tree(path: Path) -> Tree:
    """Open a file or folder of named arrays.

    Raises:
        DataError: it cannot be read; the message says which formats can.
        MissingExtraError: h5py or zarr is not installed.
    """
    opener = _opener(path)
    if opener is None:
        raise DataError(
            f"{path} is neither .npz, .npy, HDF5 (.h5, .hdf5) nor Zarr, nor a folder of these"
        )
    try:
        return opener(path)
    except (DataError, MissingExtraError):
        raise
    except Exception as error:  # whatever a library says of a damaged file
        said = " ".join(str(error).split())[:160]
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {said}") from error


def _opener(path: Path) -> Callable[[Path], Tree] | None:
    if path.is_dir():
        marks = (".zgroup", ".zarray", "zarr.json")
        if path.suffix == ".zarr" or any((path / mark).exists() for mark in marks):
            return _zarr
        return _npy_folder if any(path.glob("*.npy")) else None
    return {".npz": _npz, **dict.fromkeys(HDF5, _hdf5)}.get(path.suffix.lower())


def holds_tree(path: Path) -> bool:
    """Return whether a file or folder is one of named arrays, by its name."""
    return _opener(path) is not None


def _npz(path: Path) -> Tree:
    with zipfile.ZipFile(path) as file:
        members = [name for name in file.namelist() if name.endswith(".npy")]
    columns: dict[str, Column] = {n.removesuffix(".npy"): Zipped(path, n) for n in members}
    return _nested(columns)


def _npy_folder(path: Path) -> Tree:
    found: dict[str, Column] = {}
    for file in files_below(path, "*.npy"):
        name = file.relative_to(path).with_suffix("").as_posix()
        found[name] = Sliced(np.load(file, mmap_mode="r", allow_pickle=False), str(file))
    return _nested(found)


def _nested(flat: dict[str, Column]) -> Tree:
    """Return columns whose names have slashes as a tree."""
    tree: Tree = {}
    for name, column in flat.items():
        *groups, last = name.split("/")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise DataError(f"{name}: {group} is both an array and a group")
        inner[last] = column
    return tree


def _hdf5(path: Path) -> Tree:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("reading HDF5", "arrays") from error
    return _of_group(h5py.File(path, "r"), path)


def _zarr(path: Path) -> Tree:
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError("reading Zarr", "arrays") from error
    return _of_group(zarr.open_group(str(path), mode="r"), path)


def _of_group(group: Any, where: Path) -> Tree:
    tree: Tree = {}
    for name in group:
        item = group[name]
        if hasattr(item, "dtype"):
            if item.dtype.kind in "biufc" and item.shape != ():
                tree[str(name)] = Sliced(item, f"{where}: {name}")
        else:
            tree[str(name)] = _of_group(item, where)
    return tree


def natural(name: str) -> tuple[Any, ...]:
    """Return a key to sort names by, in which 'demo_10' comes after 'demo_9'.

    >>> sorted(["demo_10", "demo_9"], key=natural)
    ['demo_9', 'demo_10']
    """
    parts = re.split(r"([0-9]+)", name)  # every other one is a number
    return [int(p) if k % 2 else p for k, p in enumerate(parts)], name


def files_below(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder in the order of their numbers: part-2 before part-10."""
    return sorted(
        folder.rglob(pattern), key=lambda file: natural(file.relative_to(folder).as_posix())
    )


def length(column: Any) -> int:
    """Return the rows of a column, or of the columns of a tree, which must be alike.

    Raises:
        DataError: they are not, or it has none.
    """
    if not isinstance(column, dict):
        return int(column.shape[0]) if column.shape else 0
    sizes = {name: length(inner) for name, inner in column.items()}
    if len(set(sizes.values())) != 1:
        raise DataError(f"its parts have different lengths: {sizes}"[:200])
    return next(iter(sizes.values()))


def rows_of(column: Any, start: int, stop: int) -> Any:
    """Read some rows of a column, or of each column of a tree."""
    if isinstance(column, dict):
        return {name: rows_of(inner, start, stop) for name, inner in column.items()}
    return column.rows(start, stop)
