"""Batches for training: the order of the rows, and gathering their stacks of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isoclone.demos.cache import FrameCache
from isoclone.demos.encode import FrameEncoder


class Batches:
    """Observations gathered from a cache, as tensors of codes.

    On a CUDA or MPS device the frames are copied there once, if they fit; otherwise, and on a
    CPU, they are gathered from the memory-mapped file.
    """

    def __init__(self, cache: FrameCache, device: str = "cpu"):
        self.cache = cache
        self._device = torch.device(device)
        codes = torch.from_numpy(cache.codes)
        self._codes = codes.to(self._device) if _fits(codes, self._device) else codes
        self._actions = torch.from_numpy(cache.actions)

    def gather(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return codes (b, stack, size) and actions (b,) int64 of (b,) rows, on the device."""
        index = torch.from_numpy(self.cache.stack_rows(rows))
        stacks = gather_stacks(self._codes, index)
        actions = self._actions[torch.from_numpy(rows)]
        return stacks.to(self._device), actions.to(self._device)


def _fits(codes: torch.Tensor, device: torch.device) -> bool:
    if device.type == "cpu":
        return False
    if device.type == "cuda":
        return codes.nbytes < 0.6 * torch.cuda.mem_get_info(device)[0]
    return True


def gather_stacks(codes: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return the rows `index` (b, stack) int64 of `codes` (n, size): (b, stack, size)."""
    frames = codes.index_select(0, index.to(codes.device).reshape(-1))
    return frames.view(*index.shape, -1)


def observe(
    module: torch.nn.Module, codes: torch.Tensor, encoder: FrameEncoder, dtype: torch.dtype
) -> Any:
    """Turn stacks of encoded frames into the observations that a policy's `forward` takes.

    Args:
        codes: (..., stack, size) of the encoder's dtype, contiguous.

    Returns:
        Floats (..., stack, *shape) for layout 'rows' and (..., h/4, w/4, stack x 16) for
        'blocks4'; for 'raw' what the policy's own `observe(codes)` makes of them.
    """
    if encoder.layout == "raw":
        return module.observe(codes)  # type: ignore[operator]
    return to_input(arrange(codes, encoder), encoder, dtype)


def arrange(stacks: torch.Tensor, encoder: FrameEncoder) -> torch.Tensor:
    """Return stacks of encoded frames (..., stack, size), contiguous, in the policy's layout."""
    *lead, stack, _ = stacks.shape
    if encoder.layout == "rows":
        return stacks.view(*lead, stack, *encoder.spec.shape)
    h, w = encoder.spec.shape
    # A block is 16 bytes, the size of one complex128: whole blocks are moved, not bytes.
    turned = stacks.view(torch.complex128).transpose(-2, -1).contiguous()
    return turned.view(stacks.dtype).view(*lead, h // 4, w // 4, stack * 16)


def to_input(codes: torch.Tensor, encoder: FrameEncoder, dtype: torch.dtype) -> torch.Tensor:
    """Return codes as floats, scaled unless the policy does that itself ('blocks4')."""
    if encoder.scale == 1 or encoder.layout == "blocks4":
        return codes.to(dtype)
    return codes.float().mul_(encoder.scale).to(dtype)


class Order:
    """The order in which training rows are seen: a fresh shuffle for each epoch.

    Sample number i is a function of the seed and i alone, so training resumes anywhere.
    """

    def __init__(self, rows: np.ndarray, seed: int):
        self._rows, self._seed = rows, seed
        self._epoch, self._shuffled = -1, rows

    def take(self, start: int, count: int) -> np.ndarray:
        """Return the rows of samples `start` to `start + count`, (count,) int64."""
        parts: list[Any] = []
        while count:
            epoch, offset = divmod(start, len(self._rows))
            part = self._shuffle(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def _shuffle(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._epoch, self._shuffled = epoch, rng.permutation(self._rows)
        return self._shuffled
