"""When demonstrations run out: how loss depends on unique samples and on repeats.

A sample seen again teaches less. With U unique samples and D seen in all, R = D / U - 1 repeats,
the effective number of samples is (Muennighoff et al. 2023, arXiv 2305.16264)

    D_eff = U + U r* (1 - exp(-R / r*)),

which is D while R is small against r*, and never more than U (1 + r*). The loss follows a surface
in N and D_eff,

    L = E + A / N^alpha + B / D_eff^beta,

so that "how many demonstrations must I collect" has an answer. Repeats also overfit, which makes
the loss rise again; this law does not: fit it to early-stopped or best losses.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from isoclone.errors import FitError, SpecError
from isoclone.laws.surface import Surface, bootstrap_weights
from isoclone.records import Interval

Array = np.ndarray
REPEATS = np.geomspace(0.25, 64.0, 33)  # grid of r*


def effective_samples(samples: Any, unique: Any, repeats: float) -> Array:
    """D_eff for D[m] samples seen of U[m] unique ones; `repeats` is r*.

    >>> round(float(effective_samples(4e6, 1e6, 1e9)) / 1e6, 3)
    4.0
    """
    seen, unique = np.asarray(samples, float), np.asarray(unique, float)
    again = np.maximum(seen / unique - 1.0, 0.0)
    return np.minimum(seen, unique) + unique * repeats * -np.expm1(-again / repeats)


class DataLimitedLaw:
    """Loss against size, samples seen and unique samples.

    After `fit`: `repeats_` (r*, an `Interval`), `surface_` (in N and D_eff), `at_bound_` (whether
    r* ended at an end of its grid: the data have too few repeats to tell, or no use of any).
    """

    def __init__(self, bootstraps: int = 100, seed: int = 0):
        self.bootstraps, self.seed = bootstraps, seed

    def fit(
        self, params: Any, samples: Any, unique: Any, loss: Any, run: Any = None, sd: float = 0.02
    ) -> Self:
        """Fit to N[n], D[n], U[n], loss[n] (nats); `run` [n] groups checkpoints of one run.

        r* is profiled over a grid; its interval comes from a cluster bootstrap. Raises `FitError`
        with fewer than eight points, or no point that repeats its data.
        """
        n, d, u, y = (np.asarray(v, float) for v in (params, samples, unique, loss))
        if len(y) < 8:
            raise FitError(f"a data-limited law needs 8 points; got {len(y)}")
        if (d <= u * 1.01).all():
            raise FitError("no run repeats its data: r* cannot be told, use a plain surface")
        fits = [Surface(starts=3).fit(n, effective_samples(d, u, r), y, sd) for r in REPEATS]
        cost = np.array([f.cost_ for f in fits])
        best = int(np.argmin(cost))
        self.surface_, self.at_bound_ = fits[best], best in (0, len(REPEATS) - 1)
        self.repeats_ = self._interval(fits, best, np.arange(len(y)) if run is None else run)
        self._r = float(REPEATS[best])
        return self

    def _interval(self, fits: list[Surface], best: int, run: Any) -> Interval:
        """Percentiles of the r* that each reweighting of the runs prefers."""
        weights = bootstrap_weights(np.asarray(run), self.bootstraps, self.seed)
        cost = np.stack([f.reweighted_cost(weights) for f in fits])  # [grid, draws]
        preferred = REPEATS[np.argmin(cost, axis=0)]
        low, high = (float(q) for q in np.quantile(preferred, [0.025, 0.975]))
        value = float(REPEATS[best])
        return Interval(value, min(low, value), max(high, value))

    def predict(self, params: Any, samples: Any, unique: Any) -> Array:
        """L at N[m], D[m], U[m], nats."""
        effective = effective_samples(samples, unique, self._r)
        return self.surface_.predict(np.asarray(params, float), effective)

    def unique_needed(self, params: float, loss: float, epochs: float) -> float:
        """Unique samples with which N parameters reach `loss` in so many epochs.

        Raises `SpecError` for impossible numbers, `FitError` where no number of samples suffices.
        """
        if not (params > 0 and loss > 0 and epochs >= 1):
            raise SpecError("params and loss must be positive, epochs at least 1")
        unique = np.logspace(0, 14, 1401)
        reached = self.predict(np.full(len(unique), params), unique * epochs, unique) <= loss
        if not reached.any():
            floor = float(self.predict([params], [1e30], [1e30])[0])
            raise FitError(f"no number of samples takes {params:.3g} parameters below {floor:.4g}")
        return float(unique[np.argmax(reached)])
