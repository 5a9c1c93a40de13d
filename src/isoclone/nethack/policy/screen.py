"""Fixed features of a terminal screen, without parameters: cells and a rough map.

They are integer arithmetic on (n, 24, 80) screens, without gradients and without loops over
samples. Most of a screen is blank, so table look-ups are done for the other cells only, and a CPU
core reads a hundred thousand screens a second. Row 0 is NetHack's message line
(see `text`), rows 1-21 its map, rows 22-23 its bottom lines.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ROWS, COLUMNS = 24, 80
CELLS = ROWS * COLUMNS
MAP_FIRST, MAP_LAST = 1, 21  # the map's rows
MAP = slice(MAP_FIRST * COLUMNS, (MAP_LAST + 1) * COLUMNS)  # and its cells
BLANK = 32
COLORS = 16

# Kinds of map symbols that the rough map distinguishes; everything else is 'other'.
KINDS = (" ", ".", "#", "|-", "<", ">", "@", "%", "^", "_{", ")[=\"(/*+`!?$&'", "d", "fu")
DOOR_COLOR = 3  # brown | - + are doors
N_KINDS = len(KINDS) + 3  # door, lower case, upper case and the rest

# Edges of the rough map's bins, in rows and columns from the cursor: narrow near it, wide far off.
ROW_EDGES = (-8, -4, -1, 0, 1, 2, 5, 9)
COLUMN_EDGES = (-24, -12, -5, -2, 0, 1, 3, 6, 13, 25)
BINS = (len(ROW_EDGES) + 1) * (len(COLUMN_EDGES) + 1)


class Screens(NamedTuple):
    """Terminal screens: characters and colours (..., 24, 80) uint8, cursor (..., 2) row, column."""

    chars: torch.Tensor
    colors: torch.Tensor
    cursor: torch.Tensor

    def flat(self) -> Screens:
        """Return the screens with one leading dimension, cursor int64."""
        return Screens(
            self.chars.reshape(-1, ROWS, COLUMNS),
            self.colors.reshape(-1, ROWS, COLUMNS),
            self.cursor.reshape(-1, 2).long(),
        )


def places(mask: torch.Tensor) -> torch.Tensor:
    """Return where a mask is set, (k,) int64 in its flattened form; none for a meta tensor."""
    flat = mask.flatten()
    if flat.is_meta:
        return flat.new_empty(0, dtype=torch.int64)
    if flat.device.type == "cpu":  # NumPy takes a third of the time
        return torch.from_numpy(np.flatnonzero(flat.numpy()))
    return flat.nonzero().squeeze(1)


def symbols(screens: Screens) -> torch.Tensor:
    """Return the symbols of (n, 24, 80) screens, (n, 1920) int16: character x 16 + colour."""
    chars, colors = screens.chars.flatten(1).short(), screens.colors.flatten(1)
    return chars.mul_(COLORS).bitwise_or_(colors & (COLORS - 1))


def cell_of(cursor: torch.Tensor) -> torch.Tensor:
    """Return the cells, (n,), of cursors (n, 2)."""
    return cursor[:, 0] * COLUMNS + cursor[:, 1]


class Around(nn.Module):
    """A layer that reads cells at fixed offsets from the cursor, blank beyond the screen.

    Args:
        offsets: k pairs of rows and columns.
    """

    cells: torch.Tensor

    def __init__(self, offsets: list[tuple[int, int]]):
        super().__init__()
        rows, columns = torch.tensor(offsets).T
        down = torch.arange(ROWS)[:, None, None] + rows
        right = torch.arange(COLUMNS)[:, None] + columns
        there = (down >= 0) & (down < ROWS) & (right >= 0) & (right < COLUMNS)
        cells = torch.where(there, down * COLUMNS + right, CELLS).flatten(0, 1)
        self.register_buffer("cells", cells, persistent=False)  # by cursor cell; `CELLS`: none

    def forward(self, symbols: torch.Tensor, cursor: torch.Tensor) -> torch.Tensor:
        """Return (n, k) int64 symbols, from (n, 1920) symbols and (n, 2) int64 cursors."""
        cells = self.cells.index_select(0, cell_of(cursor))
        return functional.pad(symbols, (0, 1), value=BLANK * COLORS).gather(1, cells).long()


def square_and_star(side: int, reach: int) -> list[tuple[int, int]]:
    """Return the offsets of a square around the cursor and of eight straight lines beyond it.

    Things can be thrown along straight lines, and corridors often follow them.
    """
    half = side // 2
    square = [(y, x) for y in range(-half, half + 1) for x in range(-half, half + 1)]
    ways = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    return square + [(y * k, x * k) for y, x in ways for k in range(half + 1, reach + 1)]


@cache
def kind_table() -> tuple[int, ...]:
    """Return the kind, below `N_KINDS`, of each of the 4096 symbols."""
    table = []
    for symbol in range(256 * COLORS):
        char, color = chr(symbol >> 4), symbol & (COLORS - 1)
        known = [k for k, members in enumerate(KINDS) if char in members]
        if char in "|-+" and color == DOOR_COLOR:
            table.append(len(KINDS))
        elif known:
            table.append(known[0])
        else:
            table.append(len(KINDS) + (1 if char.islower() else 2))
    return tuple(table)


def bins(edges: tuple[int, ...], lines: range, cursors: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the bins of the map's rows, or of its columns, for every line of the cursor.

    Args:
        edges: edges of the bins, in lines from the cursor.
        lines: the lines of the map.
        cursors: number of lines that the cursor may be on.

    Returns:
        The bin of each line, (cursors, len(lines)), and the number of lines in each bin, (cursors,
        len(edges) + 1), both int32.
    """
    away = torch.arange(lines.start, lines.stop) - torch.arange(cursors)[:, None]
    which = (away[..., None] >= torch.tensor(edges)).sum(-1)
    sizes = functional.one_hot(which, len(edges) + 1).sum(1)
    return which.int(), sizes.int()


class RoughMap(nn.Module):
    """A layer that counts the kinds of symbols in bins by direction and distance."""

    kinds: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    sizes: torch.Tensor
    roots: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        rows, heights = bins(ROW_EDGES, range(MAP_FIRST, MAP_LAST + 1), ROWS)
        columns, widths = bins(COLUMN_EDGES, range(COLUMNS), COLUMNS)
        sizes = heights[:, None, :, None] * widths[:, None]
        tables = {
            "kinds": torch.tensor(kind_table()),
            "rows": rows * widths.shape[1] * N_KINDS,
            "columns": columns * N_KINDS,
            "sizes": sizes.view(CELLS, BINS),
            "roots": torch.arange(MAP.stop - MAP.start + 1).sqrt(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(
        self, symbols: torch.Tensor, chars: torch.Tensor, cursor: torch.Tensor
    ) -> torch.Tensor:
        """Count kinds in (n, 1920) symbols, (n, 24, 80) characters around (n, 2) int64 cursors.

        Only cells that are not blank are counted; the blank ones are the rest of each bin.

        Returns:
            (n, BINS, N_KINDS) float32: root of the count of each kind in each bin.
        """
        # XOR finds bytes that differ from a blank; a comparison is ten times slower in torch.
        there = places((chars.flatten(1)[:, MAP] ^ BLANK).bool())
        kinds = self.kinds.index_select(0, symbols[:, MAP].flatten().index_select(0, there).int())
        index = self._bins(cursor).flatten().index_select(0, there) + kinds
        counts = torch.zeros(len(symbols), BINS, N_KINDS, dtype=torch.int32, device=index.device)
        counts.view(-1).scatter_add_(0, index, counts.new_ones(()).expand(index.shape))
        counts[..., 0] = self.sizes.index_select(0, cell_of(cursor)) - counts.sum(
            2, dtype=torch.int32
        )
        return self.roots.index_select(0, counts.view(-1)).view(counts.shape)

    def _bins(self, cursor: torch.Tensor) -> torch.Tensor:
        """Return the index of the first count of each cell's bin, (n, 21, 80) int32."""
        first = torch.arange(len(cursor), dtype=torch.int32, device=cursor.device) * BINS * N_KINDS
        rows = self.rows.index_select(0, cursor[:, 0]) + first[:, None]
        return rows[:, :, None] + self.columns.index_select(0, cursor[:, 1])[:, None]
