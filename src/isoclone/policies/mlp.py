"""`mlp`: two hidden layers, for vectors and small pictures."""

from __future__ import annotations

import torch
from torch import nn

from isoclone.games import FrameSpec


class Mlp(nn.Module):
    """`mlp`: two hidden layers of `width` units; for vectors and small pictures."""

    layout = "rows"

    def __init__(self, width: int, frame: FrameSpec, n_actions: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(frame.stack * frame.size, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, n_actions),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, stack, *frame_shape) -> logits (b, n_actions)."""
        return self.net(x)
