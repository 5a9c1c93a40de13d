"""What PPO minimises (Schulman et al. 2017, eq. 9), and a teacher's part of it.

    -min(r A, clip(r, 1 - e, 1 + e) A) + c_v (V - target)^2 - c_e entropy + c_t KL(teacher | policy)

averaged over the samples; r is the probability of the action over that when it was taken, A the
advantage, normalised over the minibatch [normalization of advantages].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from isoclone.policies.factors import nats
from isoclone.training.reinforcement.recipe import PpoRecipe


class Minibatch(NamedTuple):
    """Samples to learn from, (n, ...) each."""

    actions: torch.Tensor
    log_probs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    targets: torch.Tensor
    teacher: torch.Tensor | None


class Losses(NamedTuple):
    """The objective, and figures about it that are not differentiated: means over the samples."""

    total: torch.Tensor
    figures: torch.Tensor  # of FIGURES


FIGURES = ("value_loss", "entropy_nats", "kl_nats", "clipped_share", "teacher_kl_nats")


def objective(
    logits: torch.Tensor,
    values: torch.Tensor,
    batch: Minibatch,
    recipe: PpoRecipe,
    sizes: Sequence[int],
    teaches: float,
) -> Losses:
    """Return what PPO minimises for a minibatch.

    Args:
        logits: (n, n_actions); of factors one after the other.
        values: (n,).
        sizes: how many values each factor of the actions has.
        teaches: weight of the teacher's part.
    """
    logits, values = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (logits, values))
    ratio_nats = -nats(logits, batch.actions, sizes) - batch.log_probs
    ratio, advantages = ratio_nats.exp(), normalised(batch.advantages)
    low, high = 1 - recipe.clip, 1 + recipe.clip
    gain = torch.min(advantages * ratio, advantages * ratio.clamp(low, high)).mean()
    value_loss = _value_loss(values, batch, recipe.clip_values)
    uncertain = entropy(logits, sizes).mean()
    total = -gain + recipe.value_coef * value_loss - recipe.entropy_coef * uncertain
    taught = logits.new_zeros(())
    if batch.teacher is not None and teaches:
        taught = divergence(batch.teacher, logits, sizes).mean()
        total = total + teaches * taught
    with torch.no_grad():
        # Schulman 2020, "Approximating KL divergence": unbiased, and never negative
        moved = (ratio - 1 - ratio_nats).mean()
        clipped = ((ratio - 1).abs() > recipe.clip).float().mean()
        figures = torch.stack([value_loss, uncertain, moved, clipped, taught]).detach()
    return Losses(total, figures)


def normalised(advantages: torch.Tensor) -> torch.Tensor:
    """Return advantages with mean 0 and SD 1, as they are if there is one alone."""
    if len(advantages) < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def _value_loss(values: torch.Tensor, batch: Minibatch, clip: float) -> torch.Tensor:
    """Return the mean squared error; with `clip`, of values that moved no further than that."""
    if clip:
        values = batch.values + (values - batch.values).clamp(-clip, clip)
    return (values - batch.targets).square().mean()


def entropy(logits: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Return the entropy of the action (n,), nats; of factors the sum."""
    parts = [functional.log_softmax(part, -1) for part in _parts(logits, sizes)]
    return torch.stack([-(part.exp() * part).sum(-1) for part in parts]).sum(0)


def divergence(teacher: torch.Tensor, logits: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Return KL(teacher | policy) (n,), nats; of factors the sum."""
    pairs = zip(_parts(teacher, sizes), _parts(logits, sizes), strict=True)
    each = []
    for known, own in pairs:
        shares = functional.log_softmax(known, -1)
        each.append((shares.exp() * (shares - functional.log_softmax(own, -1))).sum(-1))
    return torch.stack(each).sum(0)


def _parts(logits: torch.Tensor, sizes: Sequence[int]) -> Sequence[torch.Tensor]:
    return logits.split(list(sizes), -1) if len(sizes) > 1 else (logits,)
