"""How much an interval excludes of what could come."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import study

from isoclone import laws
from isoclone.base.records import Interval
from isoclone.laws.points import Points
from isoclone.laws.sharpness import excluded


@pytest.fixture(scope="module")
def points():
    return Points.from_table(study(budgets=6, returns=True))


def shares(points, loss, back=None, floor=None, ceiling=None):
    return excluded(points, 3 * points.flops.max(), loss, back, floor, ceiling)


def test_a_return_between_random_and_expert_is_measured_against_both(points):
    loss = Interval(2.0, 1.9, 2.1)
    wide = shares(points, loss, Interval(57.0, 3.3, 101.0), 1.2, 101.0)
    assert wide["return_mean"] == pytest.approx(0.021, abs=0.001)
    half = shares(points, loss, Interval(77.0, 51.1, 101.0), 1.2, 101.0)
    assert half["return_mean"] == pytest.approx(0.5, abs=0.001)
    beyond = shares(points, loss, Interval(150.0, 120.0, 180.0), 1.2, 101.0)
    assert beyond["return_mean"] == 1.0


def test_a_loss_is_measured_against_no_change_and_twice_the_change_before(points):
    best = float(points.loss.min())
    assert shares(points, Interval(best, 0.1, 10.0))["dev_loss"] == 0.0
    assert shares(points, Interval(best, 0.99 * best, best))["dev_loss"] > 0.9
    assert shares(points, Interval(best, None, None))["dev_loss"] == 0.0


def test_the_default_laws_forecast_says_how_much_it_excludes():
    fitted = laws.fit(study(noise=0.003, returns=True, budgets=8), expert_return=60.0)
    said = fitted.forecast(3 * fitted.last_budget_)
    assert set(said.excludes) == {"dev_loss", "return_mean"}
    assert said.excludes["dev_loss"] > 0.5


def test_without_returns_none_is_said(points):
    bare = Points.from_table(study(budgets=6))
    assert set(shares(bare, Interval(2.0, 1.9, 2.1), Interval(1.0, 0.0, 2.0))) == {"dev_loss"}
    assert not np.isfinite(bare.returns).any()
