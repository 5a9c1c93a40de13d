"""Fit laws to a study's points; the scores of expert and random play bound the returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from isoclone import laws
from isoclone.base.records import Point
from isoclone.base.results import Reference
from isoclone.base.schema import as_table

if TYPE_CHECKING:
    from isoclone.laws import FittedLaw, LawComparison, ReturnLaws, ScalingLaws

References = Mapping[str, Reference]


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
