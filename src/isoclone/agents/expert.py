"""An agent as an expert: it is scored, recorded and imitated like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isoclone.agents.checkpoint import TrainedPolicy, check_fits, load_checkpoint
from isoclone.agents.runners import Runner, runner_for, unmixed
from isoclone.experts.base import Expert
from isoclone.experts.player import as_expert
from isoclone.games import Game

LOCKSTEP = 16


class AgentPlayer:
    """A trained policy that plays `n` episodes side by side (see `experts.player.Player`)."""

    observes = "frame"

    def __init__(self, policy: TrainedPolicy, greedy: bool = False, lockstep: int = LOCKSTEP):
        self._policy = unmixed(policy)
        self.greedy, self.lockstep, self.recurrent = greedy, lockstep, policy.is_recurrent
        self.name = f"isoclone:{policy.run.label}"
        self.other_way = f"deterministic={str(not greedy).lower()}"
        self.notes = (f"an agent of isoclone, trained on {policy.samples:,} samples",)
        self._runner: Runner | None = None
        self._slots = np.arange(0)

    def reset(self, n: int) -> None:
        """Begin `n` episodes."""
        self._runner, self._slots = None, np.arange(n)

    def act(self, frames: np.ndarray) -> np.ndarray:
        """Return logits (n, n_actions) float32 for frames (n, *shape)."""
        if self._runner is None:
            self._runner = runner_for(self._policy, len(frames))
            self._runner.start(self._slots, frames)
        else:
            self._runner.push(self._slots, frames)
        return self._runner.logits(self._slots)

    def chose(self, actions: np.ndarray) -> None:
        """Remember what was drawn of the last logits, (n,) or (n, factors)."""
        assert self._runner is not None
        self._runner.chose(self._slots, actions)


def load_agent_expert(
    path: str | Path,
    game: Game,
    deterministic: bool = False,
    lockstep: int = LOCKSTEP,
    device: str = "cpu",
    trust: bool = False,
) -> Expert:
    """Load an expert from an agent's checkpoint.

    Args:
        deterministic: take the likeliest action; by default actions are drawn.
        lockstep: episodes side by side.
        trust: not needed, nothing is pickled.

    Raises:
        CheckpointError: it is damaged, or of another game's frames or actions.
        SpecError: `lockstep` is below 1.
    """
    policy = load_checkpoint(path, device)
    check_fits(policy, game)
    return as_expert(AgentPlayer(policy, deterministic, lockstep), game)
