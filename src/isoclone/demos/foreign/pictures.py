"""Pictures in tables: PNG and JPEG bytes become arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.base.limits import check_unpacked

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8"
PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}  # by colour type: grey, rgb, palette, with alpha
NO_SIZE = (*range(0xD0, 0xD8), 0x01)  # JPEG markers without a length
NO_FRAME = (0xC4, 0xC8, 0xCC)  # among JPEG's 0xC0 to 0xCF, which tell a frame's size


def check_pictures(pictures: Sequence[bytes]) -> None:
    """Check by their headers that PNG and JPEG pictures fit the limit together, once decoded.

    Raises:
        DataError: they do not, or one is of another format.
    """
    sizes = map(_decoded_bytes, pictures)
    check_unpacked("a picture" if len(pictures) == 1 else f"{len(pictures)} pictures", sum(sizes))


def _decoded_bytes(data: bytes) -> int:
    """Return how many bytes a picture's pixels take; 0 where its header is cut off."""
    if data.startswith(PNG):
        _check_chunks(data)
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        depth, colour = data[24:26] if len(data) > 25 else (8, 0)
        return width * height * PNG_CHANNELS.get(colour, 4) * (2 if depth == 16 else 1)
    if data.startswith(JPEG):
        return _jpeg_bytes(data)
    raise DataError(f"a picture of {len(data)} bytes cannot be decoded: it is neither PNG nor JPEG")


def _check_chunks(data: bytes) -> None:
    """Refuse a PNG with a chunk longer than the file: a decoder makes room for it first, 4 GiB."""
    at, name = len(PNG) - 8, b""  # where its first chunk begins
    while at < len(data) and name != b"IEND":
        name = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    if at > len(data):
        raise DataError(f"a picture of {len(data)} bytes cannot be decoded: it is cut off")


def _jpeg_bytes(data: bytes) -> int:
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 9 < len(data):
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAME:
            height, width = (int.from_bytes(data[k : k + 2], "big") for k in (at + 5, at + 7))
            return height * width * data[at + 9]
        if marker in (0x00, 0xFF, *NO_SIZE):
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def decoded(data: bytes) -> np.ndarray:
    """Return a picture's pixels, (h, w) or (h, w, channels) uint8, in the order red, green, blue.

    Call `check_pictures` first: a small file may hold a huge picture.

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
