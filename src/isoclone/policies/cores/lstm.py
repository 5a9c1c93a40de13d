"""The `lstm` core: residual layers of Hochreiter and Schmidhuber's cell with forget gates."""

from __future__ import annotations

import torch
from torch import nn

from isoclone.policies.cores.base import State


class Lstm(nn.Module):
    """LSTM layers on (steps, lanes, width); state 'h' and 'c', (lanes, layers, width) each."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.width, self.layers = width, layers
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.inputs = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(layers))
        self.recurrent = nn.ModuleList(
            nn.Linear(width, 4 * width, bias=False) for _ in range(layers)
        )
        for layer in self.inputs:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.bias)
            nn.init.ones_(layer.bias[width : 2 * width])  # the forget gate is open at first

    def initial_state(self, lanes: int) -> State:
        """Return a state of zeros."""
        some = next(self.parameters()).detach()
        zeros = some.new_zeros(lanes, self.layers, self.width)
        return {"h": zeros, "c": zeros.clone()}

    def forward(
        self, x: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Return the output, in the shape of `x`, and the new state.

        Where `starts` (steps, lanes) is True, a game begins and the state before is forgotten.
        """
        keep = (~starts).to(x.dtype)[..., None].unbind(0)
        last_h, last_c = [], []
        for i in range(self.layers):
            y, h, c = self._layer(i, x, keep, state["h"][:, i], state["c"][:, i])
            x = x + y
            last_h.append(h)
            last_c.append(c)
        return x, {"h": torch.stack(last_h, 1), "c": torch.stack(last_c, 1)}

    def _layer(
        self,
        i: int,
        x: torch.Tensor,
        keep: tuple[torch.Tensor, ...],
        h: torch.Tensor,
        c: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        gates = self.inputs[i](self.norms[i](x))
        outputs = []
        for now, kept in zip(gates.unbind(0), keep, strict=True):
            all_gates = now + self.recurrent[i](h * kept)
            sigmoids = all_gates[:, : 3 * self.width].sigmoid()
            write, forget, show = sigmoids.chunk(3, 1)
            c = forget * (c * kept) + write * all_gates[:, 3 * self.width :].tanh()
            h = show * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), h, c
