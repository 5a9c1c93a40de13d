"""Sum up what a game tells of its episodes; without torch, for a report on what was played."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np


def summary(facts: Sequence[dict[str, Any]], names: Sequence[str] | None = None) -> dict[str, Any]:
    """Summarise a game's facts about episodes: numbers have a mean, texts are counted.

    Args:
        facts: the game's facts about each episode; None is left out.
        names: the facts to sum up; all that are there unless said.

    Returns:
        {number: {'mean', 'se'}, text with an 's': {value: count, the most frequent first}}.
    """
    told: dict[str, Any] = {}
    for name in dict.fromkeys(key for row in facts for key in row) if names is None else names:
        values = [row[name] for row in facts if row.get(name) is not None]
        if values and all(type(value) in (int, float) for value in values):
            told[name] = _mean_of(np.array(values, float))
        else:
            told[f"{name}s"] = dict(Counter(map(str, values)).most_common())
    return told


def _mean_of(values: np.ndarray) -> dict[str, float | None]:
    se = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(values.mean()), "se": se}
