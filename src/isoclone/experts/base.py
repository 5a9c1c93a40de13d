"""What an expert is: something that acts in a game, one view at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from isoclone.games import Env, Game, stack_indices


@dataclass
class View:
    """What an expert may look at before it acts, for one episode in progress.

    `env` is the concrete environment (RAM, emulator state, ...); `rng` is the episode's own source
    of chance, so that an episode is the same wherever and with whatever others it is played;
    `memory` is the expert's to keep things in, empty at the episode's start.
    """

    env: Any
    rng: np.random.Generator
    stack: int
    frames: list[np.ndarray] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Agent steps taken so far in this episode."""
        return len(self.frames) - 1

    def observation(self) -> np.ndarray:
        """The last `stack` frames, oldest first, (stack, *frame_shape)."""
        rows = stack_indices(np.array([self.step]), np.array([0]), self.stack)[0]
        return np.stack([self.frames[row] for row in rows])


@runtime_checkable
class Expert(Protocol):
    """Acts in a game. The action it returns is the one recorded, also where the game's sticky
    actions carry out another.

    `lockstep` says how many episodes it likes to play side by side (a network wants a batch, a
    script wants 1); `act` gets that many views, fewer as episodes end.
    """

    @property
    def name(self) -> str:
        """What tables and files call it."""
        ...

    @property
    def lockstep(self) -> int:
        """Episodes it likes to play side by side."""
        ...

    def act(self, views: Sequence[View]) -> Sequence[int]:
        """One action for each view."""
        ...


@dataclass(frozen=True)
class CallableExpert:
    """Any function from an observation (stack, *frame_shape) to an action."""

    function: Callable[[np.ndarray], int]
    name: str = "callable"
    lockstep: int = 1

    def act(self, views: Sequence[View]) -> list[int]:
        """The function's answer for each view in turn."""
        return [int(self.function(view.observation())) for view in views]


@dataclass(frozen=True)
class RandomExpert:
    """Uniformly random actions: the floor every score is read against."""

    n_actions: int
    name: str = "random"
    lockstep: int = 1

    def act(self, views: Sequence[View]) -> list[int]:
        """One uniform draw for each view, from the episode's own source of chance."""
        return [int(view.rng.integers(self.n_actions)) for view in views]


def make_random(game: Game) -> RandomExpert:
    """The uniformly random player of a game."""
    return RandomExpert(game.n_actions)


__all__ = ["CallableExpert", "Env", "Expert", "RandomExpert", "View", "make_random"]
