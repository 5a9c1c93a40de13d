"""`cnn`: the network of Tuyls et al. for Atari; `width` alone sets its size.

This file is about grey pictures whose sides divide by 4; `policies/pictures.py` has all others.

Conv(stack, w, 8, stride 4) - ReLU - Conv(w, 2w, 4, stride 2) - ReLU - Conv(2w, 2w, 3) - ReLU -
Linear(., actions).

The first convolution reads 8x8 patches every 4 pixels of 4 channels: CPUs and GPUs are slow with so
few channels. Cut into 4x4 blocks the same frames have 16 x stack channels, and the same
convolution is one of 2x2 blocks with stride 1: the same sums, the same FLOPs, two to three times
as fast (`policies/convolutions.py`). The weights are kept in the usual order. `input_scale` is
multiplied into them, not the pictures, so that codes are only converted to floats, which is exact.

The last layer reads the activations place by place, as they lie in memory: the same network, its
inputs in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import nn

from isoclone.games import FrameSpec
from isoclone.policies.convolutions import block_conv_relu, conv_relu, prepared_block_conv_relu
from isoclone.policies.flops import Linear, cnn_layers
from isoclone.policies.kernels import KINDS, Kernels
from isoclone.policies.known import in_blocks
from isoclone.policies.pictures import PictureCnn


def make_cnn(width: int, frame: FrameSpec, n_actions: int) -> Cnn | PictureCnn:
    """Make the network that suits a picture: on 4x4 blocks where the frame can be cut into them.

    Raises:
        SpecError: the frame is no picture.
    """
    if in_blocks(frame):
        return Cnn(width, frame, n_actions)
    return PictureCnn(width, frame, n_actions)


class Cnn(nn.Module):
    """The paper's CNN on frames cut into 4x4 blocks; codes are multiplied by `input_scale`."""

    layout = "blocks4"
    input_scale = 1.0
    kernels: Kernels | None = None  # that compute in torch's place, see `kernels.take_kernels`

    def __init__(self, width: int, frame: FrameSpec, n_actions: int):
        super().__init__()
        last = cnn_layers(width, n_actions, (frame.shape[0], frame.shape[1]), frame.stack)[-1]
        assert isinstance(last, Linear)
        self.conv1 = nn.Conv2d(frame.stack, width, 8, 4)
        self.conv2 = nn.Conv2d(width, 2 * width, 4, 2)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, 1)
        self.size = last.in_features  # numbers in `features`
        self._sides = frame.shape[0] // 4, frame.shape[1] // 4
        self.head: nn.Module = nn.Linear(last.in_features, n_actions)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def takes_codes(self) -> bool:
        """Whether codes need not be made floats first."""
        return self.kernels is not None

    def forward(self, blocks: torch.Tensor) -> torch.Tensor:
        """Return logits (b, n_actions) of codes (b, h/4, w/4, stack x 16), floats or bytes."""
        return self.head(self.features(blocks))

    def features(self, blocks: torch.Tensor) -> torch.Tensor:
        """Return the last activations (b, size) for codes (b, h/4, w/4, stack x 16)."""
        if self.kernels and _suits_kernels(blocks):
            layers = self.conv1, self.conv2, self.conv3
            return self.kernels.features(blocks, self.input_scale, *layers)
        blocks = blocks if blocks.is_floating_point() else blocks.float()
        x = block_conv_relu(blocks, self.conv1, self.input_scale)
        x = conv_relu(x, self.conv2)
        x = conv_relu(x, self.conv3)
        return x.permute(0, 2, 3, 1).flatten(1)

    @torch.no_grad()
    def prepared(self, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `forward` on a CPU with these weights, cut and cast once: for play alone.

        Bits are those of `forward`, under autocast where `dtype` is bfloat16.
        """
        if self.kernels:
            last = deepcopy(self.head).to(dtype)
            return lambda blocks: last(self.features(blocks).to(dtype))
        conv1 = prepared_block_conv_relu(self.conv1, self.input_scale, dtype)
        conv2, conv3, head = (deepcopy(x).to(dtype) for x in (self.conv2, self.conv3, self.head))

        def logits(blocks: torch.Tensor) -> torch.Tensor:
            x = conv3(conv2(conv1(blocks)).relu_()).relu_()
            return head(x.permute(0, 2, 3, 1).flatten(1))

        return logits

    def own_kernels(self, dtype: torch.dtype) -> Kernels:
        """Return the kernels, not compiled yet, that can compute these convolutions."""
        return Kernels(self.conv1.out_channels, self.conv1.in_channels, *self._sides, dtype)

    def without_head(self) -> Cnn:
        """Drop the last layer, for a module that reads `features` alone."""
        self.head = nn.Identity()
        return self


def _suits_kernels(blocks: torch.Tensor) -> bool:
    """Return whether kernels can take a batch: in this machine's memory, and not traced."""
    plain = blocks.device.type == "cpu" and blocks.dtype in KINDS
    return plain and not torch.compiler.is_compiling() and not torch.jit.is_tracing()
