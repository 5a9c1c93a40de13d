"""The expert `watchman`: points at the light, and dozes now and then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoclone.experts import View
from isoclone.games import Game


@dataclass(frozen=True)
class Watchman:
    """Points at the light; after `patience` steps he points anywhere once."""

    patience: int = 9
    name: str = "watchman"
    lockstep: int = 2

    def act(self, views: Sequence[View]) -> list[int]:
        """Choose for each evening in turn."""
        return [self._choose(view) for view in views]

    def _choose(self, view: View) -> int:
        awake = view.memory.get("awake", 0) + 1
        view.memory["awake"] = 0 if awake > self.patience else awake
        return int(view.rng.integers(3)) if awake > self.patience else int(view.env.lit)


def make_watchman(game: Game, patience: int = 9) -> Watchman:
    """Make the watchman of a street."""
    return Watchman(patience)
