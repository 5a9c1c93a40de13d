"""The policy `glance`: one hidden layer."""

from __future__ import annotations

import torch

from isoclone.games import FrameSpec


class Glance(torch.nn.Module):
    """One hidden layer of `width` units."""

    def __init__(self, width: int, frame: FrameSpec, n_actions: int):
        super().__init__()
        self.first = torch.nn.Linear(frame.stack * frame.size, width)
        self.last = torch.nn.Linear(width, n_actions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (b, n_actions) for observations (b, stack, 3)."""
        return self.last(torch.tanh(self.first(x.flatten(1))))
