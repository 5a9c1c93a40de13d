"""What the cores share: each turns (steps, lanes, width) into the same, and carries a state.

A state is a dict of tensors whose first dimension is the lane (one game being read or played).
Reading many steps at once and reading them one by one give the same outputs and the same state; a
step marked in `starts` begins a game and sees nothing of what was before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from isoclone.base.errors import UnknownNameError

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]

CORES = ("lstm", "mamba", "transformer")


def make_core(name: str, width: int, layers: int | None, context: int) -> nn.Module:
    """The core of that name; `layers` None means 1 for the LSTM and 2 for the others.

    Raises:
        UnknownNameError: no such core.
    """
    if name == "lstm":
        from isoclone.nethack.policy.lstm import Lstm

        return Lstm(width, layers or 1)
    if name == "transformer":
        from isoclone.nethack.policy.transformer import Transformer

        return Transformer(width, layers or 2, context)
    if name == "mamba":
        from isoclone.nethack.policy.mamba import Mamba

        return Mamba(width, layers or 2)
    raise UnknownNameError("core", name, list(CORES))
