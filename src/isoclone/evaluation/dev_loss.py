"""Dev loss: cross-entropy of the expert's actions on held-out episodes, with its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from isoclone.base.errors import SpecError
from isoclone.demos import FrameCache
from isoclone.nethack.recordings import NldDemonstrations, whole_games
from isoclone.training.batches import Batches, to_input
from isoclone.training.checkpoint import Trained
from isoclone.training.data import MASKED, unroll_batch

BATCH = 512
LANES, STEPS = 16, 128  # games that are read side by side, and screens of each at a time


@dataclass(frozen=True)
class DevLoss:
    """Teacher-forced loss on held-out episodes, nats per action, with its SE over episodes.

    `accuracy` and `accuracy_top3` are the shares of samples in which the expert's action is the
    likeliest one, or among the three likeliest.
    """

    mean: float
    se: float | None
    accuracy: float
    accuracy_top3: float
    samples: int
    episodes: int


class _Judged(NamedTuple):
    """Dev samples: loss in nats, how many actions were thought likelier, episode; (n,) each."""

    losses: np.ndarray
    ranks: np.ndarray
    episodes: np.ndarray


def dev_rows(cache: FrameCache, samples: int) -> np.ndarray:
    """At most about `samples` dev rows, evenly thinned, so that every dev episode has its share."""
    every = max(1, -(-len(cache.dev) // samples))
    return cache.dev[::every]


def dev_loss(
    policy: Trained, source: FrameCache | NldDemonstrations, samples: int = 20_000
) -> DevLoss:
    """Cross-entropy of the expert's actions on held-out episodes.

    A policy that carries a state reads every held-out game from its first frame on.

    The SE treats an episode as the unit: with s_e the sum of an episode's losses, n_e its
    samples and m the overall mean, SE^2 = E/(E-1) sum_e (s_e - n_e m)^2 / n^2.

    Args:
        samples: about how many dev samples to use. Single frames are thinned, all episodes alike;
            of whole games each gives the same number of first frames, or all that it has.

    Raises:
        SpecError: not a single sample is asked for.
    """
    if samples < 1:
        raise SpecError(f"dev_samples must be at least 1, not {samples}")
    if isinstance(source, FrameCache):
        judged = _judge_frames(policy, source, samples)
    else:
        judged = _judge_games(policy, source, samples)
    mean, se = mean_by_episode(judged.losses, judged.episodes)
    return DevLoss(
        mean,
        se,
        float((judged.ranks == 0).mean()),
        float((judged.ranks < 3).mean()),
        len(judged.losses),
        len(set(judged.episodes.tolist())),
    )


def _judge_frames(policy: Trained, cache: FrameCache, samples: int) -> _Judged:
    rows, batches, parts = dev_rows(cache, samples), Batches(cache), []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        codes, actions = batches.gather(part)
        inputs = to_input(codes.to(policy.device), cache.encoder, policy.dtype)
        parts.append(_judge(policy.logits(inputs).cpu(), actions, cache.episodes[part]))
    return _Judged(*map(np.concatenate, zip(*parts, strict=True)))


def _judge_games(policy: Trained, demos: NldDemonstrations, samples: int) -> _Judged:
    games = demos.in_split("dev")
    limit, lanes = -(-samples // len(games)), min(len(games), LANES)
    state, parts = policy.initial_state(lanes), []
    for unroll in whole_games(demos, "dev", lanes, STEPS, limit):
        batch = unroll_batch(unroll, policy.device)
        logits, state = policy.step(*batch.inputs, state=state)
        there = unroll.actions != MASKED
        told = logits.cpu()[torch.from_numpy(there)]
        parts.append(_judge(told, batch.targets.cpu()[there], unroll.games[there]))
    return _Judged(*map(np.concatenate, zip(*parts, strict=True)))


def _judge(logits: torch.Tensor, actions: torch.Tensor, episodes: np.ndarray) -> _Judged:
    losses = functional.cross_entropy(logits, actions, reduction="none")
    likelier = logits > logits.gather(1, actions[:, None])
    return _Judged(losses.double().numpy(), likelier.sum(1).numpy(), episodes)


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
