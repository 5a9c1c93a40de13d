"""Scripted experts: Breakout from RAM, and the toy game from its open state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoclone.errors import UnknownNameError
from isoclone.experts.base import Expert, View
from isoclone.games import Game

NOOP, FIRE, RIGHT, LEFT = range(4)  # Breakout's minimal action set
BALL_X, BALL_Y, PADDLE_X = 99, 101, 72  # RAM addresses


@dataclass(frozen=True)
class BreakoutTracker:
    """Follows the ball with the paddle.

    It stands still while the ball is within `dead_band` of the paddle's middle, and errs by a
    normal `jitter` (both in the console's pixels), without which every game is nearly the same.
    """

    dead_band: float = 12.0
    jitter: float = 3.0
    name: str = "scripted"
    lockstep: int = 1

    def act(self, views: Sequence[View]) -> list[int]:
        """One action for each view, from the console's memory."""
        return [self._act(view) for view in views]

    def _act(self, view: View) -> int:
        ram = view.env.ale.getRAM()
        if ram[BALL_Y] == 0:  # no ball in play
            return FIRE
        error = int(ram[BALL_X]) - int(ram[PADDLE_X]) - 8 + view.rng.normal(0.0, self.jitter)
        if abs(error) <= self.dead_band:
            return NOOP
        return RIGHT if error > 0 else LEFT


@dataclass(frozen=True)
class ToyCatcher:
    """Moves towards the ball, and errs once in `1 / slip` steps."""

    slip: float = 0.05
    name: str = "scripted"
    lockstep: int = 1

    def act(self, views: Sequence[View]) -> list[int]:
        """One action for each view."""
        return [self._act(view) for view in views]

    def _act(self, view: View) -> int:
        if view.rng.random() < self.slip:
            return int(view.rng.integers(3))
        gap = landing_column(*view.env.ball, view.env.drift) - view.env.paddle
        return 1 + (gap > 0) - (gap < 0)


def landing_column(row: int, column: int, drift: int, size: int = 12) -> int:
    """Where the toy game's ball lands if the wind holds."""
    for _ in range(size - 1 - row):
        if not 0 <= column + drift < size:
            drift = -drift
        column += drift
    return column


def scripted(game: Game) -> Expert:
    """The scripted expert of a game.

    Raises:
        UnknownNameError: the game has none.
    """
    makers = {"toy": ToyCatcher, "atari/Breakout": BreakoutTracker}
    if game.name not in makers:
        raise UnknownNameError("game with a scripted expert", game.name, list(makers))
    return makers[game.name]()
