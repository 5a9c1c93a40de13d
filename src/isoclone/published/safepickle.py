"""Read torch-saved files of plain containers, numbers and tensors, and nothing else.

A pickle is a program. This reader runs only the part of its language that builds lists, dicts,
tuples, numbers, text and tensors: every opcode is checked against a short list before anything is
executed, and the only names that resolve are the ones below. Tensors come back as NumPy arrays, so
PyTorch itself is not needed. File format: the zip archive that `torch.save` writes (1.6 and later).
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError

MAX_BYTES = 256 * 2**20  # uncompressed; the released files hold less than 1 MiB each

_OPCODES = frozenset(
    re.findall(
        r"\w+",
        """PROTO FRAME STOP MARK POP POP_MARK MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT STRING BINSTRING
    SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE
    TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE
    BINPERSID""",
    )
)

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


def load(path: Path) -> Any:
    """The object saved in `path`: plain containers, numbers, text, and arrays for tensors.

    Raises `DataError`, in one line, on a file that is damaged, too large, in another format, or
    that asks for anything beyond plain containers and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _load_archive(archive)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except zipfile.BadZipFile:
        raise DataError(f"{path}: not a torch-saved zip archive, or damaged") from None
    except Exception as error:  # a damaged pickle can fail in any way; none of them is ours
        raise DataError(f"{path}: damaged ({type(error).__name__})") from None


def _load_archive(archive: zipfile.ZipFile) -> Any:
    if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
        raise DataError(f"holds more than {MAX_BYTES >> 20} MiB; refused")
    names = [n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")]
    if len(names) != 1:
        raise DataError("not a torch-saved archive (it should hold one data.pkl)")
    body = archive.read(names[0])
    for opcode, _, _ in pickletools.genops(body):
        if opcode.name not in _OPCODES:
            raise DataError(
                f"refused: its pickle uses {opcode.name}, beyond containers and tensors"
            )
    return _Plain(io.BytesIO(body), archive, names[0].removesuffix("data.pkl")).load()


class _Call:
    """A callable with no attributes that a pickle could set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


def _empty_dict(*args: Any) -> dict[Any, Any]:
    """Stands for dict, OrderedDict and defaultdict: a default factory is never kept."""
    return dict(args[0]) if args and isinstance(args[0], list | tuple | dict) else {}


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_ignored: Any) -> np.ndarray:
    """A tensor as a contiguous array; every index is checked to lie inside the storage."""
    if not isinstance(storage, np.ndarray):
        raise DataError("refused: a tensor without a storage")
    whole = (offset, *size, *stride)
    if len(size) != len(stride) or any(not isinstance(i, int) or i < 0 for i in whole):
        raise DataError("a tensor has an impossible shape")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    count = 1
    for n in size:
        count *= n
    if count > storage.size * 16 + 1 or (count and last >= storage.size):
        raise DataError("a tensor reaches outside its storage")
    strides = tuple(s * storage.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), strides).copy()


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "defaultdict"): _Call(_empty_dict),
    ("collections", "OrderedDict"): _Call(_empty_dict),
    ("builtins", "dict"): _Call(_empty_dict),
    ("__builtin__", "dict"): _Call(_empty_dict),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
}


class _Plain(pickle.Unpickler):
    """An unpickler that knows the names above and no other."""

    def __init__(self, body: io.BytesIO, archive: zipfile.ZipFile, folder: str):
        super().__init__(body, encoding="utf-8")
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) not in _ALLOWED:
            raise DataError(f"refused: it asks for {module}.{name}, beyond containers and tensors")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, dtype, key, _device, count = pid
        if kind != "storage" or dtype not in _DTYPES.values() or not str(key).isalnum():
            raise DataError("refused: an unknown kind of storage")
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype, int(count))


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(keys, value) of every leaf of a nested dict, keys as text."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, str(key)))
    else:
        yield path, tree
