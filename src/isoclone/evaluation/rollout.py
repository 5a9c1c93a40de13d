"""Mean return: whole episodes played by a policy, many side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.agents.checkpoint import TrainedPolicy, check_fits
from isoclone.agents.runners import Runner, runner_for
from isoclone.base.errors import SpecError
from isoclone.base.store import is_free
from isoclone.games import Game, VectorEnv, action_sizes, check_seed, close, vector_env
from isoclone.games.actions import action_shape
from isoclone.policies.sampling import Sampling

SLOTS, RECURRENT_SLOTS = 16, 96  # episodes side by side, unless said


@dataclass(frozen=True)
class Returns:
    """Whole episodes played by a policy, in the order of their numbers."""

    returns: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray
    facts: tuple[dict[str, Any], ...] = ()  # the game's facts about each, if it has any

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def median(self) -> float:
        """Median return."""
        return float(np.median(self.returns))

    @property
    def se(self) -> float | None:
        """Standard error of the mean; None for a single episode."""
        if len(self.returns) < 2:
            return None
        return float(self.returns.std(ddof=1) / np.sqrt(len(self.returns)))


Act = Callable[[np.ndarray, np.ndarray], np.ndarray]


def rollout(
    policy: TrainedPolicy,
    game: Game,
    episodes: int,
    seed: int = 0,
    sampling: str = "sample",
    slots: int | None = None,
    progress: Callable[[int], None] | None = None,
    keep: Path | None = None,
) -> Returns:
    """Play whole episodes with a policy, many side by side in one forward pass.

    A slot that is free begins the next episode number, and every episode begun is finished and
    counted, so short episodes are not over-represented.

    Args:
        sampling: see `sampling.Sampling`.
        slots: episodes played side by side; as many as suit the policy unless said.
        progress: told after every step how many episodes are finished.
        keep: a folder for recordings of the episodes, where the game can make them.

    Raises:
        SpecError: no episodes asked for, a seed below 0, an unknown way of sampling, or `keep`
            where the game makes no recordings.
        CheckpointError: the policy was trained on frames or actions of another game.
    """
    check_fits(policy, game)
    if episodes < 1:
        raise SpecError(f"episodes must be at least 1, not {episodes}")
    side_by_side = min(slots or (RECURRENT_SLOTS if policy.is_recurrent else SLOTS), episodes)
    way, runner = Sampling.parse(sampling), runner_for(policy, side_by_side)
    sizes = action_sizes(game)

    def act(live: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        return way.choose(runner.logits(live), uniforms, sizes)

    return _play(game, episodes, seed, side_by_side, act, runner, progress, keep)


def random_returns(game: Game, episodes: int, seed: int = 0, slots: int = 8) -> Returns:
    """Play whole episodes at random, all actions alike: the floor of every score."""
    factors = action_sizes(game)
    sizes = np.array(factors) if len(factors) > 1 else factors[0]

    def act(live: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        return (uniforms * sizes).astype(np.int64)

    return _play(game, episodes, seed, min(slots, episodes), act, None, None)


def marginal_returns(
    game: Game, shares: np.ndarray, episodes: int, seed: int = 0, slots: int = 8
) -> Returns:
    """Play whole episodes, drawing each action as often as the expert takes it, without looking.

    Args:
        shares: (n_actions,) how often the expert takes each; of factors one after the other.
    """
    factors = np.split(np.asarray(shares), np.cumsum(action_sizes(game))[:-1])
    bounds = [np.cumsum(factor) / np.sum(factor) for factor in factors]

    def act(live: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        drawn = [
            np.minimum(np.searchsorted(bound, one, "right"), len(bound) - 1)
            for bound, one in zip(bounds, np.atleast_2d(uniforms.T), strict=True)
        ]
        return drawn[0] if len(drawn) == 1 else np.stack(drawn, axis=1)

    return _play(game, episodes, seed, min(slots, episodes), act, None, None)


def _play(
    game: Game,
    episodes: int,
    seed: int,
    slots: int,
    act: Act,
    runner: Runner | None,
    progress: Callable[[int], None] | None,
    keep: Path | None = None,
) -> Returns:
    check_seed(seed)
    env = _recorded_env(game, slots, seed, keep) if keep else vector_env(game, slots, seed)
    try:
        played = _play_in(env, episodes, seed, act, runner, progress, action_sizes(game))
    finally:
        close(env)
    if keep:
        finish = getattr(game, "finish_recordings", None)
        if finish is not None:
            finish(keep, played.facts)
    return played


def _recorded_env(game: Game, slots: int, seed: int, keep: Path) -> VectorEnv:
    make = getattr(game, "make_recorded_vector", None)
    if make is None:
        raise SpecError(f"{game.name} makes no recordings to keep")
    if not is_free(keep):
        raise SpecError(f"{keep} is not empty: give another folder for the recordings")
    env: VectorEnv = make(slots, seed, keep)
    return env


def _play_in(
    env: VectorEnv,
    episodes: int,
    seed: int,
    act: Act,
    runner: Runner | None,
    progress: Callable[[int], None] | None,
    sizes: tuple[int, ...],
) -> Returns:
    slots, each = env.n, action_shape(sizes)
    chance = [np.random.default_rng([seed, episode]) for episode in range(episodes)]
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    truncations, facts = np.zeros(episodes, bool), [dict[str, Any]() for _ in range(episodes)]
    tell: Callable[[int], dict[str, Any]] = getattr(env, "episode_facts", lambda slot: {})
    playing = np.arange(slots)  # the episode each slot plays; -1: none left
    following, finished = slots, 0
    frames = env.reset(playing)
    if runner:
        runner.start(playing, frames)
    while finished < episodes:
        live = np.flatnonzero(playing >= 0)
        episodes_played = playing[live].tolist()
        uniforms = np.array([chance[episode].random(each or None) for episode in episodes_played])
        actions = np.zeros((slots, *each), np.int64)
        actions[live] = act(live, uniforms)
        frames, rewards, terminated, truncated = env.step(actions)
        returns[playing[live]] += rewards[live]
        lengths[playing[live]] += 1
        ended = live[(terminated | truncated)[live]]
        truncations[playing[ended]] = truncated[ended]
        if runner:
            runner.chose(live, actions[live])
            runner.push(live, frames[live])
        finished += len(ended)
        for slot in ended:
            facts[playing[slot]] = tell(int(slot))
            playing[slot] = following if following < episodes else -1
            following += 1
        again = ended[playing[ended] >= 0]
        if len(again):
            first = env.reset(again)
            if runner:
                runner.start(again, first)
        if progress:
            progress(finished)
    return Returns(returns, lengths, truncations, tuple(facts) if any(facts) else ())
