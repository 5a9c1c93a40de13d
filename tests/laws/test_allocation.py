"""How compute is split between size and samples."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import CHINCHILLA, STEEP, best_size, codes, seeded, study

from isoclone.laws.allocation import Allocation, exponent_law, optima_law
from isoclone.laws.chosen import fit
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.isoflop import fit_isoflops
from isoclone.laws.luck import run_luck
from isoclone.laws.points import Points


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_allocation_interval_holds_as_often_as_it_says(noise):
    held = []
    for seed in range(40):
        points = Points.from_table(study(noise=noise, seed=seed))
        _, low, high = Allocation(bootstraps=60, seed=seed).fit(Evidence(points)).interval(1e21)
        held.append(low[0] <= best_size(CHINCHILLA, 1e21) <= high[0])
    assert np.mean(held) >= 0.87  # .95 less two standard errors of 40 trials


STEEP_STUDY = {"truth": STEEP, "decades": (15.5, 18.0), "budgets": 5, "sizes": 6}


def exponent(table):
    points = Points.from_table(table)
    curves = fit_isoflops(points)
    luck = run_luck(points, curves)
    law = exponent_law(points, curves, luck) or optima_law(points, curves, luck)[0]
    return law.exponent_interval()


@pytest.mark.parametrize(
    ("seeds", "luck", "widest"),
    [(2, 0.0, 0.04), (2, 0.02, 0.12), (2, 0.05, 0.25), (2, 0.2, 1.1), (1, 0.05, 0.4)],
)
def test_the_exponents_interval_covers_what_it_says_and_is_narrow(seeds, luck, widest):
    found = [
        exponent(seeded(seeds, seed, noise=0.01, luck=luck, **STEEP_STUDY)) for seed in range(60)
    ]
    want = STEEP["b"] / (STEEP["a"] + STEEP["b"])
    assert np.mean([i.holds(want) for i in found]) >= 0.9  # .95 less two standard errors
    assert np.median([i.high - i.low for i in found]) < widest


def test_two_trainings_of_one_study_give_exponents_that_agree():
    """As often as intervals of 95 % can: both would have to err, and to opposite sides."""
    pairs = [
        [exponent(seeded(2, 2 * s + k, noise=0.01, luck=0.1, **STEEP_STUDY)) for k in (0, 1)]
        for s in range(30)
    ]
    assert all(a.low <= b.high and b.low <= a.high for a, b in pairs)


def test_luck_that_hides_the_best_sizes_makes_the_exponent_lean_on_the_prior():
    table = seeded(2, noise=0.01, luck=0.3, budgets=6)
    points = Points.from_table(table)
    found = fit(table)
    assert found.allocation_.luck_.sd == pytest.approx(0.3, rel=0.5)
    assert found.allocation_.prior_
    assert len([c for c in fit_isoflops(points) if c.interior]) >= 4
    assert "run_luck" in codes(found.status)


def test_the_best_sizes_interval_holds_under_luck():
    held = []
    for seed in range(20):
        points = Points.from_table(seeded(2, seed, noise=0.01, luck=0.05, **STEEP_STUDY))
        _, low, high = Allocation(bootstraps=60, seed=seed).fit(Evidence(points)).interval(1e19)
        held.append(low[0] <= best_size(STEEP, 1e19) <= high[0])
    assert np.mean(held) >= 0.85  # .95 less two standard errors of 20 trials


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
