"""What the episodes of others are episodes of: a game, or spaces that were given or inferred."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from isoclone.base.errors import SpecError
from isoclone.base.records import jsonable
from isoclone.demos.foreign.base import Given
from isoclone.demos.foreign.read import (
    EpisodeReader,
    NumberedActions,
    SpaceActions,
    SpaceFrames,
    array,
    bounds_wanted,
    inferred_space,
    json_space,
    reader_for_game,
    spread,
)
from isoclone.games import Game
from isoclone.games import game as make_game
from isoclone.games.actions import several
from isoclone.games.base import DATA
from isoclone.games.data import Data
from isoclone.games.described import described, space_of

ANY = {"discrete": 2}


@dataclass
class Spaces:
    """A game's, or those that were given; what is missing is inferred from the first episode."""

    game: Game | None
    observations: dict[str, Any] | None = None
    actions: dict[str, Any] | None = None
    bins: int = 256
    reading: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        game: str | Game | None,
        game_options: dict[str, Any] | None,
        observation_space: Any,
        action_space: Any,
        bins: int,
        reading: dict[str, Any] | None,
    ) -> Spaces:
        """Check what was given.

        Raises:
            SpecError: both a game and spaces, or a space that cannot be read.
        """
        if game is not None:
            if observation_space is not None or action_space is not None or reading:
                raise SpecError("give either a game, which has its spaces, or spaces")
            made = make_game(game, **game_options or {}) if isinstance(game, str) else game
            return cls(made)
        if type(bins) is not int or bins < 2:
            raise SpecError(f"bins must be a whole number from 2 on, not {bins}")
        given = {"observation_space": observation_space, "action_space": action_space}
        read = {k: None if v is None else json_space(v, k) for k, v in given.items()}
        return cls(None, read["observation_space"], read["action_space"], bins, reading or {})

    @property
    def asked(self) -> dict[str, Any]:
        """Return what was given, as JSON values: part of the request."""
        if self.game is not None:
            return {"game": self.game.name, "game_options": jsonable(self.game.options())}
        spaces = {"observation_space": self.observations, "action_space": self.actions}
        return {"game": DATA, **spaces, "bins": self.bins, "reading": self.reading}

    def reader(self, first: Given) -> EpisodeReader:
        """Return the reader of episodes like the first one.

        Raises:
            DataError: the first episode is not made of numbers.
            SpecError: a space is needed and missing, or cannot be read.
        """
        if self.game is not None:
            return reader_for_game(self.game)
        self.observations = self.observations or described(
            inferred_space(first.observations, "observations")
        )
        if self.actions is not None:
            self.actions = described(spread(space_of(self.actions), first.actions))
        elif (actions := array(first.actions, "actions")).dtype.kind == "f":
            raise SpecError(
                f"actions are {actions.dtype} and their bounds are not known"
                f"{bounds_wanted(actions)}"
            )
        # Numbers of choices are counted as they come; any space stands for theirs until then.
        spaces = Data(self.observations, self.actions or ANY, self.bins, self.reading).spaces
        known = self.actions is not None
        return EpisodeReader(
            SpaceFrames(spaces), SpaceActions(spaces) if known else NumberedActions(None)
        )

    def facts(self, reader: EpisodeReader) -> dict[str, Any]:
        """Return what the table of demonstrations says of the game, after all has been read."""
        the_game = self.game or self._data(reader)
        facts: dict[str, Any] = {
            "game": the_game.name,
            "game_options": jsonable(the_game.options()),
            "frame": the_game.frame,
            "n_actions": the_game.n_actions,
        }
        sizes = several(the_game)
        return facts | ({"action_sizes": sizes} if sizes else {})

    def _data(self, reader: EpisodeReader) -> Data:
        assert self.observations is not None
        actions = self.actions or _choices(reader.actions)
        return Data.named(self.observations, actions, self.bins, **self.reading)


def _choices(actions: Any) -> dict[str, Any]:
    sizes = [int(n) for n in actions.sizes]
    return {"discrete": sizes[0]} if len(sizes) == 1 else {"multi_discrete": sizes}
