"""When demonstrations run out: how loss depends on unique samples and on repeats.

A sample seen again teaches less. With U unique samples and D seen in all, R = D / U - 1 repeats,
the effective number of samples is (Muennighoff et al. 2023, arXiv 2305.16264)

    D_eff = U + U r* (1 - exp(-R / r*)),

which is D while R is small against r*, and never more than U (1 + r*). Parameters beyond N_U, the
size that U samples seen once support best, are worth less in the same way, with r_N for r*:

    N_eff = N_U + N_U r_N (1 - exp(-(N / N_U - 1) / r_N)),  alpha A / N_U^alpha = beta B / U^beta.

The loss follows a surface in both,

    L = E + A / N_eff^alpha + B / D_eff^beta,

fitted, as there, to the runs that hardly repeat their data; r* and r_N to all of them. So "how many
demonstrations must I collect" has an answer: at C FLOPs and with U unique samples the best size N
reaches the lowest L with D = C / f(N), and that loss falls with U until no sample is seen twice.
Repeats also overfit, which makes the loss rise again; this law does not: fit it to early-stopped or
best losses (`best_so_far`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from isoclone.base.errors import FitError, SpecError
from isoclone.base.records import Interval, Status, jsonable
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.points import Points
from isoclone.laws.surface import Surface, bootstrap_weights

Array = np.ndarray
REPEATS = np.geomspace(0.25, 64.0, 33)  # grid of r*
EXCESS = np.append(np.geomspace(0.25, 64.0, 9), 1e6)  # and of r_N; the last: all parameters count
FEW_EPOCHS = 4.0  # up to which the surface is fitted, or to the `LEAST_SHARE` of fewest epochs
LEAST_SHARE = 0.4
ROUNDS = 3  # surface, r* and r_N in turn
HUBER = 2.0  # noise SDs
COLLECTED = 361  # how finely unique samples are searched, and
SIZES = 60  # sizes, from a tenth of the smallest sampled one to ten times the largest
MISFIT = 0.05  # SD of log loss about the law: beyond it the law does not describe the table
FAR = 10.0  # times the evidence: an answer beyond was never checked


def effective_samples(samples: Any, unique: Any, repeats: float) -> Array:
    """Return D_eff for D[m] samples seen of U[m] unique ones; `repeats` is r*.

    >>> round(float(effective_samples(4e6, 1e6, 1e9)) / 1e6, 3)
    4.0
    """
    seen, unique = np.asarray(samples, float), np.asarray(unique, float)
    again = np.maximum(seen / unique - 1.0, 0.0)
    return np.minimum(seen, unique) + unique * repeats * -np.expm1(-again / repeats)


def effective_params(params: Any, supported: Any, excess: float) -> Array:
    """Return N_eff for N[m] parameters where N_U[m] are supported; `excess` is r_N."""
    return effective_samples(params, supported, excess)


def _supported(surface: Surface, unique: Any) -> Array:
    """Return N_U [m]: the size that U[m] samples, seen once, support best; at least 1."""
    p = surface.params_
    log_size = np.log(p["alpha"] * p["A"] / (p["beta"] * p["B"])) + p["beta"] * np.log(unique)
    return np.exp(np.clip(log_size / p["alpha"], 0.0, 90.0))


@dataclass(frozen=True)
class DemosNeeded:
    """How many unique samples to collect for a budget, and what to train on them.

    `unique_samples` to collect; `params` and `epochs` to train with; `dev_loss` (nats) is then
    reached, and `dev_loss_unlimited` if no sample had to be seen twice. `curve` says what smaller
    collections reach: rows of unique_samples, params, epochs, dev_loss. `repeats` is r*, `excess`
    r_N: how many repeats, and how many times the supported parameters, are worth something.
    """

    flops: float
    unique_samples: Interval
    params: float
    epochs: float
    dev_loss: float
    dev_loss_unlimited: float
    repeats: Interval
    excess: Interval
    curve: tuple[dict[str, float], ...]
    status: tuple[Status, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        out: dict[str, Any] = jsonable(self)
        return out


class DataLimitedLaw:
    """Loss against size, samples seen and unique samples.

    After `fit`: `repeats_` (r*, an `Interval`), `excess_` (r_N, likewise), `surface_` (in N_eff and
    D_eff), `sd_` (RMS of log residuals), `at_bound_` (whether r* ended at an end of its grid: the
    data have too few repeats to tell, or no use of any).
    """

    def __init__(self, bootstraps: int = 100, seed: int = 0):
        self.bootstraps, self.seed = bootstraps, seed

    def fit(
        self, params: Any, samples: Any, unique: Any, loss: Any, run: Any = None, sd: float = 0.02
    ) -> Self:
        """Fit to N[n], D[n], U[n], loss[n] (nats); `run` [n] groups checkpoints of one run.

        r* and r_N are found on grids; their intervals come from a cluster bootstrap. Raises
        `FitError` with fewer than eight points, or no point that repeats its data.
        """
        n, d, u, y = (np.asarray(v, float) for v in (params, samples, unique, loss))
        if len(y) < 8:
            raise FitError(f"a data-limited law needs 8 points; got {len(y)}")
        if (d <= u * 1.01).all():
            raise FitError("no run repeats its data: r* cannot be told, use a plain surface")
        few = d / u <= max(FEW_EPOCHS, float(np.quantile(d / u, LEAST_SHARE)))
        weights = bootstrap_weights(
            np.arange(len(y)) if run is None else np.asarray(run), self.bootstraps, self.seed
        )
        self._r, self._excess, size = 1e6, 1e6, n
        for _ in range(ROUNDS):
            seen = effective_samples(d, u, self._r)
            self.surface_ = Surface(starts=3).fit(size[few], seen[few], y[few], sd)
            supported = _supported(self.surface_, u)
            whole = self.surface_.theta_[None], np.ones((1, len(y)))
            (best,) = self._best(n, d, u, y, supported, sd, *whole)
            self._r, self._excess = float(REPEATS[best[0]]), float(EXCESS[best[1]])
            size = effective_params(n, supported, self._excess)
        self.at_bound_ = best[0] in (0, len(REPEATS) - 1)
        self.sd_ = float(np.sqrt(np.mean(np.log(self.predict(n, d, u) / y) ** 2)))
        self._sizes, self._most_unique = (float(n.min()), float(n.max())), float(u.max())
        thetas = self.surface_.refit(weights[:, few])
        drawn = self._best(n, d, u, y, supported, sd, thetas, weights)
        self._draws = [
            (theta[None], float(REPEATS[j]), float(EXCESS[k]))
            for theta, (j, k) in zip(thetas, drawn, strict=True)
        ]
        self.repeats_ = _spread(self._r, [r for _, r, _ in self._draws])
        self.excess_ = _spread(self._excess, [e for _, _, e in self._draws])
        return self

    def _best(
        self,
        n: Array,
        d: Array,
        u: Array,
        y: Array,
        supported: Array,
        sd: float,
        thetas: Array,
        weights: Array,
    ) -> list[tuple[int, int]]:
        """Return the places of r* and r_N that fit best, for each of S surfaces and weightings."""
        cost = np.empty((len(REPEATS), len(EXCESS), len(thetas)))
        for k, excess in enumerate(EXCESS):
            size = effective_params(n, supported, float(excess))
            for j, repeats in enumerate(REPEATS):
                said = self.surface_.log_loss(size, effective_samples(d, u, repeats), thetas)
                off = np.abs(said - np.log(y)) / sd
                bent = np.where(off <= HUBER, 0.5 * off**2, HUBER * off - 0.5 * HUBER**2)
                cost[j, k] = (weights * bent).sum(1)
        flat = cost.reshape(-1, len(thetas)).argmin(0)
        return [divmod(int(at), len(EXCESS)) for at in flat]

    def predict(self, params: Any, samples: Any, unique: Any) -> Array:
        """Return L at N[m], D[m], U[m], nats."""
        size = effective_params(params, _supported(self.surface_, unique), self._excess)
        return self.surface_.predict(size, effective_samples(samples, unique, self._r))

    def unique_needed(self, params: float, loss: float, epochs: float) -> float:
        """Return the unique samples with which N parameters reach `loss` in so many epochs.

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

    def demos_needed(
        self, flops: float, rule: FlopRule, loss: float | None = None, within: float = 0.01
    ) -> DemosNeeded:
        """Return how many unique samples to collect, to spend `flops` well.

        Enough to reach `loss` (nats), or, without one, a loss at most `within` (relative) above
        what the same FLOPs reach on samples never seen twice. `rule` gives FLOPs per sample.
        Raises `SpecError` for impossible numbers, `FitError` where no number of samples suffices.
        """
        if not (0 < flops < 1e40 and 0 < within < 1 and (loss is None or loss > 0)):
            raise SpecError("flops and loss must be positive, within between 0 and 1")
        sizes = np.geomspace(self._sizes[0] / 10, self._sizes[1] * 10, SIZES)
        seen = rule.samples(flops, sizes)
        unique = np.geomspace(1.0, max(float(seen.max()), 10.0), COLLECTED)
        reached, best = self._reached(
            seen, sizes, unique, self.surface_.theta_[None], self._r, self._excess
        )
        needed = _enough(reached, unique, loss, within)
        if not np.isfinite(needed):
            raise FitError(
                f"no number of samples reaches a loss of {loss:.4g} with {flops:.3g} FLOPs: "
                f"{np.exp(reached[-1]):.4g} is the lowest, with {unique[-1]:.3g} unique samples"
            )
        drawn = [
            _enough(self._reached(seen, sizes, unique, *draw)[0], unique, loss, within)
            for draw in self._draws
        ]
        low, high = (float(q) for q in np.quantile(drawn, [0.025, 0.975], method="nearest"))
        top = max(high, needed) if np.isfinite(high) else None
        at = int(np.searchsorted(unique, needed))
        rows = [
            {
                "unique_samples": float(unique[k]),
                "params": float(sizes[best[k]]),
                "epochs": max(float(seen[best[k]] / unique[k]), 1.0),
                "dev_loss": float(np.exp(reached[k])),
            }
            for k in np.unique(np.searchsorted(unique, needed / np.array([32, 16, 8, 4, 2, 1])))
        ]
        return DemosNeeded(
            flops=float(flops),
            unique_samples=Interval(needed, min(low, needed), top),
            params=rows[-1]["params"],
            epochs=rows[-1]["epochs"],
            dev_loss=float(np.exp(reached[at])),
            dev_loss_unlimited=float(np.exp(reached[-1])),
            repeats=self.repeats_,
            excess=self.excess_,
            curve=tuple(rows),
            status=tuple(self._status(needed, top)),
        )

    def _reached(
        self,
        seen: Array,
        sizes: Array,
        unique: Array,
        theta: Array,
        repeats: float,
        excess: float,
    ) -> tuple[Array, Array]:
        """Return the lowest log loss [u] over the sizes for each U, and which size that is."""
        effective = effective_samples(seen[None, :], unique[:, None], repeats)
        supported = _supported(self.surface_, unique)[:, None]
        many = effective_params(np.broadcast_to(sizes, effective.shape), supported, excess)
        value = self.surface_.log_loss(many.ravel(), effective.ravel(), theta)
        value = value.reshape(effective.shape)
        return value.min(1), value.argmin(1)

    def _status(self, needed: float, top: float | None) -> list[Status]:
        found = []
        if self.at_bound_:
            text = "the worth of repeats is at an end of its grid: too few repeats to tell"
            found.append(Status("repeats_at_bound", text))
        if self.sd_ > MISFIT:
            text = (
                f"the law misses the table's losses by {100 * self.sd_:.0f} % (SD): after very "
                "many repeats sizes overfit by more than it takes into account"
            )
            found.append(Status("data_limited_misfit", text))
        if needed > FAR * self._most_unique:
            text = f"the largest collection with evidence has {self._most_unique:.3g} samples"
            found.append(Status("far_extrapolation", f"{needed:.3g} unique samples: {text}"))
        if top is None:
            text = "resampled runs leave it open whether any number of samples suffices"
            found.append(Status("upper_end_open", text))
        return found


def _enough(reached: Array, unique: Array, loss: float | None, within: float) -> float:
    """Return the smallest number of unique samples whose log loss is low enough; inf if none is."""
    wanted = np.log(loss) if loss is not None else reached[-1] + np.log1p(within)
    enough = reached <= wanted
    return float(unique[np.argmax(enough)]) if enough.any() else np.inf


def _spread(value: float, drawn: list[float]) -> Interval:
    low, high = (float(q) for q in np.quantile(drawn, [0.025, 0.975], method="nearest"))
    return Interval(value, min(low, value), max(high, value))


def best_so_far(run: Any, samples: Any, loss: Any) -> Array:
    """Return the lowest loss [n] of each run until then, as early stopping would keep."""
    run, samples, loss = np.asarray(run), np.asarray(samples, float), np.asarray(loss, float)
    out = np.empty(len(loss))
    for one in np.unique(run):
        here = np.flatnonzero(run == one)
        here = here[np.argsort(samples[here], kind="stable")]
        out[here] = np.minimum.accumulate(loss[here])
    return out


def fit_points(points: Points, bootstraps: int = 100, seed: int = 0) -> DataLimitedLaw:
    """Fit the law to the rows that say how many of their samples were unique.

    Raises `FitError` where too few do.
    """
    points.need_losses("the law of limited demonstrations")
    known = points.keep(np.isfinite(points.unique) & (points.unique > 0))
    loss = best_so_far(known.run, known.samples, known.loss)
    law = DataLimitedLaw(bootstraps, seed)
    return law.fit(known.params, known.samples, known.unique, loss, known.run)
