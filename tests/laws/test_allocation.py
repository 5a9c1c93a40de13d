"""How compute is split between size and samples."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import CHINCHILLA, best_size, study

from isoclone.laws.allocation import Allocation, exponent_law
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.isoflop import fit_isoflops
from isoclone.laws.points import Points


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_allocation_interval_holds_as_often_as_it_says(noise):
    held = []
    for seed in range(40):
        points = Points.from_table(study(noise=noise, seed=seed))
        _, low, high = Allocation(bootstraps=60, seed=seed).fit(Evidence(points)).interval(1e21)
        held.append(low[0] <= best_size(CHINCHILLA, 1e21) <= high[0])
    assert np.mean(held) >= 0.87  # .95 less two standard errors of 40 trials


def test_the_exponents_interval_covers_what_it_says_and_is_narrow():
    a, b = CHINCHILLA["a"], CHINCHILLA["b"]
    found = []
    for seed in range(60):
        columns = [study(noise=0.01, budgets=5, sizes=6, seed=2 * seed + k) for k in (0, 1)]
        twice = {name: columns[0][name] + columns[1][name] for name in columns[0]}
        law = exponent_law(fit_isoflops(Points.from_table({**twice, "run_id": None})))
        found.append(law.exponent_interval())
    assert 0.9 <= np.mean([i.holds(b / (a + b)) for i in found]) < 1.0
    assert np.median([i.high - i.low for i in found]) < 0.1  # with a prior and a floor: .32


def test_with_few_optima_a_prior_is_used_and_said():
    few = Allocation(bootstraps=10).fit(Evidence(Points.from_table(study(budgets=3))))
    many = Allocation(bootstraps=10).fit(Evidence(Points.from_table(study(budgets=6))))
    assert few.prior_
    assert not many.prior_


def test_a_few_outliers_are_left_out_of_the_surface_and_counted():
    table = study(noise=0.003, budgets=8)
    for row in (5, 40):
        table["dev_loss"][row] *= 1.5
    found = Allocation(bootstraps=50).fit(Evidence(Points.from_table(table)))
    assert found.outliers_ == 2
    assert found.surface_.params_["alpha"] == pytest.approx(CHINCHILLA["a"], rel=0.1)
