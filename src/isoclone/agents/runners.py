"""Runners: policies that play games side by side, with one forward pass for all slots."""

from __future__ import annotations

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
        self._stack = encoder.spec.stack
        self._codes = np.zeros((slots, self._stack, encoder.spec.size), encoder.dtype)

    def start(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """Begin new episodes: the first frame stands in for those before it."""
        self._codes[slots] = self._policy.encoder.encode(frames)[:, None]

    def push(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """Take the next frame of each of the slots."""
        self._codes[slots, :-1] = self._codes[slots, 1:]
        self._codes[slots, -1] = self._policy.encoder.encode(frames)

    def logits(self, slots: np.ndarray) -> np.ndarray:
        """Return (len(slots), n_actions) float32."""
        return self._policy.logits(self._observations(self._codes[slots])).cpu().numpy()

    def chose(self, slots: np.ndarray, actions: np.ndarray) -> None:
        """Do nothing: such a policy sees frames alone."""

    def _observations(self, codes: np.ndarray) -> Any:
        policy, stacks = self._policy, torch.from_numpy(codes)
        return observe(policy.module, stacks.to(policy.device), policy.encoder, policy.dtype)


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
        observations = self._observations((self._codes if every else self._codes[slots])[None])
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
