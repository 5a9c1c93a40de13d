"""From stacks of encoded frames to the observations that a policy's `forward` takes."""

from __future__ import annotations

from typing import Any

import torch

from isoclone.policies.encode import FrameEncoder


def observe(
    module: torch.nn.Module, codes: torch.Tensor, encoder: FrameEncoder, dtype: torch.dtype
) -> Any:
    """Turn stacks of encoded frames into the observations that a policy's `forward` takes.

    Args:
        codes: (..., stack, size) of the encoder's dtype, contiguous.

    Returns:
        Floats (..., stack, *shape) for layout 'rows' and (..., h/4, w/4, stack x 16) for
        'blocks4', or its codes where the module `takes_codes`; for 'raw' what the policy's own
        `observe(codes)` makes of them.
    """
    if encoder.layout == "raw":
        return module.observe(codes)  # type: ignore[operator]
    if getattr(module, "takes_codes", False):
        return arrange(codes, encoder)
    return to_input(arrange(codes, encoder), encoder, dtype)


def arrange(stacks: torch.Tensor, encoder: FrameEncoder) -> torch.Tensor:
    """Return stacks of encoded frames (..., stack, size), contiguous, in the policy's layout."""
    *lead, stack, _ = stacks.shape
    if encoder.layout == "rows":
        return stacks.view(*lead, stack, *encoder.spec.shape)
    h, w = encoder.spec.shape
    # A block is 16 bytes, the size of one complex128: whole blocks are moved, not bytes.
    turned = stacks.view(torch.complex128).transpose(-2, -1).contiguous()
    return turned.view(stacks.dtype).view(*lead, h // 4, w // 4, stack * 16)


def to_input(codes: torch.Tensor, encoder: FrameEncoder, dtype: torch.dtype) -> torch.Tensor:
    """Return codes as floats, scaled unless the policy does that itself ('blocks4')."""
    if encoder.scale == 1 or encoder.layout == "blocks4":
        return codes.to(dtype)
    return codes.float().mul_(encoder.scale).to(dtype)
