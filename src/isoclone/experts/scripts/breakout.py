"""Scripted players of Breakout; they aim with an error, since without one all games are alike."""

from __future__ import annotations

from dataclasses import dataclass

from isoclone.experts.base import View
from isoclone.experts.scripts.base import Script

BALL_X, BALL_Y, PADDLE_X = 99, 101, 72  # RAM addresses
LEFT_WALL, RIGHT_WALL, PADDLE_Y = 57, 200, 177  # where the ball turns, in RAM's units
HALF_PADDLE = 8
COAST = 11  # how far the paddle still travels after a step of RIGHT or LEFT


@dataclass(frozen=True)
class BreakoutTracker(Script):
    """A Breakout player that follows the ball with the paddle.

    It stands still while the ball is within `dead_band` of the paddle's middle. Its aim has a
    normal error of `jitter` (both in the console's pixels); without it all games are nearly equal.
    It aims at where the ball will be in `lead` steps at its present speed. With `hold_fire` it
    presses FIRE instead of NOOP while it waits: FIRE does nothing while a ball is in play, and an
    imitator that only waits then also serves the next ball.
    """

    dead_band: float = 12.0
    jitter: float = 1.0
    lead: float = 1.0
    hold_fire: bool = True

    def choose(self, view: View) -> str:
        """Return where to move, from the console's memory."""
        ram = view.env.ale.getRAM()
        x, y = int(ram[BALL_X]), int(ram[BALL_Y])
        last_x, last_y = view.memory.get("ball", (x, 0))
        view.memory["ball"] = x, y
        if y == 0:  # no ball in play
            return "FIRE"
        speed = x - last_x if last_y else 0
        target = between_walls(x + self.lead * speed)
        error = target - int(ram[PADDLE_X]) - HALF_PADDLE + view.rng.normal(0.0, self.jitter)
        if abs(error) <= self.dead_band:
            return "FIRE" * self.hold_fire
        return "RIGHT" if error > 0 else "LEFT"


@dataclass(frozen=True)
class BreakoutAce(Script):
    """A Breakout player that predicts where the ball comes down, better as the ball comes near.

    A step of RIGHT or LEFT moves the paddle by more than its own width, and one step late. So the
    ace adds the travel still to come, and looks `lead` steps ahead, reflections at walls included.
    While the ball is far it tolerates an error of `wide`; as it comes down the tolerance shrinks
    by `slope` for each step nearer, to `tight` at the paddle (all in the console's pixels).
    """

    tight: float = 6.0
    wide: float = 20.0
    slope: float = 1.5
    lead: float = 8.0
    jitter: float = 1.0
    hold_fire: bool = False

    def choose(self, view: View) -> str:
        """Return where to move, from the console's memory."""
        ram, memory = view.env.ale.getRAM(), view.memory
        x, y = int(ram[BALL_X]), int(ram[BALL_Y])
        last_x, last_y = memory.get("ball", (x, 0))
        memory["ball"] = x, y
        if y == 0:  # no ball in play
            memory["heading"] = 0
            return "FIRE"
        across, down = (x - last_x, y - last_y) if last_y else (0, 0)
        left = max(0.0, (PADDLE_Y - y) / down) if down > 0 else float("inf")
        target = between_walls(x + across * min(self.lead, left))
        paddle = int(ram[PADDLE_X]) + HALF_PADDLE + COAST * memory.get("heading", 0)
        error = target - paddle + view.rng.normal(0.0, self.jitter)
        near_enough = abs(error) <= min(self.wide, self.tight + self.slope * left)
        memory["heading"] = 0 if near_enough else 1 if error > 0 else -1
        return ("FIRE" * self.hold_fire, "RIGHT", "LEFT")[memory["heading"]]


def between_walls(x: float) -> float:
    """Return the position of Breakout's ball at `x`, reflected at the side walls.

    >>> between_walls(210.0)
    190.0
    """
    width = RIGHT_WALL - LEFT_WALL
    along = (x - LEFT_WALL) % (2 * width)
    return LEFT_WALL + min(along, 2 * width - along)
