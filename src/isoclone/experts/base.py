"""The protocol of experts, the view of an episode that they get, and the simplest experts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from isoclone.base.errors import ForeignFailure, foreign_fails
from isoclone.games import Env, Game, action_sizes, stack_indices
from isoclone.games.actions import random_actions, several

FIRE = 1  # its index among an Atari game's actions, where it is one of them


@dataclass
class View:
    """One episode in progress, as an expert may read it before it acts.

    `env` is the concrete environment (RAM, emulator state, ...). `rng` is the episode's own random
    generator, so an episode does not depend on the machine or on the episodes played beside it.
    `memory` is for the expert's own use, and empty at the episode's start.
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

    def observation(self, stack: int | None = None) -> np.ndarray:
        """Return the last `stack` frames, oldest first, (stack, *frame_shape).

        `stack` is the game's unless given.
        """
        rows = stack_indices(np.array([self.step]), np.array([0]), stack or self.stack)[0]
        return np.stack([self.frames[row] for row in rows])


def asked(expert: Expert, views: Sequence[View]) -> Sequence[Any]:
    """Ask an expert for one action of each view.

    Raises:
        ForeignFailure: it raised, or called sys.exit().
    """
    with foreign_fails(ForeignFailure, f"expert '{expert.name}'"):
        return expert.act(views)


def must_serve(view: View) -> bool:
    """Return whether an Atari game with FIRE has just begun or just lost a life."""
    ale = getattr(view.env, "ale", None)
    if ale is None or len(view.env.actions) < 2 or view.env.actions[FIRE].name != "FIRE":
        return False
    lives = ale.lives()
    before = view.memory.get("lives")
    view.memory["lives"] = lives
    return before is None or lives < before


@runtime_checkable
class Expert(Protocol):
    """A player of a game.

    The action that `act` returns is the one recorded, also where the game's sticky actions carry
    out another. `lockstep` is the number of episodes to play side by side (a batch for a network,
    1 for a script); `act` gets that many views, and fewer when episodes have ended. An expert that
    keeps a memory of its own is a `Player` (`experts/player.py`).

    An expert may also define:

    | attribute | what for; without it |
    |---|---|
    | `chooses: str` | how actions are chosen, for people, as in "greedy"; not said |
    | `other_way: str` | how to have them chosen otherwise; not said |
    | `notes: tuple[str, ...]` | what is assumed of it, for people, a line each; none |
    | `remembers: bool` | keeps a memory outside the views, so that it cannot be asked twice; |
    |   | False |
    | `recurrent: bool` | acts on what it saw before the present stack of frames, as far as is |
    |   | known; False |
    | `recalled(memory) -> dict` | what of a view's memory follows from what it saw, and not from |
    |   | its own chances, for its entropy; all |
    """

    @property
    def name(self) -> str:
        """Name of the expert in tables and files."""
        ...

    @property
    def lockstep(self) -> int:
        """Number of episodes to play side by side."""
        ...

    def act(self, views: Sequence[View]) -> Sequence[Any]:
        """Return one action for each view: an index, or (factors,) where there are several.

        In a Gymnasium game floats (and dicts and tuples) are taken as the environment takes them,
        and `games.EnvAction(x)` says so of whole numbers.
        """
        ...


def manner_of(player: Any) -> str:
    """Return how an expert, or a score of one, chooses, and the other way; '' if it is not said.

    It is such as "greedy (sampled: --options deterministic=false)".
    """
    chooses, option = getattr(player, "chooses", ""), getattr(player, "other_way", "")
    other = {"greedy": "sampled", "sampled": "greedy"}.get(chooses)
    return f"{chooses} ({other}: --options {option})" if option and other else str(chooses)


def notes_of(expert: Any) -> list[str]:
    """Return what there is to say of an expert, for people, a line each: its manner, its notes."""
    manner = manner_of(expert)
    return [*([f"actions {manner}"] if manner else []), *getattr(expert, "notes", ())]


@dataclass(frozen=True)
class CallableExpert:
    """An expert made of a function from an observation (stack, *frame_shape) to an action.

    In a Gymnasium game the function may return the action as the environment takes it.
    """

    function: Callable[[np.ndarray], Any]
    name: str = "callable"
    lockstep: int = 1

    def act(self, views: Sequence[View]) -> list[Any]:
        """Return the function's action for each view."""
        return [self.function(view.observation()) for view in views]


@dataclass(frozen=True)
class RandomExpert:
    """A uniformly random player: the baseline for every score."""

    n_actions: int
    name: str = "random"
    lockstep: int = 1
    action_sizes: tuple[int, ...] = ()

    def act(self, views: Sequence[View]) -> list[Any]:
        """Return a uniformly random action for each view, drawn from its `rng`."""
        return [random_actions(action_sizes(self), view.rng) for view in views]


def make_random(game: Game) -> RandomExpert:
    """Return the uniformly random player of a game."""
    return RandomExpert(game.n_actions, action_sizes=several(game))


__all__ = [
    "FIRE",
    "CallableExpert",
    "Env",
    "Expert",
    "RandomExpert",
    "View",
    "asked",
    "make_random",
    "manner_of",
    "must_serve",
    "notes_of",
]
