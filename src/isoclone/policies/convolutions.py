"""Convolutions followed by ReLU, as a CPU computes them soonest for small networks.

oneDNN computes 16 output channels at a time, so a first layer of one channel costs as much as one
of 16; and the gradient of a strided convolution with respect to its input costs three times the
convolution. Both are written here as other convolutions with the same sums (figures: docs/log.md).
Devices other than CPUs, and exporters, take torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Output channels of the first convolution up to which kernels are cut in two, and in four; later
# layers, of twice as many, send gradients back by phases where the first are cut.
NARROW, NARROWEST = 8, 2

Ctx = Any  # torch's context of a function, whose attributes are free


def block_conv_relu(blocks: torch.Tensor, conv: nn.Conv2d, scale: float) -> torch.Tensor:
    """Return relu(conv(scale x pictures)) of pictures in 4x4 blocks.

    No gradient goes back to the pictures.

    Args:
        blocks: (b, h/4, w/4, stack x 16).
        conv: of 8x8 kernels and stride 4; the scale is multiplied into its weights.

    Returns:
        (b, out, h/4 - 1, w/4 - 1), channels last in memory.
    """
    if _as_torch_does(blocks):
        kernel = _block_kernel(conv.weight) * scale
        return functional.relu(functional.conv2d(blocks.permute(0, 3, 1, 2), kernel, conv.bias))
    return _BlockConvRelu.apply(blocks, conv.weight, conv.bias, scale)


@torch.no_grad()
def prepared_block_conv_relu(
    conv: nn.Conv2d, scale: float, dtype: torch.dtype
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return `block_conv_relu` of one layer on a CPU, its kernels cut and cast once and for all.

    Args:
        dtype: of the blocks.
    """
    assert conv.bias is not None
    pieces, once = _pieces(conv.weight, conv.bias, scale, dtype)
    return lambda blocks: _sum_pieces(blocks, pieces, once, conv.out_channels)


def conv_relu(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """Return relu(conv(x)), (b, out, h', w') of (b, in, h, w); its stride divides its kernels."""
    if _as_torch_does(x) or conv.out_channels > 2 * NARROW:
        return functional.relu(conv(x))
    return _ConvRelu.apply(x, conv.weight, conv.bias, conv.stride[0])


def _as_torch_does(x: torch.Tensor) -> bool:
    return x.device.type != "cpu" or torch.compiler.is_compiling()


# ---------------------------------------------------------------------- the first convolution


class _BlockConvRelu(torch.autograd.Function):
    """A convolution of 2x2 kernels over blocks; kernels of few outputs are cut into pieces.

    Each piece of a kernel is an output channel of its own, and every sum takes the results of its
    pieces from neighbouring places.
    """

    @staticmethod
    def forward(
        ctx: Ctx, blocks: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, scale: float
    ) -> torch.Tensor:
        pieces, once = _pieces(weight, bias, scale, blocks.dtype)
        y = _sum_pieces(blocks, pieces, once, len(weight))
        ctx.save_for_backward(blocks, pieces, y)
        ctx.cut, ctx.scale, ctx.dtype = _cut_of(len(weight)), scale, bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        blocks, pieces, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        db = grad.sum((0, 2, 3), dtype=ctx.dtype)
        dw = _piece_gradients(_dealt(grad, ctx.cut), blocks, pieces).to(ctx.dtype)
        dw = _unblock(_put_together(dw, ctx.cut)) * ctx.scale
        return None, dw, db, None


def _pieces(
    weight: torch.Tensor, bias: torch.Tensor, scale: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pieces of kernels, and the bias of each: in one piece of each sum."""
    pieces = _cut(_block_kernel(weight), _cut_of(len(weight))) * scale
    once = functional.pad(bias, (0, len(pieces) - len(weight)))
    return pieces.to(dtype), once.to(dtype)


def _sum_pieces(
    blocks: torch.Tensor, pieces: torch.Tensor, once: torch.Tensor, out: int
) -> torch.Tensor:
    """Return the sums of `out` channels after ReLU, channels last in memory."""
    y, cut = functional.conv2d(blocks.permute(0, 3, 1, 2), pieces, once), _cut_of(out)
    if cut != (1, 1):
        sums = torch.promote_types(y.dtype, torch.float32)
        found = y.permute(0, 2, 3, 1).to(sums).unflatten(3, (*cut, out))
        y = reduce(torch.add, _views(found)).to(blocks.dtype).permute(0, 3, 1, 2)
    return y.relu_()


def _block_kernel(weight: torch.Tensor) -> torch.Tensor:
    """Return weights (out, stack, 8, 8) as (out, stack x 16, 2, 2), for 4x4 blocks."""
    out, stack = weight.shape[:2]
    parts = weight.reshape(out, stack, 2, 4, 2, 4).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(out, stack * 16, 2, 2).contiguous(memory_format=torch.channels_last)


def _unblock(kernel: torch.Tensor) -> torch.Tensor:
    """Undo `_block_kernel`."""
    parts = kernel.unflatten(1, (-1, 4, 4)).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(len(kernel), -1, 8, 8)


Cut = tuple[int, int]  # rows and columns of the pieces of a 2x2 kernel


def _cut_of(out: int) -> Cut:
    if out <= NARROWEST:
        return 2, 2
    return (2, 1) if out <= NARROW else (1, 1)


def _cut(kernel: torch.Tensor, cut: Cut) -> torch.Tensor:
    """Return kernels (out, in, 2, 2) as pieces (rows x columns x out, in, 2/rows, 2/columns)."""
    if cut == (1, 1):
        return kernel
    (rows, columns), (out, channels) = cut, kernel.shape[:2]
    pieces = kernel.reshape(out, channels, rows, 2 // rows, columns, 2 // columns)
    pieces = pieces.permute(2, 4, 0, 1, 3, 5).flatten(0, 2)
    return pieces.contiguous(memory_format=torch.channels_last)


def _put_together(pieces: torch.Tensor, cut: Cut) -> torch.Tensor:
    """Undo `_cut`."""
    whole = pieces.unflatten(0, (*cut, -1)).permute(2, 3, 0, 4, 1, 5)
    return whole.reshape(*whole.shape[:2], 2, 2)


def _views(pieces: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield of (b, h, w, rows, columns, out) each piece at the places where sums take it."""
    rows, columns = pieces.shape[3:5]
    h, w = pieces.shape[1] + 1 - rows, pieces.shape[2] + 1 - columns
    for i in range(rows):
        for j in range(columns):
            yield pieces[:, i : i + h, j : j + w, i, j]


def _dealt(grad: torch.Tensor, cut: Cut) -> torch.Tensor:
    """Return the gradient of sums (b, out, h, w) as that of their pieces, channels last."""
    if cut == (1, 1):
        return grad
    (b, out, h, w), (rows, columns) = grad.shape, cut
    dealt = grad.new_zeros(b, h - 1 + rows, w - 1 + columns, rows, columns, out)
    for view in _views(dealt):
        view.copy_(grad.permute(0, 2, 3, 1))
    return dealt.flatten(3).permute(0, 3, 1, 2)


def _piece_gradients(
    grad: torch.Tensor, blocks: torch.Tensor, pieces: torch.Tensor
) -> torch.Tensor:
    if pieces.shape[2:] != (1, 1):
        return _gradients(grad, blocks.permute(0, 3, 1, 2), pieces, 1, [False, True, False])[1]
    matrix = grad.permute(0, 2, 3, 1).flatten(0, 2).t() @ blocks.flatten(0, 2)
    return matrix.view(pieces.shape)


# ---------------------------------------------------------------------- the others


class _ConvRelu(torch.autograd.Function):
    """A convolution whose gradient goes back by phases, if it is strided.

    With stride s, inputs at the places (s i + p, s j + q) meet the weights at (s d + p, s e + q)
    alone. So their gradient is a convolution of the output's gradient, of size k / s, with one
    output channel for each (p, q, in).
    """

    @staticmethod
    def forward(
        ctx: Ctx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int
    ) -> torch.Tensor:
        weight = weight.to(x.dtype)
        y = functional.conv2d(x, weight, bias.to(x.dtype), stride).relu_()
        ctx.save_for_backward(x, weight, y)
        ctx.stride, ctx.dtype = stride, bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        plain = ctx.stride == 1
        dx, dw, db = _gradients(grad, x, weight, ctx.stride, [plain, True, True])
        if not plain:
            dx = _input_gradient(grad, x, weight, ctx.stride)
        return dx, dw.to(ctx.dtype), db.to(ctx.dtype), None


def _gradients(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, wanted: list[bool]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return torch's own gradients, those of input, weights and bias that are wanted."""
    return torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        bias_sizes=[len(weight)],
        stride=[stride, stride],
        padding=[0, 0],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=wanted,
    )


def _input_gradient(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int
) -> torch.Tensor:
    """Return the gradient (b, in, h, w) with respect to `x`, channels last in memory."""
    (out, channels, k, _), (b, _, rows, columns) = weight.shape, x.shape
    each = k // stride
    kernel = weight.reshape(out, channels, each, stride, each, stride)
    kernel = kernel.permute(3, 5, 1, 0, 2, 4).reshape(-1, out, each, each).flip(2, 3)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    phases = functional.conv2d(grad, kernel, padding=each - 1).permute(0, 2, 3, 1)
    h, w = phases.shape[1:3]
    phases = phases.view(b, h, w, stride, stride, channels).transpose(2, 3)
    dx = phases.reshape(b, stride * h, stride * w, channels)
    if dx.shape[1:3] != (rows, columns):  # the last ones are never read
        dx = functional.pad(dx, (0, 0, 0, columns - dx.shape[2], 0, rows - dx.shape[1]))
    return dx.permute(0, 3, 1, 2)
