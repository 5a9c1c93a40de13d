"""Playing: an expert plays numbered episodes side by side, and what happens is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from isoclone.demos.episode import Episode, exact
from isoclone.experts import Expert, View, asked
from isoclone.games import Env, Game, action_sizes, make_env
from isoclone.games.actions import action_dtype, chosen


def episode_seed(seed: int, index: int) -> int:
    """Return the 31-bit seed of episode `index` of a recording."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0] >> 1)


class _Live:
    """An episode being played."""

    def __init__(self, env: Env, stack: int, seed: int, index: int):
        self.index, self.seed = index, episode_seed(seed, index)
        self.view = View(env, np.random.default_rng([self.seed, 1]), stack)
        self.view.frames.append(self.view.env.reset(self.seed))
        self.actions: list[Any] = []
        self.rewards: list[float] = []
        self.errors: list[float] = []
        self.end: str | None = None

    def step(self, action: int | np.ndarray, error: float | None) -> None:
        frame, reward, terminated, truncated = self.view.env.step(action)
        self.actions.append(action)
        if error is not None:
            self.errors.append(error)
        self.rewards.append(reward)
        if terminated or truncated:
            self.end = "terminated" if terminated else "truncated"
        else:
            self.view.frames.append(frame)

    def episode(self, dtype: np.dtype[Any]) -> Episode:
        frames, actions = np.stack(self.view.frames), np.array(self.actions, dtype)
        apart = float(np.mean(self.errors)) if self.errors else None
        return Episode(frames, actions, exact(self.rewards), apart)


def play(
    the_game: Game,
    player: Expert,
    seed: int,
    indices: Sequence[int],
    envs: Sequence[Env] | None = None,
    tell: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, int, Episode, str]]:
    """Play episodes side by side; yield (index, seed, episode, end) in the order they end.

    `envs` are environments of the game to play in, one for each episode; fresh ones if not given.
    `tell` is called after every step with the number of steps of the unfinished episodes.

    Raises:
        DataError: the expert chose an action the game does not have.
    """
    if envs is None:
        with ExitStack() as held:
            fresh = [held.enter_context(closing(make_env(the_game))) for _ in indices]
            yield from play(the_game, player, seed, indices, fresh, tell)
        return
    stack, dtype = the_game.frame.stack, action_dtype(action_sizes(the_game))
    live = [_Live(env, stack, seed, index) for env, index in zip(envs, indices, strict=False)]
    while live:
        for one, action in zip(live, asked(player, [one.view for one in live]), strict=True):
            one.step(*chosen(the_game, player.name, action))
        if tell:
            tell(sum(len(one.actions) for one in live))
        for one in [one for one in live if one.end]:
            live.remove(one)
            yield one.index, one.seed, one.episode(dtype), str(one.end)
