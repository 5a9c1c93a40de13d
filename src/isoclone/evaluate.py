"""How good a trained policy is: dev loss by episode, and mean return over whole episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch.nn import functional

from isoclone.checkpoint import Trained
from isoclone.demos import FrameCache
from isoclone.demos.batches import Batches, to_input
from isoclone.errors import CheckpointError, SpecError
from isoclone.games import Game, VectorEnv, close, vector_env
from isoclone.sampling import Sampling
from isoclone.slots import Slots, slots_for

BATCH = 512


@dataclass(frozen=True)
class DevLoss:
    """Teacher-forced loss on held-out episodes, nats per action, with its SE over episodes."""

    mean: float
    se: float | None
    accuracy: float
    samples: int
    episodes: int


def dev_rows(cache: FrameCache, samples: int) -> np.ndarray:
    """At most about `samples` dev rows, evenly thinned, so that every dev episode has its share."""
    every = max(1, -(-len(cache.dev) // samples))
    return cache.dev[::every]


def dev_loss(policy: Trained, cache: FrameCache, samples: int = 20_000) -> DevLoss:
    """Cross-entropy of the expert's actions on held-out episodes.

    The SE treats an episode as the unit: with s_e the sum of an episode's losses, n_e its
    samples and m the overall mean, SE^2 = E/(E-1) sum_e (s_e - n_e m)^2 / n^2.

    Args:
        samples: about how many dev samples to use; all episodes are thinned alike.
    """
    rows = dev_rows(cache, samples)
    batches = Batches(cache)
    losses, hits = np.empty(len(rows)), np.empty(len(rows), bool)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        codes, actions = batches.gather(rows[part])
        inputs = to_input(codes.to(policy.device), cache.encoder, policy.dtype)
        logits = policy.logits(inputs).cpu()
        losses[part] = functional.cross_entropy(logits, actions, reduction="none").numpy()
        hits[part] = (logits.argmax(1) == actions).numpy()
    mean, se = mean_by_episode(losses, cache.episodes[rows])
    return DevLoss(mean, se, float(hits.mean()), len(rows), len(set(cache.episodes[rows])))


def mean_by_episode(values: np.ndarray, episodes: np.ndarray) -> tuple[float, float | None]:
    """Mean over samples and its SE with the episode as the unit; no SE from a single episode.

    >>> mean_by_episode(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    (2.0, 1.0)
    """
    mean = float(values.mean())
    _, which = np.unique(episodes, return_inverse=True)
    residuals = np.bincount(which, values - mean)
    count = len(residuals)
    if count < 2:
        return mean, None
    return mean, float(np.sqrt(count / (count - 1) * (residuals**2).sum()) / len(values))


@dataclass(frozen=True)
class Returns:
    """Whole episodes played by a policy, in the order of their numbers."""

    returns: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def se(self) -> float | None:
        """Standard error of the mean; None for a single episode."""
        if len(self.returns) < 2:
            return None
        return float(self.returns.std(ddof=1) / np.sqrt(len(self.returns)))


Act = Callable[[np.ndarray, np.ndarray], np.ndarray]


def rollout(
    policy: Trained,
    game: Game,
    episodes: int,
    seed: int = 0,
    sampling: str = "sample",
    slots: int = 16,
    progress: Callable[[int], None] | None = None,
) -> Returns:
    """Play whole episodes with a policy, many side by side in one forward pass.

    Episode numbers are handed out as slots fall free and every episode begun is finished and
    counted, so short episodes are not over-represented.

    Raises:
        SpecError: no episodes asked for, or an unknown way of sampling (see `sampling`).
        CheckpointError: the policy was trained on frames or actions of another game.
    """
    check_fits(policy, game)
    if episodes < 1:
        raise SpecError(f"episodes must be at least 1, not {episodes}")
    way, shown = Sampling.parse(sampling), slots_for(policy, min(slots, episodes))

    def act(live: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        return way.choose(shown.logits(live), uniforms)

    return _play(game, episodes, seed, min(slots, episodes), act, shown, progress)


def check_fits(policy: Trained, game: Game) -> None:
    """Raise CheckpointError if a policy sees other frames, or has other actions, than a game."""
    sees, shows = policy.encoder.spec, game.frame
    if (sees, policy.n_actions) != (shows, game.n_actions):
        raise CheckpointError(
            f"the policy takes {sees.stack} frames of shape {sees.shape} ({sees.dtype}) and "
            f"chooses among {policy.n_actions} actions; {game.name} shows {shows.stack} of shape "
            f"{shows.shape} ({shows.dtype}) and has {game.n_actions} actions"
        )


def random_returns(game: Game, episodes: int, seed: int = 0, slots: int = 8) -> Returns:
    """Whole episodes of uniformly random play: the floor of every score."""

    def act(live: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        return (uniforms * game.n_actions).astype(np.int64)

    return _play(game, episodes, seed, min(slots, episodes), act, None, None)


def _play(
    game: Game,
    episodes: int,
    seed: int,
    slots: int,
    act: Act,
    shown: Slots | None,
    progress: Callable[[int], None] | None,
) -> Returns:
    env = vector_env(game, slots, seed)
    try:
        return _play_in(env, episodes, seed, act, shown, progress)
    finally:
        close(env)


def _play_in(
    env: VectorEnv,
    episodes: int,
    seed: int,
    act: Act,
    shown: Slots | None,
    progress: Callable[[int], None] | None,
) -> Returns:
    slots = env.n
    chance = [np.random.default_rng([seed, episode]) for episode in range(episodes)]
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    truncations = np.zeros(episodes, bool)
    playing = np.arange(slots)  # the episode each slot plays; -1: none left
    following, finished = slots, 0
    frames = env.reset(playing)
    if shown:
        shown.start(playing, frames)
    while finished < episodes:
        live = np.flatnonzero(playing >= 0)
        uniforms = np.array([chance[playing[slot]].random() for slot in live])
        actions = np.zeros(slots, np.int64)
        actions[live] = act(live, uniforms)
        frames, rewards, terminated, truncated = env.step(actions)
        returns[playing[live]] += rewards[live]
        lengths[playing[live]] += 1
        ended = live[(terminated | truncated)[live]]
        truncations[playing[ended]] = truncated[ended]
        if shown:
            shown.chose(live, actions[live])
            shown.push(live, frames[live])
        finished += len(ended)
        for slot in ended:
            playing[slot] = following if following < episodes else -1
            following += 1
        again = ended[playing[ended] >= 0]
        if len(again):
            first = env.reset(again)
            if shown:
                shown.start(again, first)
        if progress and len(ended):
            progress(finished)
    return Returns(returns, lengths, truncations)
