"""A terminal as a picture: what films of NetHack are made of."""

from __future__ import annotations

import numpy as np

from isoclone.nethack.draw import CELL, PALETTE, draw
from isoclone.nethack.game import NetHack, pack_tty


def screen(cursor: tuple[int, int]) -> np.ndarray:
    """A blank screen but for a red @ in the second row, third column."""
    chars, colors = np.full((24, 80), 32, np.uint8), np.zeros((24, 80), np.uint8)
    chars[1, 2], colors[1, 2] = ord("@"), 1
    return pack_tty(chars, colors, np.array(cursor, np.uint8))


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    return picture[row * CELL[0] : (row + 1) * CELL[0], column * CELL[1] : (column + 1) * CELL[1]]


def test_characters_have_their_place_and_colour():
    picture = draw(screen((5, 7)))
    assert picture.shape == (384, 640, 3)
    assert picture.dtype == np.uint8
    ink = cell(picture, 1, 2).reshape(-1, 3).max(0)
    assert ink.max() > 150
    np.testing.assert_allclose(ink / ink.max(), np.array(PALETTE[1]) / max(PALETTE[1]), atol=0.01)
    assert (cell(picture, 5, 7) == 255).all()  # the cursor
    cell(picture, 1, 2)[:], cell(picture, 5, 7)[:] = 0, 0
    assert not picture.any()


def test_a_cursor_off_the_screen_is_not_drawn():
    assert not cell(draw(screen((24, 3))), 23, 3).any()


def test_the_game_draws_its_frames():
    game = NetHack("nethack/NetHackChallenge-v0", "NetHackChallenge-v0", 121)
    frame = screen((0, 0))
    assert (game.draw(frame) == draw(frame)).all()
    assert game.frames_per_second == 12
