"""Read the episodes of others as frames and action numbers; what is unfit is refused, with why."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from isoclone.base.errors import DataError, IsocloneError, SpecError
from isoclone.base.records import shown
from isoclone.demos.episode import Episode, exact
from isoclone.demos.foreign.base import Given
from isoclone.games import FrameSpec, Game, action_sizes
from isoclone.games.actions import LARGEST_INT16, action_dtype
from isoclone.games.described import described, space_of
from isoclone.games.flatten import EXACT
from isoclone.games.spaces import ActionReader, ReadSpaces, action_reader

AT_ONCE = 256  # actions read together
UNKNOWN = "unknown"  # how an episode ended, where the source does not say


class Frames(Protocol):
    """Turns a column of observations into frames."""

    frame: FrameSpec

    def read(self, column: Any, steps: int) -> np.ndarray:
        """Return (steps, *shape) frames, copied."""
        ...


class Actions(Protocol):
    """Turns a column of actions into numbers of actions."""

    def read(self, column: Any) -> np.ndarray:
        """Return (steps,) or (steps, factors) int16 or int32."""
        ...

    def error(self, column: Any) -> float | None:
        """Return the mean distance to the bins' centres; None where nothing is binned."""
        ...

    def notes(self) -> list[str]:
        """Return what is odd about the actions read so far, a line each, for people."""
        ...


class EpisodeReader:
    """Reads episodes for one game: `read` refuses those that are not of its spaces."""

    def __init__(self, frames: Frames, actions: Actions):
        self.frames, self.actions = frames, actions

    def read(self, given: Given) -> tuple[Episode, str]:
        """Return an episode's frames, actions and rewards, and how it ended.

        Rewards are NaN where the source has none; the end is 'terminated', 'truncated' or
        'unknown'.

        Raises:
            DataError: the episode is unfit; the message says at which step and why.
        """
        steps = count(given.actions, "actions")
        if not steps:
            raise DataError("it has no steps")
        seen = count(given.observations, "observations")
        if seen not in (steps, steps + 1):
            raise DataError(
                f"{seen} observations and {steps} actions: an episode has as many of both, or one "
                "observation more (the final one)"
            )
        rewards = _rewards(given.rewards, steps)
        end = _end(given, steps)
        actions = self.actions.read(given.actions)
        frames = self.frames.read(given.observations, steps)
        return Episode(frames, actions, rewards, self.actions.error(given.actions)), end


def count(column: Any, name: str) -> int:
    """Return the number of rows of a column, all its parts alike.

    Raises:
        DataError: it has none, or its parts differ.
    """
    if isinstance(column, dict | tuple):
        parts = column.items() if isinstance(column, dict) else enumerate(column)
        sizes = {str(key): count(part, f"{name}[{key!r}]") for key, part in parts}
        if len(set(sizes.values())) != 1:
            raise DataError(f"{name} has parts of different lengths: {shown(sizes)}")
        return next(iter(sizes.values()))
    try:
        return len(column)
    except TypeError as error:
        raise DataError(f"{name} has no rows: {shown(column)}") from error


def row(column: Any, t: int) -> Any:
    """Return row `t` of a column of any space."""
    if isinstance(column, dict):
        return {key: row(part, t) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(row(part, t) for part in column)
    return column[t]


def array(column: Any, name: str) -> np.ndarray:
    """Return a column as an array of numbers.

    Raises:
        DataError: it is none, or its rows have different shapes.
    """
    try:
        found = np.asarray(column)
    except Exception as error:  # whatever an array of somebody else's says
        raise DataError(f"{name} cannot be read as an array: {said(error)}") from error
    if found.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {found.dtype} of shape {found.shape}, not numbers alone")
    return found


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise DataError, naming the step, if a row of a column has a number that is not finite."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    bad = ~np.isfinite(values).reshape(len(values), -1).all(1)
    first = int(np.flatnonzero(bad)[0])
    raise DataError(
        f"{name} {first} of {len(values)} is not finite ({int(bad.sum())} such in the episode)"
    )


def check_flags(found: np.ndarray, name: str) -> None:
    """Raise DataError unless all values of a column are True, False, 1 or 0.

    A step's type (0 the first, 1 inside, 2 the last) is not whether it is the last.
    """
    if found.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {found.dtype}, not flags")
    odd = np.flatnonzero((found != 0) & (found != 1))
    if len(odd):
        raise DataError(f"{name} holds {found.flat[odd[0]]:g}, and flags are 0 and 1")


def _rewards(column: Any, steps: int) -> np.ndarray:
    if column is None:
        return np.full(steps, np.nan, np.float32)
    rewards = array(column, "rewards")
    if rewards.shape == (steps, 1):
        rewards = rewards[:, 0]
    if rewards.shape != (steps,):
        raise DataError(f"rewards have shape {rewards.shape}, not ({steps},)")
    check_finite(rewards, "reward")
    with np.errstate(over="ignore"):
        total = rewards.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise DataError("its rewards are too large to be summed")
    return exact(rewards)  # type: ignore[arg-type]


def _end(given: Given, steps: int) -> str:
    for name in ("terminated", "truncated"):
        if _flag(getattr(given, name), name, steps):
            return name
    return UNKNOWN


def _flag(flags: Any, name: str, steps: int) -> bool:
    if flags is None:
        return False
    found = array(flags, name)
    check_flags(found, name)
    if found.ndim == 0:
        return bool(found)
    if found.size != steps:
        raise DataError(f"{name} has {found.size} flags for {steps} steps")
    early = np.flatnonzero(found.reshape(-1)[:-1])
    if len(early):
        raise DataError(f"{name} is set at step {early[0]} of {steps}, before the end")
    return bool(found.reshape(-1)[-1])


# ---------------------------------------------------------------------- by a Gymnasium space


class SpaceFrames:
    """Frames of observations of a Gymnasium space, by its reader (`games.spaces`)."""

    def __init__(self, spaces: ReadSpaces):
        self._space, self._reader = spaces.observation_space, spaces.observations
        self._strict, self.frame = spaces.strict, spaces.observations.frame

    def read(self, column: Any, steps: int) -> np.ndarray:
        """Return (steps, *shape) frames, copied.

        Raises:
            DataError: an observation is not of the space; the message names it.
        """
        with suppress(IsocloneError):  # said of the observation that is to blame, below
            if (frames := self._at_once(column, steps)) is not None:
                return frames
        frames = np.empty((steps, *self.frame.shape), self.frame.dtype)
        for t in range(steps):
            try:
                frames[t] = self._reader.read(row(column, t))
            except IsocloneError as error:
                raise DataError(f"observation {t}: {error}") from error
            except Exception as error:  # rows may be anything
                raise DataError(f"observation {t} cannot be read: {said(error)}") from error
        check_finite(frames, "observation")
        return frames

    def _at_once(self, column: Any, steps: int) -> np.ndarray | None:
        """Return the frames of a column of a Box that is sound at first sight; None if not."""
        if not hasattr(self._space, "low") or not isinstance(column, np.ndarray):
            return None
        found = column[:steps]
        if found.shape[1:] != self._space.shape or not _sound(found, self._space, self._strict):
            return None
        if self._reader.picture is None:
            return found.reshape(steps, -1).astype(self.frame.dtype)
        draw, frames = self._reader.picture[2].read, np.empty((steps, *self.frame.shape), "u1")
        if self._reader.parts or self.frame.dtype != "uint8":
            return None
        for t in range(steps):
            frames[t] = draw(found[t])
        return frames


def _sound(found: np.ndarray, box: Any, strict: bool) -> bool:
    """Return whether values are a Box's beyond doubt: finite, whole where it is, not too wide."""
    kind, declared = found.dtype.kind, np.dtype(box.dtype)
    if strict and not ((found >= box.low) & (found <= box.high)).all():
        return False
    if kind == "f":
        fits = declared.kind == "f" and bool(np.isfinite(found).all())
        return fits and (found.dtype.itemsize <= declared.itemsize or _narrow(found))
    if declared.kind == "f":
        return kind in "iub" and _narrow(found)
    if found.dtype == declared and declared == np.uint8 and not box.low.any():
        return bool((box.high == 255).all()) or bool((found <= box.high).all())
    return kind in "iub" and bool(((found >= box.low) & (found <= box.high)).all())


def _narrow(found: np.ndarray) -> bool:
    return bool((np.abs(found) < EXACT).all())


class SpaceActions:
    """Numbers of actions of a Gymnasium space, by its reader (`games.spaces`)."""

    def __init__(self, spaces: ReadSpaces):
        self._space, self._reader = spaces.action_space, spaces.actions
        self._dtype = action_dtype(spaces.actions.sizes)
        self._several: ActionReader | None = None  # of AT_ONCE actions in a row
        with suppress(SpecError):  # a space of several parts: its actions are read one by one
            several = repeated(self._space, AT_ONCE)
            self._several = action_reader(several, spaces.bins, spaces.bounds)

    def read(self, column: Any) -> np.ndarray:
        """Return (steps,) or (steps, factors) int16, or int32 where there are so many.

        Raises:
            DataError: an action is not of the space; the message names it.
        """
        with suppress(IsocloneError):  # said of the action that is to blame, below
            if (parts := self._parts(column)) is not None and self._several is not None:
                found = [np.reshape(self._several.to_index(part), (AT_ONCE, -1)) for part in parts]
                joined = np.concatenate(found)[: len(column)].astype(self._dtype)
                return joined[:, 0] if joined.shape[1] == 1 else joined
        indices = []
        for t in range(count(column, "actions")):
            try:
                indices.append(self._reader.to_index(self._row(column, t)))
            except IsocloneError as error:
                raise DataError(f"action {t}: {error}") from error
            except Exception as error:
                raise DataError(f"action {t} cannot be read: {said(error)}") from error
        return np.array(indices, self._dtype)

    def error(self, column: Any) -> float | None:
        """Return the mean distance between binned numbers and their bins' centres; None without."""
        if not self._reader.is_binned:
            return None
        steps = count(column, "actions")
        if (parts := self._parts(column)) is None or self._several is None:
            rows = [self._row(column, t) for t in range(steps)]
            return float(np.mean([self._reader.error(one) for one in rows]))
        total = AT_ONCE * sum(self._several.error(part) for part in parts)
        added = len(parts) * AT_ONCE - steps  # copies of the last action, see `_parts`
        return (total - added * self._reader.error(self._row(column, steps - 1))) / steps

    def notes(self) -> list[str]:
        """Return nothing: each action is one of the space."""
        return []

    def _parts(self, column: Any) -> list[np.ndarray] | None:
        """Cut a column into parts of AT_ONCE actions; the last is filled up with its last action.

        Returns:
            None if it is no array of actions of the space's shape.
        """
        if not isinstance(column, np.ndarray):
            return None
        if {self._space.shape, column.shape[1:]} == {(), (1,)}:
            column = column[:, 0] if column.ndim > 1 else column[:, None]
        if column.shape[1:] != self._space.shape or column.dtype.kind not in "biuf":
            return None
        full = np.concatenate([column, np.repeat(column[-1:], -len(column) % AT_ONCE, axis=0)])
        return [full[first : first + AT_ONCE] for first in range(0, len(full), AT_ONCE)]

    def _row(self, column: Any, t: int) -> Any:
        """Return action `t`; a number and a list of that number alone are the same."""
        action = row(column, t)
        if self._space.shape == () and isinstance(action, np.ndarray) and action.shape == (1,):
            return action[0]
        if self._space.shape == (1,) and isinstance(action, int | float | np.number | np.bool_):
            return np.array([action])
        return action


def repeated(space: Any, steps: int) -> Any:
    """Return the space of so many actions in a row.

    Raises:
        SpecError: it has several parts.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return spaces.MultiDiscrete([int(space.n)] * steps, start=[int(space.start)] * steps)
    if isinstance(space, spaces.MultiDiscrete):
        sizes, start = (np.stack([x] * steps) for x in (space.nvec, space.start))
        return spaces.MultiDiscrete(sizes, start=start)
    if isinstance(space, spaces.MultiBinary):
        return spaces.MultiBinary((steps, *space.shape))
    if isinstance(space, spaces.Box):
        low, high = (np.stack([edge] * steps) for edge in (space.low, space.high))
        kind: Any = np.dtype(space.dtype).type
        return spaces.Box(low, high, (steps, *space.shape), kind)
    raise SpecError("actions of several parts are read one by one")


# ---------------------------------------------------------------------- by a game's frames


class GameFrames:
    """Frames that are a game's own already."""

    def __init__(self, frame: FrameSpec):
        self.frame = frame

    def read(self, column: Any, steps: int) -> np.ndarray:
        """Return (steps, *shape) frames, copied."""
        frames = array(column, "observations")[:steps]
        if frames.shape[1:] != self.frame.shape:
            raise DataError(f"observations have shape {frames.shape[1:]}, not {self.frame.shape}")
        if frames.dtype != self.frame.dtype and (
            self.frame.is_image or not np.can_cast(frames.dtype, np.float64)
        ):
            raise DataError(f"observations are {frames.dtype}, not {self.frame.dtype}")
        with np.errstate(over="ignore"):
            kept = frames.astype(self.frame.dtype)
        check_finite(kept, "observation")
        return kept


class NumberedActions:
    """Actions that are numbers already; `sizes` None learns how many there are."""

    def __init__(self, sizes: tuple[int, ...] | None):
        self._sizes, self._largest = sizes, np.zeros(0, np.int64)
        self._taken: dict[int, set[int]] = {}  # by factor
        self._one_hot = True  # all actions so far look like that

    @property
    def sizes(self) -> tuple[int, ...]:
        """Choices of each factor: as declared, else one more than the largest seen."""
        return self._sizes or tuple(max(2, int(n) + 1) for n in self._largest)

    def read(self, column: Any) -> np.ndarray:
        """Return (steps,) or (steps, factors) int16."""
        actions = array(column, "actions")
        if actions.dtype.kind == "f":
            raise DataError(f"actions are {actions.dtype}, not choices{bounds_wanted(actions)}")
        if actions.ndim > 1 and actions.shape[1:] == (1,):
            actions = actions[:, 0]
        if actions.ndim > 2:
            raise DataError(f"actions have shape {actions.shape}, not (steps,) or (steps, factors)")
        factors = actions.reshape(len(actions), -1)
        self._check(factors)
        return actions.astype(action_dtype(self._sizes or (2,)))

    def error(self, column: Any) -> float | None:
        """Return None: nothing is binned."""
        return None

    def notes(self) -> list[str]:
        """Return which choices nobody takes, where they were counted by the largest."""
        if self._sizes:
            return []
        if self._one_hot and len(self._largest) > 1:
            count = len(self._largest)
            return [f"each action is a 1 among {count} numbers: if it is one-hot, give its argmax"]
        lines = []
        for factor, size in enumerate(self.sizes):
            unused = size - len(self._taken[factor])
            if unused and size > 2:
                one = (
                    "; if they are counted from 1, subtract 1"
                    if 0 not in self._taken[factor]
                    else ""
                )
                lines.append(f"{unused} of {size} choices (0 to {size - 1}) are never taken{one}")
        return lines

    def _check(self, factors: np.ndarray) -> None:
        sizes = self._sizes
        known = len(sizes) if sizes else len(self._largest) or factors.shape[1]
        if factors.shape[1] != known:
            raise DataError(f"actions have {factors.shape[1]} factors, not {known}")
        if sizes:
            _check_declared(factors, sizes)
            return
        check_countable(factors)
        self._one_hot &= bool((factors.max(1) == 1).all() and (factors.sum(1) == 1).all())
        for factor, column in enumerate(factors.T):
            self._taken.setdefault(factor, set()).update(np.unique(column).tolist())
        seen = factors.max(0)
        self._largest = np.maximum(self._largest, seen) if len(self._largest) else seen


def _check_declared(factors: np.ndarray, sizes: tuple[int, ...]) -> None:
    most = np.array(sizes) - 1
    bad = np.flatnonzero(((factors < 0) | (factors > most)).any(1))
    if len(bad):
        raise DataError(
            f"action {bad[0]} is {shown(factors[bad[0]].tolist())}; there are 0 to "
            f"{shown(most.tolist())}"
        )


def check_countable(factors: np.ndarray) -> None:
    """Refuse choices that cannot be counted from 0; the rest of their source would be biased.

    Raises:
        SpecError: one is below 0, or beyond what is believed unless it is said.
    """
    least, most = int(factors.min()), int(factors.max())
    if least < 0:
        space = json.dumps({"discrete": most - least + 1, "start": least})
        known = f", such as --action-space '{space}'" if factors.shape[1] == 1 else ""
        raise SpecError(
            f"actions begin at {least}, and choices are counted from 0: subtract the smallest from "
            f"all, or say what there are (action_space{known})"
        )
    if most > LARGEST_INT16:
        raise SpecError(
            f"an action is {most}, and choices that are not declared go to {LARGEST_INT16}: say "
            f"how many there are (action_space, --action-space N)"
        )


def bounds_wanted(actions: np.ndarray) -> str:
    """Return what to do about actions that are not whole numbers, or not stored as such."""
    whole = bool(np.isfinite(actions).all()) and not (actions != np.floor(actions)).any()
    choices = "; all are whole numbers here: if they are choices, store them as integers"
    return (
        ": give the bounds of continuous actions (action_space, --action-space=-1:1), or name "
        f"their game{choices if whole else ''}"
    )


# ---------------------------------------------------------------------- spaces that nobody said


def inferred_space(column: Any, name: str) -> Any:
    """Return the space of a column of observations, by their shape and dtype.

    Raises:
        DataError: they are no numbers.
        SpecError: whole numbers, one each: their count has to be said.
    """
    from gymnasium import spaces

    if isinstance(column, dict):
        return spaces.Dict({k: inferred_space(c, f"{name}[{k!r}]") for k, c in column.items()})
    if isinstance(column, tuple):
        return spaces.Tuple([inferred_space(c, f"{name}[{k}]") for k, c in enumerate(column)])
    if isinstance(column, list) and column and isinstance(column[0], dict | tuple):
        return inferred_space(_columns(column, name), name)
    found = array(column, name)
    if found.ndim == 1 and found.dtype.kind in "iu":
        raise SpecError(
            f"{name} are single whole numbers: say how many there are (observation_space, "
            "--observation-space 16), or name their game"
        )
    shape = found.shape[1:] or (1,)
    if found.dtype == bool:
        return spaces.MultiBinary(shape)
    if found.dtype == np.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    kind = np.float64 if found.dtype == np.float64 else np.float32
    return spaces.Box(-np.inf, np.inf, shape, kind)


def _columns(rows: list[Any], name: str) -> Any:
    """Return a list of dicts or tuples as a dict or tuple of columns.

    Raises:
        DataError: they are not all alike.
    """
    first = rows[0]
    keys = list(first) if isinstance(first, dict) else range(len(first))
    for t, one in enumerate(rows):
        if type(one) is not type(first) or len(one) != len(first):
            raise DataError(f"{name} {t} is {shown(one)}, not as the first one, {shown(first)}")
        if isinstance(first, dict) and set(one) != set(first):
            raise DataError(f"{name} {t} has other entries than the first one: {shown(list(one))}")
    columns = [[one[key] for one in rows] for key in keys]
    return dict(zip(keys, columns, strict=True)) if isinstance(first, dict) else tuple(columns)


def spread(space: Any, column: Any) -> Any:
    """Return a Box of one entry, spread over the shape of a column's rows; others as they are.

    So that '-1:1' means every number of an action.
    """
    from gymnasium import spaces

    if not isinstance(space, spaces.Box) or space.shape != (1,):
        return space
    shape = array(column, "actions").shape[1:]
    if shape in ((), (1,)):
        return space
    low, high, kind = float(space.low[0]), float(space.high[0]), np.dtype(space.dtype).type
    return spaces.Box(low, high, shape, kind)  # type: ignore[arg-type]


def json_space(space: Any, what: str) -> dict[str, Any]:
    """Return a space, given as one, as JSON values or as text, as JSON values.

    Raises:
        SpecError: it is none that can be read.
    """
    return described(space_of(space, what) if isinstance(space, str | dict) else space)


def reader_for_game(game: Game) -> EpisodeReader:
    """Return the reader of episodes of a game.

    A game that reads Gymnasium's spaces is given its environment's own observations and actions;
    any other its own frames, and numbers of actions.
    """
    spaces = getattr(game, "spaces", None)
    if spaces is not None:
        return EpisodeReader(SpaceFrames(spaces), SpaceActions(spaces))
    return EpisodeReader(GameFrames(game.frame), NumberedActions(action_sizes(game)))
