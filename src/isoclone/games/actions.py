"""Actions as indices: one among `n_actions`, or one for each of several factors.

A game with several factors (MultiDiscrete, switches, numbers cut into bins) has
`action_sizes`, how many values each has; `n_actions`, the number of logits that a policy gives, is
their sum. Its actions are int arrays (factors,), those of other games whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isoclone.base.errors import DataError
from isoclone.base.records import shown

LARGEST_INT16 = 32_767


class HasActions(Protocol):
    """What has actions: a game, demonstrations, a trained policy; `action_sizes` if several."""

    @property
    def n_actions(self) -> int: ...


@dataclass(frozen=True)
class EnvAction:
    """An action as the environment takes it, in place of an index.

    Experts may return it in games that have `index_of`; arrays of floats need not be wrapped.
    """

    value: Any


def action_sizes(thing: HasActions) -> tuple[int, ...]:
    """Return how many values each factor of the actions has; `(n_actions,)` for plain ones."""
    return tuple(getattr(thing, "action_sizes", ())) or (thing.n_actions,)


def several(thing: HasActions) -> tuple[int, ...]:
    """Return the sizes of the factors if there are several, else ()."""
    sizes = action_sizes(thing)
    return sizes if len(sizes) > 1 else ()


def action_dtype(sizes: Sequence[int]) -> np.dtype[Any]:
    """Return the dtype in which actions are stored."""
    return np.dtype(np.int16 if max(sizes) <= LARGEST_INT16 + 1 else np.int32)


def action_shape(sizes: Sequence[int], *lead: int) -> tuple[int, ...]:
    """Return the shape of an array of actions: `lead`, and the factors if there are several."""
    return (*lead, len(sizes)) if len(sizes) > 1 else lead


def offsets(sizes: Sequence[int]) -> np.ndarray:
    """Return where each factor's logits begin, (factors,) int64."""
    return np.cumsum(np.array(sizes, np.int64)) - np.array(sizes, np.int64)


def as_logits_rows(actions: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return actions as the numbers of their logits; plain ones are that already."""
    return actions + offsets(sizes) if len(sizes) > 1 else actions


def random_actions(sizes: Sequence[int], rng: np.random.Generator, *lead: int) -> Any:
    """Draw actions, all alike: an int, or an int64 array of `action_shape(sizes, *lead)`."""
    if len(sizes) == 1:
        return rng.integers(sizes[0], size=lead) if lead else int(rng.integers(sizes[0]))
    return rng.integers(np.array(sizes), size=(*lead, len(sizes)))


def one_action(action: Any) -> Any:
    """Return an action of a batch as environments take it: an int, or an array of factors."""
    return int(action) if np.ndim(action) == 0 else action


def chosen(game: HasActions, name: str, action: Any) -> tuple[int | np.ndarray, float | None]:
    """Return the index of what an expert chose, and how far its bins' centres are from it.

    The second is None where nothing was binned.

    Args:
        game: the game.
        name: of the expert, for messages.
        action: an index, or in a game with `index_of` an action as the environment takes it
            (an `EnvAction`, or anything but whole numbers).

    Raises:
        DataError: the game has no such action.
    """
    error = None
    taken = action.value if isinstance(action, EnvAction) else action
    read = getattr(game, "index_of", None)
    is_index = np.asarray(taken).dtype.kind in "iub"
    if read is not None and (taken is not action or not is_index):
        try:
            index = read(taken)
            error = game.action_error(taken)  # type: ignore[attr-defined]
            taken = index
        except DataError as problem:
            raise DataError(f"expert '{name}': {problem}") from problem
    return _checked(game, name, taken), error


def _checked(game: HasActions, name: str, index: Any) -> int | np.ndarray:
    sizes, title = action_sizes(game), getattr(game, "name", "the game")
    if len(sizes) == 1:
        try:
            one = int(index)
        except (TypeError, ValueError) as problem:
            raise DataError(
                f"expert '{name}' chose {shown(index)}; {title} wants a whole number"
            ) from problem
        if not 0 <= one < sizes[0]:
            raise DataError(f"expert '{name}' chose action {one}; {title} has 0 to {sizes[0] - 1}")
        return one
    given = np.asarray(index)
    if given.shape != (len(sizes),) or given.dtype.kind not in "iub":
        raise DataError(
            f"expert '{name}' chose {shown(index)}; {title} wants {len(sizes)} whole numbers, "
            f"each below one of {list(sizes)[:6]}"
        )
    wrong = np.flatnonzero((given < 0) | (given >= np.array(sizes)))
    if len(wrong):
        place = int(wrong[0])
        raise DataError(
            f"expert '{name}' chose {given[place]} as number {place} of its action; {title} has "
            f"0 to {sizes[place] - 1} there"
        )
    return given.astype(np.int64)
