"""How a policy's weights lie in memory: two orders of the same numbers, of which one is faster.

Which one depends on processor, precision and size. A study measures it, see
`isoclone.study.precision`; sums are rounded in another order, so it is part of a run's identity.
"""

from __future__ import annotations

import torch
from torch import nn


def has_choice(module: nn.Module) -> bool:
    """Return whether a module's weights would lie otherwise with channels last.

    Those of linear layers would not, nor those of a module that is made with channels last.
    """
    return any(_pictures(p) and not _is_last(p) for p in module.parameters())


def arranged(module: nn.Module, memory_format: str) -> nn.Module:
    """Return the module, its convolutions' weights laid in memory as named; done in place.

    'contiguous' leaves the weights as the module is made.
    """
    if memory_format == "channels_last":
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def _pictures(p: torch.Tensor) -> bool:
    return p.dim() == 4


def _is_last(p: torch.Tensor) -> bool:
    return p.is_contiguous(memory_format=torch.channels_last)
