"""Return as a function of dev loss, over all points of a study and not the frontier's few.

With l = log L and z the return on its scale,

    z = log odds of (R - floor) / (ceiling - floor), or sqrt(R - floor) without a ceiling

(a log link explodes), z is a straight line in l, falling or flat, fitted with the weights

    exp(-|l - l_last| / band) / (SE(z)^2 + tau^2),

local in log loss around the last best one (the band is wide enough for six runs); tau^2, the spread
beyond the returns' own errors, by the method of moments. The line is read at the forecast loss, and
at every loss that the forecast's interval allows: the SD of z is

    sqrt(tau^2 + SE^2 of a new run + SD^2 of the line + (slope SD of log L)^2),

so which share of a return's width comes from the loss is known. Of the mean of several agents, the
part of tau^2 that is seen between runs of different seeds, and SE^2, are divided by their number.
SE^2 is that of the points near the best loss, or of as many episodes as the agent plays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isoclone.base.records import Interval
from isoclone.laws.points import Points

Array = np.ndarray
BANDS = (0.2, 0.28, 0.4)  # of log loss: the first in which there is `ENOUGH` weight
ENOUGH = 6.0  # points' worth
FEWEST = 8  # points with a return
NEW_SE = 1.0  # of the points' own SE: a further run is measured as well as they are
EDGE = 0.003  # of the span: no run is surer than that to be at either end
MARGIN = 0.02  # of the span, beyond floor and ceiling: both have finite odds
FALLS = -0.3  # a rank correlation that may be above it does not say that loss predicts return


@dataclass(frozen=True)
class ReturnLink:
    """The line z = level + slope (l - centre), with its variances; see the module."""

    floor: float
    ceiling: float | None
    centre: float
    level: float
    slope: float
    tau2: float
    seed_var: float  # of tau2, what differs between seeds; 0 where there is one
    new_se2: float  # of a further return, measured as the points are
    episode_var: float  # of the return of one episode; NaN if it is not known
    level_var: float
    slope_var: float

    def forward(self, value: Array) -> Array:
        """Return z of returns [m]."""
        if self.ceiling is None:
            return np.sqrt(np.maximum(value - self.floor, 0.0))
        share = np.clip((value - self._low) / self._span, EDGE, 1 - EDGE)
        return np.log(share / (1 - share))

    def back(self, z: Array) -> Array:
        """Return the returns of z [m]."""
        if self.ceiling is None:
            return self.floor + np.maximum(z, 0.0) ** 2
        return self._low + self._span / (1 + np.exp(-np.clip(z, -40, 40)))

    @property
    def _span(self) -> float:
        assert self.ceiling is not None
        return (1 + MARGIN) * (self.ceiling - self._low)

    @property
    def _low(self) -> float:
        assert self.ceiling is not None
        return self.floor - MARGIN * (self.ceiling - self.floor)

    def at(self, log_loss: Array) -> Array:
        """Return z at log losses [m]."""
        return self.level + self.slope * (log_loss - self.centre)

    def sd(
        self, log_loss: Array, loss_sd: Array, agents: int = 1, episodes: int | None = None
    ) -> Array:
        """Return the SD of the mean z of so many agents [m]; log L is known up to `loss_sd` [m].

        Each of them plays so many `episodes`; None for as many as a point's.
        """
        line = self.level_var + self.slope_var * (log_loss - self.centre) ** 2
        new = self.tau2 - self.seed_var + (self.seed_var + self._played_var(episodes)) / agents
        return np.sqrt(new + line + (self.slope * loss_sd) ** 2)

    def shares(
        self, log_loss: Array, loss_sd: Array, agents: int = 1, episodes: int | None = None
    ) -> dict[str, Array]:
        """Return which shares of that variance come from the loss and from the episodes [m]."""
        whole = self.sd(log_loss, loss_sd, agents, episodes) ** 2
        played = np.full_like(whole, self._played_var(episodes) / agents)
        return {"loss": (self.slope * loss_sd) ** 2 / whole, "episodes": played / whole}

    @property
    def knows_episodes(self) -> bool:
        """Whether the points tell how much a return differs by the number of its episodes."""
        return bool(np.isfinite(self.episode_var))

    def _played_var(self, episodes: int | None) -> float:
        """Return the variance of an agent's mean return by its episodes, on the scale of z."""
        if episodes is None or not self.knows_episodes:
            return self.new_se2
        return self.episode_var / episodes


def fit_link(
    points: Points, last: float, floor: float | None, ceiling: float | None
) -> ReturnLink | None:
    """Fit the link around the log loss `last`; None with too few returns, or all of them equal."""
    known = points.keep(np.isfinite(points.returns))
    lowest, highest = (known.returns.min(), known.returns.max()) if len(known) else (0.0, 0.0)
    if len(known) < FEWEST or highest <= lowest:
        return None
    floor = float(lowest) if floor is None or floor > lowest else floor
    ceiling = None if ceiling is None else max(float(ceiling), float(highest))
    empty = ReturnLink(floor, ceiling, *[0.0] * 9)
    x, z = np.log(known.loss), empty.forward(known.returns)
    se = _errors(known, empty, z)
    for band in BANDS:
        near = np.exp(-np.abs(x - last) / band)
        if near.sum() >= ENOUGH:
            break
    link = _line(empty, x, z, se, near, known.episodes)
    return replace(link, seed_var=min(_between_seeds(known.cell, z, se, near), link.tau2))


def _errors(known: Points, link: ReturnLink, z: Array) -> Array:
    """Return the returns' SEs on the scale of z [n]; unknown ones are the median's."""
    se, given = known.returns_se, np.isfinite(known.returns_se)
    se = np.where(given, se, np.median(se[given]) if given.any() else 0.0)
    if link.ceiling is None:
        return 0.5 * se / np.maximum(z, 0.05 * max(float(z.max()), 1e-12))
    share = 1 / (1 + np.exp(-z))
    return se / (share * (1 - share) * link._span)


def _line(
    empty: ReturnLink, x: Array, z: Array, se: Array, near: Array, episodes: Array
) -> ReturnLink:
    tau2, share = 0.0, near / near.sum()
    least = 1e-6 * float(np.var(z)) + 1e-10
    for _ in range(6):  # slope and tau^2 in turn
        weight = near / (se**2 + tau2 + least)
        centre, level = np.average(x, weights=weight), np.average(z, weights=weight)
        square = float(np.sum(weight * (x - centre) ** 2))
        slope = min(float(np.sum(weight * (x - centre) * (z - level))) / max(square, 1e-12), 0.0)
        rest = z - level - slope * (x - centre)
        tau2 = max(float(np.sum(share * (rest**2 - se**2))), least)
    weight = near / (se**2 + tau2)
    late = np.argsort(x)[: max(len(x) // 5, 3)]
    return ReturnLink(
        floor=empty.floor,
        ceiling=empty.ceiling,
        centre=float(centre),
        level=float(level),
        slope=slope,
        tau2=tau2,
        seed_var=0.0,
        new_se2=float((NEW_SE * np.median(se[late])) ** 2),
        episode_var=float((NEW_SE * np.median(se[late] * np.sqrt(episodes[late]))) ** 2),
        level_var=float(1 / weight.sum()),
        slope_var=float(1 / max(np.sum(weight * (x - centre) ** 2), 1e-12)),
    )


def _between_seeds(cell: Array, z: Array, se: Array, near: Array) -> float:
    """Return the variance of z between runs of one cell, beyond their SEs; 0 where it has one."""
    code, count = np.unique(cell, return_inverse=True, return_counts=True)[1:]
    code = code.reshape(-1)
    of, apart = count[code], z - (np.bincount(code, z) / count)[code]
    several = of > 1
    if not several.any():
        return 0.0
    excess = apart[several] ** 2 * of[several] / (of[several] - 1) - se[several] ** 2
    return max(float(np.average(excess, weights=near[several])), 0.0)


def rank_correlation(points: Points) -> Interval | None:
    """Return Spearman's correlation of dev loss and return, with its 95 % interval.

    By Fisher's z with the variance of Bonett & Wright (2000). None below `FEWEST` returns.
    """
    known = points.keep(np.isfinite(points.returns))
    if len(known) < FEWEST or np.ptp(known.returns) == 0 or np.ptp(known.loss) == 0:
        return None
    r = float(np.corrcoef(_ranks(known.loss), _ranks(known.returns))[0, 1])
    middle = np.arctanh(np.clip(r, -0.999999, 0.999999))
    half = 1.96 * np.sqrt((1 + 0.5 * r**2) / (len(known) - 3))
    return Interval(r, float(np.tanh(middle - half)), float(np.tanh(middle + half)))


def _ranks(values: Array) -> Array:
    """Return ranks [n], equal values sharing their mean."""
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - 0.5 * (count - 1))[inverse.reshape(-1)]
