"""One run trained by several processes (torchrun): which of them we are, and sums over all.

Every process, a *rank*, holds the whole policy, computes the gradient of its own share of each
batch, and adds it to the others'; so all take the same steps. Rank 0 leads: it alone writes files.
A process by itself is rank 0 of one, and nothing here costs it anything.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

PATIENCE = timedelta(days=2)  # of ranks that wait while rank 0 evaluates


def size() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which one this process is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def leads() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def share(count: int) -> slice:
    """This rank's part of `count` things in a row; the first ranks have one more if need be."""
    each, left = divmod(count, size())
    start = rank() * each + min(rank(), left)
    return slice(start, start + each + (rank() < left))


def add_up(tensor: torch.Tensor) -> None:
    """Replace a tensor by its sum over all ranks, bit for bit the same on each."""
    if size() > 1:
        dist.all_reduce(tensor)


def total(value: float) -> float:
    """The sum of a number over all ranks."""
    if size() == 1:
        return value
    summed = torch.tensor([value], dtype=torch.float64, device=_device())
    dist.all_reduce(summed)
    return float(summed)


def any_of(flag: bool) -> bool:
    """Whether a flag is set on any rank."""
    return total(float(flag)) > 0


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """All ranks' tensors one after the other, along dimension 0."""
    if size() == 1:
        return tensor
    parts: list[torch.Tensor | None] = [None] * size()
    dist.all_gather_object(parts, tensor.cpu())
    return torch.cat([part for part in parts if part is not None])


def wait() -> None:
    """Go on when every rank is here."""
    any_of(False)


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Be one of torchrun's processes, if this is one; yields the device that is this rank's.

    The group and its threads are gone at the end. `torch.distributed.nn` (which the first optimizer
    brings in) keeps as default arguments whatever group there is when it is imported: it must come
    first, or gloo's threads live on into the interpreter's end, where one that asks for the lock
    aborts the process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    cuda = device.startswith("cuda")
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        dist.destroy_process_group()
