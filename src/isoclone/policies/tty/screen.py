"""What is read off a terminal screen without learning anything: cells, words, numbers, a rough map.

All of it is integer arithmetic on (n, 24, 80) screens, without gradients and without loops over
samples, so that a CPU core reads tens of thousands of screens a second. Row 0 is NetHack's message
line, rows 1-21 its map, rows 22-23 its bottom lines.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

ROWS, COLUMNS = 24, 80
MAP_FIRST, MAP_LAST = 1, 21  # the map's rows
BLANK = 32
COLORS = 16
PART = 128  # screens read at a time: what they are turned into stays in a core's cache

# Kinds of map symbols that are told apart from afar; everything else is 'other'.
KINDS = (" ", ".", "#", "|-", "<", ">", "@", "%", "^", "_{", ")[=\"(/*+`!?$&'", "d", "fu")
DOOR_COLOR = 3  # brown | - + are doors
N_KINDS = len(KINDS) + 3  # door, lower case, upper case and the rest

# Edges of the rough map's bins, in rows and columns from the cursor: fine near it, coarse afar.
ROW_EDGES = (-8, -4, -1, 0, 1, 2, 5, 9)
COLUMN_EDGES = (-24, -12, -5, -2, 0, 1, 3, 6, 13, 25)
BINS = (len(ROW_EDGES) + 1) * (len(COLUMN_EDGES) + 1)


class Screens(NamedTuple):
    """Terminal screens: characters and colours (..., 24, 80) uint8, cursor (..., 2) row, column."""

    chars: torch.Tensor
    colors: torch.Tensor
    cursor: torch.Tensor

    def flat(self) -> Screens:
        """The same with one leading dimension, cursor int64."""
        return Screens(
            self.chars.reshape(-1, ROWS, COLUMNS),
            self.colors.reshape(-1, ROWS, COLUMNS),
            self.cursor.reshape(-1, 2).long(),
        )


def symbols(screens: Screens) -> torch.Tensor:
    """(n, 24, 80) screens -> (n, 1920) int32: character x 16 + colour."""
    chars, colors = screens.chars.flatten(1).int(), screens.colors.flatten(1).int()
    return (chars << 4) | (colors & (COLORS - 1))


def around(cells: torch.Tensor, cursor: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Cells at fixed offsets from the cursor, blank beyond the screen.

    Args:
        cells: (n, 1920) int32, see `symbols`.
        cursor: (n, 2) int64.
        offsets: (k, 2) int64 rows and columns.

    Returns:
        (n, k) int64.
    """
    rows, columns = cursor[:, :1] + offsets[:, 0], cursor[:, 1:] + offsets[:, 1]
    on_screen = (rows >= 0) & (rows < ROWS) & (columns >= 0) & (columns < COLUMNS)
    index = rows.clamp(0, ROWS - 1) * COLUMNS + columns.clamp(0, COLUMNS - 1)
    return torch.where(on_screen, cells.gather(1, index), BLANK << 4).long()


def square_and_star(side: int, reach: int) -> list[tuple[int, int]]:
    """Offsets of a square around the cursor, and of the eight straight lines on from it.

    Straight lines are where things can be thrown and where a corridor leads.
    """
    half = side // 2
    square = [(y, x) for y in range(-half, half + 1) for x in range(-half, half + 1)]
    ways = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    return square + [(y * k, x * k) for y, x in ways for k in range(half + 1, reach + 1)]


def kind_table() -> list[int]:
    """For each symbol (4096) its kind, below `N_KINDS`."""
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
    return table


def bin_tables() -> tuple[list[int], list[int]]:
    """Bins of row offsets -23..23 and of column offsets -79..79; row bins times column bins."""
    across = len(COLUMN_EDGES) + 1
    rows = [sum(d >= edge for edge in ROW_EDGES) * across for d in range(1 - ROWS, ROWS)]
    columns = [sum(d >= e for e in COLUMN_EDGES) for d in range(1 - COLUMNS, COLUMNS)]
    return rows, columns


def rough_map(
    cells: torch.Tensor,
    cursor: torch.Tensor,
    kinds: torch.Tensor,
    row_bins: torch.Tensor,
    column_bins: torch.Tensor,
) -> torch.Tensor:
    """How much of each kind lies in which direction and how far off.

    Returns:
        (n, BINS, N_KINDS) float32: root of the count of each kind in each bin around the cursor.
    """
    parts = zip(cells.split(PART), cursor.split(PART), strict=True)
    return torch.cat([_rough_map(*part, kinds, row_bins, column_bins) for part in parts])


def _rough_map(
    cells: torch.Tensor,
    cursor: torch.Tensor,
    kinds: torch.Tensor,
    row_bins: torch.Tensor,
    column_bins: torch.Tensor,
) -> torch.Tensor:
    n, (first, last) = len(cells), (MAP_FIRST, MAP_LAST + 1)
    down = torch.arange(first, last, device=cells.device) - cursor[:, :1] + (ROWS - 1)
    right = torch.arange(COLUMNS, device=cells.device) - cursor[:, 1:] + (COLUMNS - 1)
    bins = row_bins[down][:, :, None] + column_bins[right][:, None, :]
    on_map = kinds[cells[:, first * COLUMNS : last * COLUMNS]]
    index = bins.flatten(1) * N_KINDS + on_map
    counts = torch.zeros(n, BINS * N_KINDS, device=cells.device)
    ones = torch.ones((), device=cells.device).expand(index.shape)
    return counts.scatter_add_(1, index.long(), ones).sqrt_().view(n, BINS, N_KINDS)


def words(lines: torch.Tensor, table_rows: int, most: int, letters: bool = False) -> torch.Tensor:
    """Hashes of the words of text lines.

    Args:
        lines: (n, columns) uint8.
        table_rows: hashes lie in 1 .. table_rows - 1; 0 stands for no word.
        most: words beyond so many are left out.
        letters: a word is a run of letters rather than of anything but blanks.

    Returns:
        (n, most) int64.
    """
    text = lines.long()
    inside = (text != BLANK) & (text != 0)
    if letters:
        lower = text | 32
        inside = (lower >= ord("a")) & (lower <= ord("z"))
    which, place = _runs(inside)
    mixed = (text + 257 * place) * 0x9E3779B1 & 0xFFFFFFFF
    mixed = (mixed ^ (mixed >> 15)) * inside
    slot = torch.where(inside & (which <= most), which, 0)
    sums = text.new_zeros(len(text), most + 1).scatter_add_(1, slot, mixed)[:, 1:]
    sums = (sums ^ (sums >> 13)) % (table_rows - 1) + 1
    present = torch.arange(1, most + 1, device=text.device) <= which[:, -1:]
    return sums * present


def numbers(lines: torch.Tensor, most: int) -> torch.Tensor:
    """The first `most` whole numbers in each line, (n, most) float32; 0 where there are fewer."""
    text = lines.long()
    inside = (text >= ord("0")) & (text <= ord("9"))
    which, place = _runs(inside)
    slot = torch.where(inside & (which <= most), which, 0)
    lengths = text.new_zeros(len(text), most + 1).scatter_add_(1, slot, inside.long())
    power = (lengths.gather(1, slot) - place - 1).clamp(0, 9)
    values = (text - ord("0")) * inside * 10.0**power
    return values.new_zeros(len(text), most + 1).scatter_add_(1, slot, values)[:, 1:]


def _runs(inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each character: which run of `inside` it lies in (from 1), and its place in the run."""
    begins = inside.clone()
    begins[:, 1:] &= ~inside[:, :-1]
    columns = torch.arange(inside.shape[1], device=inside.device).expand(inside.shape)
    first = torch.where(begins, columns, 0).cummax(1).values
    return begins.cumsum(1), columns - first
