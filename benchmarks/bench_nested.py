"""Test whether the constants are tuned to the studies they are reported on, by nested validation.

Each study (four Atari games, and NetHack up to 1e17 FLOPs) is left out in turn. On the others alone
the constants of the forecasters and of their weights are chosen, by the mean log RMSE ratio at one,
two and three budgets ahead, in nats and in logs; then those of the interval, by the interval score
(Gneiting & Raftery 2007: width, and 40 times what is missed). Only then is the study looked at,
and for NetHack what lies beyond 1e17. python benchmarks/bench_nested.py [FOLDER]
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench_backtest import HOLDOUT_FROM, games, on_released_runs

from isoclone.laws.frontier import ensemble, forecasters, kriging
from isoclone.laws.frontier.backtest import MIN_TRAIN
from isoclone.laws.frontier.ensemble import Ensemble
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.replay import FIRST_ORIGIN

Array = np.ndarray
Said = dict[tuple[int, int], float]
HORIZONS = (1, 2, 3)
FAR, AMPLITUDE, LENGTH = (0.1, 0.2, 0.3), (0.1, 0.2), (3.0, 6.0)
TREND_DAMPING, CURVE_DAMPING = (0.0, 0.2, 0.4), (0.3, 0.5, 1.0)
SHARPNESS = (2.0, 4.0, 6.0)
KAPPA, GROWTH = (0.08, 0.1, 0.13, 0.16, 0.2), (1.0, 1.15, 1.3, 1.5, 1.8)
SHIPPED = ((0.2, 0.2, 6.0), 0.2, 0.5, 6.0), (0.16, 1.5)


class Study:
    """One group: the forecasts of every forecaster under every setting, and their scores."""

    def __init__(self, evidence: Evidence, known: int):
        self.evidence, self.known = evidence, known  # `known` budgets may be chosen on
        x = evidence.x
        self.noise = np.array([evidence.until(max(s, 1)).noise for s in range(len(x) + 1)])
        self.cut = {s: evidence.until(s) for s in range(FIRST_ORIGIN, len(x))}
        self.kriging = {c: self._kriging(*c) for c in itertools.product(FAR, AMPLITUDE, LENGTH)}
        self.trend = {d: self._said("TREND_DAMPING", d, forecasters.trend) for d in TREND_DAMPING}
        self.envelope = {
            d: self._said("CURVE_DAMPING", d, forecasters.envelope) for d in CURVE_DAMPING
        }

    def _said(self, name: str, value: float, make: forecasters.Forecaster) -> Said:
        setattr(forecasters, name, value)
        out: Said = {}
        for seen, evidence in self.cut.items():
            curve, x = make(evidence), self.evidence.x  # damping is read when the curve is asked
            out |= {(seen, t): float(np.ravel(curve(x[t : t + 1]))[0]) for t in range(seen, len(x))}
        return out

    def _kriging(self, far: float, amplitude: float, length: float) -> Said:
        kriging.FAR = far
        kriging.PRIOR = np.log([amplitude, amplitude, 0.05, length, length, 0.01])
        return self._said("GRID", forecasters.GRID, forecasters.kriging)

    def series(self, setting: Any) -> Ensemble:
        """The ensemble under (kriging's constants, two dampings, sharpness)."""
        kriged, trend, curve, sharpness = setting
        prior = forecasters.PRIOR_WEIGHTS
        evidence = self.evidence
        out = Ensemble(evidence.x, evidence.y, self.noise, prior, sharpness=sharpness)
        tables = self.trend[trend], self.envelope[curve], self.kriging[kriged]
        for key in tables[0]:
            out._said[key] = out._guard(np.array([t[key] for t in tables]), key[0])
        return out

    def pairs(self, horizon: int) -> list[tuple[int, int]]:
        first = MIN_TRAIN if self.known == len(self.evidence.x) else MIN_TRAIN - 1
        return [(i, i - 1 + horizon) for i in range(first, self.known - horizon + 1)]

    def score(self, series: Ensemble) -> Array:
        """Log of the RMSE ratio to the paper's way [horizon, (nats, logs)]."""
        found = []
        for horizon in HORIZONS:
            pairs = self.pairs(horizon)
            truth = np.array([series.y[t] for _, t in pairs])
            ours = np.array([series.combined(*p) for p in pairs])
            lines = [np.polyfit(series.x[:i], series.y[:i], 1) for i, _ in pairs]
            paper = [np.polyval(k, series.x[t]) for k, (_, t) in zip(lines, pairs, strict=True)]
            for scale in (np.exp, np.asarray):
                errors = [np.mean((scale(v) - scale(truth)) ** 2) for v in (ours, np.array(paper))]
                found.append(0.5 * float(np.log(errors[0] / errors[1])))
        return np.array(found).reshape(len(HORIZONS), 2)

    def intervals(self, series: Ensemble, kappa: float, growth: float) -> Array:
        """Share held, log width and interval score [horizon, 3]."""
        series.kappa, ensemble.GROWTH = kappa, growth
        rows = []
        for horizon in HORIZONS:
            pairs = self.pairs(horizon)
            error = np.array([abs(series.combined(*p) - series.y[p[1]]) for p in pairs])
            half = np.array([series.past_half_width(*p) for p in pairs])
            missed = 40 * np.maximum(error - half, 0.0)
            rows.append([np.mean(error <= half), np.mean(2 * half), np.mean(2 * half + missed)])
        return np.array(rows)


def main(folder: Path) -> None:
    studies = {}
    for name, points in games(folder).items():
        known = int((points.budgets < HOLDOUT_FROM).sum()) if name == "nethack" else None
        studies[name] = Study(Evidence(points), known or len(points.budgets))
        print(f"{name}: replayed", file=sys.stderr)
    grid = list(
        itertools.product(
            next(iter(studies.values())).kriging, TREND_DAMPING, CURVE_DAMPING, SHARPNESS
        )
    )
    scores = {
        name: np.array([study.score(study.series(s)) for s in grid])
        for name, study in studies.items()
    }
    print(f"{len(grid)} settings; RMSE as ratio to the paper's way, 1 / 3 ahead; 95 % held; width")
    nested, shipped = [], []
    for name, study in studies.items():
        others = [n for n in studies if n != name]
        best = int(np.argmin(np.mean([scores[n].mean((1, 2)) for n in others], axis=0)))
        width = interval_constants([studies[n] for n in others], grid[best])
        nested.append(report(name, study, grid[best], width))
        shipped.append(report("  as shipped", study, *SHIPPED))
    summary("nested", nested)
    summary("as shipped", shipped)
    worst = np.max(np.mean([scores[n] for n in studies], axis=0)[:, :, 0], axis=0)
    print(f"worst setting at each horizon: {np.exp(worst).round(3)}")


def interval_constants(studies: list[Study], setting: Any) -> tuple[float, float]:
    """Kappa and growth of the lowest mean interval score on these studies."""
    series = [study.series(setting) for study in studies]

    def score(constants: tuple[float, float]) -> float:
        found = [st.intervals(se, *constants) for st, se in zip(studies, series, strict=True)]
        return float(np.mean([f[:, 2] for f in found]))

    return min(itertools.product(KAPPA, GROWTH), key=score)


def report(name: str, study: Study, setting: Any, width: tuple[float, float]) -> tuple[Any, Any]:
    series = study.series(setting)
    score, held = study.score(series), study.intervals(series, *width)
    ratio = np.exp(score[:, 0])
    print(f"{name:15s} {ratio[0]:.3f} {ratio[2]:.3f}  {held[:, 0].round(2)} {held[:, 1].round(3)}")
    print(f"{'':15s} far, amplitude, length; trend, curve; sharpness: {setting}; interval {width}")
    beyond = range(study.known, len(series.x))
    if len(beyond):
        errors = [np.expm1(series.combined(study.known, t) - series.y[t]) for t in beyond]
        print(f"{'':15s} beyond 1e17: {' '.join(f'{e:+.3f}' for e in errors)}")
    return score, held


def summary(label: str, rows: list[tuple[Any, Any]]) -> None:
    ratio = np.exp(np.mean([r[0] for r in rows], axis=0))
    held = np.mean([r[1] for r in rows], axis=0)
    print(f"{label}: ratios {ratio[:, 0].round(3)}, of logs {ratio[:, 1].round(3)},", end=" ")
    print(f"held {held[:, 0].round(3)}, width {held[:, 1].round(3)}")


if __name__ == "__main__":
    on_released_runs(main)
