"""All parameters of a module as one vector.

The optimiser, the average of the weights and the saved state each deal with one long vector
instead of many short tensors: for networks this small, that halves a step's overhead. Several
processes also add up their gradients as one vector.
"""

from __future__ import annotations

import torch
from torch import nn


class FlatParameters:
    """Trainable parameters as views of `values` (n,), their gradients as views of `values.grad`.

    The module works as before; its parameters keep their shapes and memory layouts. Flatten once
    the module is on its device, and before an optimiser is made.
    """

    def __init__(self, module: nn.Module):
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self._layout = []
        start = 0
        for name, p in named:
            dense = p.data.clone(memory_format=torch.preserve_format)
            self._layout.append((name, p.shape, dense.stride(), start))
            start += p.numel()
        first = named[0][1]
        self.values = nn.Parameter(first.new_empty(start))
        self.values.grad = torch.zeros_like(self.values)
        views, gradients = self.views(self.values.data), self.views(self.values.grad)
        for name, p in named:
            views[name].copy_(p.data)
            p.data, p.grad = views[name], gradients[name]

    def views(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a vector (n,) as the module's parameters: views of it, by name."""
        return {
            name: vector.as_strided(shape, stride, vector.storage_offset() + start)
            for name, shape, stride, start in self._layout
        }

    def zero_grad(self) -> None:
        """Set the gradients to zero, in place."""
        assert self.values.grad is not None
        self.values.grad.zero_()
