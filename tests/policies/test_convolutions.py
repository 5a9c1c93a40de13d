"""Convolutions as CPUs compute them: sums and gradients are those of torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from isoclone.policies.convolutions import block_conv_relu, conv_relu

ATOL = {torch.float64: 1e-10, torch.float32: 1e-3}


def compared(ours, theirs, wrt, dtype):
    torch.testing.assert_close(ours, theirs, atol=ATOL[dtype], rtol=1e-4)
    grad = torch.randn_like(theirs)
    mine = torch.autograd.grad(ours, wrt, grad)
    for one, other in zip(mine, torch.autograd.grad(theirs, wrt, grad), strict=True):
        torch.testing.assert_close(one, other, atol=ATOL[dtype], rtol=1e-4)


@pytest.mark.parametrize("dtype", ATOL)
@pytest.mark.parametrize("out", [1, 2, 3, 8, 9, 20])
@pytest.mark.parametrize("grid", [(7, 6), (21, 21)])
def test_kernels_cut_into_pieces_give_the_same_sums(dtype, out, grid):
    torch.manual_seed(out)
    conv = nn.Conv2d(3, out, 8, 4).to(dtype)
    blocks = torch.randint(-9, 9, (2, *grid, 48)).to(dtype)
    pictures = blocks.view(2, *grid, 3, 4, 4).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
    theirs = functional.relu(conv(0.3 * pictures))
    compared(block_conv_relu(blocks, conv, 0.3), theirs, list(conv.parameters()), dtype)


@pytest.mark.parametrize("dtype", ATOL)
@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(20, 4, 2), (21, 4, 2), (9, 3, 1), (13, 6, 3), (10, 8, 4)]
)
def test_gradients_that_go_back_by_phases_are_the_same(dtype, side, kernel, stride):
    torch.manual_seed(side)
    conv = nn.Conv2d(5, 6, kernel, stride).to(dtype)
    x = torch.randn(2, 5, side, side + 1, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    compared(conv_relu(x, conv), functional.relu(conv(x)), [x, *conv.parameters()], dtype)


def test_bfloat16_differs_by_its_rounding_alone():
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 3, 8, 4)
    blocks = torch.randint(0, 255, (8, 21, 21, 64))
    exact = block_conv_relu(blocks.float(), conv, 1 / 255)
    rounded = block_conv_relu(blocks.bfloat16(), conv, 1 / 255)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.01, rtol=0.02)
