"""Dev loss: cross-entropy of the expert's actions on held-out episodes, with its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.base.errors import SpecError
from isoclone.base.formatting import plus_minus
from isoclone.demos import Source
from isoclone.demos.base import MASKED
from isoclone.demos.shares import Mean, Shares
from isoclone.games import action_sizes
from isoclone.policies.factors import nats, ranks


@dataclass(frozen=True)
class DevLoss:
    """Teacher-forced loss on held-out episodes, nats per action, with its SE over episodes.

    `accuracy` and `accuracy_top3` are the shares of samples in which the expert's action is the
    likeliest one, or among the three likeliest. Of actions with several factors the loss is the sum
    over factors, and each factor's value must be (among) the likeliest. `accuracy_top3` is None
    where no action has more than three values, and so could be outside. Of a mixture, the figures
    are those of its parts, weighted; `parts` holds each one's loss and SE.
    """

    mean: float
    se: float | None
    accuracy: float
    accuracy_top3: float | None
    samples: int
    episodes: int
    parts: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)

    def columns(self) -> dict[str, float | str | None]:
        """Return what was measured as columns of a `Point`; a new figure needs a line here."""
        return {
            "dev_loss": self.mean,
            "dev_loss_se": self.se,
            "dev_accuracy": self.accuracy,
            "dev_accuracy_top3": self.accuracy_top3,
            "dev_loss_parts": ", ".join(
                f"{name} {plus_minus(mean, se, 4)}" for name, (mean, se) in self.parts.items()
            )
            or None,
        }


class _Judged(NamedTuple):
    """Dev samples: loss in nats, rank of the expert's action from 0, episode; (n,) each."""

    losses: np.ndarray
    ranks: np.ndarray
    episodes: np.ndarray


def dev_loss(policy: TrainedPolicy, source: Source, samples: int = 20_000) -> DevLoss:
    """Return the cross-entropy of the expert's actions on held-out episodes.

    A recurrent policy reads every held-out episode from its first step on.

    The SE treats an episode as the unit: with s_e the sum of an episode's losses, n_e its
    samples and m the overall mean, SE^2 = E/(E-1) sum_e (s_e - n_e m)^2 / n^2.

    Args:
        samples: about how many dev samples to use. For policies without memory they are thinned,
            all episodes alike; for recurrent ones each episode gives the same number of first
            steps, or all that it has.

    Raises:
        SpecError: `samples` is below 1.
    """
    if samples < 1:
        raise SpecError(f"dev_samples must be at least 1, not {samples}")
    judged = _judge_all(policy, source, samples)
    shares: Shares | None = getattr(source, "shares", None)
    loss = _mean(judged.losses, judged.episodes, shares)
    top3 = max(action_sizes(policy)) > 3
    return DevLoss(
        loss.mean,
        loss.se,
        _mean(judged.ranks == 0, judged.episodes, shares).mean,
        _mean(judged.ranks < 3, judged.episodes, shares).mean if top3 else None,
        len(judged.losses),
        len(set(judged.episodes.tolist())),
        loss.parts,
    )


def _mean(values: np.ndarray, episodes: np.ndarray, shares: Shares | None) -> Mean:
    """Return the mean over samples and its SE over episodes; of a mixture, its parts' weighted."""
    if shares is None:
        return Mean(*mean_by_episode(values, episodes), {})
    return shares.mean(lambda mask: mean_by_episode(values[mask], episodes[mask]), episodes)


def _judge_all(policy: TrainedPolicy, source: Source, samples: int) -> _Judged:
    state, parts, sizes = None, [], action_sizes(policy)
    device = str(policy.device)
    for batch in source.dev_batches(policy.module, samples, device, policy.dtype):
        if policy.is_recurrent:
            state = state or policy.initial_state(batch.targets.shape[1])
            logits, state = policy.step(*batch.inputs, state=state)
        else:
            logits = policy.logits(*batch.inputs)
        targets = batch.targets.cpu()
        there = targets != MASKED if len(sizes) == 1 else (targets != MASKED).all(-1)
        episodes = batch.episodes[there.numpy()]
        parts.append(_judge(logits.cpu()[there], targets[there], episodes, sizes))
    return _Judged(*map(np.concatenate, zip(*parts, strict=True)))


def _judge(
    logits: torch.Tensor, actions: torch.Tensor, episodes: np.ndarray, sizes: Sequence[int]
) -> _Judged:
    losses = nats(logits, actions, sizes)
    return _Judged(losses.double().numpy(), ranks(logits, actions, sizes).numpy(), episodes)


def mean_by_episode(values: np.ndarray, episodes: np.ndarray) -> tuple[float, float | None]:
    """Return the mean over samples, and its SE over episodes; None for a single episode.

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
