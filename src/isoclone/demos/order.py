"""The order in which training rows are seen."""

from __future__ import annotations

from typing import Any

import numpy as np


class Order:
    """The order in which training rows are seen: a fresh shuffle for each epoch.

    Sample number i is a function of the seed and i alone, so training resumes anywhere.
    """

    def __init__(self, rows: np.ndarray, seed: int):
        self._rows, self._seed = rows, seed
        self._epoch, self._shuffled = -1, rows

    def take(self, start: int, count: int) -> np.ndarray:
        """Return the rows of samples `start` to `start + count`, (count,) int64."""
        parts: list[Any] = []
        while count:
            epoch, offset = divmod(start, len(self._rows))
            part = self._shuffle(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def _shuffle(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._epoch, self._shuffled = epoch, rng.permutation(self._rows)
        return self._shuffled
