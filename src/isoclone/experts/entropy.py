"""The entropy of an expert's actions: the dev loss below which no imitator can come.

The expert plays, and at evenly spread steps it is asked many times over what it would do now, each
time with other chances. What it remembers is copied for each question, so the play goes on as if
nobody had asked. The entropy is that of its actions given the whole state of the game and its own
memory. An imitator sees less than that, so its floor lies at this entropy or above it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.base.records import Record
from isoclone.experts.base import Expert, View, asked
from isoclone.experts.score import Played
from isoclone.games import Game, check_seed, make_env
from isoclone.games.actions import chosen

ASKS = 16  # of one state
STATES = 32  # of a long episode; at most twice as many


@dataclass(frozen=True)
class ActionEntropy(Record):
    """Entropy of an expert's actions, nats per action; `se` over episodes, None for one episode.

    `agreement` is the share of pairs of answers to one question that are the same.
    """

    expert: str
    game: str
    nats: float
    se: float | None
    agreement: float
    episodes: int
    states: int
    asks: int


def can_be_asked(expert: Expert) -> bool:
    """Return whether an expert can be asked what it would do without its play being changed."""
    return not getattr(expert, "remembers", False)


def action_entropy(
    expert: Expert,
    game: Game,
    episodes: int = 4,
    asks: int = ASKS,
    states: int = STATES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ActionEntropy:
    """Measure the entropy of an expert's actions on states of its own play.

    Args:
        episodes: whole episodes to play.
        asks: answers to each question.
        states: questions in a long episode, or up to twice as many, evenly spread over its steps.
        progress: called with (episodes finished, episodes) after each one.

    Raises:
        SpecError: the expert cannot be asked twice, or a count is too small.
        DataError: the expert chose an action the game does not have.
    """
    if episodes < 1 or asks < 2 or states < 2:
        raise SpecError(f"wanted: 1 episode, 2 asks, 2 states; not {episodes}, {asks}, {states}")
    if not can_be_asked(expert):
        raise SpecError(
            f"expert '{expert.name}' keeps a memory of its own, so it cannot be asked twice; "
            "its entropy is not measured"
        )
    check_seed(seed)
    answers: list[np.ndarray] = []
    for number in range(episodes):
        answers.append(ask_in_episode(expert, game, number, asks, states, seed))
        if progress:
            progress(number + 1, episodes)
    return entropy_of(expert.name, game.name, answers)


def entropy_of(expert: str, game: str, answers: Sequence[np.ndarray]) -> ActionEntropy:
    """Return the entropy of answers (states, asks, factors) given in each of several episodes."""
    each = [np.array([_entropy(at) for at in episode]) for episode in answers]
    means = np.array([entropies.mean() for entropies in each])
    agreed = np.concatenate([[_agreement(at) for at in episode] for episode in answers])
    episodes = len(answers)
    return ActionEntropy(
        expert=expert,
        game=game,
        nats=max(0.0, float(np.concatenate(each).mean())),
        se=float(means.std(ddof=1) / math.sqrt(episodes)) if episodes > 1 else None,
        agreement=float(agreed.mean()),
        episodes=episodes,
        states=len(agreed),
        asks=answers[0].shape[1],
    )


def ask_in_episode(
    expert: Expert,
    game: Game,
    number: int,
    asks: int = ASKS,
    states: int = STATES,
    seed: int = 0,
    length: int = 0,
) -> np.ndarray:
    """Play one episode and ask on the way; return the answers, (states, asks, factors) int64.

    Args:
        number: of the episode.
        asks, states, seed: as of `action_entropy`.
        length: steps that an episode is expected to have. Questions are `length` / `states` steps
            apart from the beginning; else those of a long episode are thinned out as it goes on,
            which asks several times as many.
    """
    chances = np.random.default_rng((seed, number, 1))
    found: list[np.ndarray] = []
    every = max(1, length // states)
    with closing(make_env(game)) as env:
        episode = Played(game, env, seed, number)
        while not episode.end:
            if episode.steps % every == 0:
                found.append(_asked(expert, game, episode.view, asks, chances))
            if len(found) >= 2 * states:  # thin out evenly: how long the episode is, nobody knows
                found, every = found[::2], 2 * every
            episode.step(_index(expert, game, asked(expert, [episode.view])[0]))
    return np.stack(found)


def _index(expert: Expert, game: Game, action: Any) -> Any:
    """Return the index of an expert's action, checked; it may be the environment's own."""
    return chosen(game, expert.name, action)[0]


def _asked(
    expert: Expert, game: Game, view: View, asks: int, chances: np.random.Generator
) -> np.ndarray:
    """Ask the expert `asks` times what it would do now; return (asks, factors) int64."""
    answers: list[Any] = []
    for first in range(0, asks, expert.lockstep):
        seeds = chances.integers(2**62, size=min(expert.lockstep, asks - first))
        actions = asked(expert, [_copied(expert, view, int(seed)) for seed in seeds])
        answers += [_index(expert, game, action) for action in actions]
    return np.asarray(answers, np.int64).reshape(asks, -1)


def _copied(expert: Expert, view: View, seed: int) -> View:
    """Return the view with a memory and chances of its own."""
    recalled: Callable[[dict[str, Any]], dict[str, Any]] = getattr(expert, "recalled", dict)
    memory = copy.deepcopy(recalled(view.memory))
    return replace(view, rng=np.random.default_rng(seed), memory=memory)


def _entropy(answers: np.ndarray) -> float:
    """Estimate the entropy of one state's answers (asks, factors), in nats, summed over factors.

    Plug-in estimate with the correction of Miller (1955): (actions seen - 1) / (2 asks).
    """
    total = 0.0
    for factor in answers.T:
        counts = np.unique(factor, return_counts=True)[1]
        shares = counts / counts.sum()
        total += float(-(shares * np.log(shares)).sum()) + (len(counts) - 1) / (2 * counts.sum())
    return total


def _agreement(answers: np.ndarray) -> float:
    """Return the share of pairs of answers that are the same."""
    counts = np.unique(answers, axis=0, return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (counts.sum() * (counts.sum() - 1)))
