"""Fit laws to a study's points; the scores of expert and random play bound the returns."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from isoclone import laws
from isoclone.base.records import Forecast, Point
from isoclone.base.results import Reference
from isoclone.base.schema import as_table
from isoclone.study.spec import StudySpec

if TYPE_CHECKING:
    from isoclone.laws import FittedLaw, LawComparison, ReturnLaws, ScalingLaws

References = Mapping[str, Reference]
WIDER = 1.05  # than with all the episodes that are allowed: more of them tell nothing new


def fit(points: Iterable[Point], references: References | None = None) -> ScalingLaws | ReturnLaws:
    """Fit every built-in law to points, by return where none has a loss.

    Raises:
        FitError: too few usable points.
    """
    expert, random = _returns(references or {})
    return laws.fit(as_table(points, Point), expert_return=expert, random_return=random)


def fit_law(name: str, points: Iterable[Point], references: References) -> FittedLaw:
    """Fit the law of a name to points; the default stands in for one that fails, and says so.

    Raises:
        UnknownNameError: no law has that name.
        FitError: too few usable points.
    """
    expert, random = _returns(references)
    table = as_table(points, Point)
    return laws.fit_law(name, table, expert_return=expert, random_return=random)


def forecast_agents(
    law: FittedLaw, spec: StudySpec, flops: float | None = None, episodes: int | None = None
) -> Forecast:
    """Return a law's forecast of a study's agents, of no more episodes than the return needs.

    They play as many as the specification allows, or the fewest, down to a point's, with which the
    return's interval is at most `WIDER` wide; as many as allowed where the law does not tell.

    Args:
        flops: the budget; the specification's if none is given.
        episodes: that each agent has played, where it has; chosen if none is given.
    """
    most = spec.agent_episodes
    flops = flops or spec.forecast_budget

    def ask(episodes: int | None) -> Forecast:
        return law.forecast(flops, agents=spec.forecast_seeds, episodes=episodes)

    def width(episodes: int) -> float:
        interval = ask(episodes).return_mean
        ends = (None, None) if interval is None else (interval.low, interval.high)
        return math.inf if ends[0] is None or ends[1] is None else ends[1] - ends[0]

    said = ask(episodes or most or None)
    if episodes or said.episodes is None or said.return_mean is None:
        return said
    enough = WIDER * width(most)
    allowed = range(min(spec.episodes or 1, most), most)
    return ask(allowed.start + bisect_left(allowed, True, key=lambda e: width(e) <= enough))


def compare_laws(name: str, points: Iterable[Point], references: References) -> list[LawComparison]:
    """Compare a law's back-tests with the default's; an empty list if it is the default."""
    if name == laws.DEFAULT_LAW:
        return []
    expert, random = _returns(references)
    table = as_table(points, Point)
    return laws.compare([name], table, expert_return=expert, random_return=random)


def _returns(references: References) -> tuple[float | None, float | None]:
    """Return the mean returns of the expert and of random play, as far as measured."""
    expert, random = references.get("expert"), references.get("random")
    return expert.mean if expert else None, random.mean if random else None
