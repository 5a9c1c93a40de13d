"""A study played back: the ensembles of loss and return, fitted at every budget in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from isoclone.laws import returns
from isoclone.laws.frontier import forecasters
from isoclone.laws.frontier.ensemble import Ensemble, quantile
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.return_link import ReturnLink, fit_link
from isoclone.laws.returns import ReturnSeries

Array = np.ndarray
Curve = Callable[[Array], Array]
# Chosen by leaving one of five games out (docs/laws/returns.md).
LINK_SCALE = 1.2  # the link's own SDs are too small by this; errors of runs near it are alike
LINK_NEAR, LINK_GROWTH = 1 / 3, 1.0  # decades; and how much more for each decade beyond
LINK_PRIOR = 100.0  # past errors with a stretch of 1, those of published studies
FIRST_ORIGIN = 3  # budgets: fewer say nothing about a bend


@dataclass(frozen=True)
class Replay:
    """Loss and return ensembles of one group; `returns` is None without returns.

    `links` holds the link from loss to return as it was after so many budgets with returns, where
    one could be fitted. `baselines` holds what the baselines said,
    {target: {name: {(seen, target index): value}}}.
    """

    loss: Ensemble
    returns: Ensemble | None
    series: ReturnSeries | None
    loss_baselines: dict[str, dict[tuple[int, int], float]]
    return_baselines: dict[str, dict[tuple[int, int], float]]
    links: dict[int, ReturnLink] = field(default_factory=dict)

    @property
    def offset(self) -> int:
        """Return how many budgets the losses start before the returns."""
        return 0 if self.series is None else len(self.loss.x) - len(self.series.x)

    def blended(self, seen: int, target: int) -> tuple[float, float, float]:
        """Return the forecast of a past return on the link's scale: z, its SD, and what came.

        The middle is half the ensemble's and half the link's, as in `ScalingLaws.returns`.
        """
        assert self.returns is not None
        assert self.series is not None
        link, ahead = self.links[seen], (seen + self.offset, target + self.offset)
        log_loss = np.array([self.loss.combined(*ahead)])
        sd = np.array([self.loss.past_half_width(*ahead) / quantile(0.95)])
        value = 0.5 * self.returns.combined(seen, target) + 0.5 * link.back(link.at(log_loss))
        truth = link.forward(self.series.value[target : target + 1])
        far = link_growth(self.series.x[target : target + 1] - self.series.x[seen - 1])
        return (
            float(link.forward(value)[0]),
            float((far * link.sd(log_loss, sd))[0]),
            float(truth[0]),
        )

    def link_stretch(self, seen: int) -> float:
        """Return by how much the link's SDs are to be stretched after so many budgets.

        It is the RMS of past errors over their SDs (`LINK_SCALE` times), with the prior's added.
        """
        total = count = LINK_PRIOR
        for origin, target in self.returns.judged if self.returns else []:
            if target < seen and origin in self.links:
                middle, sd, truth = self.blended(origin, target)
                total += min(((truth - middle) / (LINK_SCALE * sd)) ** 2, 9.0)
                count += 1.0
        return LINK_SCALE * float(np.sqrt(total / count))


def link_growth(ahead: Array) -> Array:
    """Return by how much the link's SDs grow so many decades ahead [m]."""
    return 1 + LINK_GROWTH * np.maximum(ahead - LINK_NEAR, 0.0)


def replay(
    evidence: Evidence,
    floor: float | None = None,
    ceiling: float | None = None,
    best: bool = False,
    baselines: bool = True,
    origins: int | None = None,
) -> Replay:
    """Fit and remember everything, or at the last so many `origins` only.

    `best` takes the best return per budget, as the paper does; else the mean of the sizes near the
    lowest loss, which is what a new run can expect.
    """
    steps = range(len(evidence.x) + 1)
    noise = np.array([evidence.until(max(seen, 1)).noise for seen in steps])
    loss = Ensemble(evidence.x, evidence.y, noise, forecasters.WEIGHTS)
    first = min(FIRST_ORIGIN, len(evidence.x))
    if origins is not None:
        first = max(first, len(evidence.x) + 1 - origins)
    loss.replay(
        lambda seen: [f(evidence.until(seen)) for f in forecasters.FORECASTERS.values()], first
    )
    said = {}
    if baselines:
        for name, make in forecasters.BASELINES.items():
            said[name] = _walk(evidence.x, partial(_at_origin, make, evidence), first)
    series = return_series(evidence, floor, ceiling, best, loss)
    if series is None:
        return Replay(loss, None, None, said, {})
    whole, said_returns = _replay_returns(series, loss, first, baselines)
    links = _links(evidence, series, first, floor, ceiling)
    return Replay(loss, whole, series, said, said_returns, links)


def _links(
    evidence: Evidence,
    series: ReturnSeries,
    first: int,
    floor: float | None,
    ceiling: float | None,
) -> dict[int, ReturnLink]:
    """Return the link after each number of budgets with returns, from `first` on."""
    offset, out = len(evidence.x) - len(series.x), {}
    for seen in range(min(first, len(series.x)), len(series.x) + 1):
        early = evidence.until(seen + offset)
        link = fit_link(early.points, float(series.log_loss[seen - 1]), floor, ceiling)
        if link is not None:
            out[seen] = link
    return out


def _at_origin(make: forecasters.Forecaster, evidence: Evidence, seen: int) -> Curve:
    return make(evidence.until(seen))


def _chain(
    make: Callable[[ReturnSeries], Curve], at: Callable[[int], ReturnSeries], seen: int
) -> Curve:
    return make(at(seen))


def _walk(x: Array, fit: Callable[[int], Curve], first: int) -> dict[tuple[int, int], float]:
    out = {}
    for seen in range(max(first, 2), len(x)):
        curve = fit(seen)
        for ahead in range(seen, len(x)):
            out[seen, ahead] = float(np.ravel(curve(x[ahead : ahead + 1]))[0])
    return out


def _replay_returns(
    series: ReturnSeries, loss: Ensemble, first: int, baselines: bool
) -> tuple[Ensemble, dict[str, dict[tuple[int, int], float]]]:
    chosen = returns.forecasters(series)
    noise = np.array([series.noise(max(seen, 1)) for seen in range(len(series.x) + 1)])
    prior = dict.fromkeys(chosen, 1 / len(chosen))
    whole = Ensemble(series.x, series.value, noise, prior, returns.SETTINGS)
    offset = len(loss.x) - len(series.x)  # returns may start later than losses

    def at(seen: int) -> ReturnSeries:
        return series.until(seen, loss.curve(seen + offset))

    whole.replay(lambda seen: [f(at(seen)) for f in chosen.values()], min(first, len(series.x)))
    said = {}
    if baselines:
        for name, make in returns.BASELINES.items():
            said[name] = _walk(series.x, partial(_chain, make, at), first)
    return whole, said


def return_series(
    evidence: Evidence,
    floor: float | None,
    ceiling: float | None,
    best: bool,
    loss: Ensemble,
) -> ReturnSeries | None:
    """Return the frontier's returns; None with fewer than two consecutive budgets at the end."""
    rows = [_best(evidence, b) if best else _near(evidence, b) for b in evidence.budgets]
    value, se = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    missing = np.flatnonzero(~np.isfinite(value))
    start = int(missing[-1]) + 1 if len(missing) else 0
    if len(value) - start < 2:
        return None
    cut = slice(start, None)
    last = loss.predict
    return ReturnSeries(evidence.x[cut], value[cut], se[cut], evidence.y[cut], last, floor, ceiling)


def _best(evidence: Evidence, budget: float) -> tuple[float, float]:
    points = evidence.points
    here = (points.budget == budget) & np.isfinite(points.returns)
    if not here.any():
        return np.nan, np.nan
    top = int(np.argmax(np.where(here, points.returns, -np.inf)))
    return float(points.returns[top]), float(points.returns_se[top])


def _near(evidence: Evidence, budget: float) -> tuple[float, float]:
    """Return the mean return of runs within 5 % of the budget's best loss, and its SE."""
    points = evidence.points
    here = (points.budget == budget) & np.isfinite(points.returns)
    if not here.any():
        return np.nan, np.nan
    best = points.loss[points.budget == budget].min()
    near = here & (points.loss <= 1.05 * best)
    near = near if near.any() else here & (points.loss == points.loss[here].min())
    return pooled(points.returns[near], points.returns_se[near])


def pooled(value: Array, se: Array) -> tuple[float, float]:
    """Return the mean with weights 1 / (SE^2 + tau^2), and the SD of a further return.

    tau^2, the spread between runs beyond their own errors, is estimated by the method of moments
    (DerSimonian & Laird 1986). Unknown errors count as the median of the known ones.
    """
    known = se[np.isfinite(se)]
    if not len(known):
        return float(value.mean()), np.nan
    variance = np.where(np.isfinite(se), se, np.median(known)) ** 2
    variance = np.maximum(variance, 1e-12 * float(np.mean(value**2)))
    if not variance.all():  # every return is 0, and none is in doubt
        return float(value.mean()), 0.0
    weight = 1.0 / variance
    middle = (weight * value).sum() / weight.sum()
    excess = (weight * (value - middle) ** 2).sum() - (len(value) - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    tau2 = max(float(excess / scale), 0.0) if len(value) > 1 and scale > 0 else 0.0
    weight = 1.0 / (variance + tau2)
    mean = float((weight * value).sum() / weight.sum())
    return mean, float(np.sqrt(np.median(variance) + tau2))
