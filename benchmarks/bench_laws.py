"""How fast the laws are, how often their intervals hold on synthetic truth, and how wide they are.

python benchmarks/bench_laws.py [trials]: prints four tables. Speed of a surface's fit on four
surfaces (Chinchilla's, one with exponents 3:1, one fitted to NetHack runs, one without a floor);
coverage of the best size's interval on the first three, with noise of .5 to 2 % per run, at the
largest budget and ten times it; C = 6 N D. Then studies whose runs have luck that lasts through
their budgets, by its SD and the number of seeds: how often the exponent's interval holds, and that
of the mean loss of 1, 2 and 4 further agents of the forecast size. Last, where shared/tables lies
beside the checkout, the intervals of published fits beside the published values (Besiroglu et al.
2024, Porian et al. 2024).
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from laws_truth import CHINCHILLA, STEEP, best_size, loss, seeded
from laws_truth import study as rows_of

from isoclone.laws.allocation import Allocation
from isoclone.laws.chosen import fit
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.isoflop import fit_isoflops
from isoclone.laws.points import Points
from isoclone.laws.power import PowerLaw
from isoclone.laws.surface import FORMS, Surface, bootstrap_weights

TRUTHS = {
    "Chinchilla": (CHINCHILLA, (18.0, 20.5)),
    "asymmetric 3:1": ({"E": 0.5, "A": 2000.0, "B": 50.0, "a": 0.6, "b": 0.2}, (16.0, 18.5)),
    "NetHack": (STEEP, (15.5, 18.0)),
    "no floor (E = 0)": ({"E": 0.0, "A": 40.0, "B": 60.0, "a": 0.3, "b": 0.3}, (16.0, 18.5)),
}
LUCK = (0.0, 0.02, 0.05, 0.1, 0.2)  # SD of a run's log loss, shared by its budgets
AGENTS = (1, 2, 4)
# Value and standard error; and exponents of N against C of Porian et al. 2024.
BESIROGLU = {"E": 1.82, "A": 482, "B": 2085, "alpha": 0.348, "beta": 0.366}  # et al. 2024
PORIAN = {"porian0": 0.834, "porian1": 0.701, "porian2": 0.604}


def study(name: str, noise: float, seed: int) -> Points:
    """Sizes spread 2.6 decades around the optimum of the middle budget."""
    truth, span = TRUTHS[name]
    return Points.from_table(rows_of(truth, noise, span, seed=seed))


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


def luck(trials: int) -> None:
    """Five budgets, six sizes, noise of 1 %: log width and share held, over all truths."""
    head = "".join(f"{f'of {n}: held':>12s}{'width':>7s}" for n in AGENTS)
    print(f"\n{'luck':>5s} {'seeds':>6s} {'exponent':>9s} {'width':>6s}{head}")
    for sd, seeds in itertools.product(LUCK, (1, 2, 3)):
        rows = [
            _lucky(*TRUTHS[name], sd, seeds, trial) for name in TRUTHS for trial in range(trials)
        ]
        exponent, agents = (np.array(part, float) for part in zip(*rows, strict=True))
        cells = "".join(f"{held:12.3f}{width:7.3f}" for held, width in agents.mean(0))
        held, width = exponent[:, 0].mean(), np.median(exponent[:, 1])
        print(f"{sd:5.2f} {seeds:6d} {held:9.3f} {width:6.3f}{cells}", flush=True)


def _lucky(truth: Any, span: Any, sd: float, seeds: int, trial: int) -> tuple[Any, Any]:
    """Return (held, width) of the exponent, and for each of `AGENTS` at 3.3 x the last budget."""
    given = {"truth": truth, "noise": 0.01, "luck": sd, "decades": span, "budgets": 5, "sizes": 6}
    laws = fit(seeded(seeds, trial, **given), seed=trial)
    a, rng = laws.exponents()["isoflop_optima"].params, np.random.default_rng(10_000 + trial)
    flops, agents = 3.3 * 10 ** span[1], []
    for count in AGENTS:
        said = laws.forecast(flops, agents=count)
        n, low, high = said.params.value, said.dev_loss.low, said.dev_loss.high
        chance = rng.normal(0, np.hypot(sd, 0.01), (10, count))  # ten tests of this forecast
        came = (loss(truth, n, flops / 6 / n) * np.exp(chance)).mean(1)
        agents.append((np.mean((low <= came) & (came <= high)), np.log(high / low)))
    return (a.holds(truth["b"] / (truth["a"] + truth["b"])), a.high - a.low), agents


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
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    coverage(count)
    luck(count)
    shared = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[2] / "shared"))
    if (shared / "tables").is_dir():
        published(shared / "tables")
