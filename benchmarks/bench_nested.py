"""Were the experts' constants tuned to the games they are reported on? A nested answer.

For each Atari game in turn, the constants (damping of single curves and of the frontier, which
curves count as near it, how soft their lower edge is) are chosen anew on the other games alone,
by the mean log RMSE ratio at one and three budgets ahead, and only then is the game itself looked
at. python benchmarks/bench_nested.py [FOLDER]
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench_backtest import games

from isoclone.laws import forecasters
from isoclone.laws.ensemble import Ensemble
from isoclone.laws.evidence import Evidence

Array = np.ndarray
GRID = {
    "CURVE_DAMPING": (0.3, 0.5, 0.7, 1.0),
    "NEAR": (0.05, 0.1, 0.2),
    "SOFTNESS": (0.03, 0.1, 0.2),
    "TREND_DAMPING": (0.0, 0.2, 0.4),
}
FIRST, MIN_TRAIN, HORIZONS = 3, 6, (1, 3)


def said_under(cut: dict[int, Evidence], constants: dict[str, float], x: Array) -> dict[Any, Any]:
    """What the three tunable experts say at every origin under these constants."""
    for name, value in constants.items():
        setattr(forecasters, name, value)
    out = {}
    for seen, evidence in cut.items():
        curves = [
            make(evidence)
            for make in (forecasters.trend, forecasters.envelope, forecasters.bent_envelope)
        ]
        for ahead in range(seen, min(seen + 3, len(x))):
            out[seen, ahead] = [float(np.ravel(c(x[ahead : ahead + 1]))[0]) for c in curves]
    return out


def score(series: Ensemble) -> list[float]:
    """Log of the RMSE ratio to the paper's way, one and three ahead, in nats and in logs."""
    found = []
    for horizon in HORIZONS:
        pairs = [(i, i - 1 + horizon) for i in range(MIN_TRAIN, len(series.x) - horizon + 1)]
        truth = np.array([series.y[t] for _, t in pairs])
        ours = np.array([series.combined(*p) for p in pairs])
        lines = [np.polyfit(series.x[:i], series.y[:i], 1) for i, _ in pairs]
        paper = np.array(
            [np.polyval(k, series.x[t]) for k, (_, t) in zip(lines, pairs, strict=True)]
        )
        for scale in (np.exp, np.asarray):
            errors = [np.mean((scale(v) - scale(truth)) ** 2) for v in (ours, paper)]
            found.append(0.5 * float(np.log(errors[0] / errors[1])))
    return found


def main(folder: Path) -> None:
    shipped = {name: getattr(forecasters, name) for name in GRID}
    combinations = [dict(zip(GRID, v, strict=True)) for v in itertools.product(*GRID.values())]
    scores: dict[str, Array] = {}
    for name, points in games(folder).items():
        if name == "nethack":
            continue
        whole = Evidence(points)
        cut = {seen: whole.until(seen) for seen in range(FIRST, len(whole.x))}
        noise = np.array([whole.until(max(s, 1)).noise for s in range(len(whole.x) + 1)])
        fixed = {seen: forecasters.surfaces(e) for seen, e in cut.items()}
        rows = []
        for constants in combinations:
            series = Ensemble(whole.x, whole.y, noise, list(forecasters.EXPERTS))
            for (seen, ahead), three in said_under(cut, constants, whole.x).items():
                last = float(np.ravel(fixed[seen](whole.x[ahead : ahead + 1]))[0])
                values = series._guard(np.array([*three, last]), seen)
                series._said[seen, ahead] = values
            rows.append(score(series))
        scores[name] = np.array(rows)
        print(f"{name}: {len(rows)} settings tried", file=sys.stderr)
    report(scores, combinations, shipped)


def report(scores: dict[str, Array], grid: list[dict[str, float]], shipped: Any) -> None:
    print(f"{'left out':16s} {'1 ahead':>8s} {'3 ahead':>8s}  chosen on the others")
    outcome = []
    for name in scores:
        others = np.mean([s for g, s in scores.items() if g != name], axis=0)
        best = int(np.argmin(others.mean(1)))
        outcome.append(scores[name][best])
        ratio = np.exp(outcome[-1])
        print(f"{name:16s} {ratio[0]:8.3f} {ratio[2]:8.3f}  {grid[best]}")
    nested = np.exp(np.mean(outcome, axis=0))
    own = np.exp(np.mean([s[grid.index(shipped)] for s in scores.values()], axis=0))
    worst = np.exp(np.max(np.mean(list(scores.values()), axis=0), axis=0))
    for label, row in (("nested", nested), ("as shipped", own), ("worst setting", worst)):
        print(f"{label:16s} {row[0]:8.3f} {row[2]:8.3f}  (of logs: {row[1]:.3f} {row[3]:.3f})")


if __name__ == "__main__":
    shared = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[2] / "shared"))
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else shared / "tuyls2023"
    if where.is_dir():
        main(where)
    else:
        print(f"{where}: the released runs are not here; nothing to choose on")
