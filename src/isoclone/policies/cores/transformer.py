"""The `transformer` core: pre-norm, rotary positions, a window of `context` screens.

Every step sees itself and the `context - 1` steps before it in the same game, also those of
earlier unrolls: their keys and values are the state, and the cache that rollouts live on. It is a
ring: the step with number n of a game lies in slot n mod (context - 1). Keys are rotated by their
number in the game before they are cached, so no later step touches them again; only differences of
two numbers show in the scores. Long unrolls are read in blocks of steps, whose scores are not kept
for the backward pass but computed again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from isoclone.policies.cores.base import State, last_starts, places

HEAD = 32  # numbers for each head, roughly
ROTARY_BASE = 10_000.0
BLOCK = 128  # steps whose scores are in memory together
TURN = 2**32  # parts of a turn: angles are whole numbers of them, exact however long a game


class Transformer(nn.Module):
    """Transformer layers on (steps, lanes, width).

    State: 'keys' and 'values' (lanes, layers, context - 1, heads x head), and 'played' (lanes,)
    int64, the steps of the present game so far. A single step in inference mode writes into the
    cache that it is given.
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
        played = torch.zeros(lanes, dtype=torch.int64, device=empty.device)
        return {"keys": empty, "values": empty.clone(), "played": played}

    def forward(
        self, x: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Return the output, in the shape of `x`, and the new state.

        Where `starts` (steps, lanes) is True, a game begins and the state before is forgotten.
        """
        first = self.layers[0]
        assert isinstance(first, _Layer)
        x, plan = x.transpose(0, 1), _Plan.of(starts, state["played"], self.context, first.head)
        keys, values = [], []
        for i, layer in enumerate(self.layers):
            old = state["keys"][:, i], state["values"][:, i]
            x, k, v = layer(x, old, plan)
            keys.append(k)
            values.append(v)
        new = {
            "keys": plan.cached(state["keys"], torch.stack(keys, 1)),
            "values": plan.cached(state["values"], torch.stack(values, 1)),
            "played": plan.number[:, -1] + 1,
        }
        return x.transpose(0, 1), new


class _Plan(NamedTuple):
    """What the layers of one forward pass share.

    Attributes:
        context: steps that each step sees, itself included.
        number: (lanes, steps) int64, each step's number in its game.
        begun: (lanes, steps) int64, the row at which its game began; -1 if before the first.
        played: (lanes,) int64, steps of the game before the first row.
        turns: (cos, sin) of the rotations, (lanes, 1, steps, head / 2) each.
    """

    context: int
    number: torch.Tensor
    begun: torch.Tensor
    played: torch.Tensor
    turns: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, starts: torch.Tensor, played: torch.Tensor, context: int, head: int) -> _Plan:
        """Return the plan of an unroll: starts (steps, lanes) bool, played (lanes,) int64."""
        number = places(starts, played).T
        return cls(context, number, last_starts(starts).T, played, turns(number[:, None], head))

    @property
    def back(self) -> int:
        """Slots of the cache."""
        return self.context - 1

    def held(self, played: torch.Tensor) -> torch.Tensor:
        """Return the number of the step in each slot after so many, (lanes, back); < 0: none."""
        slot = torch.arange(self.back, device=played.device)
        last = played[:, None] - 1
        return last - (last - slot) % self.back

    def sees_cached(self, rows: slice, held: torch.Tensor) -> torch.Tensor:
        """Return which cached steps each row sees, (lanes, 1, rows, slots) bool.

        Args:
            held: (lanes, slots), the numbers of cached steps.
        """
        number, begun = self.number[:, rows, None], self.begun[:, rows, None]
        held = held[:, None]
        return ((begun < 0) & (held >= 0) & (number - held < self.context))[:, None]

    def sees_new(self, rows: slice, first: int) -> torch.Tensor:
        """Return which steps from row `first` to the last of `rows` each row sees, as above."""
        row = torch.arange(rows.start, rows.stop, device=self.number.device)[:, None]
        key = torch.arange(first, rows.stop, device=self.number.device)
        near = (key <= row) & (row - key < self.context)
        return (near & (key >= self.begun[:, rows, None]))[:, None]

    def cached(self, old: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """Return the cache after the unroll.

        Args:
            old: (lanes, layers, back, numbers), the cache before.
            fresh: (lanes, layers, steps, numbers), of the unroll's steps.
        """
        steps, fresh = fresh.shape[2], fresh.to(old.dtype)
        if not self.back:
            return old
        if steps == 1 and torch.is_inference_mode_enabled():
            lanes = torch.arange(len(old), device=old.device)
            old[lanes, :, self.number[:, 0] % self.back] = fresh[:, :, 0]
            return old
        held = self.held(self.number[:, -1] + 1)
        row = held + (steps - 1 - self.number[:, -1])[:, None]
        new = take(fresh, row.clamp(min=0))
        row, held = row[:, None, :, None], held[:, None, :, None]
        return torch.where(row >= 0, new, old).masked_fill_(held < 0, 0)


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
        self, x: torch.Tensor, old: tuple[torch.Tensor, torch.Tensor], plan: _Plan
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the output (lanes, steps, width), and the steps' rotated keys and values.

        Args:
            old: cached keys and values, (lanes, context - 1, heads x head) each.
        """
        q, k, v = map(self._apart, self.qkv(self.norm(x)).chunk(3, 2))
        q, k = rotate(q * self.head**-0.5, *plan.turns), rotate(k, *plan.turns)
        old_k, old_v = map(self._apart, old)
        mixed = attend(q, (old_k, k), (old_v, v), plan).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return x, k.transpose(1, 2).flatten(2), v.transpose(1, 2).flatten(2)

    def _apart(self, x: torch.Tensor) -> torch.Tensor:
        """Split heads: return (lanes, steps, heads x head) as (lanes, heads, steps, head)."""
        return x.unflatten(2, (self.heads, self.head)).transpose(1, 2)


Pair = tuple[torch.Tensor, torch.Tensor]


def attend(q: torch.Tensor, keys: Pair, values: Pair, plan: _Plan) -> torch.Tensor:
    """Return what each step reads of the steps that it sees, (lanes, heads, steps, head).

    Args:
        q: (lanes, heads, steps, head), rotated and scaled.
        keys, values: of the cache, (lanes, heads, context - 1, head), and of the unroll.
    """
    steps, held = q.shape[2], plan.held(plan.played)
    if steps <= BLOCK:
        rows = slice(0, steps)
        return _read(q, keys, values, (plan.sees_cached(rows, held), plan.sees_new(rows, 0)))
    order = held.argsort(1)  # oldest first, so that a block takes what it sees as one piece
    old_k, old_v = (take(x, order) for x in (keys[0], values[0]))
    held, parts = held.gather(1, order), []
    for start in range(0, steps, BLOCK):
        rows = slice(start, min(start + BLOCK, steps))
        new = slice(max(0, start - plan.back), rows.stop)
        # The first row of the block no longer sees the `start` oldest ones.
        old = slice(min(start, plan.back), None)
        seen = plan.sees_cached(rows, held[:, old]), plan.sees_new(rows, new.start)
        its_keys = old_k[:, :, old], keys[1][:, :, new]
        its_values = old_v[:, :, old], values[1][:, :, new]
        args = q[:, :, rows], its_keys, its_values, seen
        parts.append(checkpoint(_read, *args, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(parts, 2)


def _read(q: torch.Tensor, keys: Pair, values: Pair, sees: Pair) -> torch.Tensor:
    """Return softmax attention over two sets of keys, without joining them in memory."""
    scores = [
        (q @ k.transpose(2, 3)).float().masked_fill_(~seen, -torch.inf)
        for k, seen in zip(keys, sees, strict=True)
        if k.shape[2]
    ]
    top = torch.cat([part.detach().amax(-1, keepdim=True) for part in scores], -1)
    top = top.amax(-1, keepdim=True)
    shares = [part.sub_(top).exp_() for part in scores]
    totals = [part.sum(-1, keepdim=True) for part in shares]
    read = [part @ v for part, v in zip(shares, values[-len(shares) :], strict=True)]
    return sum(read[1:], read[0]) / sum(totals[1:], totals[0])


def take(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return rows of x (lanes, parts, steps, numbers), the same (lanes, rows) for all parts.

    It is `gather`, which looks up each number for itself, in a fraction of the time.
    """
    lanes, parts, steps, numbers = x.shape
    first = torch.arange(lanes * parts, device=x.device).view(lanes, parts, 1) * steps
    index = (first + rows[:, None]).flatten()
    return x.reshape(-1, numbers).index_select(0, index).view(lanes, parts, -1, numbers)


def turns(number: torch.Tensor, head: int) -> Pair:
    """Return cos and sin of the rotary angles (Su et al. 2021) of steps, (..., head / 2) each.

    The angle of pair i is number x base^(-2i/head).

    Args:
        number: (...) int64.
    """
    half = head // 2
    speeds = [ROTARY_BASE ** (-i / half) / (2 * math.pi) for i in range(half)]
    parts = torch.tensor([round(speed * TURN) for speed in speeds], device=number.device)
    angles = (number[..., None] * parts % TURN).float() * (2 * math.pi / TURN)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate numbers i and i + head/2 of (..., steps, head) as a pair, by the angles given."""
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)
