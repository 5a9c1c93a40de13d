"""A scripted NetHack player that explores, fights, eats, prays, searches and goes down.

It reads what the challenge shows (map glyphs, bottom lines, message, inventory) and no hidden
state of the game. It is much weaker than AutoAscend, but with it a study of NetHack needs no data
and no other software; docs/nethack.md gives its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isoclone.experts.base import View
from isoclone.nethack.experts.map import (
    BLANK,
    BOULDER,
    CELLS,
    DOOR,
    DOWN,
    ENGULFER,
    FLOOR,
    FRAME,
    GOLD,
    KEYS,
    MONSTER,
    OFFSETS,
    SOLID,
    TRAP,
    UNSEEN,
    WALKABLE,
    WIDTH,
    Level,
    beside,
    dead_ends,
    edible_bodies,
    glyph_kinds,
    padded,
    way,
)
from isoclone.nethack.game import key_actions

ESC, RETURN, KICK, PRAY = "\x1b", "\r", "\x04", chr(0x80 | ord("p"))
# Positions in `blstats`.
X, Y, HP, MAX_HP, LEVEL, TURN, HUNGER, DUNGEON, DLEVEL, DEPTH = 0, 1, 10, 11, 18, 20, 21, 23, 24, 12
SATIATED, HUNGRY, WEAK = 0, 2, 3
FOOD_CLASS = 7
MINES = 2  # the number of the dungeon that contains Minetown
MOST_KICKS = 30  # at one door
OBJECTS = 1906  # the glyph of object number 0
CORPSES_AND_TINS = {240, 271}  # object numbers of food that is stale or slow to eat
FOES = (MONSTER, UNSEEN, ENGULFER)


@dataclass(frozen=True)
class NetHackBot:
    """The scripted player, with settings chosen by the mean score of whole games.

    It stays on a level until that is explored, and goes below dungeon level `level - boldness`
    only at experience level `level` or after `patience` turns on one level. It rests below the
    share `rest` of its hit points, and prays below 1/7, at most once in `prayer_gap` turns.
    """

    boldness: int = 1
    patience: int = 2_000
    rest: float = 0.6
    prayer_gap: int = 800
    name: str = "scripted"
    lockstep: int = 1
    remembers: ClassVar[bool] = True  # its map is bound to the game
    recurrent: ClassVar[bool] = True

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view."""
        return [self._act(view) for view in views]

    def _act(self, view: View) -> int:
        if "player" not in view.memory:
            view.memory["player"] = Player(self, view.env.observation, view.rng)
        return key_actions()[ord(view.memory["player"].key())]


class Player:
    """The player of one game, with its memory of that game."""

    def __init__(self, settings: NetHackBot, seen: dict[str, np.ndarray], rng: np.random.Generator):
        self._settings, self._seen, self._rng = settings, seen, rng
        self._levels: dict[tuple[int, int], Level] = {}
        self._answers: list[str] = []  # to the questions that follow
        self._keys: list[str] = []  # the rest of a command that asks no questions
        self._path: list[int] = []
        self._tried: int | None = None  # the cell of the last step
        self._fought = 0  # the glyph last attacked
        self._last_prayer = -700  # the first prayer is safe after some 300 turns
        self._here = self._turn = 0
        self._still = 0  # keys since the turn counter last moved
        self._no_food_until = 0
        self._struck = -1  # the cell last attacked
        self._meal = -1, 0  # where a fresh corpse lies, and until when it is fresh

    def key(self) -> str:
        """Return the next key to press."""
        in_question, in_text, more = self._seen["misc"]
        if more:
            return RETURN
        if in_text:
            return ESC
        if in_question:
            return self._answer()
        self._answers.clear()
        if self._keys:
            return self._keys.pop(0)
        self._look()
        if self._still > 40:  # no key has had any effect
            self._still, self._path = 0, []
            return self._stagger()
        return self._survive() or self._fight() or self._rest() or self._advance()

    def _message(self) -> str:
        return self._seen["message"].tobytes().partition(b"\0")[0].decode("latin-1")

    def _answer(self) -> str:
        """Answer a question as planned, or escape from it."""
        message = self._message()
        if "Really attack" in message:
            self._level.peaceful_until[self._fought] = self._turn + 300
            self._answers.clear()
        if "here; eat" in message:  # a corpse that lay there before may be old
            return "y" if self._meal[0] == self._here else "n"
        return self._answers.pop(0) if self._answers else ESC

    def _look(self) -> None:
        """Read the screen into the memory of the game."""
        stats = self._seen["blstats"]
        cell = (int(stats[Y]) + 1) * WIDTH + int(stats[X]) + 1
        turn = int(stats[TURN])
        self._still = 0 if turn != self._turn else self._still + 1
        place = (int(stats[DUNGEON]), int(stats[DLEVEL]))
        if place not in self._levels:
            self._levels[place] = Level(since=turn)
        if self._levels[place] is not getattr(self, "_level", None):
            self._path, self._tried, self._struck, self._meal = [], None, -1, (-1, 0)
        self._level, self._turn, self._stats = self._levels[place], turn, stats
        kinds, floor = padded(glyph_kinds()[self._seen["glyphs"]]), self._level.floor
        kinds[cell] = floor[cell] or FLOOR  # the hero hides what is below
        kinds[(floor == DOWN) & (kinds == FLOOR)] = DOWN  # so do objects on stairs
        np.copyto(floor, kinds, where=kinds < MONSTER)
        self._kinds = kinds
        self._notice_refusal(cell)
        self._here = cell
        self._level.stood[cell] = True
        self._notice_meal()

    def _notice_meal(self) -> None:
        """Remember a corpse where the bot struck last: it is fresh."""
        if self._struck >= 0 and self._kinds[self._struck] == FLOOR:
            if edible_bodies().get(self._glyph(self._struck)) == self._fought:
                self._meal = self._struck, self._turn + 30
            self._struck = -1

    def _notice_refusal(self, cell: int) -> None:
        """Bar a cell for some turns if steps on it failed."""
        tried, self._tried = self._tried, None
        if tried is None or cell == tried:
            return
        if cell != self._here:  # the hero moved, but to another cell
            return
        level, message = self._level, self._message()
        if "locked" in message and self._kinds[tried] == DOOR:
            level.kicks.setdefault(tried, 0)
            return
        level.refusals[tried] = level.refusals.get(tried, 0) + 1
        patience = 1 if "in vain" in message or "solid" in message else 4
        if level.refusals[tried] >= patience:
            level.refusals[tried] = 0
            level.barred_until[tried] = self._turn + 200
        self._path = []

    # Staying alive

    def _survive(self) -> str:
        hp, most = int(self._stats[HP]), int(self._stats[MAX_HP])
        hunger = int(self._stats[HUNGER])
        dying = hp < 6 or hp * 7 < most
        may_pray = self._turn - self._last_prayer > self._settings.prayer_gap
        if may_pray and (dying or hunger >= WEAK):
            self._last_prayer = self._turn
            self._answers = ["y"]
            return PRAY
        if hunger >= HUNGRY and self._turn >= self._no_food_until and not self._hostiles():
            return self._eat()
        return ""

    def _eat(self) -> str:
        letters, classes = self._seen["inv_letters"], self._seen["inv_oclasses"]
        for slot in np.flatnonzero(classes == FOOD_CLASS):
            kind = int(self._seen["inv_glyphs"][slot]) - OBJECTS
            if letters[slot] and kind not in CORPSES_AND_TINS:
                self._answers = [chr(letters[slot])]
                return "e"
        self._no_food_until = self._turn + 200
        return ""

    def _rest(self) -> str:
        """Search in place while weak and alone, to pass time."""
        if self._stats[HP] >= self._settings.rest * self._stats[MAX_HP] or self._in_sight():
            return ""
        if self._stats[HUNGER] >= WEAK:
            return ""
        return self._search()

    def _search(self) -> str:
        self._level.searched[[self._here, *(self._here + offset for offset in OFFSETS)]] += 1
        self._keys = ["5", "s"]
        return "1"

    # Fighting

    def _hostiles(self) -> list[int]:
        """Return the neighbouring cells that hold a foe."""
        kinds, here = self._kinds, self._here
        around = [here + offset for offset in OFFSETS]
        return [cell for cell in around if kinds[cell] in FOES and not self._is_peaceful(cell)]

    def _glyph(self, cell: int) -> int:
        row, column = divmod(cell, WIDTH)
        return int(self._seen["glyphs"][row - 1, column - 1])

    def _is_peaceful(self, cell: int) -> bool:
        until = self._level.peaceful_until
        return bool(until) and until.get(self._glyph(cell), 0) > self._turn

    def _fight(self) -> str:
        foes = self._hostiles()
        if not foes:
            return ""
        foe = foes[int(self._rng.integers(len(foes)))] if len(foes) > 1 else foes[0]
        self._fought, self._struck = self._glyph(foe), foe
        self._path = []
        step = KEYS[foe - self._here]
        if self._kinds[foe] == UNSEEN:
            self._keys = [step]
            return "F"
        return step

    def _in_sight(self) -> list[int]:
        found = np.flatnonzero(self._kinds == MONSTER)
        return [cell for cell in found.tolist() if not self._is_peaceful(cell)]

    # Getting about

    def _advance(self) -> str:
        """Go on along the path, or try the plans in turn and follow the first that is possible."""
        path = self._path
        on_it = path and path[0] - self._here in KEYS and self._is_open(path[0])
        if on_it and not self._in_sight():
            return self._step(path.pop(0))
        self._path = []
        for plan in (self._hunt, self._dine, self._explore, self._descend, self._force, self._seek):
            key = plan()
            if key:
                return key
        return self._search()

    def _is_open(self, cell: int) -> bool:
        return bool(self._kinds[cell] in WALKABLE)

    def _maps(self, extra: tuple[int, ...] = ()) -> tuple[bytes, bytes]:
        """Return the cells one can walk on, and those one cannot enter or leave diagonally."""
        walkable = np.isin(self._kinds, (*WALKABLE, *extra))
        walkable[self._barred()] = False
        return walkable.tobytes(), np.isin(self._kinds, (FRAME, DOOR)).tobytes()

    def _barred(self) -> list[int]:
        """Return the cells that are barred now."""
        return [cell for cell, until in self._level.barred_until.items() if until > self._turn]

    def _go(self, goals: np.ndarray, extra: tuple[int, ...] = (), reach: int = CELLS) -> str:
        """Set out for the nearest of the goal cells, if it is within reach."""
        goals[self._barred()] = False
        goals[self._here] = False
        if not goals.any():
            return ""
        path = way(self._here, *self._maps(extra), goals.tobytes().__getitem__)
        if not path or len(path) > reach:
            return ""
        self._path = path[1:]
        return self._step(path[0])

    def _step(self, cell: int) -> str:
        self._tried = cell
        return KEYS[cell - self._here]

    def _hunt(self) -> str:
        foes = self._in_sight()
        if not foes or self._stats[HP] < self._settings.rest * self._stats[MAX_HP]:
            return ""
        goals = np.zeros(CELLS, bool)
        goals[foes] = True
        self._fought = self._glyph(foes[0])
        key = self._go(goals, reach=8)
        self._path = []
        return key

    def _dine(self) -> str:
        """Eat the monster just killed, unless satiated."""
        cell, until = self._meal
        if self._turn > until or self._stats[HUNGER] == SATIATED:
            return ""
        if cell == self._here:
            self._meal = cell, self._turn  # eat once, and once more if interrupted
            return "e"
        goals = np.zeros(CELLS, bool)
        goals[cell] = True
        return self._go(goals, reach=8)

    def _explore(self) -> str:
        kinds, level = self._kinds, self._level
        goals = self._frontier() | (kinds == GOLD)
        goals |= (kinds == DOOR) & ~self._given_up()
        key = self._go(goals)
        if self._tried in level.kicks and key and self._kinds[self._tried] == DOOR:
            return self._kick(self._tried)
        return key

    def _frontier(self) -> np.ndarray:
        """Return the cells not stood on that are next to unseen ones, (CELLS,) bool."""
        kinds = self._kinds
        feet = (kinds == FLOOR) | (kinds == FRAME)
        return feet & ~self._level.stood & beside(kinds == BLANK)

    def _given_up(self) -> np.ndarray:
        most = 0 if self._stats[DUNGEON] == MINES else MOST_KICKS  # the watch guards its doors
        doors = np.zeros(CELLS, bool)
        doors[[cell for cell, kicks in self._level.kicks.items() if kicks >= most]] = True
        return doors

    def _kick(self, door: int) -> str:
        self._level.kicks[door] += 1
        self._answers = [KEYS[door - self._here]]
        self._tried, self._path = None, []
        return KICK

    def _descend(self) -> str:
        level, stats = self._level, self._stats
        bold = stats[LEVEL] + self._settings.boldness >= stats[DEPTH] + 1
        if not bold and self._turn - level.since < self._settings.patience:
            return ""
        if self._kinds[self._here] == DOWN:
            return ">"
        return self._go(self._kinds == DOWN)

    def _force(self) -> str:
        """Explore over boulders and traps, when nothing else is left."""
        goals = self._frontier() | ((self._kinds == BOULDER) & ~self._level.stood)
        return self._go(goals, extra=(BOULDER, TRAP))

    def _seek(self) -> str:
        """Search for hidden doors and passages: at dead ends first, then along walls."""
        open_ = np.isin(self._kinds, WALKABLE)
        ends = dead_ends(open_)
        walls = open_ & beside(self._kinds == SOLID)
        searched = self._level.searched
        for places, enough in ((ends, 2), (walls, 1), (ends, 5), (walls, 3)):
            goals = places & (searched < enough)
            if goals[self._here]:
                return self._search()
            key = self._go(goals)
            if key:
                return key
        searched[:] = 0
        self._level.barred_until.clear()
        self._level.kicks.clear()
        return ""

    def _stagger(self) -> str:
        return list(KEYS.values())[int(self._rng.integers(8))]
