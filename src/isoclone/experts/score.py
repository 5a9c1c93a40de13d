"""Scores of experts: the mean over whole episodes, with its standard error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.base.records import Record
from isoclone.experts.base import Expert, View, asked, make_random
from isoclone.games import Env, Game, action_sizes, check_seed, close, make_env
from isoclone.games.actions import chosen, offsets


@dataclass(frozen=True)
class ExpertScore(Record):
    """Mean score of an expert; `se` is None for one episode, the speed is this machine's."""

    expert: str
    game: str
    mean: float
    se: float | None
    episodes: int
    steps: int  # of all episodes together
    truncated: int  # episodes ended by the step limit
    steps_per_second: float
    action_frequencies: tuple[float, ...]  # of each action, or of each factor's values in turn
    scores: tuple[float, ...]  # one for each episode, in the order of their seeds
    chooses: str = ""  # how actions were chosen: "greedy", "sampled"; "" if not said
    other_way: str = ""  # the option by which they are chosen otherwise
    notes: tuple[str, ...] = ()  # what is assumed of the expert


Progress = Callable[[ExpertScore, int], None]


def random_score(
    game: Game, episodes: int = 32, seed: int = 0, seconds: float = 20.0
) -> tuple[float, float | None]:
    """Return the mean score of random play and its standard error; None for a single episode.

    That of the game itself, if it has one (without an error); else whole episodes are played, one
    after the other, until there are so many or the time is over.
    """
    if game.random_score is not None:
        return game.random_score, None
    scores, until = list[float](), time.monotonic() + seconds
    while len(scores) < episodes and (not scores or time.monotonic() < until):
        scores += score_expert(make_random(game), game, 1, seed + len(scores)).scores
    se = float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else None
    return float(np.mean(scores)), se


def score_expert(
    expert: Expert,
    game: Game,
    episodes: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> ExpertScore:
    """Play `episodes` whole episodes and report their mean score.

    Every episode that is started is finished and counted, so short ones are not favoured. Episode
    i has its own seed and random generator, which do not depend on the other episodes.

    Args:
        progress: called with (the score of the episodes finished so far, episodes) after each one.
            While others are under way that score counts short episodes too much.

    Raises:
        SpecError: `episodes` is not positive, or a seed is below 0.
        DataError: the expert chose an action the game does not have.
    """
    if episodes < 1:
        raise SpecError(f"episodes must be at least 1, not {episodes}")
    check_seed(seed)
    envs: list[Env] = [make_env(game) for _ in range(min(expert.lockstep, episodes))]
    start = time.perf_counter()

    def tell(finished: list[Played]) -> None:
        if progress:
            progress(_summary(expert, game, finished, time.perf_counter() - start), episodes)

    try:
        played = _play_all(expert, game, episodes, seed, envs, tell)
    finally:
        for env in envs:
            close(env)
    return _summary(expert, game, played, time.perf_counter() - start)


def _play_all(
    expert: Expert,
    game: Game,
    episodes: int,
    seed: int,
    envs: list[Env],
    tell: Callable[[list[Played]], None],
) -> list[Played]:
    played: list[Played] = []
    for first in range(0, episodes, expert.lockstep):
        indices = range(first, min(first + expert.lockstep, episodes))
        group = [Played(game, env, seed, i) for env, i in zip(envs, indices, strict=False)]
        live = group
        while live:
            actions = asked(expert, [episode.view for episode in live])
            for episode, action in zip(live, actions, strict=True):
                index, _ = chosen(game, expert.name, action)
                episode.step(index)
                if episode.end:
                    tell([*played, *(e for e in group if e.end)])
            live = [episode for episode in live if not episode.end]
        played += group
    return played


class Played:
    """An episode that an expert plays, in progress; its chances are those of `seed` and `index`."""

    def __init__(self, game: Game, env: Env, seed: int, index: int):
        env_seed, own_seed = np.random.SeedSequence((seed, index)).generate_state(2)
        self.env, self.score, self.end = env, 0.0, ""
        frame = self.env.reset(int(env_seed >> 1))
        rng = np.random.default_rng(own_seed)
        self.view = View(self.env, rng, game.frame.stack, [frame])
        self.counts, self.steps = np.zeros(game.n_actions, np.int64), 0
        self.offsets = offsets(action_sizes(game))

    def step(self, action: int | np.ndarray) -> None:
        """Act by the index of an action, (factors,) of several."""
        frame, reward, terminated, truncated = self.env.step(action)
        self.steps += 1
        self.counts[action + self.offsets] += 1
        self.score += reward
        self.view.frames.append(frame)
        self.end = "terminated" if terminated else "truncated" if truncated else ""
        if self.end:  # in a long game they take hundreds of megabytes
            self.view.frames.clear()


def _summary(expert: Expert, game: Game, played: list[Played], seconds: float) -> ExpertScore:
    scores = np.array([episode.score for episode in played])
    counts = np.sum([episode.counts for episode in played], axis=0)
    steps = sum(episode.steps for episode in played)
    return ExpertScore(
        expert=expert.name,
        game=game.name,
        mean=float(scores.mean()),
        se=float(scores.std(ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else None,
        episodes=len(scores),
        steps=steps,
        truncated=sum(episode.end == "truncated" for episode in played),
        steps_per_second=steps / seconds,
        action_frequencies=tuple((counts / steps).tolist()),
        scores=tuple(scores.tolist()),
        chooses=getattr(expert, "chooses", ""),
        other_way=getattr(expert, "other_way", ""),
        notes=tuple(getattr(expert, "notes", ())),
    )
