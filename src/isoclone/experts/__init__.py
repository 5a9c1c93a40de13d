"""Experts: the protocol, the built-in ones, and the lookup by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isoclone.base.errors import SpecError
from isoclone.base.tables import EXPERTS
from isoclone.experts.base import CallableExpert, Expert, View, make_random
from isoclone.experts.lookahead import make_lookahead
from isoclone.experts.score import ExpertScore, score_expert
from isoclone.experts.scripted import scripted
from isoclone.games import Game

__all__ = [
    "EXPERTS",
    "CallableExpert",
    "Expert",
    "ExpertScore",
    "View",
    "expert",
    "expert_names",
    "score_expert",
    "train_expert",
]


def _from_hub(rest: str, game: Game, **options: Any) -> Expert:
    from isoclone.experts.checkpoint import from_hub

    return from_hub(rest, game, **options)


EXPERTS.add("scripted", scripted)
EXPERTS.add("lookahead", make_lookahead)
EXPERTS.add("random", make_random)
EXPERTS.add("sb3/", _from_hub)


def expert(
    source: str | os.PathLike[str] | Callable[..., Any] | Expert, game: Game, **options: Any
) -> Expert:
    """Return the expert of that name for a game, or a callable wrapped into one.

    `source` is a registered name ('scripted', 'lookahead', 'random', 'sb3/<model on the hub>'),
    the path of an SB3 zip or of a directory of `isoclone expert train` (these and the hub's need
    `trust=True`), or a function from an observation (stack, *frame_shape) to an action.

    Raises:
        UnknownNameError: no such expert.
        TrustError: the source is pickled and `trust` was not given.
        SpecError: an option the expert does not have.
    """
    if isinstance(source, Expert):
        return source
    if isinstance(source, str | os.PathLike) and _is_checkpoint(Path(source)):
        return _from_path(Path(source), game, options)
    if callable(source):
        return CallableExpert(source)
    name = os.fspath(source)
    try:
        return EXPERTS.make(name, game=game, **options)
    except TypeError as error:
        raise SpecError(f"expert '{name}': {error}") from error


def _is_checkpoint(path: Path) -> bool:
    return path.suffix == ".zip" or (path / "expert.json").is_file()


def _from_path(path: Path, game: Game, options: dict[str, Any]) -> Expert:
    from isoclone.experts.checkpoint import load_expert

    try:
        return load_expert(path, game, **options)
    except TypeError as error:
        raise SpecError(f"expert {path}: {error}") from error


def train_expert(game: Game, *args: Any, **options: Any) -> dict[str, Any]:
    """Train an expert with stable-baselines3; see `isoclone.experts.ppo.train_expert`."""
    from isoclone.experts.ppo import train_expert as train

    return train(game, *args, **options)


def expert_names() -> list[str]:
    """Return every registered name; a trailing '/' marks a family."""
    return EXPERTS.names()
