"""`mlp`: two hidden layers, for vectors and small pictures."""

from __future__ import annotations

import torch
from torch import nn

from isoclone.games import FrameSpec

HIDDEN = 5  # layers below the head


class Mlp(nn.Module):
    """`mlp`: two hidden layers of `width` units; for vectors and small pictures."""

    layout = "rows"

    def __init__(self, width: int, frame: FrameSpec, n_actions: int):
        super().__init__()
        self.size = width  # numbers in `features`
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(frame.stack * frame.size, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, n_actions),
        )

    @property
    def head(self) -> nn.Module:
        """The last layer, from `features` to logits."""
        return self.net[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (b, n_actions) of observations (b, stack, *frame_shape)."""
        return self.net(x)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer (b, size) of observations (b, stack, *frame_shape)."""
        return self.net[:HIDDEN](x)

    def without_head(self) -> Mlp:
        """Drop the last layer, for a module that reads `features` alone."""
        del self.net[-1]
        return self
