"""Scripted players of games in which one faces an opponent: Boxing, Battle Zone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoclone.experts.base import View
from isoclone.experts.scripts.base import SIDES, Script, ram_of, screen_of, towards, towards_nearest

TANKS = (162, 164, 166, 80)  # colours of what is shot at in Battle Zone
GROUND = slice(92, 130)  # lines of the screen on which it stands
SIGHT = 78.5  # column of the gun's sight


@dataclass(frozen=True)
class Boxing(Script):
    """A player that stands so that a glove is level with the opponent's head, and punches.

    Settings:
        apart: pixels beside the opponent.
        level: pixels above or below, whichever is nearer.
        slack_x, slack_y: pixels by which its place may be off.
        reach_x, reach_y: pixels off its place from which it punches.
        rest: steps between punches; a held one is a single punch.
    """

    apart: int = 10
    level: int = 4
    slack_x: int = 4
    slack_y: int = 0
    reach_x: int = 11
    reach_y: int = 8
    rest: int = 3

    def choose(self, view: View) -> str:
        """Return where to move, and whether to punch."""
        ram = ram_of(view)
        x, y, other_x, other_y = ram[32], ram[34], ram[33], ram[35]
        side = 1 if other_x >= x else -1
        if abs(other_y - y) >= 4 or "over" not in view.memory:
            view.memory["over"] = 1 if other_y >= y else -1
        gap_x = other_x - side * self.apart - x
        gap_y = other_y - view.memory["over"] * self.level - y
        near = abs(gap_x) <= self.reach_x and abs(gap_y) <= self.reach_y
        punch = near and view.step % (self.rest + 1) == 0
        height = ("", "DOWN", "UP")[towards(gap_y, self.slack_y)]
        return height + SIDES[towards(gap_x, self.slack_x)] + "FIRE" * punch


@dataclass(frozen=True)
class BattleZone(Script):
    """A player that turns to the tank nearest to its sight, drives at it and fires.

    Settings:
        tolerance: columns by which the sight may be off.
    """

    tolerance: float = 4.0

    def choose(self, view: View) -> str:
        """Return where to turn or drive; it turns to the right while nobody is in sight."""
        seen = np.isin(screen_of(view)[GROUND], TANKS).any(0)
        columns = np.flatnonzero(seen)
        groups = np.split(columns, np.flatnonzero(np.diff(columns) > 3) + 1)
        places = [float(group.mean()) for group in groups if len(group) > 1]
        if not places:
            return "RIGHT"
        side = towards_nearest([place - SIGHT for place in places], self.tolerance)
        return SIDES[side] or "UP" + "FIRE" * (view.step % 2)
