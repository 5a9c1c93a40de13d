"""FLOPs per sample as a function of size, read off the points themselves.

C = f(N) D holds for every convention; 6ND is the case f = 6N. A convolutional net has another f,
and the table shows it: log f is interpolated in log N and continued with its end slopes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray


class FlopRule:
    """f(N) in FLOPs per sample through the medians of flops / samples per size."""

    def __init__(self, params: Any, flops_per_sample: Any):
        n, f = np.log(np.asarray(params, float)), np.log(np.asarray(flops_per_sample, float))
        order = np.lexsort([f, n])
        self._n, first, count = np.unique(n[order], return_index=True, return_counts=True)
        f = f[order]  # ascending within each size: the median is in its middle
        self._f = 0.5 * (f[first + (count - 1) // 2] + f[first + count // 2])
        rise = np.diff(self._f) / np.diff(self._n) if len(self._n) > 1 else np.array([1.0])
        self._low, self._high = float(rise[0]), float(rise[-1])

    @classmethod
    def six_nd(cls) -> FlopRule:
        """Return the convention C = 6 N D of dense language models."""
        return cls([1.0], [6.0])

    def per_sample(self, params: Any) -> Array:
        """Return f(N), FLOPs per sample."""
        n = np.log(np.asarray(params, float))
        inside = np.interp(n, self._n, self._f)
        below = self._low * np.minimum(n - self._n[0], 0.0)
        above = self._high * np.maximum(n - self._n[-1], 0.0)
        return np.exp(np.clip(inside + below + above, -600.0, 600.0))

    def samples(self, flops: Any, params: Any) -> Array:
        """Return D = C / f(N)."""
        return np.asarray(flops, float) / self.per_sample(params)
