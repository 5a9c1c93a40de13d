"""The results of a study besides its points: references, savings, baselines, a tested forecast.

Each goes to JSON and back without loss, and raises TypeError for a value not of its declared type.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from isoclone.base.records import Checked, Forecast, Point, conformed

TESTED = ("dev_loss", "return_mean")  # the figures of a forecast that training can contradict
ERROR_OF = {"dev_loss": "dev_loss_se", "return_mean": "return_se"}  # figure -> its error
UNDETERMINED = "not determined by these points"
NOT_A_TEST = "not a test"  # the verdict on a forecast that was made after its agent was measured
MADE_LATER = "another forecast was lost; this one was made when its agent was measured already"
SAYS_SOMETHING = 0.1  # of what could come, that an interval must exclude to have held at all


@dataclass(frozen=True)
class Reference(Checked):
    """The mean return of a known player ('random' or 'expert'), with its error over episodes.

    `entropy_nats` is that of its actions, per action (`experts.entropy`), with its error; None
    where the player was not, or cannot be, asked twice.
    """

    mean: float
    se: float
    episodes: int
    entropy_nats: float | None = None
    entropy_se: float | None = None


@dataclass(frozen=True)
class Baseline(Checked):
    """A player that the forecast agent must beat, in the same game; `reason` if not measured."""

    mean: float | None = None
    se: float | None = None
    episodes: int | None = None
    reason: str | None = None
    run_id: str | None = None  # of a baseline that is a policy of the sweep
    params: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class Decision(Checked):
    """A departure of an adaptive sweep from the plain grid, and why.

    `what` is 'stopped', 'waits', 'joins' or 'added'.
    """

    budget_flops: float
    width: int
    what: str
    why: str


@dataclass(frozen=True)
class Savings(Checked):
    """The FLOPs of a plain grid over the same sizes, those that were spent, and every decision."""

    grid_flops: float
    spent_flops: float
    saved_share: float
    grid_points: int
    points: int
    decisions: tuple[Decision, ...] = ()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the savings from `to_json`'s result; raises TypeError naming a wrong field."""
        _check_table(cls, data)
        rows = conformed(data.get("decisions", []), tuple[dict[str, Any], ...], "decisions")
        return cls(**{**data, "decisions": tuple(Decision.from_json(row) for row in rows)})


@dataclass(frozen=True)
class Tested(Checked):
    """A forecast, the agent trained to test it, and whether its figures lie in the intervals.

    `by_seed` has the agent once for each seed it was trained with; none before that. `point` is
    their mean. `holds` has a key for each of `TESTED`: False outside the interval, True inside one
    that could have been missed, None where there is no interval, where fewer seeds have the figure
    than the interval is of the mean of, or where it excludes too little to say anything. `verdicts`
    says it in words. `after_agent` is true of a forecast that was lost, and made again when its
    agent's figures were known: whatever it says, it is not a test.
    """

    forecast: Forecast
    by_seed: tuple[Point, ...]
    holds: dict[str, Any]
    after_agent: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(TESTED) <= set(self.holds):
            raise TypeError(f"holds must have the keys {', '.join(TESTED)}")
        for name, answer in self.holds.items():
            conformed(answer, bool | None, f"holds['{name}']")

    @classmethod
    def of(
        cls, forecast: Forecast, points: Sequence[Point] = (), *, after_agent: bool = False
    ) -> Self:
        """Return a forecast beside its agent's points, judged by the forecast's intervals."""
        point, holds = mean_point(points), dict[str, bool | None]()
        for name in TESTED:
            interval, value = getattr(forecast, name), getattr(point, name, None)
            measured = sum(getattr(p, name) is not None for p in points)
            fit = interval is not None and measured >= forecast.agents and not after_agent
            holds[name] = interval.holds(value) if fit else None
            if holds[name] and says_nothing(forecast, name):
                holds[name] = None
        return cls(forecast, tuple(points), holds, after_agent)

    def beside(self, points: Sequence[Point]) -> Self:
        """Return the same forecast beside its agent's points, one for each seed."""
        return self.of(self.forecast, points, after_agent=self.after_agent)

    @property
    def point(self) -> Point | None:
        """Return the agent, its figures the means over seeds; None before it is trained."""
        return mean_point(self.by_seed)

    @property
    def verdicts(self) -> dict[str, str | None]:
        """Return what is to be said of each of `TESTED`; None of what was not measured.

        The words are 'inside', 'outside', 'says nothing' and `NOT_A_TEST`.
        """
        point, words = self.point, dict[str, str | None]()
        for name in TESTED:
            known = getattr(self.forecast, name) and getattr(point, name, None) is not None
            words[name] = self._verdict(name) if known else None
        return words

    def _verdict(self, name: str) -> str | None:
        if self.after_agent:
            return NOT_A_TEST
        vague = "says nothing" if says_nothing(self.forecast, name) else None
        return {True: "inside", False: "outside", None: vague}[self.holds[name]]

    def to_json(self) -> dict[str, Any]:
        """Return the fields, the mean over seeds and the verdicts as plain JSON values."""
        mean = self.point
        derived = {"point": mean and mean.to_json(), "verdicts": self.verdicts}
        return {**super().to_json(), **derived}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return a tested forecast from `to_json`'s result; TypeError names what is wrong."""
        _check_table(cls, data)
        try:
            forecast = Forecast.from_json(data["forecast"])
            points = tuple(Point.from_json(row) for row in _agents(data))
            return cls(forecast, points, data["holds"], data.get("after_agent", False))
        except (AttributeError, KeyError) as error:
            raise TypeError(f"a field is missing or not a table: {error}") from error


def _agents(data: dict[str, Any]) -> list[Any]:
    """Return the agent's points in a tested forecast as JSON, of this version or an older one."""
    several = [data[key] for key in ("by_seed", "points") if key in data]
    rows = several[0] if several else [data["point"]]  # versions that trained one seed
    return [row for row in rows if row is not None]


def mean_point(points: Sequence[Point]) -> Point | None:
    """Return one agent, trained with several seeds, as its first point, one that is ok if any is.

    Its dev loss and return are means over the seeds that have them, each with the larger of two
    standard errors: that of its episodes, and that of the seeds' spread. `episodes` is their sum;
    the median of all episodes cannot be had from medians, and is None.
    """
    if len(points) < 2:
        return next(iter(points), None)
    played = sum(p.episodes for p in points)
    figures: dict[str, Any] = {"episodes": played, "return_median": None}
    for name, error in ERROR_OF.items():
        rows = [p for p in points if getattr(p, name) is not None]
        if rows:
            figures[name] = statistics.fmean(getattr(p, name) for p in rows)
            figures[error] = _error_of_mean(rows, name, error)
    return replace(min(points, key=lambda p: p.status != "ok"), **figures)


def _error_of_mean(points: Sequence[Point], name: str, error: str) -> float | None:
    """Return the standard error of a figure's mean over seeds; None if nothing is known of it.

    Seeds play games of their own, but are judged on the same held-out episodes, whose error their
    mean does not lessen.
    """
    own, known = [getattr(p, error) for p in points], list[float]()
    if None not in own:
        shared = name == "dev_loss"
        known.append(statistics.fmean(own) if shared else math.hypot(*own) / len(points))
    if len(points) > 1:
        spread = statistics.stdev(getattr(p, name) for p in points)
        known.append(spread / math.sqrt(len(points)))
    return max(known, default=None)


def says_nothing(forecast: Forecast, name: str) -> bool:
    """Return whether the interval of a figure excludes next to nothing of what could come."""
    return forecast.excludes.get(name, 1.0) < SAYS_SOMETHING


def undetermined(interval: dict[str, Any]) -> bool:
    """Return whether an interval, as JSON, is so wide (a million times) that it means nothing."""
    low, high = interval["low"], interval["high"]
    return low is not None and high is not None and 0 < 1e6 * low < high


def mean_cost(points: Sequence[Point]) -> float:
    """Return what is the less, the better: the mean dev loss over seeds, else minus the return.

    Infinite where a seed has none of the two (diverged or failed).
    """
    if any(p.dev_loss is not None for p in points):
        return mean_loss(points)
    returns = [p.return_mean for p in points]
    return math.inf if None in returns else -sum(returns) / len(returns)  # type: ignore[arg-type]


def mean_loss(points: Sequence[Point]) -> float:
    """Return the mean dev loss over seeds; infinite where a seed has none (diverged or failed)."""
    losses = [p.dev_loss for p in points]
    return math.inf if None in losses else sum(losses) / len(losses)  # type: ignore[arg-type]


def _check_table(cls: type, data: Any) -> None:
    if not isinstance(data, dict):
        raise TypeError(f"expected a table of {cls.__name__}'s fields")
