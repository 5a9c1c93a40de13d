"""`data`: the spaces of demonstrations alone, for studies without an environment.

There is nothing to play: a study of it has dev losses, laws, a forecast and the agent that tests
it, and no returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.games.base import DATA, Env, FrameSpec
from isoclone.games.described import space_of
from isoclone.games.spaces import ReadSpaces, action_reader, observation_reader

NO_ENVIRONMENT = "the game 'data' has no environment: its returns cannot be measured"


@dataclass(frozen=True)
class Data:
    """The spaces of demonstrations; `game("data", observations=..., actions=...)` makes it.

    `observations` and `actions` are spaces as `games.described` writes them; `reading` are options
    of `games.spaces.observation_reader`.
    """

    observations: dict[str, Any]
    actions: dict[str, Any]
    bins: int = 256
    reading: dict[str, Any] = field(default_factory=dict)
    max_steps: int = 1  # no episode is ever played
    random_score: float | None = None
    expert_score: float | None = None
    has_environment: bool = False
    name: str = DATA

    @classmethod
    def named(
        cls,
        observations: dict[str, Any] | None = None,
        actions: dict[str, Any] | None = None,
        bins: int = 256,
        **reading: Any,
    ) -> Data:
        """Check the spaces and return the game.

        Raises:
            SpecError: no spaces are given, or they are none that can be read.
        """
        if observations is None or actions is None:
            raise SpecError(
                "game 'data' is made from its demonstrations: give them, as in "
                "`isoclone run --demos D`, or a study's demos=..."
            )
        made = cls(observations, actions, bins, reading)
        _ = made.frame, made.action_sizes
        return made

    @cached_property
    def spaces(self) -> ReadSpaces:
        """Return the spaces with their readers."""
        seen, done = space_of(self.observations, "observations"), space_of(self.actions, "actions")
        readers = observation_reader(seen, **self.reading), action_reader(done, bins=self.bins)
        return ReadSpaces(seen, done, *readers, self.bins)

    def read(self, observation: Any) -> np.ndarray:
        """Return an observation as a frame; DataError if it is none."""
        return self.spaces.observations.read(observation)

    def action_of(self, index: Any) -> Any:
        """Return the action that an index stands for."""
        return self.spaces.actions.to_action(index)

    @property
    def frame(self) -> FrameSpec:
        """One frame, as the reader gives it."""
        return self.spaces.observations.frame

    @property
    def action_sizes(self) -> tuple[int, ...]:
        """Choices of each factor of an action."""
        return self.spaces.actions.sizes

    @property
    def n_actions(self) -> int:
        """Logits that a policy gives."""
        return sum(self.action_sizes)

    def make_env(self) -> Env:
        """Raise SpecError: there is nothing to play."""
        raise SpecError(NO_ENVIRONMENT)

    def options(self) -> dict[str, Any]:
        """Return the settings beside the name."""
        bins = {} if self.bins == 256 else {"bins": self.bins}
        return {"observations": self.observations, "actions": self.actions, **bins, **self.reading}
