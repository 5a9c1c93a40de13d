"""Pictures of a terminal's screen, for films."""

from __future__ import annotations

import functools

import numpy as np

from isoclone.nethack.game import unpack_tty

CELL = (16, 8)  # pixels of a terminal's character, height and width
PALETTE = (  # of NetHack's sixteen colours; black is shown as blue, as terminals do
    *((95, 95, 255), (205, 60, 60), (60, 190, 60), (170, 110, 50), (80, 80, 230), (190, 80, 190)),
    *((60, 190, 190), (190, 190, 190), (120, 120, 120), (255, 140, 0), (110, 255, 110)),
    *((255, 255, 110), (120, 150, 255), (255, 120, 255), (120, 255, 255), (255, 255, 255)),
)


def draw(frame: np.ndarray) -> np.ndarray:
    """Return a frame's screen as a picture, (384, 640, 3) uint8; the cursor's cell is inverted."""
    chars, colors, (row, column) = unpack_tty(frame)
    ink = np.array(PALETTE, np.uint8)[colors & 15][:, :, None, None]
    cells = _letters()[chars][..., None] * ink.astype(np.uint16) // 255
    if row < len(cells) and column < cells.shape[1]:
        cells[row, column] = 255 - cells[row, column]
    height, width = cells.shape[0] * CELL[0], cells.shape[1] * CELL[1]
    return cells.swapaxes(1, 2).reshape(height, width, 3).astype(np.uint8)


@functools.cache
def _letters() -> np.ndarray:
    """Return each character's pixels, (256, 16, 8) uint16 up to 255; unprintable ones are blank."""
    import cv2

    table = np.zeros((256, *CELL), np.uint8)
    for code in range(33, 127):
        cv2.putText(table[code], chr(code), (0, 12), cv2.FONT_HERSHEY_PLAIN, 0.75, 255, 1)
    return table.astype(np.uint16)
