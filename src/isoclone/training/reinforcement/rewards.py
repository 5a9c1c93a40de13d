"""What is learned from: rewards as they are, their sign, or scaled by a running SD.

Scaling (`VecNormalize` of Gym and SB3) divides by the SD of the discounted return so far, over all
slots and steps, and clips to +-10: values then have a size of about 1 in any game.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CLIP = 10.0
LEAST_VARIANCE = 1e-8


class Rewards:
    """Rewards of several slots in step, as the learner gets them; all of it is part of a state."""

    def __init__(self, kind: str, slots: int, discount: float):
        self.kind, self.discount = kind, discount
        self.returns = np.zeros(slots)  # discounted, of each slot so far
        self.count, self.mean, self.variance = 1e-4, 0.0, 1.0

    def shaped(self, rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return the rewards (slots,) to learn from, float64.

        Args:
            ends: (slots,) bool, whether the step ended the slot's episode.
        """
        if self.kind == "raw":
            return rewards
        if self.kind == "sign":
            return np.sign(rewards)
        self.returns = self.returns * self.discount + rewards
        self._take(self.returns)
        scaled = rewards / np.sqrt(self.variance + LEAST_VARIANCE)
        self.returns[ends] = 0.0
        return np.clip(scaled, -CLIP, CLIP)

    def _take(self, values: np.ndarray) -> None:
        """Update mean and variance by more values (Chan et al. 1983, in parallel)."""
        n, delta = len(values), float(values.mean()) - self.mean
        total = self.count + n
        squares = self.variance * self.count + float(values.var()) * n
        squares += delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.count, self.variance = total, squares / total

    def to_json(self) -> dict[str, Any]:
        """Return the state, exactly."""
        return {
            "returns": self.returns.tolist(),
            "count": self.count,
            "mean": self.mean,
            "variance": self.variance,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take the state of `to_json`'s result.

        Raises:
            KeyError, TypeError, ValueError: it is not one.
        """
        returns = np.array(state["returns"], np.float64)
        if returns.shape != self.returns.shape:
            raise ValueError("returns of another number of slots")
        self.returns = returns
        self.count, self.mean = float(state["count"]), float(state["mean"])
        self.variance = float(state["variance"])
