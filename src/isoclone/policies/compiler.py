"""Short work with torch, done without importing torch's compiler."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

NAME = "torch._dynamo"
T = TypeVar("T")


def without_compiler(work: Callable[..., T], *args: Any) -> T:
    """Call a function; torch's compiler is not imported, which takes a second of CPU time.

    Operations on tensors without storage import it to be left alone by it. Work that needs it, as a
    policy that is compiled, fails here and is called again with it.
    """
    try:
        with _absent():
            return work(*args)
    except Exception:
        if NAME in sys.modules:
            raise
    return work(*args)


@contextmanager
def _absent() -> Iterator[None]:
    import torch

    if NAME in sys.modules:
        yield
        return
    absent: Any = types.ModuleType(NAME)
    absent.disable = lambda function, *_, **__: function
    absent.graph_break = lambda *_, **__: None
    sys.modules[NAME], torch._dynamo = absent, absent
    try:
        yield
    finally:
        if sys.modules.get(NAME) is absent:
            del sys.modules[NAME]
        if vars(torch).get("_dynamo") is absent:
            del torch._dynamo
