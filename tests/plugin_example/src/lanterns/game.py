"""The game `lanterns`: one of three lights up; point at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.games import FrameSpec

LANTERNS, FLICKER = 3, 0.3
LIGHTS = FrameSpec((LANTERNS,), "float32", 1)


class Street:
    """One evening. `lit` is open to experts."""

    def __init__(self, max_steps: int):
        self._max_steps = max_steps

    def reset(self, seed: int) -> np.ndarray:
        self._rng, self._steps = np.random.default_rng(seed), 0
        return self._draw()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        reward, self._steps = float(action == self.lit), self._steps + 1
        return self._draw(), reward, False, self._steps >= self._max_steps

    def _draw(self) -> np.ndarray:
        self.lit = int(self._rng.integers(LANTERNS))
        light = self._rng.normal(0, FLICKER, LANTERNS)
        light[self.lit] += 1
        return light.astype(np.float32)


@dataclass(frozen=True)
class Lanterns:
    """The game; `max_steps` is its only option."""

    max_steps: int = 20
    name: str = "lanterns"
    n_actions: int = LANTERNS
    frame: FrameSpec = LIGHTS
    random_score: float | None = None
    expert_score: float | None = None

    def make_env(self) -> Street:
        """Make an evening of its own."""
        return Street(self.max_steps)

    def options(self) -> dict[str, Any]:
        """Return what makes this game again."""
        return {"max_steps": self.max_steps}
