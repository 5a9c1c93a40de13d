"""How action spaces are read: as one index among `n`, or as several, one for each factor.

| actions       | factors                                                                         |
|---------------|---------------------------------------------------------------------------------|
| Discrete      | one of `n`, counted from 0 whatever `start` is                                  |
| MultiDiscrete | one for each choice                                                             |
| MultiBinary   | one of two for each switch                                                      |
| Box of floats | one for each number, which is cut into `bins` of equal width; an index stands   |
|               | for its bin's centre                                                            |
| Box of whole  | one for each number: the value itself, binned where there are more values than  |
| numbers       | bins                                                                            |
| Dict, Tuple   | those of the entries, in the order of `gymnasium.spaces.flatten`                |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from isoclone.base.errors import DataError, SpecError
from isoclone.base.records import shown
from isoclone.games.flatten import entry, spelt

BINS = 256  # of a real number, as in Gato and RT-1
Index = int | np.ndarray


@dataclass(frozen=True)
class _Part:
    """One entry of an action space: its factors, and the values that their indices stand for."""

    path: tuple[Any, ...]
    sizes: tuple[int, ...]
    low: np.ndarray  # (factors,) value of index 0, or the lower edge of bin 0
    step: np.ndarray  # (factors,) between values, or width of a bin
    binned: np.ndarray  # (factors,) bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def to_index(self, value: Any) -> np.ndarray:
        given = np.asarray(value)
        if given.shape != self.shape or given.dtype.kind not in "iubf":
            raise DataError(f"the action {shown(value)} has not the shape {self.shape}")
        flat = given.reshape(-1).astype(np.float64)
        if not np.isfinite(flat).all():
            raise DataError(f"the action {shown(value)} is not finite")
        place = (flat - self.low) / self.step
        index = np.where(self.binned, np.floor(place), np.rint(place)).astype(np.int64)
        sizes = np.array(self.sizes)
        inside = self.binned | ((index >= 0) & (index < sizes) & (np.abs(place - index) < 1e-3))
        if not inside.all():
            raise DataError(f"the action {shown(value)} is not one of the game's")
        return np.clip(index, 0, sizes - 1)

    def value(self, index: np.ndarray) -> np.ndarray:
        return self.low + (index + 0.5 * self.binned) * self.step

    def to_action(self, index: np.ndarray) -> Any:
        value = self.value(index)
        if self.dtype.kind != "f":
            value = np.rint(value)
        made = value.reshape(self.shape).astype(self.dtype)
        return made.item() if self.shape == () else made


@singledispatch
def _parts(space: Space[Any], path: tuple[Any, ...], bins: int, bounds: Any) -> Iterator[_Part]:
    raise SpecError(
        f"actions of a space {type(space).__name__} cannot be chosen; those of Discrete, "
        "MultiDiscrete, MultiBinary, Box, and Dict or Tuple of these can"
    )


def _whole(
    path: tuple[Any, ...], counts: Any, start: Any, shape: tuple[int, ...], dtype: Any
) -> _Part:
    sizes = tuple(int(n) for n in np.reshape(counts, -1))
    low = np.broadcast_to(np.reshape(start, -1), len(sizes)).astype(np.float64)
    no = np.zeros(len(sizes), bool)
    return _Part(path, sizes, low, np.ones(len(sizes)), no, shape, np.dtype(dtype))


@_parts.register
def _(space: Discrete, path: tuple[Any, ...], bins: int, bounds: Any) -> Iterator[_Part]:
    yield _whole(path, space.n, space.start, (), np.int64)


@_parts.register
def _(space: MultiDiscrete, path: tuple[Any, ...], bins: int, bounds: Any) -> Iterator[_Part]:
    yield _whole(path, space.nvec, space.start, space.nvec.shape, space.dtype)


@_parts.register
def _(space: MultiBinary, path: tuple[Any, ...], bins: int, bounds: Any) -> Iterator[_Part]:
    yield _whole(path, np.full(math.prod(space.shape), 2), 0, space.shape, space.dtype)


@_parts.register
def _(space: Box, path: tuple[Any, ...], bins: int, bounds: Any) -> Iterator[_Part]:
    low, high = (edge.reshape(-1).astype(np.float64) for edge in (space.low, space.high))
    if bounds is not None:
        low = np.where(np.isfinite(low), low, bounds[0])
        high = np.where(np.isfinite(high), high, bounds[1])
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise SpecError(
            f"actions of {space} have no bounds to cut into bins; give the lowest and the highest "
            "value that is ever needed by the game option 'action_bounds'"
        )
    shape, dtype = space.shape, np.dtype(space.dtype)
    whole = dtype.kind != "f"
    counts = high - low + 1 if whole else np.full(len(low), np.inf)
    binned = counts > bins
    sizes = np.where(binned, bins, counts).astype(np.int64)
    edge = 0.5 if whole else 0.0  # a whole number stands in the middle of its own bin
    width = (high - low + 2 * edge) / bins
    first, step = np.where(binned, low - edge, low), np.where(binned, width, 1.0)
    yield _Part(path, tuple(sizes.tolist()), first, step, binned, shape, dtype)


@_parts.register
def _(space: Dict, path: tuple[Any, ...], bins: int, bounds: Any) -> Iterator[_Part]:
    for key, inner in space.spaces.items():
        yield from _parts(inner, (*path, key), bins, bounds)


@_parts.register
def _(space: Tuple, path: tuple[Any, ...], bins: int, bounds: Any) -> Iterator[_Part]:
    for key, inner in enumerate(space.spaces):
        yield from _parts(inner, (*path, key), bins, bounds)


class ActionReader:
    """Reader of an action space: indices of actions, and the actions that indices stand for.

    Attributes:
        sizes: how many values each factor has.
        described: the actions in words; it completes the sentence "actions: ...".
    """

    def __init__(self, space: Space[Any], parts: Sequence[_Part]):
        self._space, self._parts = space, tuple(parts)
        self.sizes = tuple(size for part in parts for size in part.sizes)
        self.described = _described(self._parts)
        only = self._parts[0]
        plain = len(self._parts) == 1 and not only.path and only.shape == ()
        self._start = int(only.low[0]) if plain and not only.binned[0] else None

    @property
    def is_binned(self) -> bool:
        """Whether an index stands for many values, of which it is the middle."""
        return any(part.binned.any() for part in self._parts)

    def to_index(self, action: Any) -> Index:
        """Return the index of an action of the space, an int, or (factors,) int64 if several.

        Real numbers outside their bounds belong to the nearest bin.

        Raises:
            DataError: it is not one of the space's actions.
        """
        indices = [part.to_index(entry("action", action, part.path)) for part in self._parts]
        joined = np.concatenate(indices)
        return int(joined[0]) if len(self.sizes) == 1 else joined

    def to_action(self, index: Any) -> Any:
        """Return the action that an index stands for, as the environment takes it."""
        if self._start is not None:
            return int(index) + self._start
        given = np.reshape(index, -1)
        actions, first = [], 0
        for part in self._parts:
            count = len(part.sizes)
            actions.append((part.path, part.to_action(given[first : first + count])))
            first += count
        return _built(self._space, actions)

    def error(self, action: Any) -> float:
        """Return the mean distance between an action's binned numbers and their bins' centres.

        It is in the action's own units; 0 where nothing is binned.
        """
        distances = [np.zeros(0)]
        for part in self._parts:
            value = np.asarray(entry("action", action, part.path), np.float64).reshape(-1)
            apart = np.abs(value - part.value(part.to_index(entry("action", action, part.path))))
            distances.append(apart[part.binned])
        joined = np.concatenate(distances)
        return float(joined.mean()) if len(joined) else 0.0


def action_reader(
    space: Space[Any], bins: int = BINS, bounds: Sequence[float] | None = None
) -> ActionReader:
    """Return the reader of an action space, as the table of this module says.

    Args:
        space: of a Gymnasium environment.
        bins: for each real number.
        bounds: lowest and highest value of numbers that have no bounds of their own.

    Raises:
        SpecError: the space cannot be read, or a number in it has no bounds.
    """
    if type(bins) is not int or not 2 <= bins <= 32_767:
        raise SpecError(f"bins must be a whole number from 2 to 32,767, not {bins!r}")
    if bounds is not None and (len(bounds) != 2 or not -np.inf < bounds[0] < bounds[1] < np.inf):
        raise SpecError(f"action_bounds must be two numbers, the lower first, not {list(bounds)}")
    parts = list(_parts(space, (), bins, bounds))
    if not sum(len(part.sizes) for part in parts):
        raise SpecError(f"{space} has no actions to choose among")
    return ActionReader(space, parts)


def _described(parts: tuple[_Part, ...]) -> str:
    said = []
    for part in parts:
        name = f"'{spelt(part.path)}' " if part.path else ""
        count, first = len(part.sizes), part.sizes[0] if part.sizes else 0
        if part.binned.any():
            several = "a number" if count == 1 else f"{count} numbers"
            each = "" if count == 1 else " each"
            ranges = f"{part.low[0]:g} to {part.low[0] + part.step[0] * first:g}"
            alike = len(set(zip(part.low.tolist(), part.step.tolist(), strict=True))) == 1
            where = f" from {ranges}" if alike else ""
            said.append(f"{name}{several}{where}, cut into {first} bins{each}")
        elif count == 1:
            said.append(f"{name}one of {first}")
        else:
            sizes = "x".join(map(str, part.sizes[:6])) + ("..." if count > 6 else "")
            said.append(f"{name}{count} choices among {sizes}")
    return ", ".join(said)


def _built(space: Space[Any], actions: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """Put the entries of an action together as a Dict or Tuple has them."""
    if isinstance(space, Dict | Tuple):
        items = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        made = {
            key: _built(inner, [(path[1:], x) for path, x in actions if path[0] == key])
            for key, inner in items
        }
        return made if isinstance(space, Dict) else tuple(made.values())
    return actions[0][1]
