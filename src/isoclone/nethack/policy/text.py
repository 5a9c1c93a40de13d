"""What is read off lines of text without learning anything: hashes of words, and numbers.

Lines are (n, columns) uint8. All of it is NumPy's on the host, and mostly about the characters that
are there alone: such arrays are shorter than what a call of torch takes to begin.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch

BLANK = 32
TENS = (10.0 ** np.arange(10)).astype(np.float32)


def on_host(lines: torch.Tensor) -> np.ndarray:
    """A tensor as an array; zeros if it has a shape and nothing else, as when FLOPs are counted."""
    if lines.is_meta:
        return np.zeros(lines.shape, np.uint8)
    return lines.cpu().numpy()


def words(lines: np.ndarray, table_rows: int, most: int, letters: bool = False) -> np.ndarray:
    """Hashes of the words of text lines.

    Args:
        lines: (n, columns) uint8.
        table_rows: hashes lie in 1 .. table_rows - 1; 0 stands for no word.
        most: words beyond so many are left out.
        letters: a word is a run of letters rather than of anything but blanks.

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
    """The first `most` whole numbers in each line, (n, most) float32; 0 where there are fewer."""
    digits = lines - np.uint8(ord("0"))  # what lies below '0' wraps around
    runs = _runs(digits < 10, most)
    after = np.bincount(runs.which, minlength=len(runs.slots))[runs.which] - runs.place - 1
    values = digits.ravel()[runs.at] * TENS[np.minimum(after, len(TENS) - 1)]
    found = np.zeros((len(lines), most + 1), np.float32)
    np.add.at(found.ravel(), runs.slots[runs.which], values)
    return found[:, :most]


def _letters(lines: np.ndarray) -> np.ndarray:
    return (lines | 32) - np.uint8(ord("a")) < 26  # what lies below 'a' wraps around


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
    """The runs in an (n, columns) mask."""
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
    """What a character in a place of a word adds to its hash, at character + 257 x place."""
    mixed = np.arange(257 * columns) * 0x9E3779B1 & 0xFFFFFFFF
    return mixed ^ (mixed >> 15)
