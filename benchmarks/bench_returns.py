"""Laws of return: how often their intervals hold, on released runs and on synthetic studies.

    python benchmarks/bench_returns.py SHARED/tuyls2023            # released runs, losses ignored
    python benchmarks/bench_returns.py SHARED/tuyls2023 --choose   # constants, leaving a game out
    python benchmarks/bench_returns.py --synthetic 300             # exponents whose truth is known

Released runs: at every origin from the fourth budget on, laws see the budgets up to there, choose
a size for one, two and three budgets ahead, and forecast the return of one further agent. What came
is the return of the run of the nearest size there. Floor and ceiling are the lowest and highest
return of the game, where a scale needs them: a stand-in for scores that the release does not have.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from rl_truth import CEILING, rl_study

from isoclone import laws
from isoclone.laws.frontier.ensemble import Settings
from isoclone.laws.points import Points
from isoclone.laws.reinforcement import trend
from isoclone.laws.reinforcement.laws import ReturnLaws
from isoclone.published import tuyls2023

FIRST, AHEAD = 4, (1, 2, 3)  # budgets
COLUMNS = ("run_id", "budget_flops", "flops", "params", "samples", "return_mean", "return_se")
KINDS = {"return": (False, False), "root": (True, False), "log odds": (True, True)}
Row = dict[str, Any]


def games(folder: Path) -> dict[str, Points]:
    """Return the points of each game that has returns, without their losses."""
    table = tuyls2023.read(folder).points
    names = np.array(table["group"], dtype=object)
    out = {}
    for name in sorted(set(names)):
        rows = np.flatnonzero(names == name)
        out[name] = Points.from_table({c: [table[c][i] for i in rows] for c in COLUMNS})
    return out


def origins(points: Points, kind: str) -> list[Row]:
    """Return for each origin the series as it was then, and what came at later budgets."""
    floor, ceiling = KINDS[kind]
    ends = {
        "random_return": float(points.returns.min()) if floor else None,
        "expert_return": float(points.returns.max()) if ceiling else None,
    }
    found, budgets = [], points.budgets
    for seen in range(FIRST, len(budgets)):
        early = points.keep(points.budget <= budgets[seen - 1])
        fitted = ReturnLaws(**ends).fit(early)
        came = []
        for ahead in AHEAD:
            if seen - 1 + ahead < len(budgets):
                flops = float(budgets[seen - 1 + ahead])
                here = points.keep(points.budget == flops)
                best = fitted.forecast(flops).params.value
                nearest = here.params[np.argmin(np.abs(np.log(here.params / best)))]
                came += [(ahead, flops, r) for r in here.returns[here.params == nearest]]
        found.append({"laws": fitted, "scale": fitted.scale_, "came": came})
    return found


def judged(rows: list[Row], top: float, settings: Settings | None = None) -> np.ndarray:
    """Return [h, 4] by budgets ahead: share held, width, error, persistence's, as shares of top."""
    told = []
    for row in rows:
        fitted, scale = row["laws"], row["scale"]
        series = fitted.optima_.x, fitted.optima_.z, fitted.optima_.noise
        last = float(scale.back(fitted.optima_.z[-1]))
        whole = trend.continued(*series, settings or trend.settings_of(scale, last))
        for ahead, flops, came in row["came"]:
            x = np.log10([flops])
            z, half = whole.predict(x), trend.half_width(whole, x, 0.95, fitted.optima_.noise)
            low, said, high = (float(scale.back(v)[0]) for v in (z - half, z, z + half))
            width, error = (high - low) / top, abs(said - came) / top
            told.append((ahead, low <= came <= high, width, error**2, ((last - came) / top) ** 2))
    table = np.array(told, float)
    means = np.array([table[table[:, 0] == ahead][:, 1:].mean(0) for ahead in AHEAD])
    means[:, 2:] = np.sqrt(means[:, 2:])
    return means


def released(folder: Path) -> None:
    """Print the figures of the constants in use."""
    print("| scale | ahead | held | width | RMS error | persistence |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        by_game = [
            judged(origins(points, kind), float(points.returns.max()))
            for points in games(folder).values()
        ]
        for ahead, row in zip(AHEAD, np.mean(by_game, 0), strict=True):
            print(f"| {kind} | {ahead} | " + " | ".join(f"{v:.3f}" for v in row) + " |")


def choose(folder: Path) -> None:
    """Print for each scale what the constants come to that are chosen without the game."""
    for kind in KINDS:
        rows = {
            name: (origins(p, kind), float(p.returns.max())) for name, p in games(folder).items()
        }
        grid = list(itertools.product((0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2), (0.75, 1.0)))
        table = {
            (k, g, name): judged(found, top, Settings(k, g, 1.0, 100.0, 0.0))
            for k, g in grid
            for name, (found, top) in rows.items()
        }
        kept = []
        for name in rows:
            others = [other for other in rows if other != name]
            mean = {pair: np.mean([table[*pair, o] for o in others], 0) for pair in grid}
            held = [pair for pair in grid if (mean[pair][:, 0] >= 0.92).all()]
            best = min(held or grid[-1:], key=lambda pair: mean[pair][:, 1].mean())
            kept.append(table[*best, name])
            print(kind, "without", name, "kappa, growth", best)
        print(kind, "held, width:", np.round(np.mean(kept, 0)[:, :2].T, 3).tolist())


def synthetic(count: int) -> None:
    """Print how often intervals of exponents held the truth, by kind of study."""
    kinds: list[Row] = [{}, {"luck": 0.1}, {"luck": 0.6}, {"seeds": 1}, {"seeds": 2}]
    kinds += [{"sizes": 4, "budgets": 4}, {"sizes": 5, "budgets": 8, "seeds": 5}, {"bend": 0.7}]
    kinds += [{"exponent": 0.3}, {"seeds": 1, "sizes": 10, "budgets": 8}]
    print("| study | held | width | RMS error | intrinsic: held | width | RMS error |")
    print("|---|---|---|---|---|---|---|")
    for kind in kinds:
        truth, rows = kind.get("exponent", 0.5), []
        for seed in range(count):
            found = laws.fit(rl_study(seed, **kind), random_return=0.0, expert_return=CEILING)
            roads = found.exponents()
            for name in ("isoflop_optima", "intrinsic"):
                a = roads.get(name, roads["isoflop_optima"]).params
                rows.append((a.holds(truth), a.high - a.low, a.value - truth))
        table = np.array(rows, float).reshape(count, 2, 3)
        figures = []
        for one in (0, 1):
            held, width, error = table[:, one].T
            figures += [held.mean(), np.median(width), np.sqrt(np.mean(error**2))]
        said = ", ".join(f"{k} {v}" for k, v in kind.items()) or "as it is"
        print(f"| {said} | " + " | ".join(f"{v:.3f}" for v in figures) + " |", flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--synthetic", type=int, default=0)
    asked = parser.parse_args()
    if asked.synthetic:
        synthetic(asked.synthetic)
    if asked.folder is not None:
        (choose if asked.choose else released)(asked.folder)


if __name__ == "__main__":
    main()
