"""A clone as a teacher, as in kickstarting (Schmitt et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch

from isoclone.agents.checkpoint import TrainedPolicy


class Clone:
    """A trained policy, asked step by step; with its own memory of the episodes, if it has one.

    Args:
        policy: the clone; it sees frames as the learner does.
        lanes: episodes side by side.
    """

    def __init__(self, policy: TrainedPolicy, lanes: int):
        self._policy = policy
        self.state = policy.initial_state(lanes) if policy.is_recurrent else {}

    def ask(self, inputs: tuple[Any, ...]) -> torch.Tensor:
        """Return logits (lanes, n_actions) float32 for the observations of one step."""
        if not self._policy.is_recurrent:
            return self._policy.logits(*inputs)
        logits, self.state = self._policy.step(*inputs, state=self.state)
        return logits[0]

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Remember again what was remembered when `state` was saved."""
        self.state = {name: value.to(self.state[name].device) for name, value in state.items()}
