"""FLOPs per training sample, layer by layer, under named conventions.

A multiply-add counts as two FLOPs, in convolutions and products of matrices; biases, activations,
normalisations, embeddings, a scan over steps and the optimiser are not counted. The backward pass
costs a layer twice its forward pass: once for the gradient of its weights, once for that of its
input. A layer that reads the observation itself needs no gradient of its input.

| convention        | per sample                                             | source           |
|-------------------|--------------------------------------------------------|------------------|
| `exact`           | forward and backward, as they are computed             | torch's counter  |
| `3x-forward`      | 3 x forward, the input's gradient counted though unused| common           |
| `6nd`             | 6 x parameters                                         | Kaplan, Tuyls    |
| `tuyls2023-atari` | 3 x forward, each convolution at its *input* resolution| Tuyls            |

Tests check `exact` against `torch.utils.flop_counter`. Kaplan et al. 2020; Tuyls et al. 2023, who
use `6nd` for their recurrent policies and the last one for Atari.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoclone.base.errors import UnknownNameError

LEAST_SIDE = 36  # of a picture that the kernels of the paper fit into
SECOND, THIRD = 8, 20  # sides of smaller ones from which these layers have stride 2
CONVENTIONS = ("exact", "3x-forward", "6nd", "tuyls2023-atari")


@dataclass(frozen=True)
class Conv2d:
    """A square convolution; sizes in channels and pixels, `padding` at each edge."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    in_size: tuple[int, int]
    padding: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        """(height, width) of the output."""
        h, w = (side + 2 * self.padding - self.kernel for side in self.in_size)
        return h // self.stride + 1, w // self.stride + 1

    @property
    def params(self) -> int:
        """Weights and biases."""
        return self.out_channels * (self.in_channels * self.kernel**2 + 1)

    def forward_flops(self, convention: str = "exact") -> int:
        """Return 2 x positions x out x in x kernel^2; the convention counts the positions."""
        h, w = self.in_size if convention == "tuyls2023-atari" else self.out_size
        return 2 * h * w * self.out_channels * self.in_channels * self.kernel**2


@dataclass(frozen=True)
class Linear:
    """A fully connected layer."""

    in_features: int
    out_features: int

    @property
    def params(self) -> int:
        """Weights and biases."""
        return self.out_features * (self.in_features + 1)

    def forward_flops(self, convention: str = "exact") -> int:
        """Return 2 x in x out, the same under every convention."""
        return 2 * self.in_features * self.out_features


Layer = Conv2d | Linear


def count_params(layers: Sequence[Layer]) -> int:
    """Count the trainable parameters of a stack of layers."""
    return sum(layer.params for layer in layers)


def flops_per_sample(layers: Sequence[Layer], convention: str = "exact") -> float:
    """Return the FLOPs to train on one sample, forward and backward; the first layer reads it.

    Raises:
        UnknownNameError: the convention is not one of `CONVENTIONS`.
    """
    if convention not in CONVENTIONS:
        raise UnknownNameError("FLOP convention", convention, list(CONVENTIONS))
    if convention == "6nd":
        return 6.0 * count_params(layers)
    forward = [layer.forward_flops(convention) for layer in layers]
    return 3.0 * sum(forward) - (forward[0] if convention == "exact" else 0)


def cnn_layers(
    width: int, n_actions: int, frame: tuple[int, int] = (84, 84), stack: int = 4
) -> list[Layer]:
    """Return the layers of Tuyls et al. (after Mnih et al. 2015, without its hidden layer).

    Conv(stack, w, 8, stride 4), Conv(w, 2w, 4, stride 2), Conv(2w, 2w, 3), Linear(., actions).
    """
    first = Conv2d(stack, width, 8, 4, frame)
    second = Conv2d(width, 2 * width, 4, 2, first.out_size)
    third = Conv2d(2 * width, 2 * width, 3, 1, second.out_size)
    h, w = third.out_size
    return [first, second, third, Linear(2 * width * h * w, n_actions)]


def picture_layers(
    width: int, n_actions: int, picture: tuple[int, int, int], stack: int
) -> list[Layer]:
    """Return the layers of `cnn` on pictures (height, width, channels), see `policies.pictures`."""
    h, w, channels = picture
    if min(h, w) >= LEAST_SIDE:
        return cnn_layers(width, n_actions, (h, w), stack * channels)
    second, third = (1 + (min(h, w) >= side) for side in (SECOND, THIRD))
    layers: list[Layer] = []
    sizes, size = [stack * channels, width, 2 * width, 2 * width], (h, w)
    for k, stride in enumerate((1, second, third)):
        layer = Conv2d(sizes[k], sizes[k + 1], 3, stride, size, 1)
        layers.append(layer)
        size = layer.out_size
    return [*layers, Linear(2 * width * size[0] * size[1], n_actions)]


def mlp_layers(width: int, n_actions: int, size: int) -> list[Layer]:
    """Return the layers of `mlp` on `size` numbers: two hidden ones of `width` units."""
    return [Linear(size, width), Linear(width, width), Linear(width, n_actions)]


def cnn_params(width: int, n_actions: int, stack: int = 4) -> int:
    """Count the parameters of the paper's CNN on 84x84 frames.

    >>> cnn_params(1, 4), cnn_params(23, 4), cnn_params(266, 4)
    (725, 50995, 4985110)
    """
    return count_params(cnn_layers(width, n_actions, stack=stack))


def cnn_flops_per_sample(
    width: int,
    n_actions: int,
    convention: str = "exact",
    frame: tuple[int, int] = (84, 84),
    stack: int = 4,
) -> float:
    """Return the FLOPs to train the paper's CNN on one sample.

    >>> ratio = cnn_flops_per_sample(1, 4, "tuyls2023-atari") / cnn_flops_per_sample(1, 4)
    >>> round(ratio, 1)
    25.0
    """
    return flops_per_sample(cnn_layers(width, n_actions, frame, stack), convention)
