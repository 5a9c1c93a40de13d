"""Compare laws by their past forecasts: refit to the budgets up to an origin, forecast later ones.

At every origin a law sees the runs at budgets up to there and nothing else. Its forecast of the dev
loss one, two and three budgets ahead is compared with the frontier that was measured there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isoclone.base.errors import FitError
from isoclone.base.records import Interval, Record, Status
from isoclone.laws.base import DEFAULT_LAW
from isoclone.laws.frontier.backtest import HORIZONS
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.replay import FIRST_ORIGIN
from isoclone.laws.plugged import fit_strictly, forecast_strictly
from isoclone.laws.points import Points, clean_table

Array = np.ndarray


@dataclass(frozen=True)
class LawComparison(Record):
    """How well one law forecast the dev loss so many budgets ahead.

    `forecasts` counts the origins that the figures are of; `rms_log_error` is the root mean square
    of log(forecast / measured), `coverage` the share of 95 % intervals that held the measured loss.
    Both are None without a forecast; `reason` says what failed, at the last origin where it did.
    """

    law: str
    horizon: int  # budgets ahead
    horizon_decades: float  # median of log10 of the compute ahead
    forecasts: int
    rms_log_error: float | None
    coverage: float | None
    reason: Status | None = None


@dataclass
class _Record:
    """What one law said at one horizon."""

    ahead: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    reason: Status | None = None

    def row(self, law: str, horizon: int) -> LawComparison:
        return LawComparison(
            law=law,
            horizon=horizon,
            horizon_decades=float(np.median(self.ahead)),
            forecasts=len(self.errors),
            rms_log_error=float(np.sqrt(np.mean(np.square(self.errors)))) if self.errors else None,
            coverage=float(np.mean(self.held)) if self.held else None,
            reason=self.reason,
        )


def compare(
    names: Sequence[str],
    table: Mapping[str, Any],
    *,
    expert_return: float | None = None,
    random_return: float | None = None,
    min_train: int = FIRST_ORIGIN,
) -> list[LawComparison]:
    """Back-test laws by name on a table of runs, the default law always among them and first.

    `min_train` is how many budgets the first origin has. Rows are by law, then by horizon; no row
    where the table has too few budgets for a single forecast. A law that fails has rows with a
    `reason`, and with what it said at the origins where it did not fail.

    Raises:
        UnknownNameError, SpecError: a name as in `fit_law`.
        DataError, FitError: the table lacks a column, usable rows, or losses.
    """
    rows = clean_table(table)
    points = Points.from_table(rows)
    points.need_losses("a comparison of laws by past forecasts")
    evidence = Evidence(points)
    scores = {"expert_return": expert_return, "random_return": random_return}
    out = []
    for name in dict.fromkeys([DEFAULT_LAW, *names]):
        records = _replayed(name, rows, evidence, max(min_train, 1), scores)
        out += [record.row(name, horizon) for horizon, record in records.items()]
    return out


def _replayed(
    name: str,
    rows: dict[str, Array],
    evidence: Evidence,
    min_train: int,
    scores: dict[str, float | None],
) -> dict[int, _Record]:
    """Refit one law at every origin; return what it said, by horizon."""
    budgets = evidence.budgets
    records: dict[int, _Record] = {}
    for seen in range(min_train, len(budgets)):
        ahead = {h: seen - 1 + h for h in HORIZONS if seen - 1 + h < len(budgets)}
        for horizon, target in ahead.items():
            record = records.setdefault(horizon, _Record())
            record.ahead.append(float(evidence.x[target] - evidence.x[seen - 1]))
        try:
            fitted = fit_strictly(name, _until(rows, float(budgets[seen - 1])), **scores)
            for horizon, target in ahead.items():
                said = forecast_strictly(name, fitted, float(10.0 ** evidence.x[target])).dev_loss
                assert said is not None  # or it would have failed
                _note(records[horizon], said, float(evidence.y[target]))
        except FitError as error:
            for horizon in ahead:
                records[horizon].reason = Status("law_failed", str(error))
    return records


def _until(rows: dict[str, Array], budget: float) -> dict[str, Array]:
    keep = rows["budget_flops"] <= budget * (1 + 1e-9)
    return {name: values[keep] for name, values in rows.items()}


def _note(record: _Record, said: Interval, log_loss: float) -> None:
    record.errors.append(float(np.log(said.value)) - log_loss)
    record.held.append(said.holds(float(np.exp(log_loss))))
