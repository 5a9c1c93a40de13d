"""Scripted experts by game: Atari's are in `scripts/`, the toy's here; other games bring theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.base.registry import Maker, resolved
from isoclone.experts.base import Expert, View
from isoclone.games import Game


@dataclass(frozen=True)
class ToyCatcher:
    """A player of the toy game that moves towards the ball and errs once in `1 / slip` steps."""

    slip: float = 0.05
    name: str = "scripted"
    lockstep: int = 1

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view."""
        return [self._act(view) for view in views]

    def _act(self, view: View) -> int:
        if view.rng.random() < self.slip:
            return int(view.rng.integers(3))
        row, column = view.env.ball
        gap = landing_column(row, column, view.env.drift) - view.env.paddle
        return 1 + (gap > 0) - (gap < 0)


def landing_column(row: int, column: int, drift: int, size: int = 12) -> int:
    """Return the column where the toy game's ball lands if `drift` does not change."""
    for _ in range(size - 1 - row):
        if not 0 <= column + drift < size:
            drift = -drift
        column += drift
    return column


def scripted(game: Game, variant: str = "", **options: Any) -> Expert:
    """Return the scripted expert of a game; Breakout has two, 'tracker' (the default) and 'ace'.

    A game may bring its own: `scripted_experts() -> {variant: maker}`, the default first.

    Raises:
        UnknownNameError: the game has none, or none of that variant.
        SpecError: an option the expert does not have.
    """
    variants = scripted_variants(game)
    if not variants:
        raise UnknownNameError("game with a scripted expert", game.name, list(SCRIPTED))
    name = variant or next(iter(variants))
    if name not in variants:
        raise UnknownNameError(f"scripted expert of {game.name}", name, list(variants))
    try:
        made: Expert = resolved(variants[name])(**options)
        return made
    except TypeError as error:
        raise SpecError(f"scripted expert of {game.name}: {error}") from error


def scripted_variants(game: Game) -> dict[str, Maker | str]:
    """Return the makers of a game's scripted experts by variant; none for most games.

    A maker may also be the name of one, "package.module:Name".
    """
    own = getattr(game, "scripted_experts", None)
    variants: dict[str, Maker | str] = own() if own else SCRIPTED.get(game.name, {})
    return variants


SCRIPTS = "isoclone.experts.scripts"
# The first variant of a game is its default.
SCRIPTED: dict[str, dict[str, Maker | str]] = {
    "toy": {"catcher": ToyCatcher},
    "atari/Breakout": {
        "tracker": f"{SCRIPTS}.breakout:BreakoutTracker",
        "ace": f"{SCRIPTS}.breakout:BreakoutAce",
    },
    "atari/SpaceInvaders": {"dodger": f"{SCRIPTS}.shooters:SpaceInvaders"},
    "atari/Phoenix": {"dodger": f"{SCRIPTS}.shooters:Phoenix"},
    "atari/NameThisGame": {"diver": f"{SCRIPTS}.shooters:NameThisGame"},
    "atari/Boxing": {"boxer": f"{SCRIPTS}.fighters:Boxing"},
    "atari/BattleZone": {"gunner": f"{SCRIPTS}.fighters:BattleZone"},
    "atari/Qbert": {"hopper": f"{SCRIPTS}.mazes:Qbert"},
    "atari/BankHeist": {"driver": f"{SCRIPTS}.mazes:BankHeist"},
}
