"""What a foreign checkpoint was trained on, as far as its publisher says: notes for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from isoclone.base.errors import CheckpointError
from isoclone.experts.beside import Beside
from isoclone.games import Game

WRAPPER_SKIP, WRAPPER_SIDE = 4, 84  # the defaults of SB3's AtariWrapper


class AtariId(NamedTuple):
    """What Gymnasium's id of an Atari game means."""

    title: str
    skip: str  # emulator frames of a step, '2-4' where it is drawn
    sticky: float


def atari_id(env_id: str) -> AtariId | None:
    """Return what an id of an Atari game means; None if it has another form.

    >>> atari_id("PongNoFrameskip-v4")
    AtariId(title='Pong', skip='1', sticky=0.0)
    >>> atari_id("ALE/Pong-v5")
    AtariId(title='Pong', skip='4', sticky=0.25)
    """
    found = re.fullmatch(
        r"(ALE/)?(\w+?)(?:-ram)?(NoFrameskip|Deterministic)?-v([045])", str(env_id)
    )
    if not found:
        return None
    _, title, kind, version = found.groups()
    if version == "5":
        return AtariId(title, "4", 0.25)
    skips = {"NoFrameskip": "1", "Deterministic": "3" if title == "SpaceInvaders" else "4"}
    return AtariId(title, skips.get(kind, "2-4"), 0.25 if version == "0" else 0.0)


def settings_notes(
    path: Path, beside: Beside, game: Game, own: bool
) -> tuple[tuple[str, ...], bool]:
    """Return notes on the settings of training, and whether FIRE is pressed for the model.

    Raises:
        CheckpointError: the model is of another Atari game.
    """
    if own:
        return (), False
    if not hasattr(game, "rom"):
        return _other_id(beside, game), False
    return _atari_notes(path, beside, game)


def _other_id(beside: Beside, game: Game) -> tuple[str, ...]:
    mine = getattr(game, "env_id", None)
    if beside.env_id is None or mine is None or beside.env_id == mine:
        return ()
    return (f"trained on {beside.env_id}, plays {mine}",)


def _atari_notes(path: Path, beside: Beside, game: Game) -> tuple[tuple[str, ...], bool]:
    known = atari_id(beside.env_id or "")
    mine = game.name.partition("/")[2]
    if known and known.title.lower() != mine.lower():
        raise CheckpointError(f"{path} was trained on {beside.env_id}, not on {game.name}")
    wrapped = not beside.config or "AtariWrapper" in str(beside.config.get("env_wrapper"))
    options = beside.wrapper_options
    skip = _skip(known, int(options.get("frame_skip", WRAPPER_SKIP)) if wrapped else 1)
    sticky = max(known.sticky if known else 0.0, options.get("action_repeat_probability", 0.0))
    side = options.get("screen_size", WRAPPER_SIDE)
    parts = [
        f"frame skip {skip}",
        f"sticky actions {sticky:g}",
        f"{side}x{side} grey",
        f"rewards {'clipped' if options.get('clip_reward', wrapped) else 'as they are'}",
        f"FIRE {'pressed for it' if wrapped else 'not pressed for it'}",
    ]
    if beside.frame_stack:
        parts.insert(3, f"{beside.frame_stack} frames stacked")
    words = ", ".join(parts)
    origin = f"trained on {beside.env_id}" if known else "assumed, since no args.yml is beside it"
    here = _differences(game, skip, sticky)
    return (f"{origin}: {words}{here}",), wrapped


def _skip(known: AtariId | None, wrapper: int) -> str:
    own = known.skip if known else "1"
    return str(int(own) * wrapper) if own.isdigit() else f"{own} x {wrapper}"


def _differences(game: Any, skip: str, sticky: float) -> str:
    """Return how the game is played here where that is otherwise, with the option that says it."""
    found = []
    here_skip, here_sticky = getattr(game, "frame_skip", 4), getattr(game, "sticky", 0.25)
    if str(here_skip) != skip:
        found.append(f"frame skip {here_skip}")
    if float(here_sticky) != sticky:
        found.append(f"sticky actions {here_sticky:g} (--game-options sticky={sticky:g})")
    return f"; here {', '.join(found)}" if found else ""
