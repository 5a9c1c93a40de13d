"""Back-tests on the released runs of Tuyls et al. 2023, with every figure the docs quote.

python benchmarks/bench_backtest.py FOLDER: prints tables; FOLDER is the authors' data folder, or
shared/tuyls2023 beside the checkout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isoclone.laws.frontier.backtest import BacktestRow, backtest, summary
from isoclone.laws.frontier.ensemble import quantile
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.replay import Replay, replay
from isoclone.laws.points import Points
from isoclone.laws.tables import from_columns
from isoclone.published import tuyls2023

METHODS = ("default", "paper", "last-slope", "persistence")
FIRST = 5  # budgets, of the return's intervals
HOLDOUT_FROM = 1.5e17  # NetHack: forecast the budgets beyond 1e17


def games(folder: Path) -> dict[str, Points]:
    found = from_columns(tuyls2023.read(folder).points).groups()
    return {name: Points.from_table(table) for name, table in found.items()}


def show(title: str, rows: list[BacktestRow]) -> None:
    print(f"\n{title}")
    print(f"{'target':12s} {'ahead':>5s} {'method':14s} {'ratio':>7s} {'held':>6s} {'width':>6s}")
    for r in summary(rows):
        values = (r.rmse_ratio_to_paper, r.coverage, r.mean_log_width)
        figures = " ".join("     -" if v is None else f"{v:6.3f}" for v in values)
        print(f"{r.target:12s} {r.horizon:5d} {r.method:14s}  {figures}")


def log_rows(rows: list[BacktestRow]) -> None:
    """Ratios of RMSE of log loss, geometric mean over games."""
    for horizon in (1, 2, 3):
        pick = [r for r in rows if (r.target, r.horizon) == ("dev_loss", horizon)]
        base = {r.group: r.rmse_log for r in pick if r.method == "paper"}
        ours = [r.rmse_log / base[r.group] for r in pick if r.method == "default"]
        print(f"log loss, {horizon} ahead: ratio {np.exp(np.mean(np.log(ours))):.3f}")


def return_widths(found: dict[str, Points]) -> None:
    """Print width, as a share of the highest return, and coverage of the return's forecast.

    Its interval is the link's, as `ScalingLaws.returns` has it where a ceiling is known: that of
    one agent, from the fifth budget on. The ceiling is the game's highest return.
    """
    by_horizon: dict[int, list[tuple[float, float]]] = {1: [], 2: [], 3: []}
    for name, points in found.items():
        known = points.returns[np.isfinite(points.returns)]
        if not len(known):
            continue
        top = float(known.max())
        played = replay(Evidence(points), None, top, baselines=False)
        told = []
        for horizon, out in by_horizon.items():
            spans = np.array(_intervals(played, horizon))
            width = np.mean(spans[:, 1] - spans[:, 0]) / top
            held = np.mean((spans[:, 0] <= spans[:, 2]) & (spans[:, 2] <= spans[:, 1]))
            out.append((float(width), float(held)))
            told.append(f"{width:.2f}, held {held:.2f}")
        print(f"  {name:14s} {'   '.join(told)}")
    means = [np.mean(out, axis=0) for out in by_horizon.values()]
    print(f"  {'mean':14s} {'   '.join(f'{w:.2f}, held {c:.2f}' for w, c in means)}")


def _intervals(played: Replay, horizon: int) -> list[tuple[float, float, float]]:
    """Return (low, high, what came) of each forecast so many budgets ahead."""
    series, out = played.series, []
    assert series is not None
    for seen in range(FIRST, len(series.x) - horizon + 1):
        if seen not in played.links:
            continue
        z, sd, came = played.blended(seen, seen - 1 + horizon)
        reach = quantile(0.95) * played.link_stretch(seen) * sd
        link = played.links[seen]
        low, high, truth = link.back(np.array([z - reach, z + reach, came]))
        out.append((max(low, link.floor), min(high, series.top), truth))
    return out


def nethack_holdout(points: Points) -> None:
    """Train on C <= 1e17, forecast the best loss at every budget beyond."""
    played: Replay = replay(Evidence(points))
    seen = int((points.budgets < HOLDOUT_FROM).sum())
    print("\nNetHack, trained on C <= 1e17: relative error of the best loss")
    for target in range(seen, len(points.budgets)):
        series = played.loss
        error = {"default": series.combined(seen, target), **played_said(played, seen, target)}
        text = ", ".join(f"{k} {np.expm1(v - series.y[target]):+.3f}" for k, v in error.items())
        half = series.past_half_width(seen, target)
        print(f"  {points.budgets[target]:.0e}: {text}; 95 % +-{half:.3f}")


def played_said(played: Replay, seen: int, target: int) -> dict[str, float]:
    out = {n: played.loss.said(n, seen, target) for n in played.loss.names}
    return out | {n: table[seen, target] for n, table in played.loss_baselines.items()}


def main(folder: Path) -> None:
    found = games(folder)
    for label, capped in (("capped at each game's highest return", True), ("not capped", False)):
        rows = []
        for name, points in found.items():
            known = points.returns[np.isfinite(points.returns)]
            cap = float(known.max()) if capped and len(known) else None
            rows += backtest(replay(Evidence(points), None, cap, best=True), name, cap)
        atari = [r for r in rows if r.group != "nethack"]
        show(f"Atari, returns {label}", [r for r in atari if r.method in METHODS])
        if capped:
            log_rows(atari)
            show("all groups, every method", rows)
    print("\nReturns with a ceiling, forecast 1, 2 and 3 budgets ahead: width, held")
    return_widths(found)
    if "nethack" in found:
        nethack_holdout(found["nethack"])


def on_released_runs(main: Callable[[Path], None]) -> None:
    """Call `main` with the folder named on the command line, or with the shared one."""
    shared = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[2] / "shared"))
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else shared / "tuyls2023"
    if where.is_dir():
        main(where)
    else:
        print(f"{where}: the released runs are not here")


if __name__ == "__main__":
    on_released_runs(main)
