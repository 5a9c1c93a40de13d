"""Train one run by several processes (torchrun): the number of this one, and sums over all.

Every process holds the whole policy, computes the gradient of its own share of each batch, and adds
it to the others'; so all take the same steps. Process 0 leads: it alone writes files. A process
without torchrun has number 0 of 1, and nothing is communicated; torch is not imported for it, as a
study with nothing left to do needs it for nothing else.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(days=2)  # of processes that wait while process 0 evaluates


def size() -> int:
    """Return how many processes train together."""
    group = _group()
    return group.get_world_size() if group else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    group = _group()
    return group.get_rank() if group else 0


def _group() -> Any:
    """Return `torch.distributed` if this process is in a group; None if it never imported it."""
    dist: Any = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_initialized() else None


def leads() -> bool:
    """Return whether this process is the one that writes files."""
    return rank() == 0


def share(count: int) -> slice:
    """Return this process's part of `count` things in a row; the first ones get one more."""
    each, left = divmod(count, size())
    start = rank() * each + min(rank(), left)
    return slice(start, start + each + (rank() < left))


def add_up(tensor: torch.Tensor) -> None:
    """Replace a tensor by its sum over all processes, the same bits on each."""
    if size() > 1:
        _group().all_reduce(tensor)


def total(value: float) -> float:
    """Return the sum of a number over all processes."""
    if size() == 1:
        return value
    import torch

    summed = torch.tensor([value], dtype=torch.float64, device=_device())
    add_up(summed)
    return float(summed)


def any_of(flag: bool) -> bool:
    """Return whether a flag is set in any process."""
    return total(float(flag)) > 0


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """Return all processes' tensors one after the other, along dimension 0."""
    if size() == 1:
        return tensor
    import torch

    parts: list[torch.Tensor | None] = [None] * size()
    _group().all_gather_object(parts, tensor.cpu())
    return torch.cat([part for part in parts if part is not None])


def wait() -> None:
    """Wait until every process has called this."""
    any_of(False)


def _device() -> str:
    return "cuda" if _group().get_backend() == "nccl" else "cpu"


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join torchrun's group if this is one of its processes; yield the device of this process.

    At the end the group is left, and its threads stop. `torch.distributed.nn`, which the first
    optimizer imports, keeps the group that exists at that time as a default argument. It is
    imported before the group is made; otherwise gloo's threads run until the interpreter ends, and
    a thread that asks for the interpreter's lock then aborts the process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    import torch
    import torch.distributed as dist

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
