"""Optima by return, and return laws that saturate."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import study

from isoclone.laws.by_return import best_scoring, exponents_by_return, saturating
from isoclone.laws.points import Points


def test_the_best_scoring_size_is_found_where_it_is_not_that_of_lowest_loss():
    rows = study(budgets=6)
    wanted = 1e8 * (np.array(rows["flops"]) / 1e18) ** 0.4
    away = np.log10(np.array(rows["params"]) / wanted)
    rows["return_mean"] = list(100 - 10 * away**2)
    points = Points.from_table(rows)
    budgets, params, samples = best_scoring(points)
    assert len(budgets) == 6
    assert params * samples * 6 == pytest.approx(budgets)
    assert exponents_by_return(points).params.holds(0.4)


def test_without_returns_there_is_no_exponent():
    assert exponents_by_return(Points.from_table(study(budgets=6))) is None


def test_a_best_size_at_the_edge_tells_no_exponent():
    rows = study(budgets=6)
    rows["return_mean"] = list(-np.log10(np.array(rows["params"])))  # the smallest is always best
    assert exponents_by_return(Points.from_table(rows)) is None


def test_a_saturating_law_is_found():
    flops = np.logspace(12, 16, 12)
    returns = 1 / (3e4 * flops**-0.5 + 0.01)
    found = saturating(flops, -0.1 * np.log(flops), returns)
    assert found["saturating_by_flops"]["ceiling"] == pytest.approx(100, rel=0.05)
    assert found["saturating_by_flops"]["k"] == pytest.approx(-0.5, rel=0.05)
    assert found["saturating_by_loss"]["k"] == pytest.approx(-5.0, rel=0.05)
    assert saturating(flops, flops, returns - 50) is None
