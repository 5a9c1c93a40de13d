"""The interface of cores: each maps (steps, lanes, width) to the same shape, and carries a state.

A state is a dict of tensors whose first dimension is the lane (one game being read or played).
Reading many steps at once and reading them one by one give the same outputs and the same state; a
step marked in `starts` begins a game and sees nothing of what was before.
"""

from __future__ import annotations

import torch

State = dict[str, torch.Tensor]


def last_starts(starts: torch.Tensor) -> torch.Tensor:
    """Return for every step the row of the last start up to it, -1 where there is none yet.

    Args:
        starts: (steps, lanes) bool.
    """
    rows = torch.arange(len(starts), device=starts.device)[:, None]
    begun = torch.where(starts, rows, -1)
    # Of a single step nothing is to be found; ONNX has no cummax.
    return begun.cummax(0).values if len(starts) > 1 else begun


def places(starts: torch.Tensor, played: torch.Tensor) -> torch.Tensor:
    """Return each step's number in its game, (steps, lanes) int64, from 0.

    Args:
        starts: (steps, lanes) bool.
        played: (lanes,) int64, steps of the present game before the first row.
    """
    rows = torch.arange(len(starts), device=starts.device)[:, None]
    begun = last_starts(starts)
    return torch.where(begun >= 0, rows - begun, rows + played)
