"""An episode of somebody else's demonstrations, and what a reader of a format returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Given(NamedTuple):
    """One episode of T steps.

    `observations` has T rows, or T + 1 with the final observation, which is not imitated; a space
    of several parts is a dict or tuple of such columns, or a list of T observations. `actions` has
    T rows, `rewards` T numbers, or is None. `terminated` and `truncated` are one flag each, or T
    flags, or None where the source does not say.
    """

    observations: Any
    actions: Any
    rewards: Any = None
    terminated: Any = None
    truncated: Any = None


class Unfit(NamedTuple):
    """An episode that a reader cannot read, in the place of a `Given`: its name, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Foreign:
    """What a reader of a format found at a place.

    Attributes:
        episodes: returns the episodes from the first one on, each time it is called.
        name: the source, for people; not the path to it.
        observation_space: a Gymnasium space, or None where the source does not say.
        action_space: likewise.
        expert: who played, where the source says.
        recorded_in: the Gymnasium id that the source names.
        total: number of episodes, where known before all are read.
        notes: sentences about how the source was understood.
    """

    episodes: Callable[[], Iterable[Given | Unfit]]
    name: str
    observation_space: Any = None
    action_space: Any = None
    expert: str | None = None
    recorded_in: str | None = None
    total: int | None = None
    notes: tuple[str, ...] = ()
