"""How fast the laws are, how often their intervals hold on synthetic truth, and how wide they are.

python benchmarks/bench_laws.py [trials]: prints three tables. Speed of a surface's fit on four
surfaces (Chinchilla's, one with exponents 3:1, one fitted to NetHack runs, one without a floor);
coverage of the best size's interval on the first three, with noise of .5 to 2 % per run, at the
largest budget and ten times it; C = 6 N D. Last, where shared/tables lies beside the checkout, the
intervals of published fits beside the published values (Besiroglu et al. 2024, Porian et al. 2024).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.laws.allocation import Allocation
from isoclone.laws.chosen import fit
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.isoflop import fit_isoflops
from isoclone.laws.points import Points
from isoclone.laws.power import PowerLaw
from isoclone.laws.surface import FORMS, Surface, bootstrap_weights

TRUTHS = {
    "Chinchilla": ({"E": 1.69, "A": 406.4, "B": 410.7, "a": 0.34, "b": 0.28}, (18.0, 20.5)),
    "asymmetric 3:1": ({"E": 0.5, "A": 2000.0, "B": 50.0, "a": 0.6, "b": 0.2}, (16.0, 18.5)),
    "NetHack": ({"E": 0.08, "A": 68.0, "B": 37000.0, "a": 0.45, "b": 0.6}, (15.5, 18.0)),
    "no floor (E = 0)": ({"E": 0.0, "A": 40.0, "B": 60.0, "a": 0.3, "b": 0.3}, (16.0, 18.5)),
}
# Value and standard error; and exponents of N against C of Porian et al. 2024.
BESIROGLU = {"E": 1.82, "A": 482, "B": 2085, "alpha": 0.348, "beta": 0.366}  # et al. 2024
PORIAN = {"porian0": 0.834, "porian1": 0.701, "porian2": 0.604}


def loss(t: dict[str, float], n: Any, d: Any) -> Any:
    return t["E"] + t["A"] / n ** t["a"] + t["B"] / d ** t["b"]


def best_size(t: dict[str, float], flops: float) -> float:
    ratio = (t["a"] * t["A"] / (t["b"] * t["B"])) ** (1 / (t["a"] + t["b"]))
    return ratio * (flops / 6) ** (t["b"] / (t["a"] + t["b"]))


def study(name: str, noise: float, seed: int, sizes: int = 9, budgets: int = 6) -> Points:
    """Sizes spread 2.6 decades around the optimum of the middle budget."""
    truth, span = TRUTHS[name]
    rng = np.random.default_rng(seed)
    middle = np.log10(best_size(truth, 10 ** np.mean(span)))
    n, c = np.meshgrid(10 ** (middle + np.linspace(-1.3, 1.3, sizes)), np.logspace(*span, budgets))
    n, c = n.T.ravel(), c.T.ravel()
    d = c / 6 / n
    y = loss(truth, n, d) * np.exp(rng.normal(0, noise, len(n)))
    run = [f"r{i}" for i in np.repeat(np.arange(sizes), budgets)]
    return Points.from_table({"run_id": run, "flops": c, "params": n, "samples": d, "dev_loss": y})


def median_seconds(work: Any, times: int) -> float:
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent))


def speed() -> None:
    print(f"{'surface':18s} {'form':12s} {'one fit, ms':>12s} {'1,000 bootstraps, s':>20s}")
    for name in TRUTHS:
        points = study(name, 0.01, seed=0)
        weights = bootstrap_weights(points.run, 1000, seed=0)
        for form in FORMS:
            surface = Surface(form)
            columns = (points.params, points.samples, points.loss, 0.01)
            one = median_seconds(lambda s=surface, c=columns: s.fit(*c), 15)
            many = median_seconds(lambda s=surface, w=weights: s.refit(w), 3)
            print(f"{name:18s} {form:12s} {1e3 * one:12.2f} {many:20.3f}")


def coverage(trials: int) -> None:
    print(f"\n{'truth':18s} {'noise':>6s} {'isoclone':>9s} {'parabola':>9s} {'log10 width':>12s}")
    for name in list(TRUTHS)[:3]:
        truth, span = TRUTHS[name]
        for noise in (0.005, 0.01, 0.02):
            ours, theirs, width = [], [], []
            for seed in range(trials):
                points = study(name, noise, seed)
                law = Allocation(bootstraps=100, seed=seed).fit(Evidence(points))
                curves = [c for c in fit_isoflops(points, local=False) if c.vertex_params]
                line = PowerLaw().fit([c.budget for c in curves], [c.vertex_params for c in curves])
                for flops in (10 ** span[1], 10 ** (span[1] + 1)):
                    want = best_size(truth, flops)
                    _, low, high = law.interval(flops)
                    ours.append(low[0] <= want <= high[0])
                    width.append(np.log10(high[0] / low[0]))
                    middle = np.log10(line.predict(flops))
                    half = line._t(0.95) * line.prediction_sd(flops, new_observation=False)
                    theirs.append(abs(middle - np.log10(want)) <= half)
            figures = (np.mean(ours), np.mean(theirs), np.mean(width))
            print(f"{name:18s} {noise:6.3f} {figures[0]:9.3f} {figures[1]:9.3f} {figures[2]:12.3f}")


def published(tables: Path) -> None:
    print(f"\n{'':14s} {'published':>10s} {'ours':>34s} {'inside':>7s}")
    found = fit(tables / "chinchilla245.csv").to_json()["surface"]["coefficients"]
    for name, value in BESIROGLU.items():
        low, high = found[name]["low"], found[name]["high"]
        text = f"{found[name]['value']:.4g} [{low:.4g}, {high:.4g}]"
        print(f"{name:14s} {value:10.4g} {text:>34s} {low <= value <= high!s:>7s}")
    for name, value in PORIAN.items():
        a = fit(tables / f"{name}.csv").exponents()["isoflop_optima"].params
        text = f"{a.value:.3f} [{a.low:.3f}, {a.high:.3f}]"
        print(f"{name:14s} {value:10.4g} {text:>34s} {a.holds(value)!s:>7s}")


if __name__ == "__main__":
    speed()
    coverage(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    shared = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[2] / "shared"))
    if (shared / "tables").is_dir():
        published(shared / "tables")
