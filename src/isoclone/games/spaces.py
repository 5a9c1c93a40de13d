"""How the spaces of a Gymnasium environment are read: observations as frames, actions as indices.

| observations                        | frame                                                      |
|-------------------------------------|------------------------------------------------------------|
| photograph: uint8 from 0 to 255, a  | grey, 84x84, four in a stack (`frames` 'auto' or 'grey'),  |
| channel or three, channels first or | in colour ('rgb'), or as it is ('raw')                     |
| last, sides of at least 32          |                                                            |
| other pictures: 3 axes, or 2 of     | as they are, channels last: uint8 where whole numbers of 0 |
| bytes or with sides of at least 32  | to 255, else floats; with `frames` 'onehot' a channel of 0 |
|                                     | and 1 for each code                                        |
| other Box                           | a vector of floats                                         |
| Discrete, MultiDiscrete             | one-hot vector                                             |
| MultiBinary                         | vector of 0 and 1                                          |
| Dict, Tuple                         | one vector, in the order of `gymnasium.spaces.flatten`;    |
|                                     | where exactly one entry is a picture it stays one, and each|
|                                     | number of the others becomes a channel of one value        |
| Text, Graph, Sequence, OneOf        | refused                                                    |

Vectors are float32, or float64 where an entry is float64 or has whole numbers beyond 2^24.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium.spaces import Box, Dict, Space, Tuple

from isoclone.base.errors import SpecError
from isoclone.base.records import shown
from isoclone.games.action_spaces import ActionReader, action_reader
from isoclone.games.base import FrameSpec
from isoclone.games.described import described
from isoclone.games.flatten import (
    BoxCheck,
    Flattener,
    count_of,
    entry,
    fits_bytes,
    flattener,
    in_words,
    is_readable,
    is_wide,
    spelt,
    unreadable,
    values_of,
)
from isoclone.games.pictures import PictureReader, is_picture

__all__ = [
    "ActionReader",
    "ObservationReader",
    "ReadSpaces",
    "action_reader",
    "observation_reader",
]

LARGEST = 4_000_000  # numbers in a frame
Path = tuple[Any, ...]


# ---------------------------------------------------------------------- Dict and Tuple


@singledispatch
def _leaves(space: Space[Any], path: Path = ()) -> Iterator[tuple[Path, Space[Any]]]:
    """Yield (path, space) of every entry of a space, itself if it has none."""
    if not is_readable(space):
        named = f"entry '{spelt(path)}': " if path else ""
        raise SpecError(f"{named}{unreadable(space)}")
    yield path, space


@_leaves.register
def _(space: Dict, path: Path = ()) -> Iterator[tuple[Path, Space[Any]]]:
    for key, inner in space.spaces.items():
        yield from _leaves(inner, (*path, key))


@_leaves.register
def _(space: Tuple, path: Path = ()) -> Iterator[tuple[Path, Space[Any]]]:
    for key, inner in enumerate(space.spaces):
        yield from _leaves(inner, (*path, key))


def _all_readable(space: Space[Any]) -> bool:
    try:
        return bool(list(_leaves(space)))
    except SpecError:
        return False


def _chosen(space: Space[Any], entries: Sequence[str]) -> list[tuple[Path, Space[Any]]]:
    """Return the entries that are read: all, or those named, in the space's own order.

    Raises:
        SpecError: there is no entry of a name, or one cannot be read.
    """
    tops: Any = getattr(space, "spaces", ())
    pairs = list(tops.items() if hasattr(tops, "items") else enumerate(tops))
    if not entries:
        try:
            return list(_leaves(space))
        except SpecError as error:
            can = ",".join(str(key) for key, inner in pairs if _all_readable(inner))
            way = f"; the game option entries={can} leaves it out" if can else ""
            raise SpecError(f"{error}{way}") from error
    missing = sorted(set(entries) - {str(key) for key, _ in pairs})
    if missing:
        known = ", ".join(str(key) for key, _ in pairs) or "none"
        raise SpecError(f"entries: the observations have no '{missing[0]}'; they have {known}")
    kept = [(key, inner) for key, inner in pairs if str(key) in entries]
    return [leaf for key, inner in kept for leaf in _leaves(inner, (key,))]


# ---------------------------------------------------------------------- the reader


@dataclass(frozen=True)
class ObservationReader:
    """Reader of a space's observations: `read` makes frames as `frame` says; `described` in words.

    `described` completes the sentence "observations: ...".
    """

    frame: FrameSpec
    described: str
    parts: tuple[tuple[Path, Flattener], ...]  # entries that become numbers
    picture: tuple[Path, BoxCheck, PictureReader] | None = None

    def read(self, observation: Any) -> np.ndarray:
        """Return an observation as a frame of `frame`'s shape and dtype, a copy.

        Raises:
            DataError: the observation is not one of the space; the message says why.
        """
        numbers = [flat(entry("observation", observation, path)) for path, flat in self.parts]
        if self.picture is None:
            return np.concatenate(numbers, dtype=self.frame.dtype, casting="unsafe")
        path, checked, reader = self.picture
        image = reader.read(checked(entry("observation", observation, path)))
        if not numbers:
            return image
        planes = np.concatenate(numbers, dtype=self.frame.dtype, casting="unsafe")
        frame = np.empty(self.frame.shape, self.frame.dtype)
        channels = self.frame.shape[2] - len(planes)
        frame[..., :channels] = image.reshape(*image.shape[:2], channels)
        frame[..., channels:] = planes
        return frame


class ReadSpaces(NamedTuple):
    """Gymnasium's spaces of a game, their readers, and how those were made.

    A game that has them as `spaces` reads play that others recorded.
    """

    observation_space: Space[Any]
    action_space: Space[Any]
    observations: ObservationReader
    actions: ActionReader
    bins: int
    bounds: tuple[float, float] | None = None
    strict: bool = False


def layout(spaces: ReadSpaces) -> dict[str, Any]:
    """Return how observations and actions are read, as plain values, for who reads them elsewhere.

    Each entry of an observation has a range of the frame's last axis, from `first` on, and values
    that are 'grey', 'rgb' or 'raw' pictures, 'onehot', or numbers as they are ('raw').
    """
    reader = spaces.observations
    inner = {path: entry("space", spaces.observation_space, path) for path, _ in reader.parts}
    found = [(path, space, count_of(space), values_of(space)) for path, space in inner.items()]
    if reader.picture is not None:
        path, checked, picture = reader.picture
        channels = picture.shape[2] if len(picture.shape) == 3 else 1
        found.insert(0, (path, checked.space, channels, picture.mode))
    firsts = np.cumsum([0, *(count for _, _, count, _ in found)]).tolist()
    return {
        "observations": reader.described,
        "entries": [
            {"entry": spelt(path), "space": described(space), "first": first, "count": count,
             "values": values}
            for first, (path, space, count, values) in zip(firsts, found, strict=False)
        ],
        "actions": spaces.actions.described,
        "action_space": described(spaces.action_space),
    }  # fmt: skip


def observation_reader(
    space: Space[Any],
    *,
    frames: str = "auto",
    resize: bool | int = True,
    stack: int | None = None,
    entries: Sequence[str] = (),
    strict: bool = False,
) -> ObservationReader:
    """Return the reader of an observation space, as the table of this module says.

    Args:
        space: of a Gymnasium environment.
        frames: 'auto', 'grey', 'rgb', 'raw' or 'onehot': how a picture is shown.
        resize: whether grey and colour pictures become 84x84; a number is another side.
        stack: frames in an observation; unless said 4 for grey and colour pictures, else 1.
        entries: of a Dict or Tuple, those that are read; all unless said.
        strict: refuse floats outside their declared bounds. Several well-known games give such.

    Raises:
        SpecError: the space cannot be read, or not in that way.
    """
    leaves = _chosen(space, entries)
    if not leaves:
        raise SpecError(f"{shown(space)} has nothing to read")
    pictures = [(path, box) for path, box in leaves if is_picture(box)]
    if len(pictures) != 1:
        return _vector_reader(space, leaves, frames, stack, strict)
    path, box = pictures[0][0], cast(Box, pictures[0][1])
    reader = PictureReader.of(box, frames, resize)
    others = [leaf for leaf in leaves if leaf[0] != path]
    shape, dtype, said = reader.shape, reader.dtype, reader.described
    if path:
        said = f"entry '{spelt(path)}' is {said}"
    if others:
        planes = sum(count_of(inner) for _, inner in others)
        shape = (*shape[:2], (shape[2] if len(shape) == 3 else 1) + planes)
        if not (dtype == "uint8" and all(fits_bytes(inner) for _, inner in others)):
            dtype = "float32"
        names = ", ".join(f"'{spelt(p)}'" for p, _ in others)
        said += f"; {names} as {planes} more channels"
    spec = FrameSpec(shape, dtype, stack or reader.stack)
    parts = tuple((p, flattener(inner, strict)) for p, inner in others)
    return ObservationReader(
        spec, _with_stack(spec, said), parts, (path, BoxCheck(box, strict), reader)
    )


def _vector_reader(
    space: Space[Any],
    leaves: list[tuple[Path, Space[Any]]],
    frames: str,
    stack: int | None,
    strict: bool,
) -> ObservationReader:
    if frames not in ("auto", "raw"):
        raise SpecError(f"frames '{frames}' wants one picture in the observations, not {space}")
    dtype = "float64" if any(is_wide(inner) for _, inner in leaves) else "float32"
    size = sum(count_of(inner) for _, inner in leaves)
    if len(leaves) == 1 and not leaves[0][0]:
        said = f"{in_words(leaves[0][1])}, read as a vector of {size}"
    else:
        kinds = ", ".join(f"'{spelt(path)}' {in_words(inner)}" for path, inner in leaves)
        said = f"{kinds}, flattened into a vector of {size}"
    spec = FrameSpec((size,), dtype, stack or 1)
    parts = tuple((path, flattener(inner, strict)) for path, inner in leaves)
    return ObservationReader(spec, _with_stack(spec, said), parts)


def _with_stack(spec: FrameSpec, said: str) -> str:
    """Return the words with the stack; raises SpecError for frames too large to work with."""
    if spec.size * spec.stack > LARGEST:
        raise SpecError(f"{said}: {spec.size:,} numbers in a frame are too many")
    return said if spec.stack == 1 else f"{said}, {spec.stack} in a stack"
