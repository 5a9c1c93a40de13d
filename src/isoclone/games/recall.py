"""`recall`: remember a cue, and give it back when asked. Only a policy with a memory can.

The first observation shows one of several cues; then come empty ones; then the question, at which
the action has to be the cue: right scores 1, wrong 0. A policy that sees one observation at a time
scores 1 / cues at best, however large it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.games.base import FrameSpec

CUES, DELAY = 3, 6


class RecallEnv:
    """One game of recall."""

    def __init__(self, cues: int, delay: int):
        self._cues, self._delay = cues, delay

    def reset(self, seed: int) -> np.ndarray:
        self._cue, self._steps = int(np.random.default_rng(seed).integers(self._cues)), 0
        return self._seen()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        asked = self._steps == self._delay
        self._steps += 1
        return self._seen(), float(asked and action == self._cue), asked, False

    def _seen(self) -> np.ndarray:
        """Return the cue, one-hot, at the first step; a last 1 where it is asked for."""
        frame = np.zeros(self._cues + 1, np.float32)
        frame[self._cue] = self._steps == 0
        frame[-1] = self._steps == self._delay
        return frame


@dataclass(frozen=True)
class Recall:
    """The game `recall`, of so many cues, asked for after so many steps."""

    name: str
    n_actions: int
    frame: FrameSpec
    delay: int
    max_steps: int
    random_score: float | None
    expert_score: float | None = 1.0
    partially_observed: ClassVar[bool] = True

    @classmethod
    def of(cls, cues: int = CUES, delay: int = DELAY) -> Recall:
        """Return the game.

        Raises:
            SpecError: fewer than two cues, or a delay below 1.
        """
        for name, value, least in (("cues", cues, 2), ("delay", delay, 1)):
            if type(value) is not int or value < least:
                raise SpecError(f"{name} must be a whole number of at least {least}, not {value!r}")
        frame = FrameSpec((cues + 1,), "float32", 1)
        return cls("recall", cues, frame, delay, delay + 1, 1 / cues)

    def make_env(self) -> RecallEnv:
        """Make an environment."""
        return RecallEnv(self.n_actions, self.delay)

    def options(self) -> dict[str, Any]:
        """Return the settings that make this game again."""
        return {"cues": self.n_actions, "delay": self.delay}
