"""Values of single spaces as flat arrays of numbers, checked against what their space declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from isoclone.base.errors import DataError, SpecError
from isoclone.base.records import shown

EXACT = 2**24  # whole numbers up to here are exact in float32
SLACK = 1e-3  # of a float's width, by which it may lie outside its bounds
Flattener = Callable[[Any], np.ndarray]


def spelt(path: Iterable[Any]) -> str:
    """Return the name of an entry of a Dict or Tuple, for people."""
    return ".".join(map(str, path))


def entry(what: str, value: Any, path: Sequence[Any]) -> Any:
    """Return the entry at a path of keys; `what` is for messages: 'observation' or 'action'.

    Raises:
        DataError: there is none.
    """
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"the {what} has no entry '{spelt(path)}'") from error
    return value


@singledispatch
def flattener(space: Space[Any], strict: bool) -> Flattener:
    """Return what turns a space's values into flat arrays of numbers; DataError if not of it."""
    raise unreadable(space)


@flattener.register
def _(space: Box, strict: bool) -> Flattener:
    checked = BoxCheck(space, strict)
    return lambda value: checked(value).reshape(-1)


@flattener.register
def _(space: Discrete, strict: bool) -> Flattener:
    return _one_hot(space, (), np.array([space.n]), int(space.start))


@flattener.register
def _(space: MultiDiscrete, strict: bool) -> Flattener:
    return _one_hot(space, space.nvec.shape, space.nvec.reshape(-1), space.start.reshape(-1))


@flattener.register
def _(space: MultiBinary, strict: bool) -> Flattener:
    def flat(value: Any) -> np.ndarray:
        given = _whole(space, value, space.shape).reshape(-1)
        if given.min(initial=0) < 0 or given.max(initial=0) > 1:
            raise DataError(f"the observation {shown(value)} is not one of {space}")
        return given

    return flat


def _one_hot(space: Space[Any], shape: tuple[int, ...], sizes: np.ndarray, start: Any) -> Flattener:
    firsts, total = np.cumsum(sizes) - sizes, int(sizes.sum())

    def flat(value: Any) -> np.ndarray:
        given = _whole(space, value, shape).reshape(-1) - start
        if (given < 0).any() or (given >= sizes).any():
            raise DataError(f"the observation {shown(value)} is not one of {space}")
        lit = np.zeros(total, np.float32)
        lit[firsts + given] = 1
        return lit

    return flat


def _whole(space: Space[Any], value: Any, shape: tuple[int, ...]) -> np.ndarray:
    given = np.asarray(value)
    if given.shape != shape or given.dtype.kind not in "iub":
        raise DataError(f"the observation {shown(value)} is not one of {space}")
    return given.astype(np.int64)


class BoxCheck:
    """Check of a Box's values: called with one, it returns the array or raises DataError.

    Floats are taken for floats of another width, and whole numbers for floats.

    Args:
        space: the Box.
        strict: whether floats must lie in their bounds, to a thousandth of their width; whole
            numbers always must.
    """

    def __init__(self, space: Box, strict: bool):
        self.space, self._shape = space, space.shape
        self._declared = np.dtype(space.dtype)
        low: Any = space.low
        high: Any = space.high
        if self._declared.kind == "f":
            low, high = low.astype(np.float64), high.astype(np.float64)
            ends = np.stack([low, high])
            bounded = np.isfinite(ends).all(0)
            slack = SLACK * np.subtract(high, low, np.zeros(space.shape), where=bounded)
            slack = np.maximum(slack, 1e-6 * np.where(np.isfinite(ends), np.abs(ends), 0).max(0))
            low, high = (low - slack, high + slack) if strict else (-np.inf, np.inf)
        self._low, self._high = low, high

    def __call__(self, value: Any) -> np.ndarray:
        """Return a value as an array of the Box's shape, not copied.

        Raises:
            DataError: another shape, floats where whole numbers are declared, numbers that are
                not finite, or that lie outside the declared bounds.
        """
        given, declared = np.asarray(value), self._declared
        if given.shape != self._shape:
            raise DataError(
                f"the observation has shape {given.shape}, its space says {self._shape}"
            )
        kind = given.dtype.kind
        if kind not in "iubf" or (kind == "f") > (declared.kind == "f"):
            raise DataError(f"the observation is {given.dtype}, its space says {declared}")
        if kind == "f" and not (finite := np.isfinite(given)).all():
            count = int((~finite).sum())
            raise DataError(f"{count} of {given.size} numbers of the observation are not finite")
        outside = (given < self._low) | (given > self._high)
        if outside.any():
            self._refuse(given, outside)
        if kind == declared.kind == "f" and given.dtype.itemsize > declared.itemsize:
            _refuse_lost(given, declared)
        return given

    def _refuse(self, given: np.ndarray, outside: np.ndarray) -> None:
        where = tuple(int(i) for i in np.argwhere(np.atleast_1d(outside))[0])
        where = where if given.shape else ()
        low, high = self.space.low[where], self.space.high[where]
        raise DataError(
            f"the observation has {given[where]} at {list(where)}, outside its space's bounds, "
            f"{low} to {high}"
        )


def _refuse_lost(given: np.ndarray, declared: np.dtype[Any]) -> None:
    """Raise DataError where the declared floats would merge values that differ by one."""
    large = given[np.abs(given) >= EXACT]
    if large.size and (large.astype(declared) != large).any():
        raise DataError(
            f"the observation has {float(large.flat[0])!r}, which the {declared} of its space "
            f"cannot tell from its neighbours; declare the space as {given.dtype}"
        )


def unreadable(space: Space[Any]) -> SpecError:
    """Return the error for a space whose values cannot be flattened."""
    return SpecError(
        f"a space {type(space).__name__} cannot be read; Box, Discrete, MultiDiscrete, "
        "MultiBinary, and Dict or Tuple of these can"
    )


def is_readable(space: Space[Any]) -> bool:
    """Return whether a space is one whose values can be flattened."""
    return any(kind in flattener.registry for kind in type(space).__mro__[:-2])


def count_of(space: Space[Any]) -> int:
    """Return how many numbers a space's values are flattened into."""
    count = getattr(space, "nvec", getattr(space, "n", None))
    if isinstance(space, MultiBinary) or count is None:
        return math.prod(space.shape or ())
    return int(np.sum(count))


def is_wide(space: Space[Any]) -> bool:
    """Return whether float32 cannot hold the values of a Box as they are."""
    if not isinstance(space, Box) or space.dtype is None:
        return False
    if space.dtype.kind == "f":
        return space.dtype.itemsize > 4
    return bool(space.low.min() < -EXACT or space.high.max() > EXACT)


def fits_bytes(space: Space[Any]) -> bool:
    """Return whether all values are whole numbers from 0 to 255."""
    if not isinstance(space, Box):
        return True
    whole = space.dtype is not None and space.dtype.kind in "iub"
    return whole and bool(space.low.min() >= 0 and space.high.max() <= 255)


def values_of(space: Space[Any]) -> str:
    """Return what a flattened space's numbers are: 'onehot', or 'raw', as they are."""
    return "onehot" if isinstance(space, Discrete | MultiDiscrete) else "raw"


def in_words(space: Space[Any]) -> str:
    """Return an entry in words: 'one of 16 (one-hot)'."""
    if isinstance(space, Discrete):
        return f"one of {space.n} (one-hot)"
    if isinstance(space, MultiDiscrete):
        return f"{space.nvec.size} choices among {_listed(space.nvec)} (one-hot)"
    if isinstance(space, MultiBinary):
        return f"{math.prod(space.shape)} switches"
    shape = space.shape or ()
    return f"{math.prod(shape)} numbers" + (f" ({_listed(shape)})" if len(shape) != 1 else "")


def _listed(sizes: Any) -> str:
    flat = [str(int(n)) for n in np.reshape(sizes, -1)]
    return "x".join(flat[:6]) + ("..." if len(flat) > 6 else "")
