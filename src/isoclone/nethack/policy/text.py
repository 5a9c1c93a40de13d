"""Fixed features of lines of text, without parameters: hashes of words, and numbers.

Lines are (n, columns) uint8. The work is done by NumPy on the host, mostly on visible characters
only: for such short arrays the overhead of a torch call would be longer than the work.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch

BLANK = 32
TENS = (10.0 ** np.arange(10)).astype(np.float32)


def on_host(lines: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array; zeros for a meta tensor, as when FLOPs are counted."""
    if lines.is_meta:
        return np.zeros(lines.shape, np.uint8)
    return lines.cpu().numpy()


def words(lines: np.ndarray, table_rows: int, most: int, letters: bool = False) -> np.ndarray:
    """Return hashes of the words of text lines.

    Args:
        lines: (n, columns) uint8.
        table_rows: hashes lie in 1 .. table_rows - 1; 0 stands for no word.
        most: number of words kept for each line.
        letters: take runs of letters as words, instead of runs of anything but blanks.

    Returns:
        (n, most) int64.
    """
    runs = _runs(_letters(lines) if letters else _visible(lines), most)
    mixed = _mixed(lines.shape[1])[runs.place * 257 + lines.ravel()[runs.at]]
    sums = np.zeros(len(runs.slots), np.int64)
    np.add.at(sums, runs.which, mixed)
    found = np.zeros((len(lines), most + 1), np.int64)
    found.ravel()[runs.slots] = (sums ^ (sums >> 13)) % (table_rows - 1) + 1
    return found[:, :most]


def numbers(lines: np.ndarray, most: int) -> np.ndarray:
    """Return the first `most` whole numbers of each line, (n, most) float32; 0 if fewer."""
    digits = lines - np.uint8(ord("0"))  # characters below '0' wrap around
    runs = _runs(digits < 10, most)
    after = np.bincount(runs.which, minlength=len(runs.slots))[runs.which] - runs.place - 1
    values = digits.ravel()[runs.at] * TENS[np.minimum(after, len(TENS) - 1)]
    found = np.zeros((len(lines), most + 1), np.float32)
    np.add.at(found.ravel(), runs.slots[runs.which], values)
    return found[:, :most]


def _letters(lines: np.ndarray) -> np.ndarray:
    return (lines | 32) - np.uint8(ord("a")) < 26  # characters below 'a' wrap around


def _visible(lines: np.ndarray) -> np.ndarray:
    return lines & ~np.uint8(BLANK) != 0  # neither a blank nor 0


class _Runs(NamedTuple):
    """Runs of characters in lines of text; k characters in r runs, all int64.

    Attributes:
        at: (k,) where the characters are in the flattened lines.
        which: (k,) the run that each is of.
        place: (k,) its place in the run.
        slots: (r,) line x (most + 1) + the run's number in the line, `most` for all beyond.
    """

    at: np.ndarray
    which: np.ndarray
    place: np.ndarray
    slots: np.ndarray


def _runs(inside: np.ndarray, most: int) -> _Runs:
    """Return the runs in an (n, columns) mask; those beyond `most` a line share a slot."""
    n, columns = inside.shape
    begins = inside.copy()
    begins[:, 1:] &= ~inside[:, :-1]
    at, first = np.flatnonzero(inside), np.flatnonzero(begins)
    which = begins.ravel()[at].cumsum() - 1
    line = first // columns
    count = np.bincount(line, minlength=n)
    number = np.arange(len(first)) - (count.cumsum() - count)[line]
    return _Runs(at, which, at - first[which], line * (most + 1) + np.minimum(number, most))


@cache
def _mixed(columns: int) -> np.ndarray:
    """Return what each character at each place adds to a hash, at character + 257 x place."""
    mixed = np.arange(257 * columns) * 0x9E3779B1 & 0xFFFFFFFF
    return mixed ^ (mixed >> 15)
