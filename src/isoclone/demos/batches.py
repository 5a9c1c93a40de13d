"""Batches for training: the stacks of frames of rows, gathered as tensors."""

from __future__ import annotations

import numpy as np
import torch

from isoclone.base.device import to_device
from isoclone.demos.cache import FrameCache


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
        return to_device(stacks, self._device), to_device(actions, self._device)


def _fits(codes: torch.Tensor, device: torch.device) -> bool:
    if device.type == "cpu":
        return False
    if device.type == "cuda":
        return codes.nbytes < 0.6 * torch.cuda.mem_get_info(device)[0]
    return True


def gather_stacks(codes: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return the rows `index` (b, stack) int64 of `codes` (n, size): (b, stack, size)."""
    frames = codes.index_select(0, to_device(index, codes.device).reshape(-1))
    return frames.view(*index.shape, -1)
