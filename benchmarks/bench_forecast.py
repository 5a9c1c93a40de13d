"""How far off are forecasts of the lowest loss, and how often do their intervals hold?

python benchmarks/bench_forecast.py [SHARED] [--choose] [--cache FILE]

Every study (the tables of SHARED/tables, each group by itself, and the released runs in
SHARED/tuyls2023) is replayed: at every budget from the fifth on, the loss is forecast about .3, .5,
1 and 1.5 decades ahead (`ensemble.AHEAD`) from the budgets up to there, and compared with the
lowest loss measured there. Printed are the RMS of log errors (each study counting once), the share
of 95 % intervals that held, their mean width in logs, and, with --speed, the CPU seconds of a fit.
Studies `ASIDE` have no common budgets: their frontier is what a few runs happen to show; they are
printed, not counted.

--choose compares all weights of the forecasters in steps of .1, and constants of the interval, by
leave-one-study-out: chosen on the others, scored on the one. What forecasters said is kept in the
cache file, so that choices are cheap; remove it after a change of a forecaster.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.laws.chosen import fit
from isoclone.laws.frontier import ensemble, forecasters
from isoclone.laws.frontier.ensemble import AHEAD, Ensemble
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.replay import replay
from isoclone.laws.points import Points
from isoclone.laws.tables import from_columns, read
from isoclone.published import tuyls2023

Array = np.ndarray
FIRST = 5  # budgets
ASIDE = ("chinchilla245", "gadre")
RELEASED = {"atari": ("BattleZone", "Breakout", "Qbert", "SpaceInvaders"), "nethack": ("nethack",)}
SMALL = 0.02  # log error below which one forecast is as good as another


def studies(shared: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return {study: (kind, columns)}."""
    out = {}
    for path in sorted((shared / "tables").glob("*.csv")):
        for group, columns in read(path).groups().items():
            out[f"{path.stem} {group}".strip()] = ("language", columns)
    if (shared / "tuyls2023").is_dir():
        groups = from_columns(tuyls2023.read(shared / "tuyls2023").points).groups()
        for group, columns in groups.items():
            out[group] = ("nethack" if group == "nethack" else "atari", columns)
    return out


def replayed(shared: Path, cache: Path | None) -> dict[str, tuple[str, Ensemble]]:
    """Return the loss ensemble of every study, from the cache where it is there."""
    if cache is not None and cache.exists():
        return _thawed(pickle.loads(cache.read_bytes()))
    frozen = {}
    for name, (kind, columns) in studies(shared).items():
        series = replay(Evidence(Points.from_table(columns)), baselines=False).loss
        frozen[name] = (kind, series.x, series.y, series.noise, series._said)
    if cache is not None:
        cache.write_bytes(pickle.dumps(frozen))
    return _thawed(frozen)


def _thawed(frozen: dict[str, Any]) -> dict[str, tuple[str, Ensemble]]:
    out = {}
    for name, (kind, x, y, noise, said) in frozen.items():
        series = Ensemble(x, y, noise, forecasters.WEIGHTS)
        series._said = said
        out[name] = (kind, series)
    return out


def pairs(series: Ensemble) -> Iterator[tuple[int, int, float]]:
    """Yield (budgets seen, target, nominal horizon)."""
    for seen, target in series.judged:
        if seen >= FIRST:
            ahead = series.x[target] - series.x[seen - 1]
            yield seen, target, min(AHEAD, key=lambda h: abs(np.log(ahead / h)))


def scored(series: Ensemble) -> Array:
    """Return rows (horizon, log error, half-width) of a study, a run's own noise included."""
    rows = []
    for seen, target, horizon in pairs(series):
        error = series.combined(seen, target) - series.y[target]
        half = np.hypot(series.past_half_width(seen, target), 2 * series.noise[seen])
        rows.append((horizon, error, half))
    return np.array(rows).reshape(-1, 3)


def show(found: dict[str, tuple[str, Array]]) -> None:
    titles = "".join(f"{f'{h} decades':>24s}" for h in AHEAD)
    print(f"{'RMS log error / held / log width':34s}{titles}")
    for name, (_, rows) in found.items():
        print(f"{name:34s}{_line([rows])}")
    counted = {n: f for n, f in found.items() if not n.startswith(ASIDE)}
    for kind in (*dict.fromkeys(k for k, _ in counted.values()), "all"):
        these = [rows for k, rows in counted.values() if kind in (k, "all")]
        held = np.mean([np.mean(np.abs(r[:, 1]) <= r[:, 2]) for r in these])
        width = np.mean([np.mean(2 * r[:, 2]) for r in these])
        label = f"{kind}: mean of {len(these)}, {held:.2f}, {width:.3f}"
        print(f"{label:34s}{_line(these)}")


def _line(studies: list[Array]) -> str:
    cells = []
    for horizon in AHEAD:
        here = [r[r[:, 0] == horizon] for r in studies if (r[:, 0] == horizon).any()]
        if not here:
            cells.append(f"{'-':>24s}")
            continue
        rms = np.sqrt(np.mean([np.mean(r[:, 1] ** 2) for r in here]))
        held = np.mean([np.mean(np.abs(r[:, 1]) <= r[:, 2]) for r in here])
        width = np.mean([np.mean(2 * r[:, 2]) for r in here])
        cells.append(f"{rms:12.3f} {held:5.2f} {width:5.3f}")
    return "".join(cells)


def simplex(count: int) -> Array:
    """Return all weights in steps of .1 [m, count]."""
    grid = itertools.product(range(11), repeat=count)
    return np.array([w for w in grid if sum(w) == 10]) / 10


def choose_weights(found: dict[str, tuple[str, Ensemble]]) -> dict[str, Array]:
    """Choose weights for each study on the others; print them, and what all studies choose."""
    names = list(forecasters.WEIGHTS)
    grid, cost = simplex(len(names)), {}
    for study, (_, series) in found.items():
        if study.startswith(ASIDE):
            continue
        rows: dict[float, list[Array]] = {}
        for seen, target, horizon in pairs(series):
            said = series._said[seen, target] - series.y[target]
            rows.setdefault(horizon, []).append(grid @ said)
        squares = [np.mean(np.square(r), axis=0) for r in rows.values()]
        cost[study] = np.mean([0.5 * np.log(s + SMALL**2) for s in squares], axis=0)
    chosen = {}
    for study in cost:
        best = np.argmin(np.mean([cost[other] for other in cost if other != study], axis=0))
        chosen[study] = grid[best]
        print(f"  without {study:20s} {dict(zip(names, grid[best].tolist(), strict=True))}")
    total = np.mean(list(cost.values()), axis=0)
    ours = int(np.argmin(np.abs(grid - list(forecasters.WEIGHTS.values())).sum(1)))
    print(f"  all: {grid[np.argmin(total)]}, {total.min():.3f}; as shipped {total[ours]:.3f}")
    return chosen


def choose_intervals(found: dict[str, tuple[str, Ensemble]]) -> dict[str, ensemble.Settings]:
    """Choose kappa, growth, spread and prior errors for each study on the others.

    By the mean log of the interval score (Gneiting & Raftery 2007: width, and 40 times what is
    missed), among those that held .93 to .98 of the other studies' losses.
    """
    grid = [
        replace(ensemble.LOSS, kappa=k, growth=g, spread_share=s, prior_scales=p)
        for k, g, s, p in itertools.product(
            (0.12, 0.14, 0.16, 0.2), (1.0, 1.2, 1.5), (0.5, 0.8, 1.0), (5.0, 15.0, 30.0)
        )
    ]
    score, held = {}, {}
    for study, (_, series) in found.items():
        if study.startswith(ASIDE):
            continue
        score[study], held[study] = np.zeros(len(grid)), np.zeros(len(grid))
        for row, settings in enumerate(grid):
            series.settings = settings
            rows = scored(series)
            missed = np.maximum(np.abs(rows[:, 1]) - rows[:, 2], 0.0)
            score[study][row] = np.log(np.mean(2 * rows[:, 2] + 40 * missed))
            held[study][row] = np.mean(missed == 0)
        series.settings = ensemble.LOSS
    chosen = {}
    for study in score:
        others = [name for name in score if name != study]
        cover = np.mean([held[name] for name in others], axis=0)
        cost = np.mean([score[name] for name in others], axis=0)
        best = int(np.argmin(np.where((cover >= 0.93) & (cover <= 0.98), cost, np.inf)))
        chosen[study] = grid[best]
        c = grid[best]
        print(f"  without {study:20s} {c.kappa} {c.growth} {c.spread_share} {c.prior_scales}")
    return chosen


def choose(found: dict[str, tuple[str, Ensemble]]) -> None:
    print("\nweights, chosen without the study")
    for study, weights in choose_weights(found).items():
        found[study][1].prior = weights
    print("\nkappa, growth, share of the spread, prior errors, chosen without the study")
    for study, settings in choose_intervals(found).items():
        found[study][1].settings = settings
    print("\nleave one study out")
    counted = {n: (k, scored(s)) for n, (k, s) in found.items() if not n.startswith(ASIDE)}
    show(counted)


def speed(shared: Path) -> None:
    print("\nCPU seconds of a fit with everything")
    for name, (_, columns) in studies(shared).items():
        begun = time.process_time()
        laws = fit(columns)
        laws.forecast(10 * laws.last_budget_)
        laws.to_json()
        spent = time.process_time() - begun
        print(f"  {name:24s} {len(laws.points_):4d} points {spent:6.2f}")


def main() -> None:
    here = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser()
    parser.add_argument("shared", nargs="?", type=Path, default=here)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    if not (given.shared / "tables").is_dir():
        print(f"{given.shared}: no tables there")
        return
    found = replayed(given.shared, given.cache)
    show({name: (kind, scored(series)) for name, (kind, series) in found.items()})
    if given.choose:
        choose(found)
    if given.speed:
        speed(given.shared)


if __name__ == "__main__":
    main()
