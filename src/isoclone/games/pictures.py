"""Pictures among observations: photographs are made grey and small, pictures of codes are not.

A photograph is made of bytes from 0 to 255, has one colour or three, and sides of at least 32.
Any other picture may be one of codes, where a byte names an object, so it is taken as it is, or,
with `frames` 'onehot', each code becomes a channel of 0 and 1. How many codes a channel has is
declared by the space, or said: 'onehot:11,6,3' for MiniGrid's objects, colours and states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from isoclone.base.errors import DataError, SpecError

ONE_HOT = "onehot"
FRAMES = ("auto", "grey", "rgb", "raw", ONE_HOT)
SIDE = 84
LEAST = 32  # side of the smallest photograph
MOST_CODES = 256  # in all channels together
PHOTOGRAPHS = 4  # in a stack


def is_picture(space: Any) -> bool:
    """Return whether a space is a Box of pictures: 3 or 4 axes, or 2 that look like one."""
    if not isinstance(space, Box) or 0 in space.shape:
        return False
    if len(space.shape) == 2:
        return space.dtype in (np.uint8, np.bool_) or min(space.shape) >= LEAST
    return len(space.shape) in (3, 4)


def _order(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the order of axes that puts channels last; None if they are."""
    if len(shape) == 4:  # frames, height, width, channels
        return (1, 2, 0, 3)
    return (1, 2, 0) if len(shape) == 3 and shape[0] < min(shape[1:]) else None


def _is_photograph(box: Box, channels: int, side: int) -> bool:
    bytes_ = box.dtype == np.uint8 and bool((box.low == 0).all() and (box.high == 255).all())
    return bytes_ and len(box.shape) < 4 and channels in (1, 3) and side >= LEAST


@dataclass(frozen=True)
class PictureReader:
    """Reader of a Box of pictures: `read` makes arrays of `shape` and `dtype`."""

    mode: str  # 'grey', 'rgb', 'raw' or 'onehot'
    shape: tuple[int, ...]
    dtype: str
    described: str
    stack: int
    codes: tuple[int, ...] = ()  # of each channel, where they become channels of 0 and 1

    @classmethod
    def of(cls, box: Box, frames: str, resize: bool | int) -> PictureReader:
        """Return the reader of a Box for a way of showing pictures.

        Raises:
            SpecError: an unknown way, or one that these pictures cannot be shown in.
        """
        way, _, said_codes = frames.partition(":")
        if way not in FRAMES or (said_codes and way != ONE_HOT):
            raise SpecError(f"frames must be one of {', '.join(FRAMES)}, not '{frames}'")
        order = _order(box.shape)
        turned = tuple(box.shape[axis] for axis in order) if order else box.shape
        sides = turned[:2]
        channels = int(np.prod(turned[2:]))
        mode = way
        if mode == "auto":
            mode = "grey" if _is_photograph(box, channels, min(sides)) else "raw"
        first = f"a picture of {sides[0]}x{sides[1]}"
        if mode == ONE_HOT:
            codes = _codes(box, channels, said_codes)
            said = f"{first} of codes, each a channel of 0 and 1 ({'+'.join(map(str, codes))})"
            return cls(mode, (*sides, sum(codes)), "uint8", said, 1, codes)
        if mode == "raw":
            shape = sides if len(turned) == 2 else (*sides, channels)
            said = "as it is" + (", channels moved last" if order else "")
            plural = "channel" if channels == 1 else "channels"
            counted = f" with {channels} {plural}" if len(shape) == 3 else ""
            return cls(mode, shape, _dtype(box), f"{first}{counted}, {said}", 1)
        allowed = (3,) if mode == "rgb" else (1, 3)
        if box.dtype != np.uint8 or channels not in allowed or len(box.shape) == 4:
            raise SpecError(
                f"frames '{mode}' wants pictures of bytes in colour"
                f"{'' if mode == 'rgb' else ' or grey'}, not {box}"
            )
        sides = sides if resize is False else (SIDE, SIDE) if resize is True else (resize, resize)
        if min(sides) < 1:
            raise SpecError(f"resize must be true, false or a side in pixels, not {resize}")
        colour = "in colour" if mode == "rgb" else "made grey" if channels == 3 else "grey"
        said = f"{first}, {colour}" + (
            f", resized to {sides[0]}x{sides[1]}" if sides != turned[:2] else ""
        )
        shape = (*sides, 3) if mode == "rgb" else sides
        return cls(mode, shape, "uint8", said, PHOTOGRAPHS)

    def read(self, given: np.ndarray) -> np.ndarray:
        """Return a picture of the Box as an array of `shape` and `dtype`, a copy."""
        order = _order(given.shape)
        turned = given.transpose(order) if order else given
        if self.mode == "raw":
            return turned.reshape(self.shape).astype(self.dtype)
        if self.mode == ONE_HOT:
            return _one_hot(turned.reshape(*turned.shape[:2], -1), self.codes)
        import cv2

        image: Any = np.ascontiguousarray(turned, np.uint8)
        if self.mode == "grey" and image.ndim == 3:
            image = (
                cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]
            )
        h, w = self.shape[:2]
        if image.shape[:2] == (h, w):
            return np.array(image)
        return cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)


def _codes(box: Box, channels: int, said: str) -> tuple[int, ...]:
    """Return how many codes each channel of a picture has: as said, else as its space declares.

    Raises:
        SpecError: the space declares too many, or what is said does not fit it.
    """
    whole = box.dtype is not None and box.dtype.kind in "iub"
    if not whole or box.low.min() < 0:
        raise SpecError(f"frames '{ONE_HOT}' wants pictures of whole numbers from 0 on, not {box}")
    order = _order(box.shape)
    high = box.high.transpose(order) if order else box.high
    most = high.reshape(*high.shape[:2], channels).max((0, 1))
    words = said.split(",") if said else [str(int(one) + 1) for one in most]
    codes = tuple(int(word) if word.strip().isdecimal() else 0 for word in words)
    if len(codes) != channels or min(codes) < 1 or sum(codes) > MOST_CODES:
        example = ",".join(["8"] * channels)
        raise SpecError(
            f"say how many codes each channel has, {MOST_CODES} at most in all: frames "
            f"'{ONE_HOT}:{example}' for {channels}, not '{','.join(words)}'"
        )
    return codes


def _one_hot(picture: np.ndarray, codes: tuple[int, ...]) -> np.ndarray:
    """Return codes, (h, w, channels), as (h, w, sum of codes) uint8 of 0 and 1.

    Raises:
        DataError: a code is beyond those that its channel has.
    """
    for channel, most in enumerate(codes):
        if (largest := int(picture[..., channel].max())) >= most:
            raise DataError(
                f"code {largest} in channel {channel}, and {most} codes are counted from 0"
            )
    planes = [picture[..., k, None] == np.arange(most) for k, most in enumerate(codes)]
    return np.concatenate(planes, -1).astype(np.uint8)


def _dtype(box: Box) -> str:
    """Return 'uint8' for whole numbers from 0 to 255, else a float that holds the values."""
    if box.dtype is not None and box.dtype.kind in "iub":
        inside = box.dtype.kind == "b" or (box.low.min() >= 0 and box.high.max() <= 255)
        return "uint8" if inside else "float32"
    return "float64" if box.dtype is not None and box.dtype.itemsize > 4 else "float32"
