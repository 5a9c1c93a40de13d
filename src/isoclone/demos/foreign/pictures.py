"""Pictures in tables: PNG and JPEG bytes become arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from isoclone.base.errors import DataError


def decoded(data: bytes) -> np.ndarray:
    """Return a picture's pixels, (h, w) or (h, w, channels) uint8, in the order red, green, blue.

    Raises:
        DataError: it is no picture that can be read, or not of bytes.
    """
    import cv2

    found: Any = None
    if data:
        try:
            found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            found = None
    if found is None:
        raise DataError(f"a picture of {len(data)} bytes cannot be decoded")
    if found.dtype != np.uint8:
        raise DataError(f"a picture has {found.dtype} values, not bytes")
    if found.ndim == 3 and found.shape[2] >= 3:
        found = found[..., [2, 1, 0, *range(3, found.shape[2])]]
    return np.ascontiguousarray(found)


def newest(pictures: np.ndarray) -> np.ndarray:
    """Return the newest picture of each stack: the last channel of (t, h, w, stack).

    Raises:
        DataError: they are no stacks, since a picture is not found in the stack after it.
    """
    if pictures.ndim != 4 or pictures.shape[3] < 2:
        raise DataError(f"pictures of shape {pictures.shape[1:]} are no stacks of grey ones")
    later, earlier = pictures[1:, :, :, -2], pictures[:-1, :, :, -1]
    if not np.array_equal(later, earlier):
        step = int(np.flatnonzero((later != earlier).reshape(len(later), -1).any(1))[0])
        raise DataError(
            f"the pictures are no stacks, the newest last: the last channel of step {step} is not "
            f"the last but one of step {step + 1}"
        )
    return pictures[..., -1]
