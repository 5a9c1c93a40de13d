"""Logits of actions with several factors: their parts, the loss of an action, the rank of one.

Logits (..., n_actions) hold the factors' logits one after the other, `sizes` how many each has. A
factor is a choice of its own: the loss of an action is the sum of its factors' cross-entropies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def nats(logits: torch.Tensor, actions: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Return the cross-entropy of each action, (n,) nats.

    Args:
        logits: (n, n_actions).
        actions: (n,) int64, or (n, factors).
    """
    from torch.nn import functional

    if len(sizes) <= 1:
        return functional.cross_entropy(logits, actions, reduction="none")
    losses = [
        functional.cross_entropy(part, actions[:, k], reduction="none")
        for k, part in enumerate(logits.split(list(sizes), 1))
    ]
    return sum(losses[1:], losses[0])


def total_nats(
    logits: torch.Tensor, actions: torch.Tensor, sizes: Sequence[int], masked: int
) -> torch.Tensor:
    """Return the sum of the cross-entropies of all actions that are not `masked`, in float32.

    Args:
        logits: (..., n_actions).
        actions: (...) int64, or (..., factors), all of them masked or none.
    """
    from torch.nn import functional

    flat = logits.float().flatten(0, -2)
    if len(sizes) <= 1:
        targets = actions.flatten()
        return functional.cross_entropy(flat, targets, ignore_index=masked, reduction="sum")
    several = actions.flatten(0, -2)
    losses = [
        functional.cross_entropy(part, several[:, k], ignore_index=masked, reduction="sum")
        for k, part in enumerate(flat.split(list(sizes), 1))
    ]
    return sum(losses[1:], losses[0])


def ranks(logits: torch.Tensor, actions: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Return how many values are likelier than the one taken, (n,); of factors the largest."""
    if len(sizes) <= 1:
        return (logits > logits.gather(1, actions[:, None])).sum(1)
    each = [
        (part > part.gather(1, actions[:, k, None])).sum(1)
        for k, part in enumerate(logits.split(list(sizes), 1))
    ]
    import torch

    return torch.stack(each).amax(0)
