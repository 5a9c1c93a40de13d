"""Which runs to do next."""

from __future__ import annotations

import numpy as np
from laws_truth import CHINCHILLA, loss, study

from isoclone import laws
from isoclone.laws.design import next_runs
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.surface import Surface


def test_next_runs_beat_a_uniform_grid_in_simulation(fitted):
    """The designed runs shrink the variance more than evenly spread ones of equal cost."""
    plan = next_runs(fitted, 1e22, 1e20, most=5)
    spent = sum(run.flops for run in plan.runs)
    assert 0 < spent <= 1e20
    assert plan.runs[-1].params_sd_log10_after < plan.params_sd_log10
    designed = _spread(fitted, [(r.params, r.samples) for r in plan.runs])
    sizes = np.geomspace(*np.quantile(fitted.points_.params, [0.1, 0.9]), len(plan.runs))
    uniform = _spread(fitted, [(n, spent / len(sizes) / 6 / n) for n in sizes])
    assert designed <= uniform * 1.05


def _spread(fitted, runs) -> float:
    """SD of the refitted log10 N_opt(1e22) over noisy repeats of the study with the runs added."""

    rng, found = np.random.default_rng(0), []
    n = np.concatenate([fitted.points_.params, [r[0] for r in runs]])
    d = np.concatenate([fitted.points_.samples, [r[1] for r in runs]])
    for _ in range(60):
        y = loss(CHINCHILLA, n, d) * np.exp(rng.normal(0, 0.003, len(n)))
        surface = Surface(starts=2).fit(n, d, y, sd=0.003)
        found.append(surface.optimum(1e22, FlopRule.six_nd())[0][0])
    return float(np.std(found))


def test_no_run_is_proposed_far_outside_the_sampled_ratios_of_size_to_samples():
    fitted = laws.fit(study(noise=0.01))
    points = fitted.points_
    seen = np.log10(points.params / points.samples)
    last = fitted.last_budget_
    for run in next_runs(fitted, 10 * last, 10 * last, most=20).runs:
        ratio = np.log10(run.params / run.samples)
        assert seen.min() - 1.001 <= ratio <= seen.max() + 1.001


def test_no_run_is_proposed_twice():
    """Of so many rows one run tells so little that the same one would stay the best."""
    rows = study(noise=0.01, budgets=8)
    many = {name: np.repeat(np.asarray(column, object), 40) for name, column in rows.items()}
    many["run_id"] = np.arange(len(many["flops"]))
    fitted = laws.fit(many)
    runs = next_runs(fitted, 10 * fitted.last_budget_, 10 * fitted.last_budget_, most=8).runs
    assert len(runs) > 3
    assert len({(run.params, run.samples) for run in runs}) == len(runs)
