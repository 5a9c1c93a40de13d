"""`toy`: catch falling balls. It trains in seconds, and users may test with it.

A 12x12 picture. A ball falls one row a step and drifts sideways, bouncing off the walls; now and
then the wind turns its drift. A paddle three pixels wide moves left, stays, or moves right.
Eight balls make an episode, each caught one scores 1. Static specks distract. Two frames are
needed to see the drift, which is why the game stacks two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.games.base import FrameSpec
from isoclone.games.random_scores import RANDOM_SCORES

SIZE = 12
BALLS = 8
WIND = 0.15  # probability per step that the drift is drawn again
SPECKS = 6  # pixels of each frame that light up at random
FRAME = FrameSpec((SIZE, SIZE), "uint8", 2)


class ToyEnv:
    """One game of catch. `ball`, `drift` and `paddle` are open to scripted experts."""

    def __init__(self, max_steps: int):
        self._max_steps = max_steps
        self._rng = np.random.default_rng(0)

    def reset(self, seed: int) -> np.ndarray:
        self._rng = np.random.default_rng(seed)
        self.paddle, self._balls, self._steps = SIZE // 2, 0, 0
        self._drop()
        return self._draw()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        self.paddle = int(np.clip(self.paddle + action - 1, 1, SIZE - 2))
        self._steps += 1
        reward = self._fall()
        terminated = self._balls == BALLS
        return self._draw(), reward, terminated, not terminated and self._steps >= self._max_steps

    def _drop(self) -> None:
        self.ball = [0, int(self._rng.integers(SIZE))]
        self.drift = int(self._rng.integers(-1, 2))

    def _fall(self) -> float:
        row, column = self.ball
        if self._rng.random() < WIND:
            self.drift = int(self._rng.integers(-1, 2))
        if not 0 <= column + self.drift < SIZE:
            self.drift = -self.drift
        self.ball = [row + 1, column + self.drift]
        if self.ball[0] < SIZE - 1:
            return 0.0
        caught = abs(self.ball[1] - self.paddle) <= 1
        self._balls += 1
        self._drop()
        return float(caught)

    def _draw(self) -> np.ndarray:
        frame = np.zeros((SIZE, SIZE), np.uint8)
        frame.reshape(-1)[self._rng.integers(SIZE * SIZE, size=SPECKS)] = 120
        frame[self.ball[0], self.ball[1]] = 255
        frame[SIZE - 1, self.paddle - 1 : self.paddle + 2] = 200
        return frame


@dataclass(frozen=True)
class Toy:
    """The game `toy`."""

    name: str = "toy"
    n_actions: int = 3
    frame: FrameSpec = FRAME
    max_steps: int = 200
    random_score: float | None = RANDOM_SCORES["toy"].mean
    expert_score: float | None = None

    def make_env(self) -> ToyEnv:
        """Make an environment."""
        return ToyEnv(self.max_steps)

    def options(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        return {"max_steps": self.max_steps}
