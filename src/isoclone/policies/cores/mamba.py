"""The `mamba` core: selective state spaces (Gu and Dao 2023), residual and pre-norm.

h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t, y_t = C_t h_t + D x_t, with dt, B and C made from x_t.
The scan is a loop over steps here, right on every device; in training it keeps the state at every
few steps only, and the backward pass goes over those between once more. On CUDA `mamba-ssm`'s
kernel does it where that package is installed; it knows neither a state to begin with nor games
that start within an unroll, so both are told to it as steps of their own (`scan_by_kernel`).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from isoclone.policies.cores.base import State

STATE = 16  # numbers of state for each channel
TAPS = 4  # steps the convolution before the scan looks at, the present one included
PIECE = 256  # samples whose states are in memory together, in training
FORGET = 1e4  # exp(-FORGET |A|) is 0: a step that clears the state
CARRY = 0.01  # dt of the steps that put a state in: exp(CARRY |A| STATE) stays near 1


class Mamba(nn.Module):
    """Mamba layers on (steps, lanes, width).

    State: 'h' (lanes, layers, 2 width, 16) and 'taps' (lanes, layers, 3, 2 width), float32.
    """

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.inner = 2 * width
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))

    def initial_state(self, lanes: int) -> State:
        """Return a state of zeros."""
        some = next(self.parameters()).detach()
        h = some.new_zeros(lanes, len(self.layers), self.inner, STATE)
        return {"h": h, "taps": some.new_zeros(lanes, len(self.layers), TAPS - 1, self.inner)}

    def forward(
        self, x: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Return the output, in the shape of `x`, and the new state.

        Where `starts` (steps, lanes) is True, a game begins and the state before is forgotten.
        """
        hs, taps = [], []
        for i, layer in enumerate(self.layers):
            x, h, t = layer(x, starts, state["h"][:, i], state["taps"][:, i])
            hs.append(h)
            taps.append(t)
        return x, {"h": torch.stack(hs, 1), "taps": torch.stack(taps, 1)}


class _Layer(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        inner, self.rank = 2 * width, math.ceil(width / 16)
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, 2 * inner, bias=False)
        self.taps = nn.Parameter(torch.empty(TAPS, inner).uniform_(-(TAPS**-0.5), TAPS**-0.5))
        self.taps_bias = nn.Parameter(torch.zeros(inner))
        self.select = nn.Linear(inner, self.rank + 2 * STATE, bias=False)
        self.dt = nn.Linear(self.rank, inner)
        self.log_a = nn.Parameter(torch.arange(1.0, STATE + 1).log().repeat(inner, 1))
        self.d = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, width, bias=False)
        dt = torch.exp(torch.rand(inner) * math.log(100) + math.log(1e-3))  # .001 to .1, as theirs
        with torch.no_grad():
            self.dt.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus

    def forward(
        self, x: torch.Tensor, starts: torch.Tensor, h: torch.Tensor, taps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        u, gate = self.into(self.norm(x)).chunk(2, 2)
        u, taps = self._convolve(u.to(taps.dtype), starts, taps)
        low, b, c = self.select(u).float().split([self.rank, STATE, STATE], 2)
        dt = functional.softplus(self.dt(low).float())
        y, h = scan_for(u)(u, dt, -self.log_a.exp(), b, c, starts, h)
        y = (y + self.d * u) * functional.silu(gate)
        return x + self.out(y), h, taps

    def _convolve(
        self, u: torch.Tensor, starts: torch.Tensor, taps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Convolve each channel over the steps before it, as far back as the game's start."""
        steps = len(u)
        long = torch.cat([taps.transpose(0, 1), u])
        same = torch.ones_like(starts)
        total = self.taps_bias + self.taps[-1] * u
        for back in range(1, TAPS):
            # The step `back` ago counts unless a game started in between.
            began = functional.pad(starts, (0, 0, back - 1, 0))[:steps]
            same = same & ~began
            there = long[TAPS - 1 - back :][:steps]
            total = total + self.taps[-1 - back] * there * same[..., None]
        return functional.silu(total), self._last_taps(long, starts)

    def _last_taps(self, long: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Return the last inputs, with zeros for those of an earlier game."""
        padded = functional.pad(starts, (0, 0, TAPS - 1, 0))
        later = padded.flip(0).cumsum(0).flip(0) - padded.long()  # games begun after each step
        return (long * (later == 0)[..., None])[1 - TAPS :].transpose(0, 1)


Scan = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def scan(
    u: torch.Tensor,
    dt: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    starts: torch.Tensor,
    h: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the selective scan, step by step.

    Args:
        u, dt: (steps, lanes, channels); dt is above 0.
        a: (channels, 16), below 0.
        b, c: (steps, lanes, 16).
        starts: (steps, lanes) bool: the state is cleared before these.
        h: (lanes, channels, 16), the state to begin with.

    Returns:
        y (steps, lanes, channels) and the last state.
    """
    keep = (~starts).to(h.dtype)[..., None, None]
    outputs = []
    for t in range(len(u)):
        decay = torch.exp(dt[t, :, :, None] * a) * keep[t]
        h = decay * h + (dt[t] * u[t])[:, :, None] * b[t][:, None]
        outputs.append((h * c[t][:, None]).sum(2))
    return torch.stack(outputs), h


class ScanInTraining(torch.autograd.Function):
    """`scan` with a backward pass of its own, one multiplication and addition a step both ways.

    It takes less memory and time: what has 16 numbers for each channel is in memory for one piece
    of the steps at a time.
    """

    @staticmethod
    def forward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        *read, h = given
        outputs, borders = [], []
        for rows in _pieces(read[0]):
            borders.append(h)
            hs = _forward(rows, read, h)[1]
            outputs.append((hs * read[4][rows, :, None]).sum(3))
            h = hs[-1]
        ctx.save_for_backward(*read, *borders)
        return torch.cat(outputs), h.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        read, borders = list(ctx.saved_tensors[:6]), ctx.saved_tensors[6:]
        u, dt, a, b, c, _ = read
        of_y, of_h = grads
        found = [torch.zeros_like(x) for x in read[:5]]
        for rows, h in reversed(list(zip(_pieces(u), borders, strict=True))):
            decay, hs = _forward(rows, read, h)
            g = of_y[rows, ..., None] * c[rows, :, None]
            g[-1] += of_h
            for t in range(len(g) - 1, 0, -1):
                g[t - 1].addcmul_(decay[t], g[t])
            of_h = decay[0] * g[0]
            found[4][rows] = (of_y[rows, ..., None] * hs).sum(2)
            put = dt[rows] * u[rows]
            found[3][rows] = (g * put[..., None]).sum(2)
            of_put = (g * b[rows, :, None]).sum(3)
            g *= decay.mul_(torch.cat([h[None], hs[:-1]]))  # now of dt x a
            found[0][rows] = of_put * dt[rows]
            found[1][rows] = of_put * u[rows] + (g * a).sum(3)
            found[2] += (g * dt[rows, ..., None]).sum((0, 1))
        return (*found, None, of_h)


def _pieces(u: torch.Tensor) -> list[slice]:
    """Return the steps of (steps, lanes, channels), cut into pieces of about `PIECE` samples."""
    size = max(1, PIECE // u.shape[1])
    return [slice(first, min(first + size, len(u))) for first in range(0, len(u), size)]


def _forward(
    rows: slice, read: list[torch.Tensor], h: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return decay and state of some steps, (steps, lanes, channels, 16) each; `h` before them."""
    u, dt, a, b, _, starts = (x if i == 2 else x[rows] for i, x in enumerate(read))
    decay = (dt[..., None] * a).exp_().mul_(~starts[..., None, None])
    hs = (dt * u)[..., None] * b[:, :, None]
    for t in range(len(hs)):
        h = hs[t].addcmul_(decay[t], h)
    return decay, hs


def scan_by_kernel(
    kernel: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    u: torch.Tensor,
    dt: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    starts: torch.Tensor,
    h: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `scan` by a kernel with the signature of mamba-ssm's `selective_scan_fn`.

    The state to begin with is put in by 16 steps before the first, the n-th of which writes number
    n of every channel. Where games start within the unroll every step is preceded by one without
    input, whose dt is 0 or so large that nothing is left of the state.
    """
    steps, lanes = len(u), len(h)
    if starts.any():
        clear = (starts * FORGET).to(dt.dtype)[..., None].expand_as(dt)
        u, dt = _before_each(torch.zeros_like(u), u), _before_each(clear, dt)
        b, c = _before_each(torch.zeros_like(b), b), _before_each(c, c)
    later = torch.arange(STATE - 1, -1, -1, device=a.device)  # steps in which number n decays
    put = h / CARRY * torch.exp(-CARRY * a * later)
    first = put.permute(2, 0, 1)
    unit = torch.eye(STATE, device=b.device, dtype=b.dtype)[:, None].expand(-1, lanes, -1)
    u, b = torch.cat([first.to(u.dtype), u]), torch.cat([unit, b])
    dt = torch.cat([torch.full_like(first, CARRY).to(dt.dtype), dt])
    c = torch.cat([torch.zeros_like(unit), c])
    by_lane = [x.permute(1, 2, 0).contiguous() for x in (u, dt, b, c)]
    y, last = kernel(
        by_lane[0], by_lane[1], a.contiguous(), by_lane[2], by_lane[3], return_last_state=True
    )
    y = y.permute(2, 0, 1)[STATE:]
    return (y if len(y) == steps else y[1::2]), last


def _before_each(before: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return before[0], x[0], before[1], x[1], ..."""
    return torch.stack([before, x], 1).flatten(0, 1)


def scan_for(x: torch.Tensor) -> Scan:
    """Return mamba-ssm's kernel for data on CUDA if it is installed, else the loop over steps."""
    if x.is_cuda and importlib.util.find_spec("mamba_ssm") is not None:
        from functools import partial

        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

        return partial(scan_by_kernel, selective_scan_fn)
    trains: Scan = ScanInTraining.apply
    return trains if torch.is_grad_enabled() and len(x) > 1 else scan
