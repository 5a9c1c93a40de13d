"""Games: the protocol, the built-in ones, and the lookup by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from isoclone.errors import SpecError
from isoclone.games.atari import Atari
from isoclone.games.base import (
    Env,
    FrameSpec,
    Game,
    VectorEnv,
    check_seed,
    close,
    stack_indices,
    vector_env,
)
from isoclone.games.gym import Gym
from isoclone.games.nethack import NetHack
from isoclone.games.toy import Toy
from isoclone.records import shown
from isoclone.registry import Registry

__all__ = [
    "Env",
    "FrameSpec",
    "Game",
    "VectorEnv",
    "check_seed",
    "close",
    "game",
    "game_names",
    "register_game",
    "stack_indices",
    "vector_env",
]

_GAMES = Registry("game")
_GAMES.add("toy", Toy)
_GAMES.add("atari/", Atari.named)
_GAMES.add("gym/", Gym.named)
_GAMES.add("nethack", NetHack.named)
_GAMES.add("nethack/", NetHack.named)


def game(name: str, **options: Any) -> Game:
    """The game of that name: 'toy', 'atari/Breakout', 'nethack', 'gym/CartPole-v1', or a registered
    one.

    Raises:
        UnknownNameError: no such game.
        SpecError: an option the game does not have, or a value it cannot take.
    """
    try:
        made = _GAMES.make(name, **options)
    except TypeError as error:
        raise SpecError(f"game '{name}': {error}") from error
    if type(made.max_steps) is not int or made.max_steps < 1:
        steps = shown(made.max_steps)
        raise SpecError(f"game '{name}': max_steps must be a whole number from 1 on, not {steps}")
    return made


def register_game(name: str, maker: Callable[..., Game]) -> None:
    """Add a game under a name; `maker(**options)` returns it."""
    _GAMES.add(name, maker)


def game_names() -> list[str]:
    """Every name `game` accepts, families spelled out where they can be listed."""
    from isoclone.games.atari import rom_names

    listed = [name for name in _GAMES.names() if not name.endswith("/")]
    families = ["nethack/<NLE id>", "gym/<any Gymnasium id>"]
    return listed + [f"atari/{rom}" for rom in rom_names()] + families
