"""The default law: of losses, or of returns where no row of the table has a loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoclone.laws.points import Points
from isoclone.laws.reinforcement.laws import ReturnLaws
from isoclone.laws.scaling import ScalingLaws
from isoclone.laws.tables import one_group


def fit(
    table: Mapping[str, Any] | str | Path,
    *,
    expert_return: float | None = None,
    random_return: float | None = None,
    ceiling: float | str | None = "expert",
    seed: int = 0,
) -> ScalingLaws | ReturnLaws:
    """Fit the laws to a table of runs, its columns or its file: by loss, else by return.

    `ReturnLaws` where no row has a `dev_loss` and some have a `return_mean`.

    Raises:
        UsageError, DataError: the file is not there, or no table of runs (see `tables.read`).
        SpecError: the file has several groups; fit each by itself.
        DataError, FitError: as `ScalingLaws.fit` and `ReturnLaws.fit`.
    """
    if isinstance(table, str | Path):
        table = one_group(table)
    by_loss = ScalingLaws(
        expert_return=expert_return, random_return=random_return, ceiling=ceiling, seed=seed
    )
    points = Points.from_table(table)
    if not points.by_return:
        return by_loss.fit(points)
    top = by_loss.given_ceiling_
    return ReturnLaws(expert_return=top, random_return=random_return, seed=seed).fit(points)
