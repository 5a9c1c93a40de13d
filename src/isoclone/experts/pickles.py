"""Read the arrays of a pickled VecNormalize without running what the file names.

A pickle names functions to call. This reader knows NumPy's few that build arrays and numbers; all
other names become `Kept`, an empty object that only keeps its state. So a file made with another
library, or with an old version of one, is read as well.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import CheckpointError

_ARRAYS = {"_reconstruct", "scalar", "_frombuffer"}
_MODULES = [
    f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric")
]


class Kept:
    """What stands for an object of any other class: the state it was pickled with."""

    def __init__(self, *args: Any, **options: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update({str(name): value for name, value in state.items()})

    def __setitem__(self, key: Any, value: Any) -> None:  # the items of a foreign dict
        self.__dict__[str(key)] = value

    def append(self, item: Any) -> None:
        """Take no notice of an item of a foreign list."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module in _MODULES and name in _ARRAYS:
            home = "numeric" if name == "_frombuffer" else "multiarray"
            return getattr(importlib.import_module(f"numpy._core.{home}"), name)
        if (module, name) == ("_codecs", "encode"):  # how old pickles hold bytes
            return _encoded
        return Kept


def _encoded(text: Any, encoding: str = "latin1") -> bytes:
    return str(text).encode("latin1")


def read_kept(path: Path) -> Any:
    """Return what a pickle holds, objects of unknown classes as `Kept`; no code of it is run.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return _Reader(file).load()
    except Exception as error:  # a damaged pickle may raise anything
        said = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {said}") from error
