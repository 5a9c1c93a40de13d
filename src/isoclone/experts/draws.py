"""Actions drawn from logits or chances, each with the random generator of its own episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def draw(chances: np.ndarray, rng: np.random.Generator) -> int:
    """Return a random index, drawn with the given probabilities, (n,)."""
    ladder = np.cumsum(chances)
    return min(int(np.searchsorted(ladder, rng.random() * ladder[-1])), len(chances) - 1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits, (..., n) float64."""
    high = np.asarray(logits, np.float64)
    raised = np.exp(high - high.max(-1, keepdims=True))
    chances: np.ndarray = raised / raised.sum(-1, keepdims=True)
    return chances


def chosen(
    logits: np.ndarray,
    sizes: Sequence[int],
    rngs: Sequence[np.random.Generator],
    greedy: bool,
) -> list[Any]:
    """Return one action for each row of logits, (n, sum(sizes)).

    Args:
        sizes: alternatives of each factor of an action; one for a plain game.
        greedy: take the likeliest, else draw.

    Returns:
        ints; arrays (len(sizes),) int64 where an action has several factors.
    """
    parts = np.split(np.asarray(logits), np.cumsum(sizes)[:-1], axis=-1)
    if greedy:
        columns = [part.argmax(-1) for part in parts]
    else:
        columns = [
            np.array([draw(row, rng) for row, rng in zip(softmax(part), rngs, strict=True)])
            for part in parts
        ]
    if len(columns) == 1:
        return [int(action) for action in columns[0]]
    return list(np.stack(columns, -1).astype(np.int64))
