"""Encoding: from a game's frames to the numbers that a policy reads, one frame at a time.

Done once for each recorded frame when the cache is expanded, and once for each new frame in a
rollout; never again for the same frame, however many stacks it is part of.

| kind          | image frames (uint8)                                    | vectors (float32) |
|---------------|---------------------------------------------------------|-------------------|
| `unit`        | the byte itself, worth byte / 255                       | as they are       |
| `standardise` | int8, worth code x 10/127: (byte - mean) / SD per pixel | (x - mean) / SD   |

Mean and SD are those of the training frames. The SD is at least 10 grey levels for images, so that
a pixel that hardly ever changes does not get large values; the result is clipped at +-10. An int8
step is .079 SD, less than one grey level of a pixel with the smallest SD (.1 SD).
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
SD_FLOOR = {"uint8": 10.0, "float32": 1e-3}


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
    mean: np.ndarray  # (*shape) float32
    inverse_sd: np.ndarray  # (*shape) float32

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
        codes = self._codes(frames)
        if self.layout == "blocks4":
            h, w = self.spec.shape
            codes = codes.reshape(-1, h // 4, 4, w // 4, 4).swapaxes(2, 3)
        return np.ascontiguousarray(codes).reshape(len(frames), self.spec.size)

    def _codes(self, frames: np.ndarray) -> np.ndarray:
        if self.kind == "unit":
            return frames
        values = frames - self.mean
        values *= self.inverse_sd
        np.clip(values, -CLIP, CLIP, out=values)
        if not self.spec.is_image:
            return values
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
    spread = np.maximum(frames.std(0, dtype=np.float64), SD_FLOOR[spec.dtype])
    return FrameEncoder(
        kind, layout, spec, mean.astype(np.float32), (1 / spread).astype(np.float32)
    )
