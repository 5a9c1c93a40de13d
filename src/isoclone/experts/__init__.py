"""Experts: the protocol, the built-in ones, and the lookup by name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from isoclone.base.errors import SpecError, exits_fail
from isoclone.base.registry import resolved
from isoclone.base.tables import EXPERTS
from isoclone.base.userfile import found_in_file, is_file_reference, split_reference
from isoclone.experts.base import (
    CallableExpert,
    Expert,
    View,
    asked,
    make_random,
    manner_of,
    notes_of,
)
from isoclone.experts.identity import EXPERT, OWN, identity_of
from isoclone.experts.lookahead import make_lookahead
from isoclone.experts.player import Player, as_expert
from isoclone.experts.score import ExpertScore, score_expert
from isoclone.experts.scripted import scripted
from isoclone.games import Game

AGENT_FILE = "expert.safetensors"  # of a directory of `isoclone expert train`
# What opens a file, by its ending.
FILES = {
    **dict.fromkeys((".pt", ".ts", ".pt2", ".onnx"), "isoclone.experts.network:load_network"),
    ".zip": "isoclone.experts.checkpoint:load_expert",
    ".safetensors": "isoclone.agents.expert:load_agent_expert",
}

__all__ = [
    "EXPERTS",
    "CallableExpert",
    "Expert",
    "ExpertScore",
    "Player",
    "View",
    "asked",
    "expert",
    "expert_names",
    "manner_of",
    "notes_of",
    "score_expert",
    "shaped",
    "train_expert",
]


def _from_hub(rest: str, game: Game, **options: Any) -> Expert:
    from isoclone.experts.hub import from_hub

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
    the path of an SB3 zip, of a directory of `isoclone expert train`, of an agent of isoclone
    (.safetensors), of a file of TorchScript (.pt, .ts) or torch.export (.pt2) (zips, these two and
    the hub's need `trust=True`), of ONNX (.onnx), what a Python file defines as 'players.py:Name',
    a function from an observation (stack, *frame_shape) to an action, or a player with a memory
    (`experts.player.Player`). A class is made first, and what a file defines may be any of these,
    or a class or function that makes one (`maker(game=..., **options)`).

    Raises:
        UnknownNameError: no such expert.
        TrustError: the source is pickled and `trust` was not given.
        SpecError: an option the expert does not have, or a file that cannot be run.
        ExecutionError: making it called sys.exit().
    """
    is_player = hasattr(source, "reset")  # which may have all that an expert has
    if isinstance(source, Expert) and not isinstance(source, type) and not is_player:
        return source
    named = isinstance(source, str | os.PathLike)
    with exits_fail(f"expert '{source if named else getattr(source, '__name__', source)}'"):
        made = _made(source, game, options)
    if named and not isinstance(getattr(made, OWN, None), dict):
        with suppress(AttributeError, TypeError):  # one with slots
            object.__setattr__(made, OWN, identity_of(source, options))
    return made


def _made(source: Any, game: Game, options: dict[str, Any]) -> Expert:
    if isinstance(source, type):
        return shaped(_called(source, source.__name__, game, options), game)
    if not isinstance(source, str | os.PathLike):
        return shaped(source, game)
    if _is_checkpoint(Path(source)):
        return _from_path(Path(source), game, options)
    if isinstance(source, str) and is_file_reference(source):
        return _from_file(source, game, options)
    name = os.fspath(source)
    try:
        return shaped(EXPERTS.make(name, game=game, **options), game)
    except TypeError as error:
        raise SpecError(f"expert '{name}': {error}") from error


def _from_file(reference: str, game: Game, options: dict[str, Any]) -> Expert:
    """Return the expert that 'players.py:Name' names: an object, its maker, or a function."""
    found = found_in_file(reference, EXPERT)
    if isinstance(found, type) or "game" in _parameters(found):
        return shaped(_called(found, reference, game, options), game)
    if options.keys() - {"trust"}:
        raise SpecError(f"expert {reference} takes no options; a maker with `game` could")
    made = shaped(found, game)
    if isinstance(made, CallableExpert):
        return replace(made, name=split_reference(reference)[1] or EXPERT)
    return made


def _called(maker: Callable[..., Any], name: str, game: Game, options: dict[str, Any]) -> Any:
    """Return what a class or a function makes, given the game if it takes one."""
    given = {"game": game, **options} if "game" in _parameters(maker) else options
    try:
        return maker(**given)
    except TypeError as error:
        raise SpecError(f"expert '{name}': {error}") from error


def shaped(source: Any, game: Game) -> Expert:
    """Return a player, an expert or a function as an expert.

    Raises:
        SpecError: it is none of these, or a player that asks for what there is not.
    """
    if hasattr(source, "reset") and hasattr(source, "act"):
        return as_expert(source, game)
    if isinstance(source, Expert):
        return source
    if callable(source):
        return CallableExpert(source)
    raise SpecError(
        f"no expert: {type(source).__name__} is neither a function of an observation nor has "
        "`reset` and `act`, or `name`, `lockstep` and `act`"
    )


def _parameters(found: Any) -> set[str]:
    """Return the names of what a class or function takes; nothing for anything else."""
    if not isinstance(found, type) and not inspect.isroutine(found):
        return set()
    try:
        return set(inspect.signature(found).parameters)
    except (TypeError, ValueError):  # of a library in C
        return set()


def _is_checkpoint(path: Path) -> bool:
    return path.suffix in FILES or (path / "expert.json").is_file()


def _from_path(path: Path, game: Game, options: dict[str, Any]) -> Expert:
    inside = path / AGENT_FILE
    path = inside if inside.is_file() else path
    load = resolved(FILES.get(path.suffix, FILES[".zip"]))
    try:
        made: Expert = load(path, game, **options)
        return made
    except TypeError as error:
        raise SpecError(f"expert {path}: {error}") from error


def train_expert(game: Game, *args: Any, **options: Any) -> dict[str, Any]:
    """Train an expert with stable-baselines3; see `isoclone.experts.ppo.train_expert`."""
    from isoclone.experts.ppo import train_expert as train

    return train(game, *args, **options)


def expert_names() -> list[str]:
    """Return every registered name; a trailing '/' marks a family."""
    return EXPERTS.names()
