"""Scripted players of games in which one shoots upwards and dodges what falls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from isoclone.experts.base import View
from isoclone.experts.scripts.base import (
    SIDES,
    Falling,
    Row,
    Script,
    dodge,
    moved,
    ram_of,
    towards,
    towards_nearest,
)

FAST = 30  # pixels a step: nothing falls faster


@dataclass(frozen=True)
class SpaceInvaders(Script):
    """A player that shoots at the nearest column and leaves the place where a bomb will fall.

    Settings:
        steps: how far ahead it looks for bombs.
        margin: pixels by which a bomb must miss.
        lead: pixels by which it aims ahead of the invaders.
        tolerance: pixels by which the aim may be off.
    """

    steps: int = 7
    margin: int = 1
    lead: float = 5.0
    tolerance: float = 3.0

    def choose(self, view: View) -> str:
        """Return where to move; it always presses FIRE, which works once the last shot is gone."""
        ram = ram_of(view)
        ship, fleet = ram[28] + 2, ram[26]
        heading = moved(view, "fleet", fleet, 8.0)
        if heading:
            view.memory["heading"] = 1 if heading > 0 else -1
        ahead = self.lead * view.memory.get("heading", 0)
        columns = 0
        for line in ram[18:24]:  # a bit for each invader
            columns |= line
        gaps = [fleet + 3 + 16 * j + ahead - ship for j in range(6) if columns >> j & 1]
        wanted = towards_nearest(gaps, self.tolerance)
        row = Row(speed=2, left=37, right=120, top=182, bottom=198, half=4 + self.margin)
        side, _ = dodge(ship, wanted, list(self._bombs(view, ram)), row, self.steps)
        return SIDES[side] + "FIRE"

    def _bombs(self, view: View, ram: list[int]) -> Iterator[Falling]:
        for number in (0, 1):
            y = 2 * ram[81 + number] + 8
            speed = moved(view, f"bomb {number}", y, FAST)
            if speed > 0 and y < 200:
                yield Falling(ram[83 + number] - 2, y, 0.0, speed)


@dataclass(frozen=True)
class Phoenix(Script):
    """A player that shoots at the nearest bird, dodges, and raises its shield when it cannot.

    Settings:
        steps: how far ahead it looks for what falls.
        margin: pixels by which that must miss.
        lead: steps of its flight by which it aims ahead of a bird.
        tolerance: pixels by which the aim may be off.
        shield: steps before a hit at which the shield goes up.
    """

    steps: int = 8
    margin: int = 1
    lead: float = 3.0
    tolerance: float = 3.0
    shield: int = 2

    def choose(self, view: View) -> str:
        """Return where to move; FIRE is pressed at every second step, a held one shoots once."""
        ram = ram_of(view)
        ship, high, falling = ram[94] - 67, list[float](), list(self._bombs(view, ram))
        for key, x, y in self._birds(ram):
            dx, dy = moved(view, f"{key} x", x, 16.0), moved(view, f"{key} y", y, 16.0)
            if y < 160:
                high.append(x + self.lead * dx)
            if y > 150 and dy > 0:
                falling.append(Falling(x, y + 6, dx, dy))
        gaps = [x - ship for x in high]
        wanted = towards_nearest(gaps, self.tolerance)
        row = Row(speed=2, left=8, right=150, top=168, bottom=184, half=4 + self.margin)
        side, hit = dodge(ship, wanted, falling, row, self.steps)
        if hit <= self.shield:
            return "DOWN"
        return SIDES[side] + "FIRE" * (view.step % 2)

    def _bombs(self, view: View, ram: list[int]) -> Iterator[Falling]:
        for number in range(4):
            key = f"bomb {number}"
            if ram[58 + number] >= 250:
                view.memory.pop(key, None)
                continue
            new, y = key not in view.memory, 189 - ram[58 + number]
            speed = moved(view, key, y, FAST)
            if new or speed > 0:
                yield Falling(_bomb_x(ram[80 + number]), y, 0.0, 8.0 if new else speed)

    def _birds(self, ram: list[int]) -> Iterator[tuple[str, int, int]]:
        """Yield a name and the place of each bird; of the mother ship, where her crew shows."""
        if ram[74] >= 4:
            yield "ship", 80, 0
        elif ram[27] & 64:
            for number in range(4):
                for half, alive in ((99, 27), (103, 34)):
                    if ram[alive + number] & 6 != 6:
                        yield f"{half + number}", ram[half + number] - 66, 204 - ram[41 + number]
        else:
            for number in range(7):
                if ram[27 + number] & 15 < 8:
                    yield f"{99 + number}", ram[99 + number] - 61, 201 - ram[41 + number]


def _bomb_x(byte: int) -> int:
    """Return the column of a bomb: fine steps in the high half of the byte, coarse in the low."""
    fine, coarse = byte >> 4, 5 + ((byte & 15) - 3) * 15
    return coarse + (fine ^ 15) + 1 if fine & 8 else coarse - fine


@dataclass(frozen=True)
class NameThisGame(Script):
    """A player that shoots the shark, then the longest tentacle, and takes air from the boat.

    Settings:
        lead: steps of its way by which it aims ahead of the shark.
        tolerance: pixels by which the aim may be off.
        air: eighths of the supply, of 16, below which it goes to the boat's pipe.
    """

    lead: float = 9.0
    tolerance: float = 3.0
    air: int = 10

    def choose(self, view: View) -> str:
        """Return where to move; FIRE while no shot is on its way."""
        ram = ram_of(view)
        side = towards(self._goal(view, ram) - (ram[99] + 7), self.tolerance)
        return SIDES[side] + "FIRE" * (ram[50] == 0)

    def _goal(self, view: View, ram: list[int]) -> float:
        shark = ram[60] + 7
        speed = moved(view, "shark", shark, 16.0)
        if ram[117] and (ram[112].bit_count() + ram[113].bit_count()) < self.air:
            return ram[100] + 6
        row = next((number for number in range(7) if ram[59 - number]), 7)
        if 1 <= row < 7:
            return shark + self.lead * speed
        longest = max(_tentacles(ram), default=None)
        if longest is not None and longest[0] >= 60:
            return -longest[1]
        return shark + self.lead * speed if row < 7 else ram[99] + 7.0


def _tentacles(ram: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (height, -column) of each piece of a tentacle: bits of five blocks of ten bytes."""
    column = 16
    for block in range(5):
        bits = range(4, 8) if block == 2 else range(8) if block in (1, 4) else range(7, -1, -1)
        for line in range(10):
            byte = ram[10 * block + line]
            for place, bit in enumerate(bits):
                if byte >> bit & 1:
                    yield 126 - 7 * line, -(column + 4 * place + 2)
        column += 4 * len(bits)
