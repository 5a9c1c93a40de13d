"""Games: the protocol, the built-in ones, and the lookup by name."""

from __future__ import annotations

from typing import Any

from isoclone.base.errors import SpecError, exits_fail
from isoclone.base.records import shown
from isoclone.base.registry import is_reference
from isoclone.base.tables import GAMES
from isoclone.games.actions import EnvAction, action_sizes
from isoclone.games.base import (
    Env,
    FrameSpec,
    Game,
    VectorEnv,
    check_seed,
    close,
    is_playable,
    stack_indices,
)
from isoclone.games.checked import make_env, vector_env

__all__ = [
    "GAMES",
    "Env",
    "EnvAction",
    "FrameSpec",
    "Game",
    "VectorEnv",
    "action_sizes",
    "check_seed",
    "close",
    "game",
    "game_names",
    "is_playable",
    "make_env",
    "stack_indices",
    "vector_env",
]

GAMES.add("toy", "isoclone.games.toy:Toy")
GAMES.add("recall", "isoclone.games.recall:Recall.of")
GAMES.add("atari/", "isoclone.games.atari:Atari.named")
GAMES.add("gym/", "isoclone.games.gym:Gym.named")
GAMES.add("data", "isoclone.games.data:Data.named")


def game(name: str, **options: Any) -> Game:
    """Return a game by name: 'toy', 'atari/Breakout', 'gym/CartPole-v1', a registered one.

    A name "package.module:Name" is that of a maker in a trusted module (see `base.registry`).

    Raises:
        UnknownNameError: no such game.
        SpecError: an option the game does not have, or a value it cannot take.
        ExecutionError: making it called sys.exit().
    """
    try:
        with exits_fail(f"game '{name}'"):
            made = GAMES.make(name, **options)
    except TypeError as error:
        raise SpecError(f"game '{name}': {error}") from error
    if type(made.max_steps) is not int or made.max_steps < 1:
        steps = shown(made.max_steps)
        raise SpecError(f"game '{name}': max_steps must be a whole number from 1 on, not {steps}")
    if is_reference(name):  # demonstrations and studies make it again by its name
        object.__setattr__(made, "name", name)
    return made


def game_names() -> list[str]:
    """Return every name that `game` accepts, those of a family one by one where known."""
    from isoclone.games.atari import rom_names

    roms = [f"atari/{rom}" for rom in rom_names()]
    names = [f"{name}<name>" if name.endswith("/") else name for name in GAMES.names()]
    return [name for name in names if name != "atari/<name>"] + roms
