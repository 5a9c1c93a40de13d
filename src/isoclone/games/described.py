"""Spaces of Gymnasium as JSON values, so that demonstrations and studies can hold them.

| space | JSON |
|---|---|
| `Box` | `{"box": [4], "dtype": "float32", "low": -1.0, "high": 1.0}`; null is infinite, a list |
|   | has one number for each entry |
| `Discrete` | `{"discrete": 6}`, with `"start"` if that is not 0 |
| `MultiDiscrete` | `{"multi_discrete": [3, 2]}`, with `"start"` |
| `MultiBinary` | `{"multi_binary": [5]}` |
| `Dict`, `Tuple` | `{"dict": {name: space}}`, `{"tuple": [space]}` |

`space_of` also reads what a command line says: "6", "3,2", "-1:1", "-1:1,0:5".
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.base.records import shown

MOST = 2**31  # choices of one factor, and entries of one space


def described(space: Any) -> dict[str, Any]:
    """Return a space as JSON values.

    Raises:
        SpecError: it is of a kind that isoclone cannot read (Text, Graph, Sequence).
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        bounds = {"low": _bound(space.low), "high": _bound(space.high)}
        return {"box": [int(n) for n in space.shape], "dtype": np.dtype(space.dtype).name, **bounds}
    if isinstance(space, spaces.Discrete):
        start = {"start": int(space.start)} if int(space.start) else {}
        return {"discrete": int(space.n), **start}
    if isinstance(space, spaces.MultiDiscrete):
        start = {"start": space.start.tolist()} if np.any(space.start) else {}
        return {"multi_discrete": space.nvec.tolist(), **start}
    if isinstance(space, spaces.MultiBinary):
        return {"multi_binary": [int(n) for n in space.shape]}
    if isinstance(space, spaces.Dict):
        return {"dict": {str(name): described(inner) for name, inner in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"tuple": [described(inner) for inner in space.spaces]}
    raise SpecError(f"a space of kind {type(space).__name__} cannot be read: {shown(space)}")


def _bound(values: np.ndarray) -> Any:
    """Return the bounds as one number if all are equal, else as a list; None is infinite."""
    flat = [v if math.isfinite(v) else None for v in values.ravel().tolist()]
    if all(v == flat[0] for v in flat):
        return flat[0] if flat else None
    return flat


def space_of(data: Any, what: str = "space") -> Any:
    """Return the Gymnasium space that `described`, or a text of the command line, says.

    Args:
        what: a flag or field, for messages.

    Raises:
        SpecError: it says none.
    """
    try:
        return _made(_read(data) if isinstance(data, str) else data)
    except (KeyError, TypeError, ValueError, AssertionError, OverflowError) as error:
        why = f" ({' '.join(str(error).split())[:100]})" if str(error) else ""
        raise SpecError(
            f"{what}: {shown(data)} is no space{why}; give a count of choices as 6 or 3,2, or "
            "bounds as -1:1 or -1:1,0:5"
        ) from error


def _read(text: str) -> Any:
    """Return the JSON values that a text stands for.

    >>> _read("3,2"), _read("-1:1,0:5")
    ({'multi_discrete': [3, 2]}, {'box': [2], 'dtype': 'float32', 'low': [-1.0, 0.0], 'high': [1.0, 5.0]})
    """  # noqa: E501
    if text.lstrip().startswith("{"):
        return json.loads(text)
    parts = text.split(",")
    if ":" in text:
        pairs = [[float(side) for side in part.split(":")] for part in parts]
        low, high = [list(side) for side in zip(*pairs, strict=True)]
        return {"box": [len(parts)], "dtype": "float32", "low": low, "high": high}
    sizes = [int(part) for part in parts]
    return {"discrete": sizes[0]} if len(sizes) == 1 else {"multi_discrete": sizes}


def _made(data: Any) -> Any:
    from gymnasium import spaces

    if "box" in data:
        shape, dtype = _shape(data["box"]), np.dtype(data["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"entries of {dtype}")
        low, high = (_bounds(data[side], shape, sign) for side, sign in (("low", -1), ("high", 1)))
        return spaces.Box(_fitted(low, dtype), _fitted(high, dtype), shape, dtype.type)
    if "discrete" in data:
        return spaces.Discrete(_count(data["discrete"]), start=int(data.get("start", 0)))
    if "multi_discrete" in data:
        sizes, start = np.array(data["multi_discrete"]), data.get("start")
        if sizes.dtype.kind != "i" or not sizes.size or sizes.min() < 1 or sizes.max() > MOST:
            raise ValueError(f"{shown(data['multi_discrete'])} are no counts")
        return spaces.MultiDiscrete(sizes, start=None if start is None else np.array(start))
    if "multi_binary" in data:
        return spaces.MultiBinary(_shape(data["multi_binary"]))
    if "dict" in data:
        return spaces.Dict({name: _made(inner) for name, inner in data["dict"].items()})
    return spaces.Tuple([_made(inner) for inner in data["tuple"]])


def _shape(data: Any) -> tuple[int, ...]:
    shape = tuple(_count(n) for n in data)
    if math.prod(shape) > MOST:
        raise ValueError(f"{math.prod(shape):,} entries")
    return shape


def _count(number: Any) -> int:
    if type(number) is not int or not 0 < number <= MOST:
        raise ValueError(f"{shown(number)} is no count")
    return number


def _bounds(data: Any, shape: tuple[int, ...], sign: int) -> np.ndarray:
    """Return (*shape) float64 bounds; None is infinite."""
    if isinstance(data, list):
        filled = [sign * math.inf if v is None else float(v) for v in data]
        return np.array(filled, np.float64).reshape(shape)
    return np.full(shape, sign * math.inf if data is None else float(data), np.float64)


def _fitted(bounds: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return bounds as values of a dtype; whole numbers have no infinity, but a last one."""
    if dtype.kind == "f":
        return bounds.astype(dtype)
    if dtype.kind == "b":
        return bounds.clip(0, 1).astype(dtype)
    ends = np.iinfo(dtype)
    if bounds.size and (bounds == bounds.flat[0]).all():  # large pictures have many alike
        return np.full(bounds.shape, _whole(float(bounds.flat[0]), ends), dtype)
    return np.array([_whole(v, ends) for v in bounds.ravel().tolist()], dtype).reshape(bounds.shape)


def _whole(value: float, ends: Any) -> int:
    if not math.isfinite(value) or not ends.min <= value <= ends.max:
        return int(ends.min if value < 0 else ends.max)
    return int(value)
