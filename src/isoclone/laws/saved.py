"""How much compute one group of runs saves over another: FLOPs to the same return or dev loss.

At each budget the best size (mean over seeds) gives the figure that so much compute buys; between
budgets it is interpolated in log C, a loss as its logarithm. Where both groups come to a level, the
ratio of what they needed says what was saved. Its interval resamples whole runs, since a run's luck
lasts over all its budgets, and adds the noise of each point. Few runs of a size tell their spread
badly, so what was drawn is widened as Student's t is, by the runs of both groups together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, FitError, SpecError
from isoclone.base.records import Interval, Record, Status
from isoclone.laws.points import MEASURED, Points, to_float

Array = np.ndarray
Curve = tuple[Array, Array]  # log FLOPs, and the figure reached by them; higher is better
DRAWS = 1000
FEWEST = 0.5  # of the draws, that the ratio must be known in
WORDS = {"return_mean": "return", "dev_loss": "dev loss"}


@dataclass(frozen=True)
class Saved(Record):
    """FLOPs to a return, or to a dev loss, with something and without it.

    `ratio` is with / without: below 1, something was saved. An end of its interval is None where
    the runs do not bound it, and both are where there is no spread between runs to judge by.
    """

    measure: str
    level: float
    flops_with: float
    flops_without: float
    ratio: Interval
    status: tuple[Status, ...] = ()


@dataclass(frozen=True)
class Worth(Record):
    """A variant's compute multiplier: FLOPs of the base to a level / FLOPs of the variant.

    Above 1, the variant needs less compute. `multiplier` is None where the two cannot be compared;
    `status` says why. `level` is the best dev loss, or return, that both come to.
    """

    label: str
    base: str
    measure: str
    level: float | None = None
    flops: float | None = None
    flops_base: float | None = None
    multiplier: Interval | None = None
    status: tuple[Status, ...] = ()


def flops_saved(
    with_it: Mapping[str, Any],
    without: Mapping[str, Any],
    level: float | None = None,
    measure: str | None = None,
) -> Saved:
    """Compare two tables of runs by the FLOPs to the same return or dev loss.

    Args:
        with_it, without: columns as of `Points.from_table`.
        level: the return or dev loss; the best that both come to unless given.
        measure: 'return_mean' or 'dev_loss'; by returns, if both tables have some, unless given.

    Raises:
        SpecError: there is no such measure, or the tables are of different games.
        DataError: a table has none of the figures.
        FitError: a table has one budget, or they come to no level in common, or not to the given.
    """
    measure = measure or _common_measure(with_it, without)
    if measure not in MEASURED:
        raise SpecError(f"measure must be one of {', '.join(MEASURED)}, not '{measure}'")
    _check_games(with_it, without)
    groups = [_Group.of(table, measure) for table in (with_it, without)]
    obstacle = _obstacle(groups, level, ("the first group", "the second group"))
    if obstacle:
        raise FitError(obstacle.message)
    return _compared(groups, level)


def _check_games(with_it: Mapping[str, Any], without: Mapping[str, Any]) -> None:
    """Raise SpecError if both tables name their games, and have none in common."""
    first, second = ({g for g in t.get("game", ()) if g} for t in (with_it, without))
    if first and second and not first & second:
        raise SpecError(
            f"the first group is of {', '.join(sorted(first))}, the second of "
            f"{', '.join(sorted(second))}: figures of different games cannot be compared"
        )


def worth(label: str, table: Mapping[str, Any], base: str, base_table: Mapping[str, Any]) -> Worth:
    """Return the compute multiplier of a variant against the base, by dev loss where there is one.

    Args:
        label, base: names of the two.
        table, base_table: columns of their runs, as of `Points.from_table`.
    """
    measure = "dev_loss" if _has(base_table, "dev_loss") else "return_mean"
    try:
        groups = [_Group.of(each, measure) for each in (base_table, table)]
    except (DataError, FitError) as error:
        return Worth(label, base, measure, status=(Status("no_points", str(error)),))
    obstacle = _obstacle(groups, None, (f"'{base}'", f"'{label}'"))
    if obstacle:
        return Worth(label, base, measure, status=(obstacle, *_remarks(groups)))
    found = _compared(groups, None)
    spent, spent_base = found.flops_without, found.flops_with
    return Worth(
        label, base, measure, found.level, spent, spent_base, found.ratio, status=found.status
    )


def _common_measure(with_it: Mapping[str, Any], without: Mapping[str, Any]) -> str:
    for measure in ("return_mean", "dev_loss"):
        if _has(with_it, measure) and _has(without, measure):
            return measure
    first, second = (
        " and ".join(WORDS[name] for name in MEASURED if _has(table, name)) or "neither"
        for table in (with_it, without)
    )
    raise DataError(
        "both groups need returns, or both dev losses: "
        f"the first group has {first}, the second {second}"
    )


def _has(table: Mapping[str, Any], measure: str) -> bool:
    return bool(np.isfinite(to_float(table.get(measure, ()))).any())


@dataclass(frozen=True)
class _Size:
    """The runs of one size: (runs, budgets) each, 0 where a run was not at a budget.

    `figure` is a return, or minus a log loss; `error` its standard error; `known` 1 where it is.
    """

    known: Array
    figure: Array
    error: Array
    log_flops: Array

    def means(self) -> Curve:
        """Return log FLOPs and the figure, means over runs [budgets], NaN where no run was."""
        return self.log_flops.sum(0) / self.known.sum(0), self.figure.sum(0) / self.known.sum(0)

    def drawn(self, rng: np.random.Generator, widen: Array, shared: bool) -> Curve:
        """Return the means of runs drawn anew, (draws, budgets) each.

        A run's distance to the mean is taken `widen` times [draws]. Of errors that are `shared` by
        all points of a draw, one is drawn; of others, one for each point.
        """
        runs, budgets = self.known.shape
        times = rng.multinomial(runs, np.full(runs, 1 / runs), len(widen))
        count, middle = times @ self.known, self.means()[1]
        widen = widen[:, None] * np.sqrt(runs / max(1, runs - 1))
        far = times @ np.where(self.known, self.figure - middle, 0.0) / count
        if shared:
            noise = times @ self.error / count * rng.normal(size=(len(widen), 1))
        else:
            noise = np.sqrt(times @ self.error**2) / count * rng.normal(size=(len(widen), budgets))
        return times @ self.log_flops / count, middle + widen * far + noise


@dataclass(frozen=True)
class _Group:
    """The runs of a table, size by size, with the figure they are compared by."""

    measure: str
    sizes: tuple[_Size, ...]
    noisy: bool  # whether every point has a standard error
    status: tuple[Status, ...]

    @classmethod
    def of(cls, table: Mapping[str, Any], measure: str) -> _Group:
        """Read a table; raise DataError if it has no such figure."""
        points = Points.from_table(table)
        if measure == "dev_loss":
            figure, error = -np.log(points.loss), points.loss_se / points.loss
        else:
            figure, error = points.returns, points.returns_se
        known = np.isfinite(figure)
        if not known.any():
            named = f"FLOPs to the same {WORDS[measure]} are counted by {measure}"
            raise DataError(f"{named}; a table has none")
        points, figure, error = points.keep(known), figure[known], error[known]
        columns = figure, np.nan_to_num(error), np.log(points.flops)
        sizes = tuple(_size(points, columns, size) for size in np.unique(points.params))
        status = tuple(s for s in points.status if s.code == "rows_dropped")
        return cls(measure, sizes, bool(np.isfinite(error).all()), status)

    def shown(self, figure: float) -> float:
        """Return a figure in the units of the table."""
        return float(np.exp(-figure)) if self.measure == "dev_loss" else float(figure)

    @property
    def freedom(self) -> int:
        """How many runs there are beyond the first of each size."""
        return sum(len(size.known) - 1 for size in self.sizes)

    def curve(self) -> Curve:
        """Return the curve of the best size's mean at each budget."""
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y = _best([size.means() for size in self.sizes])
        return x, np.maximum.accumulate(y)

    def drawn(self, rng: np.random.Generator, widen: Array) -> list[Curve]:
        """Return the curves of runs drawn anew, those of each size among themselves, `widen` each.

        Episodes are played for each point; the dev episodes are the same for all, so their luck is
        one draw.
        """
        shared = self.measure == "dev_loss"
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y = _best([size.drawn(rng, widen, shared) for size in self.sizes])
        there = np.isfinite(y)
        rows = zip(x, y, there, strict=True)
        return [(a[known], np.maximum.accumulate(b[known])) for a, b, known in rows]


def _size(points: Points, columns: tuple[Array, Array, Array], size: float) -> _Size:
    """Arrange the rows of one size by run and budget; rows of the same are averaged."""
    rows = points.params == size
    runs, run = np.unique(points.run[rows], return_inverse=True)
    budgets = points.budgets
    place = run.reshape(-1) * len(budgets) + np.searchsorted(budgets, points.budget[rows])
    shape, cells = (len(runs), len(budgets)), len(runs) * len(budgets)
    count = np.bincount(place, minlength=cells)
    sums = [np.bincount(place, column[rows], cells) / np.maximum(1, count) for column in columns]
    return _Size((count > 0).reshape(shape).astype(float), *(each.reshape(shape) for each in sums))


def _best(curves: list[Curve]) -> Curve:
    """Return the curve of the highest figures of several [..., budgets]; NaN where none has any."""
    x, y = (np.stack(each) for each in zip(*curves, strict=True))
    best = np.argmax(np.where(np.isfinite(y), y, -np.inf), axis=0)[None]
    return np.take_along_axis(x, best, 0)[0], np.take_along_axis(y, best, 0)[0]


def _obstacle(groups: list[_Group], level: float | None, who: tuple[str, str]) -> Status | None:
    """Return why two groups, of these names, cannot be compared, or not at this level."""
    named = WORDS[groups[0].measure]
    curves = [group.curve() for group in groups]
    if any(len(x) < 2 for x, _ in curves):
        said = "a group has one budget, and FLOPs to a level need two or more: add budgets"
        return Status("single_budget", said)
    low, high = max(y[0] for _, y in curves), min(y[-1] for _, y in curves)
    shown = groups[0].shown
    ends = sorted((shown(low), shown(high)))
    if low > high:
        ahead = int(np.argmax([y[0] for _, y in curves]))
        (x, y), (other_x, other_y) = curves[ahead], curves[1 - ahead]
        least, most = float(np.exp(x[0])), float(np.exp(other_x[-1]))
        said = (
            f"{who[ahead]} comes to a {named} of {shown(y[0]):.4g} with its least budget "
            f"({least:.3g} FLOPs), {who[1 - ahead]} no further than {shown(other_y[-1]):.4g} with "
            f"its largest ({most:.3g}): {who[ahead]} needs at most {least / most:.2g} of the "
            "FLOPs; smaller and larger budgets would tell how many"
        )
        return Status("no_overlap", said)
    if level is not None and not ends[0] <= level <= ends[1]:
        said = f"both groups come to the same {named} between {ends[0]:.4g} and {ends[1]:.4g}"
        return Status("no_overlap", f"{said}, not at {level:.4g}")
    return None


def _compared(groups: list[_Group], level: float | None) -> Saved:
    """Compare the first group with the second, at a level that both come to."""
    curves, shown = [group.curve() for group in groups], groups[0].shown
    figure = min(y[-1] for _, y in curves)
    if level is not None:
        figure = -np.log(level) if groups[0].measure == "dev_loss" else level
    needed = [_needed(curve, figure) for curve in curves]
    middle = float(np.exp(needed[0] - needed[1]))
    spent, other = (float(np.exp(value)) for value in needed)
    ratio = Interval(middle, *_ends(groups, figure, middle))
    level = shown(figure) if level is None else float(level)
    return Saved(groups[0].measure, level, spent, other, ratio, tuple(_remarks(groups)))


def _ends(groups: list[_Group], figure: float, middle: float) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval of the ratio; None where the runs bound nothing."""
    if min(group.freedom for group in groups) == 0:
        return None, None
    rng, freedom = np.random.default_rng(0), sum(group.freedom for group in groups)
    widen = np.sqrt(freedom / rng.chisquare(freedom, DRAWS))
    drawn = [
        np.array([_needed(curve, figure) for curve in group.drawn(rng, widen)]) for group in groups
    ]
    with np.errstate(invalid="ignore"):  # where both are infinite
        ratios = drawn[0] - drawn[1]
    known = ratios[~np.isnan(ratios)]
    if len(known) < FEWEST * DRAWS:
        return None, None
    low, high = (float(q) for q in np.quantile(known, [0.025, 0.975], method="nearest"))
    low_end = min(float(np.exp(low)), middle) if np.isfinite(low) else None
    return low_end, max(float(np.exp(high)), middle) if np.isfinite(high) else None


def _remarks(groups: list[_Group]) -> list[Status]:
    """Return what a reader of a comparison should know of its groups."""
    found = []
    if min(group.freedom for group in groups) == 0:
        said = "one seed only: no interval, since nothing tells the spread between seeds; add seeds"
        found.append(Status("one_seed", said))
    if not all(group.noisy for group in groups):
        said = "some points have no standard error: their noise is not in the interval"
        found.append(Status("noise_unknown", said))
    dropped = [status for group in groups for status in group.status]
    return [*found, *dict.fromkeys(dropped)]


def _needed(curve: Curve, level: float) -> float:
    """Return the log FLOPs at which a curve comes to a level.

    Beyond its ends the curve goes on as at them: infinite where it is level there, NaN where it has
    one budget.
    """
    x, y = curve
    if len(x) < 2:
        return float("nan")
    after = int(np.argmax(y >= level)) if level <= y[-1] else len(y) - 1
    after = max(1, after)
    rise = y[after] - y[after - 1]
    if rise == 0:
        return float(x[0]) if level == y[0] else float(np.copysign(np.inf, level - y[after]))
    share = (level - y[after - 1]) / rise
    return float(x[after - 1] + share * (x[after] - x[after - 1]))
