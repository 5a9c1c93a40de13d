"""A policy as one torch module that takes frames as the game emits them: what is exported.

Encoding (standardising, the steps of the codes, the order of a layout) is done inside, by the same
numbers as in training, so that nothing has to be known outside. Everything is float32.

A feed-forward module maps frames (b, stack, *shape), oldest first, to logits (b, n_actions).

A recurrent one is a single step of b games: it takes frames; the action before, (b,) int64, or
(b, factors), each factor as the number of its logit, `n_actions` where there is none; whether an
episode begins, (b,) bool; and the state's tensors by name. It returns logits and the new state's
tensors, in the order of `state_names`.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.games.actions import several
from isoclone.policies.encode import CLIP, STEPS
from isoclone.policies.kernels import leave_kernels


class WholePolicy(nn.Module):
    """Encoder and policy in one, on the CPU in float32; see the module's docstring."""

    mean: torch.Tensor
    inverse_sd: torch.Tensor

    def __init__(self, policy: TrainedPolicy):
        super().__init__()
        encoder = policy.encoder
        self.spec, self.kind, self.layout = encoder.spec, encoder.kind, encoder.layout
        self.scale = 1.0 if self.layout == "blocks4" else encoder.scale
        self.n_actions, self.factors = policy.n_actions, len(several(policy))
        self.register_buffer("mean", torch.from_numpy(encoder.mean.copy()))
        self.register_buffer("inverse_sd", torch.from_numpy(encoder.inverse_sd.copy()))
        module = leave_kernels(copy.deepcopy(policy.module))  # which may be of another precision
        self.policy = module.cpu().float().eval().requires_grad_(False)
        self.state_names: tuple[str, ...] = ()
        if policy.is_recurrent:
            self.state_names = tuple(sorted(self.policy.initial_state(1)))  # type: ignore[operator]

    def observations(self, frames: torch.Tensor) -> Any:
        """Return what the policy's `forward` takes, of frames (b, stack, *shape)."""
        if self.layout == "raw":
            return self.policy.observe(frames.flatten(2))  # type: ignore[operator]
        codes = self._codes(frames)
        if self.layout == "rows":
            return codes * self.scale
        b, stack, h, w = codes.shape
        blocks = codes.view(b, stack, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5)
        return blocks.reshape(b, h // 4, w // 4, stack * 16)

    def _codes(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the codes that `FrameEncoder.encode` makes, as floats, in the frame's shape."""
        if self.kind == "unit":
            return frames.float()
        values = ((frames - self.mean) * self.inverse_sd).clamp(-CLIP, CLIP).float()
        return torch.round(values * (STEPS / CLIP)) if self.spec.is_image else values

    def forward(self, frames: torch.Tensor, *memory: torch.Tensor) -> Any:
        """Return logits (b, n_actions); of a recurrent policy the new state's tensors as well."""
        seen = self.observations(frames)
        if not self.state_names:
            return self.policy(seen).float()
        previous, starts, *state = memory
        logits, after = self.policy(
            _one_step(seen),
            previous[None],
            starts[None],
            dict(zip(self.state_names, state, strict=True)),
        )
        return (logits[0].float(), *(after[name] for name in self.state_names))

    def example(self, lanes: int = 2) -> tuple[torch.Tensor, ...]:
        """Return arguments of one forward pass, of `lanes` games side by side."""
        frames = torch.zeros(lanes, self.spec.stack, *self.spec.shape)
        frames = frames.to(getattr(torch, self.spec.dtype))
        if not self.state_names:
            return (frames,)
        state = self.policy.initial_state(lanes)  # type: ignore[operator]
        shape = (lanes, self.factors) if self.factors else (lanes,)
        previous = torch.full(shape, self.n_actions)
        starts = torch.ones(lanes, dtype=torch.bool)
        return (frames, previous, starts, *(state[name] for name in self.state_names))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the inputs, in order."""
        if not self.state_names:
            return ("frames",)
        return ("frames", "previous", "starts", *(f"state.{name}" for name in self.state_names))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs, in order."""
        return ("logits", *(f"new_state.{name}" for name in self.state_names))


def _one_step(seen: Any) -> Any:
    """Return observations (b, ...) as (1, b, ...); a named tuple of tensors, tensor by tensor."""
    if hasattr(seen, "_fields"):
        return type(seen)(*(_one_step(each) for each in seen))
    return seen[None]
