"""How good would these forecasts have been? A study replayed, method by method, horizon by horizon.

At every budget i (at least `MIN_TRAIN` of them known) each method forecasts the best loss and the
best return at budgets i+1, i+2, i+3; it sees nothing beyond budget i. Compared are the root mean
square error (in the target's own units, and of logs for losses), how often the 95 % interval held
the truth, and how wide it was (log width for losses, width over the truth for returns).

Methods: `paper` (straight line in logs through all budgets, t prediction interval), the baselines
`persistence` and `last-slope`, every forecaster by itself, and `default`, their combination. The
weights of the combination at budget i come from errors made up to i, so that the choice of method
is inside the test and not after it (a nested back-test).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.base.records import Record
from isoclone.laws.frontier.ensemble import Ensemble
from isoclone.laws.frontier.replay import FIRST_ORIGIN, Replay
from isoclone.laws.power import PowerLaw

Array = np.ndarray
MIN_TRAIN = 6  # budgets, as in the paper's cross-validation
HORIZONS = (1, 2, 3)  # budgets ahead


@dataclass(frozen=True)
class BacktestRow(Record):
    """How well one method forecast one target so many budgets ahead, in one group of runs.

    `n` forecasts were made; `coverage` is the share of 95 % intervals that held the truth. A figure
    is None where the method states no interval, or the target has none of that kind.
    """

    group: str
    target: str  # 'dev_loss' or 'return_mean'
    horizon: int  # budgets ahead
    method: str
    n: int
    rmse_ratio_to_paper: float | None
    rmse: float  # in the target's own units
    rmse_log: float | None
    coverage: float | None
    mean_log_width: float | None
    mean_relative_width: float | None


@dataclass(frozen=True)
class BacktestSummary(Record):
    """One method at one horizon over all groups: means, of the RMSE ratio a geometric one."""

    target: str
    horizon: int
    method: str
    groups: int
    rmse_ratio_to_paper: float | None
    coverage: float | None
    mean_log_width: float | None
    mean_relative_width: float | None


def backtest(
    played: Replay, group: str, ceiling: float | None = None, min_train: int = MIN_TRAIN
) -> list[BacktestRow]:
    """Return how well each method forecast, one row per target, horizon and method.

    `played` is the group's `replay` with `best=True`. Empty when there are too few budgets for a
    single forecast.

    Raises:
        SpecError: `min_train` is below the least that a forecast is made from.
    """
    if min_train < FIRST_ORIGIN:
        raise SpecError(f"min_train must be at least {FIRST_ORIGIN}, not {min_train}")
    rows = _rows(group, "dev_loss", played.loss, played.loss_baselines, min_train, None)
    if played.returns is not None:
        said = played.return_baselines
        rows += _rows(group, "return_mean", played.returns, said, min_train, ceiling)
    return rows


def _rows(
    group: str,
    target: str,
    series: Ensemble,
    baselines: dict[str, dict[tuple[int, int], float]],
    min_train: int,
    ceiling: float | None,
) -> list[BacktestRow]:
    logs = target == "dev_loss"
    rows = []
    for horizon in HORIZONS:
        pairs = [(i, i - 1 + horizon) for i in range(min_train, len(series.x) - horizon + 1)]
        if not pairs:
            continue
        truth = np.array([series.y[t] for _, t in pairs])
        said = _said(series, baselines, pairs)
        half = {"default": np.array([series.past_half_width(*pair) for pair in pairs])}
        half["paper"] = paper_half_width(series, pairs, logs, said["paper"], ceiling)
        scores = {name: _score(truth, value, half.get(name), logs) for name, value in said.items()}
        for name, score in scores.items():
            ratio = score["rmse"] / scores["paper"]["rmse"] if scores["paper"]["rmse"] else None
            rows.append(BacktestRow(group, target, horizon, name, len(pairs), ratio, **score))
    return rows


def _said(
    series: Ensemble,
    baselines: dict[str, dict[tuple[int, int], float]],
    pairs: list[tuple[int, int]],
) -> dict[str, Array]:
    said = {"default": np.array([series.combined(*pair) for pair in pairs])}
    for name, table in baselines.items():
        said[name] = np.array([table[pair] for pair in pairs])
    for name in series.names:
        said[name] = np.array([series.said(name, *pair) for pair in pairs])
    return said


def paper_half_width(
    series: Ensemble,
    pairs: list[tuple[int, int]],
    logs: bool,
    said: Array,
    ceiling: float | None,
) -> Array:
    """Return half of the line's 95 % t prediction interval, in logs (NaN if R <= 0)."""
    half = np.full(len(pairs), np.nan)
    for row, (seen, target) in enumerate(pairs):
        y = np.exp(series.y[:seen]) if logs else series.y[:seen]
        if (y <= 0).any():
            continue
        law = PowerLaw().fit(10.0 ** series.x[:seen], y)
        _, low, high = law.predict(10.0 ** series.x[target], interval=0.95)
        if logs:
            half[row] = 0.5 * float(np.log(high / low))
        else:  # the interval is lopsided; its longer arm errs on the side of holding
            top = max(high, said[row]) if ceiling is None else max(min(high, ceiling), said[row])
            half[row] = max(float(top - said[row]), float(said[row] - low))
    return half


def _score(truth: Array, said: Array, half: Array | None, logs: bool) -> dict[str, Any]:
    plain = np.exp(said) - np.exp(truth) if logs else said - truth
    score: dict[str, Any] = {"rmse": float(np.sqrt(np.mean(plain**2)))}
    score["rmse_log"] = float(np.sqrt(np.mean((said - truth) ** 2))) if logs else None
    known = half is not None and bool(np.isfinite(half).all())
    score["coverage"] = float(np.mean(np.abs(said - truth) <= half)) if known else None
    score["mean_log_width"] = float(np.mean(2 * half)) if known and logs else None  # type: ignore[operator]
    relative = None
    if known and not logs:
        relative = 2 * half / np.maximum(np.abs(truth), 1e-9)  # type: ignore[operator]
    score["mean_relative_width"] = float(np.mean(relative)) if relative is not None else None
    return score


def chosen(played: Replay) -> dict[str, Any]:
    """Return the weights of the forecasters at the last budget, per target."""
    out = {"dev_loss": played.loss.to_json()}
    if played.returns is not None:
        out["return_mean"] = played.returns.to_json()
    return out


def summary(rows: list[BacktestRow]) -> list[BacktestSummary]:
    """Return geometric means of the RMSE ratios, and mean coverage and width, over groups."""
    together: dict[tuple[str, int, str], list[BacktestRow]] = {}
    for row in rows:
        together.setdefault((row.target, row.horizon, row.method), []).append(row)
    return [_summed(*key, together[key]) for key in sorted(together)]


def _summed(target: str, horizon: int, method: str, rows: list[BacktestRow]) -> BacktestSummary:
    ratios = [r.rmse_ratio_to_paper for r in rows if r.rmse_ratio_to_paper]
    return BacktestSummary(
        target=target,
        horizon=horizon,
        method=method,
        groups=len(rows),
        rmse_ratio_to_paper=float(np.exp(np.mean(np.log(ratios)))) if ratios else None,
        coverage=_mean([r.coverage for r in rows]),
        mean_log_width=_mean([r.mean_log_width for r in rows]),
        mean_relative_width=_mean([r.mean_relative_width for r in rows]),
    )


def _mean(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if known else None
