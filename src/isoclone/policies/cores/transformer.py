"""The `transformer` core: pre-norm, rotary positions, a window of `context` screens.

Every step sees itself and the `context - 1` steps before it in the same game, also those of
earlier unrolls: their keys and values are the state, and the cache that rollouts live on. Keys are
cached before they are rotated, so that a position is where a key lies in the window now.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from isoclone.policies.cores.base import State

HEAD = 32  # numbers for each head, roughly
ROTARY_BASE = 10_000.0


class Transformer(nn.Module):
    """Transformer layers on (steps, lanes, width).

    State: 'keys' and 'values' (lanes, layers, context - 1, heads x head), and 'age' (lanes,)
    int64, how many of them belong to the present game.
    """

    def __init__(self, width: int, layers: int, context: int):
        super().__init__()
        self.context = context
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))

    def initial_state(self, lanes: int) -> State:
        """Return an empty cache of keys and values."""
        first = self.layers[0]
        assert isinstance(first, _Layer)
        size = (lanes, len(self.layers), self.context - 1, first.heads * first.head)
        empty = first.out.weight.detach().new_zeros(size)
        age = torch.zeros(lanes, dtype=torch.int64, device=empty.device)
        return {"keys": empty, "values": empty.clone(), "age": age}

    def forward(
        self, x: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Return the output, in the shape of `x`, and the new state.

        Where `starts` (steps, lanes) is True, a game begins and the state before is forgotten.
        """
        x = x.transpose(0, 1)
        seen, age = self._seen(starts.T, state["age"])
        keys, values = [], []
        for i, layer in enumerate(self.layers):
            x, k, v = layer(x, state["keys"][:, i], state["values"][:, i], seen)
            keys.append(k[:, k.shape[1] - self.context + 1 :])
            values.append(v[:, v.shape[1] - self.context + 1 :])
        new = {"keys": torch.stack(keys, 1), "values": torch.stack(values, 1), "age": age}
        return x.transpose(0, 1), new

    def _seen(self, starts: torch.Tensor, age: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys each step sees, (lanes, 1, steps, context - 1 + steps) bool; new age."""
        steps, back = starts.shape[1], self.context - 1
        query = torch.arange(steps, device=starts.device)
        key = torch.arange(-back, steps, device=starts.device)
        distance = query[:, None] - key
        in_window = (distance >= 0) & (distance < self.context)
        # A step's game begins at its last start; before the first start, `age` steps back.
        begun = torch.where(starts, query, -back - 1)
        if steps > 1:  # of a single step nothing is to be found; ONNX has no cummax
            begun = begun.cummax(1).values
        begun = torch.where(begun < 0, -age[:, None], begun)
        seen = in_window & (key >= begun[:, :, None])
        return seen[:, None], (steps - begun[:, -1]).clamp(max=back)


class _Layer(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.heads = max(1, round(width / HEAD))
        self.head = 2 * math.ceil(width / self.heads / 2)  # even: rotated in pairs
        inner = self.heads * self.head
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self,
        x: torch.Tensor,
        old_keys: torch.Tensor,
        old_values: torch.Tensor,
        seen: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the output (lanes, steps, width), and all keys and values.

        Both are (lanes, context - 1 + steps, heads x head).
        """
        q, k, v = self.qkv(self.norm(x)).chunk(3, 2)
        keys = torch.cat([old_keys, k.to(old_keys.dtype)], 1)
        values = torch.cat([old_values, v.to(old_values.dtype)], 1)
        q, rotated = self._apart(q), rotate(self._apart(keys), 0)
        q = rotate(q, keys.shape[1] - q.shape[2])
        scores = (q * self.head**-0.5) @ rotated.transpose(2, 3)
        shares = scores.float().masked_fill(~seen, -torch.inf).softmax(-1)
        mixed = (shares @ self._apart(values)).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return x, keys, values

    def _apart(self, x: torch.Tensor) -> torch.Tensor:
        """Split heads: return (lanes, steps, heads x head) as (lanes, heads, steps, head)."""
        return x.unflatten(2, (self.heads, self.head)).transpose(1, 2)


def rotate(x: torch.Tensor, first: int) -> torch.Tensor:
    """Apply rotary position embedding (Su et al. 2021) to (..., steps, head).

    Steps are counted from `first`. Numbers i and i + head/2 are rotated as a pair, by the angle
    position x base^(-2i/head).
    """
    half = x.shape[-1] // 2
    speeds = ROTARY_BASE ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(first, first + x.shape[-2], device=x.device)[:, None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)
