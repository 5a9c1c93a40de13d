"""Fit the laws to a study's points."""

from __future__ import annotations

from collections.abc import Iterable

from isoclone import laws
from isoclone.base.records import Point
from isoclone.base.schema import as_table
from isoclone.laws import ScalingLaws


def fit(
    points: Iterable[Point], references: dict[str, dict[str, float]] | None = None
) -> ScalingLaws:
    """Fit every law to points; the references set the ceiling and the floor of returns.

    Raises:
        FitError: too few usable points.
    """
    known = references or {}
    return laws.fit(
        as_table(points, Point),
        expert_return=known.get("expert", {}).get("mean"),
        random_return=known.get("random", {}).get("mean"),
    )
