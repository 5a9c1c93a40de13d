"""What policies see of the games they play side by side: one forward pass serves all slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from isoclone.nethack.game import unpack_tty
from isoclone.nethack.policy.screen import Screens
from isoclone.training.batches import arrange, to_input
from isoclone.training.checkpoint import Trained

SMALL = 500_000  # parameters up to which a few dozen games are played in float32, see `unmixed`


class Slots(Protocol):
    """Follows the games in a number of slots and says what the policy makes of them."""

    def start(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """New episodes begin in `slots`, with these first frames."""
        ...

    def push(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """The next frame of each of the slots."""
        ...

    def logits(self, slots: np.ndarray) -> np.ndarray:
        """(len(slots), n_actions) float32. Ask once for each frame."""
        ...

    def chose(self, slots: np.ndarray, actions: np.ndarray) -> None:
        """The actions that were taken."""
        ...


def slots_for(policy: Trained, slots: int) -> Slots:
    """The way a policy wants to be shown games."""
    return SlotStates(policy, slots) if policy.initial_state(1) else SlotStacks(policy, slots)


class SlotStacks:
    """The last frames of every slot, encoded once each."""

    def __init__(self, policy: Trained, slots: int):
        self._policy, encoder = policy, policy.encoder
        self._stack = encoder.spec.stack
        self._codes = np.zeros((slots, self._stack, encoder.spec.size), encoder.dtype)

    def start(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """A new episode: the first frame stands in for those before it."""
        self._codes[slots] = self._policy.encoder.encode(frames)[:, None]

    def push(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """The next frame of each of the slots."""
        self._codes[slots, :-1] = self._codes[slots, 1:]
        self._codes[slots, -1] = self._policy.encoder.encode(frames)

    def logits(self, slots: np.ndarray) -> np.ndarray:
        """(len(slots), n_actions) float32."""
        policy, stacks = self._policy, torch.from_numpy(self._codes[slots])
        inputs = to_input(
            arrange(stacks.to(policy.device), policy.encoder), policy.encoder, policy.dtype
        )
        return policy.logits(inputs).cpu().numpy()

    def chose(self, slots: np.ndarray, actions: np.ndarray) -> None:
        """Nothing: such a policy sees frames alone."""


def unmixed(policy: Trained) -> Trained:
    """A small policy in float32, whatever it was trained in; a large one as it is.

    In mixed precision every layer casts its weights and its input at every step, which costs more
    than a small layer itself.
    """
    size = sum(p.numel() for p in policy.module.parameters())
    return replace(policy, dtype=torch.float32) if size <= SMALL else policy


class SlotStates:
    """The screen, the action before and the policy's state of every slot."""

    def __init__(self, policy: Trained, slots: int):
        self._policy, self._none = unmixed(policy), policy.n_actions
        self._frames = np.zeros((slots, policy.encoder.spec.size), np.uint8)
        self._previous = np.full(slots, self._none, np.int64)
        self._starts = np.ones(slots, bool)
        self._state = policy.initial_state(slots)

    def start(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """A new game: nothing was done before, and the state is forgotten."""
        self._frames[slots], self._previous[slots], self._starts[slots] = frames, self._none, True

    def push(self, slots: np.ndarray, frames: np.ndarray) -> None:
        """The next frame of each of the slots."""
        self._frames[slots] = frames

    @torch.inference_mode()
    def logits(self, slots: np.ndarray) -> np.ndarray:
        """(len(slots), n_actions) float32; carries their states on."""
        every = len(slots) == len(self._frames)
        device = self._policy.device
        chars, colors, cursor = unpack_tty(self._frames if every else self._frames[slots])
        screens = Screens(*(torch.from_numpy(x)[None].to(device) for x in (chars, colors, cursor)))
        previous = torch.from_numpy(self._previous[slots])[None].to(device)
        starts = torch.from_numpy(self._starts[slots])[None].to(device)
        which = torch.from_numpy(slots).to(device)
        state = self._state if every else {k: v[which] for k, v in self._state.items()}
        logits, state = self._policy.step(screens, previous, starts, state=state)
        if every:
            self._state = state
        else:
            for name, value in state.items():
                self._state[name][which] = value.to(self._state[name].dtype)
        self._starts[slots] = False
        return logits[0].cpu().numpy()

    def chose(self, slots: np.ndarray, actions: np.ndarray) -> None:
        """The actions that were taken are what the policy is told it did."""
        self._previous[slots] = actions
