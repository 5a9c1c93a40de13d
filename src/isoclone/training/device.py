"""Devices and the precision that suits them."""

from __future__ import annotations

from isoclone.base.errors import SpecError


def precisions_on(device: str) -> list[str]:
    """Return the precisions that 'auto' chooses among: both where a CPU has instructions for both.

    On other devices it is one, known beforehand.
    """
    best = precision_for("auto", device)
    return ["float32", best] if device == "cpu" and best != "float32" else [best]


def precision_for(precision: str, device: str) -> str:
    """Return 'float32' or 'bfloat16': the recipe's precision, or what 'auto' means on a device.

    For 'auto' on a processor that is what it has instructions for. A study times both, see
    `isoclone.study.precision`.
    """
    if precision != "auto":
        return precision
    import torch

    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = device == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if fast else "float32"


def check_device(device: str) -> str:
    """Return the device, if this machine has it.

    Raises:
        SpecError: it does not.
    """
    kind = device.partition(":")[0]
    if kind == "cpu":
        return device
    import torch

    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(kind, False):
        have = ", ".join(name for name, here in there.items() if here)
        raise SpecError(f"device '{device}' is not available here (available: {have})")
    return device


def found_device(device: str) -> str:
    """Return the device, if this machine has it; 'auto' is a GPU of CUDA's, else the CPU.

    Raises:
        SpecError: it does not.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return check_device(device)
