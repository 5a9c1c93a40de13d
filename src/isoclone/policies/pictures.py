"""`cnn` on pictures that are not cut into blocks: in colour, with channels, small, or any size.

From sides of 36 on it is the network of `policies/cnn.py` on frames as they lie. Smaller pictures,
those of MiniGrid and MinAtar among them, are read by three convolutions of 3x3 that keep the
edges: Conv(., w) - ReLU - Conv(w, 2w) - ReLU - Conv(2w, 2w) - ReLU - Linear(., actions), the second
with stride 2 from sides of 8 on and the third from sides of 20 on.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from isoclone.base.errors import SpecError
from isoclone.games import FrameSpec
from isoclone.policies.flops import Conv2d, Linear, picture_layers


class PictureCnn(nn.Module):
    """Three convolutions and a linear layer on frames as they lie, channels last."""

    layout = "rows"

    def __init__(self, width: int, frame: FrameSpec, n_actions: int):
        super().__init__()
        if frame.picture is None:
            raise SpecError(
                f"policy 'cnn' needs pictures, not frames of shape {frame.shape}; 'mlp' takes any"
            )
        *convolutions, last = picture_layers(width, n_actions, frame.picture, frame.stack)
        assert isinstance(last, Linear)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(each.in_channels, each.out_channels, each.kernel, each.stride, each.padding)
            for each in convolutions
            if isinstance(each, Conv2d)
        )
        self._channels_last = len(frame.shape) == 3
        self.size = last.in_features  # numbers in `features`
        self.head: nn.Module = nn.Linear(self.size, n_actions)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return logits (b, n_actions) of frames (b, stack, h, w) or (b, stack, h, w, channels)."""
        return self.head(self.features(frames))

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the last activations (b, size) for frames as in `forward`."""
        x = frames.permute(0, 1, 4, 2, 3).flatten(1, 2) if self._channels_last else frames
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
        return x.flatten(1)

    def without_head(self) -> PictureCnn:
        """Drop the last layer, for a module that reads `features` alone."""
        self.head = nn.Identity()
        return self
