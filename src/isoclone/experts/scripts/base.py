"""What scripted players of Atari games share: actions by name, and how to dodge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from isoclone.experts.base import View

RIGHT, STAY, LEFT = 1, 0, -1
SIDES = {STAY: "", RIGHT: "RIGHT", LEFT: "LEFT"}


@dataclass(frozen=True)
class Script:
    """A player that names its action as the joystick does: 'NOOP', 'UPRIGHTFIRE'."""

    name: str = field(default="scripted", kw_only=True)
    lockstep: int = field(default=1, kw_only=True)

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view."""
        return [self._act(view) for view in views]

    def _act(self, view: View) -> int:
        if "numbers" not in view.memory:
            known = view.env.ale.getMinimalActionSet()
            view.memory["numbers"] = {action.name: number for number, action in enumerate(known)}
        number: int = view.memory["numbers"][self.choose(view) or "NOOP"]
        return number

    def choose(self, view: View) -> str:
        """Return the action's name; '' for none."""
        raise NotImplementedError


def ram_of(view: View) -> list[int]:
    """Return the console's memory, 128 bytes."""
    ram: list[int] = view.env.ale.getRAM().tolist()
    return ram


def screen_of(view: View) -> np.ndarray:
    """Return the numbers of the screen's colours (210, 160) uint8."""
    screen: np.ndarray = view.env.ale.getScreen().reshape(210, 160)
    return screen


def moved(view: View, key: str, now: float, most: float) -> float:
    """Return how far something moved since the step before; 0 if by more than `most`: a jump."""
    step = now - view.memory.get(key, now)
    view.memory[key] = now
    return step if abs(step) <= most else 0.0


def towards(gap: float, tolerance: float) -> int:
    """Return the side on which something is, or `STAY` if it is near enough."""
    return STAY if abs(gap) <= tolerance else RIGHT if gap > 0 else LEFT


def towards_nearest(gaps: Sequence[float], tolerance: float) -> int:
    """Return the side of the nearest of several gaps; `STAY` if there is none."""
    return towards(min(gaps, key=abs), tolerance) if gaps else STAY


class Falling(NamedTuple):
    """Something that falls: its place, and how far it moves in a step, in pixels."""

    x: float
    y: float
    dx: float
    dy: float


class Row(NamedTuple):
    """Where a ship moves: its speed in pixels a step, its ends, and the heights at which it is hit.

    It is hit by what is within `half` pixels of its middle.
    """

    speed: int
    left: int
    right: int
    top: int
    bottom: int
    half: int


def dodge(
    x: float, wanted: int, falling: Iterable[Falling], row: Row, steps: int
) -> tuple[int, int]:
    """Return the side to move to, and after how many steps the ship is hit then.

    It is the wanted one if that is safe for so many steps, else the first of staying, right and
    left that is, else the one that is hit last. A ship that is not hit has `steps` + 1.
    """
    best, latest = wanted, -1
    for side in dict.fromkeys((wanted, STAY, RIGHT, LEFT)):
        hit = min((_hit(x, side, each, row, steps) for each in falling), default=steps + 1)
        if hit > latest:
            best, latest = side, hit
        if hit > steps:
            break
    return best, latest


def _hit(x: float, side: int, what: Falling, row: Row, steps: int) -> int:
    """Return after how many steps a ship that keeps moving is hit; steps + 1 if it is not."""
    for k in range(1, steps + 1):
        at = min(max(x + row.speed * side * k, row.left), row.right)
        before, now = what.y + what.dy * (k - 1), what.y + what.dy * k
        if now >= row.top and before <= row.bottom and abs(what.x + what.dx * k - at) <= row.half:
            return k
    return steps + 1
