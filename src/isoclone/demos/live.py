"""Games that a worker keeps open from one group of episodes to the next, and closes in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import util
from typing import Any

from isoclone.experts import Expert
from isoclone.games import Env, Game, close, make_env


@dataclass(frozen=True)
class LiveGame:
    """A game, its player, and environments to play in."""

    game: Game
    player: Expert
    envs: list[Env]

    @classmethod
    def made(cls, game: Game, player: Expert, count: int) -> LiveGame:
        """Make `count` environments; if one cannot be made, the others are closed."""
        live = cls(game, player, [])
        try:
            for _ in range(count):
                live.envs.append(make_env(game))
        except BaseException:
            live.close()
            raise
        return live

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            with suppress(Exception):  # foreign code may raise anything, and the play is over
                close(env)


class Kept:
    """The last game that was played, kept open for the next group of the same recording.

    It is closed when another is played, when playing fails, by `close`, and as the process ends.
    """

    def __init__(self) -> None:
        self._held: dict[Any, LiveGame] = {}
        self._at_end: Any = None

    @contextmanager
    def at_hand(self, key: Any, make: Callable[[], LiveGame]) -> Iterator[LiveGame]:
        """Yield the game kept under `key`, made if it is another; after an error it is closed."""
        live = self._held.pop(key, None)
        self.close()
        live = live or make()
        if self._at_end is None:
            self._at_end = util.Finalize(None, self.close, exitpriority=10)
        try:
            yield live
        except BaseException:
            live.close()
            raise
        self._held[key] = live

    def close(self) -> None:
        """Close what is kept."""
        while self._held:
            self._held.popitem()[1].close()


KEPT = Kept()
