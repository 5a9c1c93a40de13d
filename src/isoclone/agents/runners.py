"""Runners: policies that play games side by side, with one forward pass for all slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.games.actions import action_shape, action_sizes, as_logits_rows
from isoclone.policies.observe import observe

SMALL = 500_000  # parameters of the largest policy played in float32, see `unmixed`


class Runner(Protocol):
    """A policy that plays the games of several slots: takes their frames, gives logits."""

    def start(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """Begin new episodes in `slots`, with these first frames."""
        ...

    def push(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """Take the next frame of each of the slots."""
        ...

    def logits(self, slots: np.ndarray) -> np.ndarray:
        """Return (len(slots), n_actions) float32. Ask once for each frame."""
        ...

    def chose(self, slots: np.ndarray, actions: np.ndarray) -> None:
        """Receive the actions that were taken."""
        ...


def runner_for(policy: TrainedPolicy, slots: int) -> Runner:
    """Return the runner that suits a policy, for so many games side by side."""
    return RecurrentRunner(policy, slots) if policy.is_recurrent else StackRunner(policy, slots)


class StackRunner:
    """The last frames of every slot, encoded once each."""

    def __init__(self, policy: TrainedPolicy, slots: int):
        self._policy, encoder = policy, policy.encoder
        self._forward, stack = _prepared(policy), encoder.spec.stack
        # Each slot's frames go round: the newest overwrites the oldest.
        self._codes = np.zeros((slots, stack, encoder.spec.size), encoder.dtype)
        self._newest, self._ages = np.zeros(slots, np.int64), np.arange(1 - stack, 1)

    def start(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """Begin new episodes: the first frame stands in for those before it."""
        self._codes[slots] = self._policy.encoder.encode(frames)[:, None]

    def push(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """Take the next frame of each of the slots."""
        newest = (self._newest[slots] + 1) % len(self._ages)
        self._newest[slots] = newest
        self._codes[slots, newest] = self._policy.encoder.encode(frames)

    @torch.inference_mode()
    def logits(self, slots: np.ndarray) -> np.ndarray:
        """Return (len(slots), n_actions) float32."""
        return self._forward(self._observations(self._stacks(slots))).float().cpu().numpy()

    def chose(self, slots: np.ndarray, actions: np.ndarray) -> None:
        """Do nothing: such a policy sees frames alone."""

    def _stacks(self, slots: np.ndarray) -> torch.Tensor:
        """Return the codes that each slot's policy sees, (len(slots), stack, size)."""
        order = (self._newest[slots, None] + self._ages) % len(self._ages)
        return torch.from_numpy(self._codes[slots[:, None], order]).to(self._policy.device)

    def _observations(self, stacks: torch.Tensor) -> Any:
        policy = self._policy
        return observe(policy.module, stacks, policy.encoder, policy.dtype)


def _prepared(policy: TrainedPolicy) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the policy's logits as a function; on a CPU a prepared one, where there is one."""
    prepare = getattr(policy.module, "prepared", None)
    if prepare is None or policy.device.type != "cpu":
        return policy.logits
    forward: Callable[[torch.Tensor], torch.Tensor] = prepare(policy.dtype)
    return forward


def unmixed(policy: TrainedPolicy) -> TrainedPolicy:
    """Return a small policy in float32, whatever it was trained in; a large one as it is.

    In mixed precision every layer casts its weights and its input at every step, which costs more
    than a small layer itself.
    """
    size = sum(p.numel() for p in policy.module.parameters())
    return replace(policy, dtype=torch.float32) if size <= SMALL else policy


class RecurrentRunner(StackRunner):
    """The last frames, the action before and the policy's state of every slot."""

    def __init__(self, policy: TrainedPolicy, slots: int):
        super().__init__(unmixed(policy), slots)
        self._none = policy.n_actions
        self._sizes = action_sizes(policy)
        self._previous = np.full(action_shape(self._sizes, slots), self._none, np.int64)
        self._starts = np.ones(slots, bool)
        self._state = policy.initial_state(slots)

    def start(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """Begin new episodes: nothing was done before, and the state is forgotten."""
        super().start(slots, frames)
        self._previous[slots], self._starts[slots] = self._none, True

    @torch.inference_mode()
    def logits(self, slots: np.ndarray) -> np.ndarray:
        """Return (len(slots), n_actions) float32; carries their states on."""
        every = len(slots) == len(self._codes)
        device = self._policy.device
        observations = self._observations(self._stacks(slots)[None])
        previous = torch.from_numpy(self._previous[slots])[None].to(device)
        starts = torch.from_numpy(self._starts[slots])[None].to(device)
        which = torch.from_numpy(slots).to(device)
        state = self._state if every else {k: v[which] for k, v in self._state.items()}
        logits, state = self._policy.step(observations, previous, starts, state=state)
        if every:
            self._state = state
        else:
            for name, value in state.items():
                self._state[name][which] = value.to(self._state[name].dtype)
        self._starts[slots] = False
        return logits[0].cpu().numpy()

    def chose(self, slots: np.ndarray, actions: np.ndarray) -> None:
        """Keep the actions: they are the ones before the next step."""
        self._previous[slots] = as_logits_rows(actions, self._sizes)
