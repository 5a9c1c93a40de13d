"""Baselines: the players that a study's forecast agent is compared with.

`marginal` ignores the frames and draws each action as often as the expert takes it; `smallest` is
the sweep's smallest policy at the largest budget it was trained to; `clone` is what an agent that
learns by play started from, where it did. All play as many episodes as the agent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoclone.base.records import Point
from isoclone.demos import Demonstrations


def action_shares(demos: Demonstrations) -> np.ndarray:
    """Return how often the expert takes each action in the train episodes, (n_actions,) float64.

    Shares add up to 1; where actions have several factors, those of all factors together.
    """
    counts = demos.action_counts("train").astype(np.float64)
    return counts / counts.sum()


def smallest_of(points: Sequence[Point]) -> Point | None:
    """Return the sweep's smallest policy, at the largest budget it was trained to."""
    played = [p for p in points if p.checkpoint is not None]
    return min(played, key=lambda p: (p.params, -p.budget_flops, p.seed), default=None)
