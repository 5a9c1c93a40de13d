"""Limit a core's memory: it forgets everything each time so many steps of a game have gone by."""

from __future__ import annotations

import torch
from torch import nn

from isoclone.policies.cores.base import State, places


class Forgetful(nn.Module):
    """A core that forgets its state at every `every`-th step of a game.

    So it sees 1 to `every` steps, half as many on average as a window of that length.

    State: that of the core, and 'played' (lanes,) int64, the steps of the present game so far.
    """

    def __init__(self, core: nn.Module, every: int):
        super().__init__()
        self.core, self.every = core, every

    def initial_state(self, lanes: int) -> State:
        """Return the core's state before a game, and that no step has been played."""
        state: State = self.core.initial_state(lanes)  # type: ignore[operator]
        some = next(iter(state.values()))
        return {**state, "played": torch.zeros(lanes, dtype=torch.int64, device=some.device)}

    def forward(
        self, x: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Return the output, in the shape of `x`, and the new state."""
        number = places(starts, state["played"])
        x, new = self.core(x, starts | (number % self.every == 0), state)
        return x, {**new, "played": number[-1] + 1}
