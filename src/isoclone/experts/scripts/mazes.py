"""Scripted players of games in which one finds a way: Q*bert, Bank Heist."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from isoclone.experts.base import View
from isoclone.experts.scripts.base import Script, ram_of, screen_of

Place = tuple[int, int]  # row and column
Near = Callable[[Place], Iterable[tuple[str, Place]]]  # the places next to one, by action


def way(start: Place, goals: Collection[Place], near: Near, shut: Collection[Place]) -> str:
    """Return the first action on the shortest way to a goal; '' if there is none.

    Args:
        near: the places next to one, by action.
        shut: places that the way must not go through.
    """
    first, queue = {start: ""}, [start]
    for place in queue:
        if place in goals and place != start:
            return first[place]
        for action, after in near(place):
            if after not in first and after not in shut:
                first[after] = first[place] or action
                queue.append(after)
    return ""


def farthest(start: Place, near: Near, foes: Collection[Place]) -> str:
    """Return the action after which the nearest foe is farthest away; '' if nothing can be done."""
    best, most = "", -1
    for action, after in near(start):
        gap = min((abs(after[0] - foe[0]) + abs(after[1] - foe[1]) for foe in foes), default=99)
        if gap > most:
            best, most = action, gap
    return best


# ---------------------------------------------------------------------- Q*bert

ROWS = 6
CUBES = [(row, column) for row in range(ROWS) for column in range(row + 1)]
COLOURS = [  # addresses of the cubes' colours
    21, 52, 54, 83, 85, 87, 98, 100, 102, 104, 1, 3, 5, 7, 9, 32, 34, 36, 38, 40, 42
]  # fmt: skip
LEFT_ENDS = dict(zip(CUBES, (  # columns of the screen at which the cubes begin
    68, 56, 84, 44, 68, 96, 32, 56, 84, 108, 20, 44, 68, 96, 120, 8, 32, 56, 84, 108, 132
), strict=True))  # fmt: skip
TOP, HIGH = 34, 29  # line of the first cube's top, lines from one row to the next
HOPS = {"DOWN": (1, 0), "RIGHT": (1, 1), "UP": (-1, 0), "LEFT": (-1, -1)}
SNAKE, BALLS = 102, (44, 46, 48, 74, 76)  # colours: the snake hunts, balls only come down
CLOSE = 2  # hops: a snake so near is fled from if there is no way


def hops(cube: Place) -> Iterator[tuple[str, Place]]:
    """Yield the cubes next to one, by action."""
    for action, (down, right) in HOPS.items():
        row, column = cube[0] + down, cube[1] + right
        if 0 <= row < ROWS and 0 <= column <= row:
            yield action, (row, column)


@dataclass(frozen=True)
class Qbert(Script):
    """A player that hops to the nearest cube that still has the colour to be changed.

    It goes round the snake, and the cubes below balls; while there is no way it waits, or flees.
    """

    def choose(self, view: View) -> str:
        """Return where to hop; nothing while in the air."""
        ram = ram_of(view)
        place = ram[43], ram[67]
        stands = view.memory.get("place") == place
        view.memory["place"] = place
        row, off = divmod(place[1] - 25, 28)
        if off or not stands or not 0 <= row < ROWS:
            return ""
        here = self._cube(row, place[0] - 9)
        foes = list(_foes(screen_of(view)))
        shut = {cube for cube, _ in foes}
        for cube, hunts in foes:
            shut |= {after for _, after in hops(cube) if hunts or after[0] > cube[0]}
        action = way(here, self._goals(view, ram), hops, shut)
        near = any(_apart(here, cube) <= (CLOSE if hunts else 1) for cube, hunts in foes)
        return action or (farthest(here, hops, [cube for cube, _ in foes]) if near else "")

    def _cube(self, row: int, left: float) -> Place:
        return min(
            (cube for cube in CUBES if cube[0] == row),
            key=lambda cube: abs(LEFT_ENDS[cube] - left),
        )

    def _goals(self, view: View, ram: list[int]) -> list[Place]:
        """Return the cubes of the first colour of this round; then, if none is left, of the next.

        Rounds differ in how often a cube must be changed, and the colours tell only in their order.
        """
        colours = [ram[address] for address in COLOURS]
        known = view.memory.setdefault("colours", [])
        if len(set(colours)) == 1 and known[:1] != colours[:1]:  # a round begins
            known[:] = colours[:1]
        known += [colour for colour in dict.fromkeys(colours) if colour not in known]
        for colour in known[:2]:
            if colour in colours:
                pairs = zip(CUBES, colours, strict=True)
                return [cube for cube, its in pairs if its == colour]
        return []


def _apart(one: Place, other: Place) -> int:
    """Return the number of hops between two cubes."""
    down, right = other[0] - one[0], other[1] - one[1]
    return max(abs(down), abs(right), abs(down - right))


def _foes(screen: np.ndarray) -> Iterator[tuple[Place, bool]]:
    """Yield the cube of each foe, and whether it hunts."""
    for colour in (SNAKE, *BALLS):
        mask = screen[30:200] == colour
        if not mask.any():
            continue
        for columns in _runs(np.flatnonzero(mask.any(0)), 3):
            lines = np.flatnonzero(mask[:, columns[0] : columns[-1] + 1].any(1)) + 30
            for own in _runs(lines, 6):
                if len(own) > 2:
                    yield _nearest(float(columns.mean()), int(own[-1])), colour == SNAKE


def _nearest(middle: float, bottom: int) -> Place:
    """Return the cube on which something stands."""
    return min(
        CUBES,
        key=lambda cube: (
            abs(LEFT_ENDS[cube] + 10 - middle) + abs(TOP + HIGH * cube[0] + 1 - bottom)
        ),
    )


def _runs(values: np.ndarray, gap: int) -> list[np.ndarray]:
    """Split ascending numbers where two are farther apart than `gap`."""
    return np.split(values, np.flatnonzero(np.diff(values) > gap) + 1)


# ---------------------------------------------------------------------- Bank Heist

LINE, COLUMN = 8, 4  # pixels of a place; a car is two columns wide
ORIGIN = 37, 12  # line and column of the city's corner
BANK, POLICE = 253, 254
TURNS = {"DOWN": (1, 0), "RIGHT": (0, 1), "UP": (-1, 0), "LEFT": (0, -1)}


@dataclass(frozen=True)
class BankHeist(Script):
    """A player that drives to the nearest bank, round the police, and leaves before its fuel ends.

    Settings:
        avoid: places around a police car that it does not enter.
        fuel: of 25, what is used up before it leaves for the next city, where the tank is filled.
    """

    avoid: int = 2
    fuel: int = 23

    def choose(self, view: View) -> str:
        """Return where to drive."""
        ram, screen = ram_of(view), screen_of(view)
        half = screen[ORIGIN[0] + 4 : 178 : LINE, ORIGIN[1] + 2 : 148 : COLUMN] != screen[37, 80]
        free = half[:, :-1] & half[:, 1:]
        x, y = ram[28] - ORIGIN[1], ram[8]
        last = free.shape[1] - 1
        here = _place(y, x, free)
        banks = {_place(ram[9 + n], ram[29 + n] - 12, free) for n in _cars(ram, BANK)}
        police = [_place(ram[9 + n], ram[29 + n] - 12, free) for n in _cars(ram, POLICE)]
        leaves = ram[86] >= self.fuel or not banks
        goals = {(row, last) for row in np.flatnonzero(free[:, last]).tolist()} if leaves else banks
        if leaves and here in goals:
            return "RIGHT"

        def near(place: Place) -> Iterator[tuple[str, Place]]:
            for action, (down, right) in TURNS.items():
                row, column = place[0] + down, place[1] + right
                inside = 0 <= row < free.shape[0] and 0 <= column <= last and free[row, column]
                if inside and (0 < column < last or (row, column) in goals):
                    yield action, (row, column)

        action = way(here, goals, near, self._shut(here, police))
        if not action:
            return farthest(here, near, police)
        return _aligned(action, x - COLUMN * here[1], y - LINE * here[0])

    def _shut(self, here: Place, police: Iterable[Place]) -> set[Place]:
        """Return the places around police cars, but not the one where the player is."""
        around = range(-self.avoid, self.avoid + 1)
        return {
            (row + down, column + right)
            for row, column in police
            for down in around
            for right in range(-2 * self.avoid, 2 * self.avoid + 1)
            if abs(down) + abs(right) / 2 <= self.avoid
        } - {here}


def _cars(ram: list[int], kind: int) -> list[int]:
    """Return the numbers of the three things in the city that are of a kind."""
    return [number for number in range(3) if ram[9 + number] and ram[24 + number] == kind]


def _place(y: float, x: float, free: np.ndarray) -> Place:
    row = min(max(round(y / LINE), 0), free.shape[0] - 1)
    return row, min(max(round(x / COLUMN), 0), free.shape[1] - 1)


def _aligned(action: str, right: int, down: int) -> str:
    """Return the action, or the one that brings the car into the lane that it needs."""
    if action in ("LEFT", "RIGHT") and abs(down) > 1:
        return "UP" if down > 0 else "DOWN"
    if action in ("UP", "DOWN") and abs(right) > 1:
        return "LEFT" if right > 0 else "RIGHT"
    return action
