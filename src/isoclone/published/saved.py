"""Read torch-saved files of plain containers, numbers and tensors, and nothing else.

PyTorch's own restricted reader does it (`torch.load` with `weights_only=True`). It knows no
`defaultdict`, which the released files use: a plain dict stands in for it, so that no default
factory is ever made.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isoclone.base.errors import DataError
from isoclone.base.limits import check_archive, check_unpacked, unpack_limit

MAX_BYTES = 256 << 20  # unpacked, unless the user says more; the released hold less than 1 MiB
NODE_BYTES = 512  # of a container or a number, as Python keeps it, with room to spare


def load(path: Path) -> Any:
    """Return the object saved in `path`: plain containers, numbers, text, and arrays for tensors.

    Raises:
        DataError: a file that is damaged, too large, in another format, or that asks for anything
            beyond plain containers and tensors; in one line.
    """
    try:
        _check_archive(path)
        return _Plain(path).of(_loaded(path))
    except DataError as error:
        said = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise DataError(said) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except zipfile.BadZipFile:
        raise DataError(f"{path}: not a torch-saved zip archive, or damaged") from None
    except Exception as error:  # a damaged pickle can fail in any way; PyTorch's text is long
        said = f"refused: damaged, or beyond containers and tensors ({type(error).__name__})"
        raise DataError(f"{path}: {said}") from None


def _check_archive(path: Path) -> None:
    """Refuse an archive of another kind, or one that unpacks to more than the limit."""
    with zipfile.ZipFile(path) as archive:
        check_archive(path, archive, MAX_BYTES)
        names = [n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")]
    if len(names) != 1:
        raise DataError("not a torch-saved archive (it should hold one data.pkl)")


def _loaded(path: Path) -> Any:
    """Return what PyTorch's restricted reader makes of the file."""
    from torch import load as torch_load
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    known: list[Any] = [dict, (_empty_dict, "collections.defaultdict")]
    with safe_globals(known), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickle protocols that it may not know in full
        unknown = sorted(get_unsafe_globals_in_checkpoint(path))
        if unknown:
            raise DataError(f"refused: it asks for {unknown[0]}, beyond containers and tensors")
        return torch_load(path, map_location="cpu", weights_only=True)


def _empty_dict(*_: Any) -> dict[Any, Any]:
    """Stand in for `defaultdict`: the default factory is not kept."""
    return {}


class _Plain:
    """Copy a tree with arrays for tensors, and count what it comes to.

    A tensor of one number can be a view of any size, and a list that holds another many times over
    needs a few bytes of the file.
    """

    def __init__(self, path: Path):
        self._path, self._spent, self._limit = path, 0, unpack_limit(MAX_BYTES)

    def of(self, tree: Any) -> Any:
        """Return the tree with tensors as arrays.

        Raises:
            DataError: it comes to more than the limit.
        """
        is_tensor = hasattr(tree, "numpy")
        self._spent += tree.numel() * tree.element_size() if is_tensor else NODE_BYTES
        if self._spent > self._limit:
            check_unpacked(self._path, self._spent, MAX_BYTES)
        if isinstance(tree, dict):
            return {key: self.of(value) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return type(tree)(self.of(value) for value in tree)
        return tree.numpy() if is_tensor else tree


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (keys, value) of every leaf of a nested dict, keys as text."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, str(key)))
    else:
        yield path, tree
