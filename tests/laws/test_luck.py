"""The luck of runs, on studies where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import seeded, study

from isoclone.laws.isoflop import fit_isoflops
from isoclone.laws.luck import run_luck
from isoclone.laws.points import Points


def luck_of(table):
    points = Points.from_table(table)
    return run_luck(points, fit_isoflops(points))


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("luck", [0.02, 0.1])
def test_luck_is_recovered_with_and_without_repeated_seeds(seeds, luck):
    options = {"noise": 0.01, "luck": luck, "sizes": 6}
    found = [luck_of(seeded(seeds, seed, **options)).sd for seed in range(16)]
    assert np.median(found) == pytest.approx(luck, rel=0.3)


def test_noise_that_is_new_at_every_budget_is_no_luck():
    found = [luck_of(seeded(2, seed, noise=0.02)).sd for seed in range(12)]
    assert np.mean(found) < 0.01


def test_small_networks_may_have_more_luck():
    table = seeded(4, noise=0.002, sizes=9)
    n = np.array(table["params"])
    runs, code = np.unique(table["run_id"], return_inverse=True)
    drawn = np.random.default_rng(0).normal(size=len(runs))[code]
    table["dev_loss"] = table["dev_loss"] * np.exp(drawn * 0.1 * (n / n.min()) ** -0.5)
    found = luck_of(table)
    assert found.chance @ found.fall > 0.25  # the prior's .1, the truth's .5
    variance = found.mean_variance(np.array([n.min(), n.max()]))
    assert variance[0] > 10 * variance[1]


def test_without_runs_through_several_budgets_luck_is_unknown():
    assert luck_of(study(noise=0.01) | {"run_id": None}) is None


def test_a_run_of_many_checkpoints_is_one_run():
    few, many = (luck_of(seeded(2, luck=0.05, noise=0.01, budgets=b)) for b in (4, 20))
    assert few.sd == pytest.approx(0.05, rel=0.8)
    assert many.sd == pytest.approx(0.05, rel=0.8)
