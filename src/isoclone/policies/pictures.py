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

LEAST_SIDE = 36  # of a picture that the kernels of the paper fit into
SECOND, THIRD = 8, 20  # sides from which these layers have stride 2


class PictureCnn(nn.Module):
    """Three convolutions and a linear layer on frames as they lie, channels last."""

    layout = "rows"

    def __init__(self, width: int, frame: FrameSpec, n_actions: int):
        super().__init__()
        if frame.picture is None:
            raise SpecError(
                f"policy 'cnn' needs pictures, not frames of shape {frame.shape}; 'mlp' takes any"
            )
        h, w, channels = frame.picture
        sizes = [frame.stack * channels, width, 2 * width, 2 * width]
        layers = [(8, 4, 0), (4, 2, 0), (3, 1, 0)]  # kernel, stride, padding
        if min(h, w) < LEAST_SIDE:
            second, third = (1 + (min(h, w) >= side) for side in (SECOND, THIRD))
            layers = [(3, 1, 1), (3, second, 1), (3, third, 1)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(sizes[k], sizes[k + 1], kernel, stride, padding)
            for k, (kernel, stride, padding) in enumerate(layers)
        )
        for kernel, stride, padding in layers:
            h, w = ((side + 2 * padding - kernel) // stride + 1 for side in (h, w))
        self._channels_last = len(frame.shape) == 3
        self.size = 2 * width * h * w  # numbers in `features`
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
