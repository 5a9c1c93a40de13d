"""All parameters of a module as one vector.

The optimiser, the average of the weights and the saved state each deal with one long vector
instead of many short tensors: for networks this small, that halves a step's overhead. Several
processes also add up their gradients as one vector.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.adam import adam

State = dict[str, torch.Tensor]


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

    def saved(self, average: torch.Tensor, optimiser: Adam) -> State:
        """Return an average (n,) and the state of `values`' optimiser as tensors for a file.

        Each parameter's part is a tensor of its own, in the usual order of its elements: the file
        does not depend on how parameters lie in memory.
        """
        tensors = self._apart("average", average)
        for name, value in optimiser.state.items():
            kind = f"adam.{name}"
            tensors |= self._apart(kind, value) if value.dim() else {kind: value}
        return tensors

    def holds(self, tensors: State) -> bool:
        """Return whether a file's tensors are what `saved` makes for these parameters, or older."""
        return all(self._fits(kind, tensors) for kind in ("average", *_kinds(tensors)))

    def restore(self, tensors: State, average: torch.Tensor, optimiser: Adam) -> None:
        """Load what `saved` returned, from tensors that hold it."""
        average.copy_(self._vector("average", tensors))
        for kind in _kinds(tensors):
            optimiser.state[kind.partition(".")[2]].copy_(self._vector(kind, tensors))

    def _apart(self, kind: str, vector: torch.Tensor) -> State:
        return {f"{kind}.{name}": part for name, part in self.views(vector).items()}

    def _fits(self, kind: str, tensors: State) -> bool:
        whole = tensors.get(kind)
        if whole is not None:
            return whole.dim() == 0 or whole.shape == self.values.shape
        wanted = {f"{kind}.{name}": shape for name, shape, _, _ in self._layout}
        return not wanted.items() - {name: part.shape for name, part in tensors.items()}.items()

    def _vector(self, kind: str, tensors: State) -> torch.Tensor:
        """Return a vector (n,), or a number, from a file's tensors.

        Older files hold a vector whole, as it lay in memory. Their runs knew one memory layout
        only, that which the policy is made with, and so have these parameters.
        """
        if kind in tensors:
            return tensors[kind]
        vector = self.values.detach().clone()
        for name, part in self.views(vector).items():
            part.copy_(tensors[f"{kind}.{name}"])
        return vector

    def zero_grad(self) -> None:
        """Set the gradients to zero, in place."""
        assert self.values.grad is not None
        self.values.grad.zero_()


class Adam:
    """Adam (Kingma and Ba 2015) of one vector, its update a single operation where there is one.

    It is torch's, without its class: to make one of those imports torch's compiler, a second of
    every process. `rate` is the learning rate of the next step, `state` what it keeps: the number
    of steps, and running means of the gradient and of its square (n,), by torch's names.
    """

    def __init__(
        self,
        values: nn.Parameter,
        rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        self.rate, self._values = rate, values
        self._beta1, self._beta2 = betas
        self._eps, self._weight_decay = eps, weight_decay
        self._fused = values.device.type in ("cpu", "cuda")
        self.state: State = {
            "step": torch.zeros((), device=values.device if self._fused else "cpu"),
            "exp_avg": torch.zeros_like(values.data),
            "exp_avg_sq": torch.zeros_like(values.data),
        }

    @torch.no_grad()
    def step(self) -> None:
        """Update the vector by its gradient."""
        values, state = self._values, self.state
        assert values.grad is not None
        adam(
            [values],
            [values.grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            fused=self._fused,
            amsgrad=False,
            beta1=self._beta1,
            beta2=self._beta2,
            lr=self.rate,
            weight_decay=self._weight_decay,
            eps=self._eps,
            maximize=False,
        )


def _kinds(tensors: State) -> list[str]:
    """Return what an optimiser keeps, by the names in a file: 'adam.step', 'adam.exp_avg'."""
    return sorted({".".join(name.split(".")[:2]) for name in tensors if name.startswith("adam.")})
