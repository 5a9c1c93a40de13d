"""How many FLOPs does a plan need for a forecast, and how good is the forecast then?

python benchmarks/bench_plan.py [SHARED] [--trials 4] [--noise SD] [--returns]

A plan is replayed on finished runs: it asks for cells (size, seed, budget) and gets what a table
has there. Tables: the released Atari and NetHack runs, one seed, cut at every budget that has one
ten times as large ("short": with the last five budgets alone, as a study has); and surfaces fitted
to every shared study, with its scatter (or `--noise`), two seeds, ten sizes, six budgets. The
forecast at ten times the largest budget is judged by its interval score: its width in log loss,
and 40 times what it misses the truth by (Gneiting & Raftery 2007). Printed are a plan's FLOPs and
score as ratios to the paper's grid (every size, every seed to every budget), medians over studies,
and of surfaces the error of the best size there and the width of its interval, in decades.

--returns: the return's forecast after plays at the last so many budgets, of so many episodes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from bench_forecast import studies

from isoclone.base.records import Point
from isoclone.base.schema import unmeasured
from isoclone.laws.allocation import Allocation
from isoclone.laws.design import run_gradients
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.kriging import above_best
from isoclone.laws.frontier.replay import _near, replay
from isoclone.laws.points import Points
from isoclone.laws.scaling import ScalingLaws
from isoclone.laws.surface import Surface
from isoclone.study.plan import Cell, next_cells
from isoclone.study.spec import StudySpec

Array = np.ndarray
SIZES, BUDGETS, SPREAD = 10, 6, 20.0  # of a surface's grid; largest over smallest budget
SCATTER = (0.003, 0.03)  # SD of log loss of a surface's runs, at least and at most
SHORT = 5  # budgets
FIGURES = ("flops", "params", "samples", "dev_loss", "dev_loss_se")
COLUMNS = ("run_id", "seed", "budget_flops", *FIGURES)


@dataclass
class World:
    """Finished runs: cells (width, seed, budget) with a table's columns; widths number sizes."""

    study: str
    params: list[int]
    budgets: list[float]
    cells: dict[tuple[int, int, float], dict[str, float]]
    target: float
    truth: float  # log loss there
    best_size: float = np.nan
    seeds: tuple[int, ...] = (0,)
    spec: StudySpec = field(init=False)

    def __post_init__(self) -> None:
        widths = tuple(range(1, len(self.params) + 1))
        self.spec = StudySpec(
            name="w", game="toy", expert="scripted", policy="mlp", widths=widths,
            budgets_flops=tuple(self.budgets), seeds=self.seeds, extend=0,
        )  # fmt: skip

    def point(self, cell: Cell) -> Point:
        """Return what was measured there; a point that failed where nothing was."""
        row = {**unmeasured(Point), **dict.fromkeys(("unique_samples", "epochs", "episodes"), 1)}
        row |= dict.fromkeys(("game", "policy", "recipe", "flop_convention"), "any")
        row |= {"run_id": f"{cell.width}-{cell.seed}", "role": "sweep", "status": "ok"}
        row |= {"width": cell.width, "seed": cell.seed, "budget_flops": cell.budget_flops}
        row |= {"params": self.params[cell.width - 1], "samples": 1}
        got = self.cells.get((cell.width, cell.seed, cell.budget_flops))
        return Point(**{**row, **(got or {"status": "failed"})})


Plan = Callable[[World, list[Point]], Sequence[Cell]]


def played(world: World, plan: Plan) -> list[Point]:
    """Return the points of a plan that is carried out to its end."""
    points: list[Point] = []
    while cells := plan(world, points):
        points += [world.point(cell) for cell in cells]
    return [p for p in points if p.status == "ok"]


def spent(points: list[Point]) -> float:
    far: dict[str, float] = {}
    for p in points:
        far[p.run_id] = max(far.get(p.run_id, 0.0), p.budget_flops)
    return sum(far.values())


def table(points: list[Point]) -> dict[str, list[Any]]:
    return {name: [getattr(p, name) for p in points] for name in COLUMNS}


# ---------------------------------------------------------------------------------- tables


def released(shared: Path, budgets: int | None = None) -> list[World]:
    out = []
    for name, (kind, columns) in studies(shared).items():
        if kind == "language":
            continue
        points = Points.from_table(columns)
        whole, params = Evidence(points), np.unique(points.params).tolist()
        cells: dict[tuple[int, int, float], dict[str, float]] = {}
        for row in range(len(points))[::-1]:  # of several runs of a size, the first
            figures = {"flops": points.flops[row], "samples": int(points.samples[row])}
            figures |= {"dev_loss": points.loss[row], "dev_loss_se": points.loss_se[row]}
            figures |= {"return_mean": points.returns[row], "return_se": points.returns_se[row]}
            known = {k: float(v) for k, v in figures.items() if np.isfinite(v)}
            known["samples"] = figures["samples"]
            where = params.index(points.params[row]) + 1, 0, float(points.budget[row])
            cells[where] = known
        for k, largest in enumerate(points.budgets):
            at = np.flatnonzero(np.abs(np.log10(whole.budgets / largest) - 1) < 0.05)
            if k < SHORT or not len(at) or largest < 1e15:
                continue
            used = points.budgets[: k + 1][-(budgets or k + 1) :].tolist()
            place = float(10 ** whole.x[at[0]]), float(whole.y[at[0]])
            out.append(World(name, [int(p) for p in params], used, cells, *place))
    return out


def surfaces(shared: Path, trials: int, noise: float | None) -> list[World]:
    out = []
    for name, (_, columns) in studies(shared).items():
        points = Points.from_table(columns)
        evidence, above = Evidence(points), above_best(points)
        surface = Surface("coupled", starts=6).fit(
            points.params, points.samples, points.loss, np.hypot(0.02, 0.2 * above)
        )
        near = points.keep(above < 0.15)
        rest = np.log(near.loss) - surface.log_loss(near.params, near.samples)
        scatter = float(np.clip(1.48 * np.median(np.abs(rest - np.median(rest))), *SCATTER))
        rng = np.random.default_rng(sum(map(ord, name)))
        for _ in range(trials):
            out.append(drawn(name, surface, evidence, noise or scatter, rng))
    return out


def drawn(name: str, surface: Surface, evidence: Evidence, sd: float, rng: Any) -> World:
    """Return one study on a surface; half of the variance is a run's own, half its points'."""
    rule, top = evidence.rule, 10 ** (evidence.x[-1] - 1)
    budgets = [float(f"{b:.2e}") for b in np.geomspace(top / SPREAD, top, BUDGETS)]
    first, last = (10 ** surface.optimum(c, rule)[0][0] for c in (budgets[0], 10 * top))
    params = [int(p) for p in np.geomspace(first / 6, 2 * last, SIZES)]
    cells = {}
    for (number, size), seed in itertools.product(enumerate(params, 1), (0, 1)):
        run = rng.normal(0, 0.7 * sd)
        for budget in budgets:
            samples = float(rule.samples(budget, np.array([float(size)]))[0])
            at = surface.log_loss(np.array([float(size)]), np.array([samples]))[0]
            loss = float(np.exp(at + run + rng.normal(0, 0.7 * sd)))
            figures = {"flops": budget, "samples": int(samples), "dev_loss": loss}
            cells[number, seed, budget] = figures | {"dev_loss_se": 0.005 * loss}
    (size,), (truth,) = surface.optimum(10 * top, rule)
    return World(name, params, budgets, cells, 10 * top, float(truth), 10**size, (0, 1))


# ---------------------------------------------------------------------------------- plans


def by_rules(**changes: Any) -> Plan:
    return lambda world, points: next_cells(replace(world.spec, **changes), points).cells


def grid(world: World, points: list[Point]) -> list[Cell]:
    wanted = [Cell(w, s, b) for w, s, b in world.cells if b in world.budgets]
    return [] if points else sorted(wanted, key=lambda c: (c.budget_flops, c.width, c.seed))


def informed(share: float) -> Plan:
    """Ask next for the run that lowers the forecast's variance most per FLOP, to so many FLOPs.

    The variance is that of a surface's loss at the target's best size, linear in its parameters,
    with a Gaussian process for what it misses; runs far above their budget's best count less.
    """

    def plan(world: World, points: list[Point]) -> list[Cell]:
        budgets, (seed, *_) = world.budgets, world.seeds
        start = [Cell(w, seed, b) for b in budgets[:2] for w in world.spec.widths]
        ok = [p for p in points if p.status == "ok"]
        if not ok:
            return start
        left = share * spent(played(world, grid)) - spent(ok)
        reached = {p.width: p.budget_flops for p in sorted(points, key=lambda p: p.budget_flops)}
        failed = {p.width for p in points if p.status != "ok"}
        options = [
            (w, b)
            for w in world.spec.widths
            for b in budgets
            if w not in failed and b > reached[w] and b - reached[w] <= 1.02 * left
        ]
        if not options:
            return []
        cost = np.array([b - reached[w] for w, b in options])
        width, budget = options[int(np.argmax(_gains(world, ok, options) / cost))]
        return [Cell(width, seed, b) for b in budgets if reached[width] < b <= budget]

    return plan


def _gains(world: World, ok: list[Point], options: list[tuple[int, float]]) -> Array:
    """Return by how much each option lowers the variance of the log loss at the target [m]."""
    points = Points.from_table(table(ok))
    above, rule = above_best(points), FlopRule(points.params, points.flops / points.samples)
    sd = np.hypot(0.01, 0.2 * above)
    surface = Surface("coupled", starts=3).fit(points.params, points.samples, points.loss, 2 * sd)
    sizes = np.array([float(world.params[w - 1]) for w, _ in options])
    seen = np.array([rule.samples(b, n)[()] for (_, b), n in zip(options, sizes, strict=True)])
    lowest = np.array([surface.optimum(b, rule)[1][0] for _, b in options])
    over = np.maximum(surface.log_loss(sizes, seen) - lowest, 0.0)
    best = 10 ** surface.optimum(world.target, rule)[0]
    n = np.concatenate([points.params, sizes, best])
    d = np.concatenate([points.samples, seen, rule.samples(world.target, best)])
    slopes = run_gradients(surface, n, d)
    far = sum(np.abs(np.subtract.outer(v, v)) for v in (np.log(n), np.log(d)))
    prior = slopes @ slopes.T + 0.05**2 * np.exp(-far / 3)
    count = len(points)
    known = prior[:count, :count] + np.diag(sd**2)
    after = prior - prior[:, :count] @ np.linalg.solve(known, prior[:count])
    own = np.diag(after)[count:-1] + np.hypot(0.01, 0.2 * over) ** 2
    return after[count:-1, -1] ** 2 / own


PLANS: dict[str, Plan] = {
    "grid (paper)": grid,
    "wide rules": by_rules(rules="wide"),
    "narrow rules": by_rules(rules="narrow"),
    "narrow, one seed": by_rules(rules="narrow", seeds=(0,)),
    "informed, .25": informed(0.25),
    "informed, .35": informed(0.35),
    "informed, .5": informed(0.5),
}

# ---------------------------------------------------------------------------------- judging


def judged(world: World, plan: Plan) -> tuple[float, float, float, float]:
    """Return FLOPs, interval score, and of the best size the error and the width in decades."""
    points = played(world, plan)
    evidence = Evidence(Points.from_table(table(points)))
    series, x = replay(evidence, baselines=False, origins=8).loss, np.log10([world.target])
    half = float(np.hypot(series.half_width(x)[0], 2 * evidence.noise))
    missed = max(abs(float(series.predict(x)[0]) - world.truth) - half, 0.0)
    error = width = np.nan
    if np.isfinite(world.best_size):
        said, low, high = (float(v[0]) for v in Allocation(60).fit(evidence).interval(world.target))
        error, width = np.log10(said / world.best_size), np.log10(high / low)
    return spent(points), 2 * half + 40 * missed, error, width


def show(title: str, worlds: list[World]) -> None:
    print(f"\n{title}: {len({w.study for w in worlds})} studies, {len(worlds)} replays")
    print(f"{'':18s} {'FLOPs':>6s} {'score':>6s} {'mean':>6s} {'worst':>6s}  best size: RMS, width")
    names = np.array([w.study for w in worlds])
    base = np.array([judged(w, grid) for w in worlds])
    for name, plan in PLANS.items():
        if name.endswith("one seed") and len(worlds[0].seeds) == 1:
            continue
        found = np.array([judged(w, plan) for w in worlds])
        flops, score = [], []
        for study in dict.fromkeys(names):
            here = names == study
            flops.append(np.exp(np.mean(np.log(found[here, 0] / base[here, 0]))))
            score.append(found[here, 1].mean() / base[here, 1].mean())
        mean = np.exp(np.mean(np.log(score)))
        size = f"{np.sqrt(np.mean(found[:, 2] ** 2)):.2f} {found[:, 3].mean():.2f}"
        print(
            f"{name:18s} {np.median(flops):6.2f} {np.median(score):6.2f} {mean:6.2f} "
            f"{max(score):6.2f}  {size if np.isfinite(found[:, 2]).all() else ''}",
            flush=True,
        )


def show_returns(shared: Path) -> None:
    """Print how the return's forecast depends on where policies play, and how long."""
    whole = {n: Points.from_table(c) for n, (k, c) in studies(shared).items() if k != "language"}
    print("\nreturns: budgets played, episodes each; RMS error, width, held, interval score")
    for last, episodes in itertools.product((5, 4, 3, 2), (8, 24, 72)):
        rows = []
        for world, repeat in itertools.product(released(shared, SHORT), range(3)):
            rows += _return_forecast(world, whole[world.study], last, episodes, repeat)
        error, width, missed = np.array(rows).T
        score = np.mean(width + 40 * missed)
        held = np.mean(missed == 0)
        rms = np.sqrt(np.mean(error**2))
        print(f"{last:2d} {episodes:3d}  {rms:.3f} {width.mean():.3f} {held:.2f} {score:.3f}")


def _return_forecast(
    world: World, whole: Points, last: int, episodes: int, repeat: int
) -> list[tuple[float, float, float]]:
    """Return error, width and miss of a return forecast, in shares of the highest return."""
    evidence, top = Evidence(whole), float(np.nanmax(whole.returns))
    there = int(np.argmin(np.abs(evidence.x - np.log10(world.target))))
    truth, _ = _near(evidence, evidence.budgets[there])
    rng, points = np.random.default_rng(repeat), played(world, by_rules(rules="narrow"))
    columns = table(points) | {"return_mean": [], "return_se": []}
    for p in points:
        value, se = p.return_mean, p.return_se
        known = value is not None and p.budget_flops in world.budgets[-last:]
        more = 0.0
        if known and se is not None:  # of about a thousand episodes
            more = np.sqrt(max(1000 * se**2 / episodes - se**2, 0.0))
        columns["return_mean"].append(value + rng.normal(0, more) if known else np.nan)
        columns["return_se"].append(np.hypot(se or 0.0, more) if known else np.nan)
    floor = float(np.nanmin(whole.returns))
    laws = ScalingLaws(expert_return=top, random_return=floor, bootstraps=10).fit(columns)
    said = laws.returns([world.target])
    if said is None or not np.isfinite(truth):
        return []
    value, low, high = (float(v[0]) for v in said)
    missed = max(low - truth, truth - high, 0.0)
    return [((value - truth) / top, (high - low) / top, missed / top)]


def main() -> None:
    here = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser()
    parser.add_argument("shared", nargs="?", type=Path, default=here)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--noise", type=float)
    parser.add_argument("--returns", action="store_true")
    given = parser.parse_args()
    if not (given.shared / "tables").is_dir():
        print(f"{given.shared}: no tables there")
    elif given.returns:
        show_returns(given.shared)
    else:
        show("released runs", released(given.shared))
        show("released runs, short", released(given.shared, SHORT))
        show("surfaces", surfaces(given.shared, given.trials, given.noise))


if __name__ == "__main__":
    main()
