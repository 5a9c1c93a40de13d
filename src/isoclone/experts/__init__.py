"""Experts: the protocol, the built-in ones, and the lookup by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from isoclone.experts.base import CallableExpert, Expert, View, make_random
from isoclone.experts.scripted import scripted
from isoclone.games import Game
from isoclone.registry import Registry

__all__ = ["CallableExpert", "Expert", "View", "expert", "expert_names", "register_expert"]

_EXPERTS = Registry("expert")
_EXPERTS.add("scripted", scripted)
_EXPERTS.add("random", make_random)


def expert(source: str | Callable[..., Any] | Expert, game: Game, **options: Any) -> Expert:
    """The expert of that name for a game, or a callable wrapped into one.

    `source` is a registered name ('scripted', 'lookahead', 'random', 'sb3/<hub id>'), the path of
    an SB3 zip (needs `trust=True`), or a function from an observation (stack, *frame_shape) to an
    action.

    Raises:
        UnknownNameError: no such expert.
        TrustError: the source is pickled and `trust` was not given.
    """
    if isinstance(source, Expert):
        return source
    if callable(source):
        return CallableExpert(source)
    return _EXPERTS.make(source, game=game, **options)


def expert_names() -> list[str]:
    """Every registered name; a trailing '/' marks a family."""
    return _EXPERTS.names()


def register_expert(name: str, maker: Callable[..., Expert]) -> None:
    """Add an expert under a name; `maker(game=..., **options)` returns it."""
    _EXPERTS.add(name, maker)
