"""What is read off a screen equals what a plain reader of one screen after the other reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import isoclone as ic
from isoclone.nethack.game import unpack_tty
from isoclone.nethack.policy import screen, text
from isoclone.nethack.policy.screen import Around, RoughMap, Screens

OFFSETS = screen.square_and_star(9, 12)
AROUND, ROUGH_MAP, KINDS = Around(OFFSETS), RoughMap(), screen.kind_table()


def plain_around(chars, colors, cursor):
    """Symbols at `OFFSETS` from the cursor, one screen."""
    seen = []
    for down, right in OFFSETS:
        row, column = cursor[0] + down, cursor[1] + right
        there = 0 <= row < 24 and 0 <= column < 80
        seen.append(chars[row, column] * 16 + colors[row, column] % 16 if there else 32 * 16)
    return seen


def plain_rough_map(chars, colors, cursor):
    """Counts of each kind in each bin, one screen: cell by cell."""
    across = len(screen.COLUMN_EDGES) + 1
    counts = np.zeros((screen.BINS, screen.N_KINDS))
    for row in range(1, 22):
        below = sum(row - cursor[0] >= edge for edge in screen.ROW_EDGES)
        for column in range(80):
            beside = sum(column - cursor[1] >= edge for edge in screen.COLUMN_EDGES)
            kind = KINDS[chars[row, column] * 16 + colors[row, column] % 16]
            counts[below * across + beside, kind] += 1
    return counts


def plain_runs(line, belongs):
    """The runs of characters for which `belongs` is true."""
    found, before = [], False
    for char in line:
        if belongs(char):
            found = found if before else [*found, []]
            found[-1].append(char)
        before = belongs(char)
    return found


def plain_words(line, table_rows, most, letters):
    def belongs(char):
        return chr(char).isalpha() and char < 128 if letters else char not in (0, 32)

    hashes = []
    for word in plain_runs(line, belongs)[:most]:
        mixed = [(c + 257 * place) * 0x9E3779B1 & 0xFFFFFFFF for place, c in enumerate(word)]
        total = sum(m ^ (m >> 15) for m in mixed)
        hashes.append((total ^ (total >> 13)) % (table_rows - 1) + 1)
    return hashes + [0] * (most - len(hashes))


def plain_numbers(line, most):
    """float32 throughout; from the tenth digit from the right on, a digit counts 10^9 times."""
    values = []
    for digits in plain_runs(line, lambda char: 48 <= char <= 57)[:most]:
        value = np.float32(0)
        for place, char in enumerate(digits):
            value += np.float32(char - 48) * np.float32(10.0 ** min(len(digits) - place - 1, 9))
        values.append(value)
    return values + [0] * (most - len(values))


def check(chars: np.ndarray, colors: np.ndarray, cursor: np.ndarray) -> None:
    """Everything that is read, screen by screen; (n, 24, 80), (n, 24, 80), (n, 2) uint8."""
    flat = Screens(*map(torch.from_numpy, (chars, colors, cursor))).flat()
    symbols = screen.symbols(flat)
    near = AROUND(symbols, flat.cursor)
    far = ROUGH_MAP(symbols, flat.chars, flat.cursor)
    bottom = chars[:, 22:].reshape(len(chars), -1)
    said = text.words(chars[:, 0], 2048, 20)
    told = text.words(bottom, 256, 16, letters=True)
    counted = text.numbers(chars[:, 23], 10)
    screens = (chars.astype(int), colors.astype(int), cursor.astype(int))
    for i, one in enumerate(zip(*screens, strict=True)):
        counts = torch.from_numpy(plain_rough_map(*one)).float()
        assert torch.equal(far[i], counts.sqrt())
        assert near[i].tolist() == plain_around(*one)
        assert said[i].tolist() == plain_words(one[0][0], 2048, 20, letters=False)
        assert told[i].tolist() == plain_words(bottom[i].astype(int), 256, 16, letters=True)
        assert counted[i].tolist() == plain_numbers(one[0][23], 10)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    blank=st.floats(0, 1),
    alphabet=st.sampled_from([range(256), range(32, 127), (0, 32, 65), range(47, 59), (97, 32)]),
    at=st.sampled_from([(0, 0), (0, 79), (23, 0), (23, 79), (11, 40), (1, 79), None]),
)
def test_screens_of_any_kind(seed, blank, alphabet, at):
    rng = np.random.default_rng(seed)
    chars = rng.choice(np.array(alphabet, np.uint8), (2, 24, 80))
    chars[rng.random(chars.shape) < blank] = 32
    colors = rng.integers(0, 256, chars.shape, np.uint8)
    cursor = (
        np.stack([rng.integers(0, 24, 2), rng.integers(0, 80, 2)], 1) if at is None else [at] * 2
    )
    check(chars, colors, np.array(cursor, np.uint8))


def test_screens_of_a_game():
    pytest.importorskip("nle")
    env, rng = ic.game("nethack").make_lean_env(), np.random.default_rng(0)
    frames = [env.reset(2)]
    for _ in range(400):
        frame, _, terminated, _ = env.step(int(rng.integers(121)))
        frames.append(frame)
        assert not terminated
    check(*unpack_tty(np.stack(frames[::20])))


def test_all_screens_blank():
    chars = np.full((1, 24, 80), 32, np.uint8)
    check(chars, chars, np.array([[5, 5]], np.uint8))


def lines(*texts: str) -> np.ndarray:
    return np.array([[*line.ljust(80).encode()] for line in texts], np.uint8)


def test_words_and_numbers():
    said = text.words(lines("You see here", "here  you see", "", "You see here a dagger"), 512, 4)
    assert said[2].tolist() == [0, 0, 0, 0]
    assert said[0, 2] == said[1, 0] != said[0, 0]
    assert said[0, :3].tolist() == said[3, :3].tolist()
    assert said[0, 3] == 0 < said[3, 3]
    bottom = lines("Dlvl:3 $:120 HP:14(27) Pw:5(6) AC:-2 Xp:3/74 T:2503 Hungry")
    assert text.numbers(bottom, 11)[0].tolist() == [3, 120, 14, 27, 5, 6, 2, 3, 74, 2503, 0]


def test_what_lies_around_the_cursor():
    chars = torch.full((1, 24, 80), 32, dtype=torch.uint8)
    chars[0, 10, 20], chars[0, 9, 21], chars[0, 10, 60] = ord("@"), ord("d"), ord(">")
    seen = Screens(chars, torch.full_like(chars, 7), torch.tensor([[10, 20]]))
    symbols = screen.symbols(seen)
    near = Around([(0, 0), (-1, 1), (-11, 0), (0, 60)])(symbols, seen.cursor)
    assert (near[0] >> 4).tolist() == [ord("@"), ord("d"), 32, 32]
    far = ROUGH_MAP(symbols, chars, seen.cursor)[0]
    assert (far**2).sum().round() == 21 * 80
    stairs = torch.nonzero(far[:, screen.KINDS.index(">")]).flatten().tolist()
    same_row = screen.ROW_EDGES.index(0) + 1  # in the bin of the cursor's row, far to the right
    assert stairs == [same_row * 11 + 10]
