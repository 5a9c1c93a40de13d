"""Encoding: from a game's frames to the numbers that a policy reads, one frame at a time.

Done once for each recorded frame when the cache is expanded, and once for each new frame in a
rollout; never again for the same frame, however many stacks it is part of.

| kind          | image frames (uint8)                                    | vectors (float32) |
|---------------|---------------------------------------------------------|-------------------|
| `unit`        | the byte itself, worth byte / 255                       | as they are       |
| `standardise` | int8, worth code x 10/127: (byte - mean) / SD per pixel | (x - mean) / SD   |

Mean and SD are those of the training frames. So that what hardly ever changes does not get large
values, the SD has a floor, and the result is clipped at +-10. Floors go by the range that is seen:

- of images: 10 levels, or a tenth of the channel's range over all pixels where that is below 100
  levels (pixels of 0 and 1, codes of objects). An int8 step is .079 SD, less than one level of a
  pixel with the smallest SD (.1 SD).
- of vectors: a thousandth of the number's own range, and what its dtype can tell apart at its size
  (eight roundings); where it never changes, a thousandth of its size, or of 1 where it is 0.

float64 frames are standardised in float64 and then become float32: as they are ('unit') large
numbers lose their differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.games import FrameSpec

KINDS = ("unit", "standardise")
LAYOUTS = ("rows", "blocks4", "raw")
CLIP = 10.0
STEPS = 127
LEVELS, SHARE = 10.0, 0.1  # floor of an image's SD, and its share of a smaller range
LEAST = 1e-3  # share of a number's range
ROUNDINGS = 8


@dataclass(frozen=True)
class FrameEncoder:
    """Encoder of frames; its fields hold everything that is needed to make it again.

    `layout` 'rows' keeps a frame's own order; 'blocks4' turns an image of (h, w) into
    (h/4, w/4, 16): 4x4 blocks side by side, the order in which a convolution of stride 4 reads
    it (see `policies/cnn.py`); 'raw' leaves frames as they are, for policies that encode them by
    themselves.
    """

    kind: str
    layout: str
    spec: FrameSpec
    mean: np.ndarray  # (*shape) float32, float64 for frames of float64
    inverse_sd: np.ndarray  # (*shape), as `mean`

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the codes."""
        if not self.spec.is_image:
            return np.dtype(np.float32)
        return np.dtype(np.uint8 if self.kind == "unit" else np.int8)

    @property
    def scale(self) -> float:
        """The number by which the policy multiplies a code."""
        if not self.spec.is_image:
            return 1.0
        return 1 / 255 if self.kind == "unit" else CLIP / STEPS

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Return the codes of (n, *shape) frames, (n, size) of `dtype`, in `layout`'s order."""
        codes = np.ascontiguousarray(self._codes(frames))
        if self.layout == "blocks4":
            h, w = self.spec.shape
            # A block's row is 4 bytes, the size of one int32: whole rows are moved, not bytes.
            rows = codes.view(np.int32).reshape(-1, h // 4, 4, w // 4)
            codes = np.ascontiguousarray(rows.swapaxes(2, 3)).view(self.dtype)
        return codes.reshape(len(frames), self.spec.size)

    def _codes(self, frames: np.ndarray) -> np.ndarray:
        if self.kind == "unit":
            return frames.astype(self.dtype, copy=False)
        values = frames - self.mean
        values *= self.inverse_sd
        np.clip(values, -CLIP, CLIP, out=values)
        if not self.spec.is_image:
            return values.astype(np.float32, copy=False)
        values *= STEPS / CLIP
        return np.rint(values, out=values).astype(np.int8)


def raw_encoder(spec: FrameSpec) -> FrameEncoder:
    """Return the encoder of frames that go to the policy as they are."""
    mean, inverse_sd = np.zeros((2, *spec.shape), np.float32)
    return FrameEncoder("unit", "raw", spec, mean.copy(), inverse_sd.copy())


def fit_encoder(kind: str, layout: str, spec: FrameSpec, frames: np.ndarray) -> FrameEncoder:
    """Make the encoder for a game, with the statistics of training frames (n, *shape).

    Raises:
        SpecError: unknown kind or layout, or frames that cannot be cut into 4x4 blocks.
    """
    if layout == "raw":
        return raw_encoder(spec)
    if kind not in KINDS:
        raise SpecError(f"frames must be one of {', '.join(KINDS)}, not '{kind}'")
    if layout == "blocks4" and (len(spec.shape) != 2 or any(side % 4 for side in spec.shape)):
        raise SpecError(f"frames of shape {spec.shape} cannot be cut into 4x4 blocks")
    mean = frames.mean(0, dtype=np.float64)
    spread = np.maximum(frames.std(0, dtype=np.float64), _floor(frames, spec))
    dtype = np.float64 if spec.dtype == "float64" else np.float32
    return FrameEncoder(kind, layout, spec, mean.astype(dtype), (1 / spread).astype(dtype))


def _floor(frames: np.ndarray, spec: FrameSpec) -> np.ndarray:
    """Return the least SD of each number of a frame, float64, as this module's text says."""
    low, high = frames.min(0).astype(np.float64), frames.max(0).astype(np.float64)
    if spec.is_image:
        pixels = (0, 1) if len(spec.shape) > 1 else ()
        return np.clip(SHARE * (high.max(pixels) - low.min(pixels)), SHARE, LEVELS)
    size = np.maximum(np.abs(low), np.abs(high))
    told_apart = ROUNDINGS * np.finfo(spec.dtype).eps * size
    still = LEAST * np.where(size > 0, size, 1.0)
    return np.where(high > low, np.maximum(LEAST * (high - low), told_apart), still)
