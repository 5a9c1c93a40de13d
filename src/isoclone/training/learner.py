"""The protocol of learners: what trains a run to a budget, whatever it learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.base.curves import CurveRow

SAVE_SECONDS = 20.0

Tell = Callable[[int], None]


class Diverged(Exception):
    """The training loss was not a finite number."""


@dataclass
class TrainProgress:
    """Training progress: steps, samples, averaged loss, seconds.

    `train_loss` is in nats per action, a power-law average over the steps. `seconds` is the time
    the run took, restarts included and lost work left out: processor time on CPUs, so that other
    work on the machine does not count, and wall time elsewhere.
    """

    step: int = 0
    samples: int = 0
    train_loss: float = 0.0
    seconds: float = field(default=0.0, compare=False)  # differs each time


class Learner(Protocol):
    """A run in progress; one that was killed goes on, from its last state, to the same numbers."""

    progress: TrainProgress

    @property
    def flops(self) -> float:
        """FLOPs spent so far, under the run's convention."""
        ...

    def costs(self) -> dict[str, Any]:
        """Return what the learner alone knows of the columns of its point."""
        ...

    def rows(self) -> list[CurveRow]:
        """Return the training curve so far."""
        ...

    def train_until(self, budget_flops: float, tell: Tell | None = None) -> None:
        """Train until at least `budget_flops` are spent; the state is saved now and then.

        Args:
            tell: told now and then how many samples have been seen.

        Raises:
            Diverged: the loss stopped being finite.
        """
        ...

    def is_beyond(self, budget_flops: float) -> bool:
        """Return whether the run has gone further than training to that budget takes it."""
        ...

    def trained(self) -> TrainedPolicy:
        """Return a copy of the policy as it stands, to be evaluated."""
        ...

    def save_checkpoint(self, path: Path) -> None:
        """Write the policy as it stands, to be played and evaluated by anyone."""
        ...

    def save(self) -> None:
        """Save the whole state."""
        ...

    def resume(self) -> Learner:
        """Load the saved state, if there is one.

        Raises:
            CheckpointError: it is damaged, or of another run. Nothing has been changed then.
        """
        ...

    def close(self) -> None:
        """Give back what the learner holds beside memory, as environments."""
        ...


def share_of_last(step: int, power: float) -> float:
    """Return the weight of step `step` in an average where step s counts as s^power."""
    return 1 - (1 - 1 / step) ** (power + 1)
