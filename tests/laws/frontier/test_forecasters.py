"""Each way to forecast the frontier, on frontiers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import CHINCHILLA, best_size, loss, study

from isoclone.laws.frontier import forecasters
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.points import Points

ALL = {**forecasters.BASELINES, **forecasters.FORECASTERS}


@pytest.fixture(scope="module")
def evidence():
    return Evidence(Points.from_table(study(budgets=8)))


def test_every_forecaster_has_a_weight():
    assert forecasters.WEIGHTS.keys() == forecasters.FORECASTERS.keys()
    assert sum(forecasters.WEIGHTS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", sorted(forecasters.FORECASTERS))
def test_forecasters_start_at_the_last_loss_and_beat_no_change(evidence, name):
    x = evidence.x[-1] + np.array([0.0, 0.5])
    start, ahead = ALL[name](evidence)(x)
    flops = 10 ** x[1]
    n = best_size(CHINCHILLA, flops)
    truth = np.log(loss(CHINCHILLA, n, flops / 6 / n))
    assert start == pytest.approx(evidence.y[-1], abs=1e-6)
    assert abs(ahead - truth) < 0.5 * abs(evidence.y[-1] - truth)


def test_baselines_are_what_they_are_called(evidence):
    x = evidence.x[-1:] + 1.0
    assert forecasters.persistence(evidence)(x) == evidence.y[-1]
    slope = np.diff(evidence.y[-2:]) / np.diff(evidence.x[-2:])
    assert forecasters.last_slope(evidence)(x) == pytest.approx(evidence.y[-1] + slope)
    line = np.polyfit(evidence.x, evidence.y, 1)
    assert forecasters.paper(evidence)(x) == pytest.approx(np.polyval(line, x))


def test_one_size_is_kriged_by_its_trend():
    points = Points.from_table(study(budgets=6))
    one = Evidence(points.keep(points.params == points.params[0]))
    x = one.x[-1:] + 0.3
    assert forecasters.kriging(one)(x) == pytest.approx(forecasters.trend(one)(x))
    assert forecasters.soft(one)(x) == pytest.approx(forecasters.trend(one)(x))


@pytest.mark.parametrize("name", sorted(forecasters.FORECASTERS))
def test_what_is_older_than_three_decades_changes_no_forecast(name):
    points = Points.from_table(study(noise=0.01, budgets=14, decades=(15.5, 20.5)))
    recent = points.keep(points.flops > points.flops.max() / 1100)
    x = np.log10(points.flops.max()) + np.array([0.5, 1.5])
    said = [ALL[name](Evidence(p))(x) for p in (points, recent)]
    assert said[0] == pytest.approx(said[1], abs=1e-4)
