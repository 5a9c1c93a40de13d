"""Moving tensors to a device without waiting for it."""

from __future__ import annotations

import torch


def to_device(tensor: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """Return a tensor on a device; it may still be on its way, which later work there awaits.

    Memory that the system may page out cannot be copied beside other work, so that of a tensor for
    CUDA is pinned first.
    """
    device = torch.device(device)
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
