"""Maps of levels for the scripted NetHack player: cells, their kinds, and paths between them.

Cells are numbered row by row on the 21 x 79 map with a border of one, so that a neighbour is a
fixed offset away and no walkable cell lies at an edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

MAP_ROWS, MAP_COLUMNS = 21, 79
WIDTH = MAP_COLUMNS + 2
CELLS = (MAP_ROWS + 2) * WIDTH
# Offset of each step and its key; the first four are straight.
STEPS = {-WIDTH: "k", 1: "l", WIDTH: "j", -1: "h"}
DIAGONALS = {1 - WIDTH: "u", 1 + WIDTH: "n", WIDTH - 1: "b", -1 - WIDTH: "y"}
KEYS = {**STEPS, **DIAGONALS}
OFFSETS = tuple(KEYS)

# Kinds of glyphs, by what they mean for walking.
(
    BLANK,  # dark, rock, or not seen yet
    SOLID,  # walls, water, lava, bars, trees, statues, ...
    FLOOR,
    FRAME,  # an open door: not entered or left diagonally
    DOOR,  # closed
    DOWN,  # stairs, ladder, hole or trap door: a way down
    TRAP,
    BOULDER,
    GOLD,
    MONSTER,  # perhaps peaceful
    UNSEEN,  # something was felt here
    SHUNNED,  # a monster that must not be hit with bare hands
    ENGULFER,  # the inside of a monster
) = range(13)
WALKABLE = (FLOOR, FRAME, DOWN, GOLD)

# Monsters not to attack: passive attacks, touches that petrify, strong peaceful ones.
LEFT_ALONE = {
    "floating eye", "cockatrice", "chickatrice", "blue jelly", "spotted jelly", "brown mold",
    "yellow mold", "green mold", "red mold", "gas spore", "shopkeeper", "guard",
    "aligned priest", "high priest", "watchman", "watch captain", "Oracle", "gelatinous cube",
}  # fmt: skip
HOLES = {"hole", "trap door"}
# Common monsters whose fresh corpses are safe to eat.
EDIBLE = {
    "jackal", "fox", "coyote", "gnome", "gnome lord", "gnomish wizard", "dwarf", "dwarf lord",
    "hobbit", "goblin", "hill orc", "Mordor orc", "Uruk-hai", "orc shaman", "newt", "gecko",
    "iguana", "baby crocodile", "sewer rat", "giant rat", "rock piercer", "lichen", "woodchuck",
    "rothe", "wolf", "bugbear", "floating eye", "jaguar", "lynx",
    "garter snake", "giant ant", "pony", "horse", "ape", "monkey",
    "owlbear", "hill giant", "winter wolf cub", "crocodile", "lizard", "panther", "imp",
}  # fmt: skip


@cache
def glyph_kinds() -> np.ndarray:
    """Return the kind of every glyph, (5976,) uint8."""
    from nle import nethack

    kinds = np.full(nethack.MAX_GLYPH + 1, SOLID, np.uint8)
    for glyph in range(nethack.MAX_GLYPH):
        kinds[glyph] = _kind(glyph)
    return kinds


def _kind(glyph: int) -> int:
    from nle import nethack

    if nethack.glyph_is_swallow(glyph):
        return ENGULFER
    if nethack.glyph_is_pet(glyph) or nethack.glyph_is_body(glyph):
        return FLOOR
    if nethack.glyph_is_invisible(glyph) or nethack.glyph_is_warning(glyph):
        return UNSEEN
    if nethack.glyph_is_monster(glyph):
        return SHUNNED if monster_name(glyph) in LEFT_ALONE else MONSTER
    if nethack.glyph_is_normal_object(glyph):
        name = nethack.OBJ_NAME(nethack.objclass(nethack.glyph_to_obj(glyph)))
        return {"boulder": BOULDER, "gold piece": GOLD}.get(name, FLOOR)
    if nethack.glyph_is_cmap(glyph):
        return _feature(nethack.glyph_to_cmap(glyph))
    return SOLID


@cache
def edible_bodies() -> dict[int, int]:
    """Return the monster's glyph for the glyph of each corpse that is safe to eat fresh.

    A corpse of another kind than the monster just killed is old, as those that zombies leave.
    """
    from nle import nethack

    bodies = [glyph for glyph in range(nethack.MAX_GLYPH) if nethack.glyph_is_body(glyph)]
    living = {glyph: glyph - nethack.GLYPH_BODY_OFF for glyph in bodies}
    return {body: beast for body, beast in living.items() if monster_name(beast) in EDIBLE}


def monster_name(glyph: int) -> str:
    """Return the name of the monster of a glyph."""
    from nle import nethack

    return str(nethack.permonst(nethack.glyph_to_mon(glyph)).mname)


def _feature(symbol: int) -> int:
    """Return the kind of a map symbol (defsym.h), as of rock, walls, doors, floors, stairs."""
    from nle import nethack

    words = nethack.symdef.from_idx(symbol).explanation
    if symbol == 0:
        return BLANK
    if words in HOLES or words in ("staircase down", "ladder down"):
        return DOWN
    if words == "open door":
        return FRAME
    if words == "closed door":
        return DOOR
    if 42 <= symbol < 65:
        return TRAP
    feet = symbol in range(18, 32) or words in ("doorway", "ice", "lowered drawbridge")
    return FLOOR if feet and words != "tree" else SOLID


@dataclass
class Level:
    """A player's memory of one level."""

    floor: np.ndarray = field(default_factory=lambda: np.zeros(CELLS, np.uint8))  # no monsters
    stood: np.ndarray = field(default_factory=lambda: np.zeros(CELLS, bool))
    searched: np.ndarray = field(default_factory=lambda: np.zeros(CELLS, np.int32))
    kicks: dict[int, int] = field(default_factory=dict)  # of locked doors
    refusals: dict[int, int] = field(default_factory=dict)  # steps that did not succeed
    barred_until: dict[int, int] = field(default_factory=dict)  # cell -> turn
    peaceful_until: dict[int, int] = field(default_factory=dict)  # glyph -> turn
    since: int = 0  # the turn it was first entered


def padded(grid: np.ndarray) -> np.ndarray:
    """Return a (21, 79) array with a border of zeros, flattened to (CELLS,)."""
    out = np.zeros((MAP_ROWS + 2, WIDTH), grid.dtype)
    out[1:-1, 1:-1] = grid
    return out.reshape(-1)


def beside(mask: np.ndarray) -> np.ndarray:
    """Return the cells that have a cell of the mask among their eight neighbours; (CELLS,) bool."""
    grid = mask.reshape(-1, WIDTH)
    rows = grid.copy()
    rows[1:] |= grid[:-1]
    rows[:-1] |= grid[1:]
    both = rows.copy()
    both[:, 1:] |= rows[:, :-1]
    both[:, :-1] |= rows[:, 1:]
    return both.reshape(-1)


def way(start: int, open_: bytes, straight: bytes, goal: Callable[[int], int]) -> list[int]:
    """Return the shortest path to the nearest `goal` cell, without the start; [] if none.

    Args:
        open_: nonzero where one can walk; a goal need not be open.
        straight: nonzero where one cannot walk diagonally.
    """
    parent = {start: start}
    queue = [start]
    for cell in queue:
        for offset in OFFSETS if not straight[cell] else STEPS:
            there = cell + offset
            if there in parent or (straight[there] and offset in DIAGONALS):
                continue
            if goal(there):
                parent[there] = cell
                return _trace(parent, there)
            if open_[there]:
                parent[there] = cell
                queue.append(there)
    return []


def _trace(parent: dict[int, int], cell: int) -> list[int]:
    path = []
    while parent[cell] != cell:
        path.append(cell)
        cell = parent[cell]
    return path[::-1]


def dead_ends(open_: np.ndarray) -> np.ndarray:
    """Return dead ends: open cells with one open neighbour, or two that touch; (CELLS,) bool."""
    count = np.zeros(CELLS, np.uint8)
    for offset in OFFSETS:
        count += np.roll(open_, -offset)  # the border is empty, so rolling adds nothing
    ends = open_ & (count <= 1)
    for cell in np.flatnonzero(open_ & (count == 2)).tolist():
        one, other = (cell + offset for offset in OFFSETS if open_[cell + offset])
        ends[cell] = other - one in KEYS
    return ends
