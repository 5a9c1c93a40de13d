"""What a study found: to JSON and back, and refused when it is not what it says."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from isoclone.base import results
from isoclone.base.records import Forecast, Interval, Point, Status
from isoclone.base.results import Baseline, Decision, Reference, Savings
from isoclone.base.schema import kinds, unmeasured

FORECAST = Forecast(
    flops=1e9,
    params=Interval(10.0, 5.0, 20.0),
    samples=Interval(100.0, None, None),
    dev_loss=Interval(0.5, 0.4, 0.6),
    return_mean=None,
    decades_beyond=0.5,
    status=(Status("far", "far beyond"),),
)


def a_point(**figures: Any) -> Point:
    """Return a point of made-up labels with these figures."""
    made_up = {name: kind(1) for name, kind in kinds(Point).items()}
    return Point(**{**made_up, **unmeasured(Point), **figures})


RECORDS = [
    Reference(1.5, 0.1, 32),
    Baseline(1.0, None, 8, run_id="r1", params=9, width=2),
    Baseline(reason="worker lost"),
    Savings(1e9, 5e8, 0.5, 9, 6, (Decision(1e8, 4, "stopped", "2 sizes below"),)),
    results.Tested.of(FORECAST),
    results.Tested.of(FORECAST, [a_point(dev_loss=0.55)]),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_to_json_and_back(record):
    assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    ("kind", "data", "named"),
    [
        (Reference, {"mean": "x", "se": 0.1, "episodes": 2}, "mean"),
        (Reference, {"mean": 1.0, "se": 0.1}, "episodes"),
        (Reference, [1.0], "table"),
        (Baseline, {"mean": 1.0, "colour": 3}, "colour"),
        (Savings, {**RECORDS[3].to_json(), "decisions": [{"width": 1}]}, "budget_flops"),
        (Savings, {**RECORDS[3].to_json(), "decisions": 3}, "decisions"),
        (
            results.Tested,
            {"forecast": {}, "by_seed": [], "holds": {}},
            "return_mean|dev_loss|params",
        ),
        (results.Tested, {"forecast": FORECAST.to_json(), "by_seed": [], "holds": {}}, "dev_loss"),
        (
            results.Tested,
            {**RECORDS[4].to_json(), "holds": {"dev_loss": 3, "return_mean": None}},
            "holds",
        ),
        (results.Tested, {**RECORDS[4].to_json(), "by_seed": [{"width": 1}]}, "run_id"),
        (results.Tested, None, "table"),
    ],
)
def test_wrong_fields_are_refused_by_name(kind, data, named):
    with pytest.raises(TypeError, match=named):
        kind.from_json(data)


def test_a_forecast_is_judged_by_its_intervals():
    assert results.Tested.of(FORECAST).holds == {"dev_loss": None, "return_mean": None}
    assert results.Tested.of(FORECAST, [a_point(dev_loss=0.55)]).holds["dev_loss"] is True
    assert results.Tested.of(FORECAST, [a_point(dev_loss=0.7)]).holds["dev_loss"] is False


def test_an_agent_of_several_seeds_is_judged_by_its_mean():
    seen = {"dev_loss_se": 0.01, "episodes": 8}
    points = [
        a_point(seed=0, dev_loss=0.5, return_mean=20.0, return_se=3.0, **seen),
        a_point(seed=1, dev_loss=0.7, return_mean=22.0, return_se=4.0, **seen),
    ]
    told = results.Tested.of(FORECAST, points)
    assert (told.point.dev_loss, told.point.return_mean, told.point.episodes) == (0.6, 21.0, 16)
    assert told.point.dev_loss_se == pytest.approx(0.1)  # the seeds', larger than the games'
    assert told.point.return_se == pytest.approx(2.5)  # the games'
    assert results.Tested.from_json(told.to_json()) == told


def test_the_error_of_shared_dev_episodes_does_not_shrink_with_seeds():
    points = [a_point(seed=seed, dev_loss=0.5, dev_loss_se=0.02) for seed in (0, 1)]
    assert results.mean_point(points).dev_loss_se == pytest.approx(0.02)


def test_a_seed_without_figures_is_no_part_of_the_mean():
    lost = a_point(seed=0, status="diverged", reason="not finite", dev_loss=None, dev_loss_se=None)
    told = results.Tested.of(FORECAST, [lost, a_point(seed=1, status="ok", dev_loss=0.55)])
    assert (told.point.seed, told.point.dev_loss, told.holds["dev_loss"]) == (1, 0.55, True)
    assert results.Tested.of(FORECAST, [lost, lost]).point.status == "diverged"


def test_a_forecast_of_one_seed_written_by_older_versions_is_read():
    told = results.Tested.of(FORECAST, [a_point(dev_loss=0.55)])
    old = {key: value for key, value in told.to_json().items() if key != "by_seed"}
    assert results.Tested.from_json(old) == told
    assert results.Tested.from_json({**old, "point": None}).by_seed == ()
    assert results.Tested.from_json({**old, "points": told.to_json()["by_seed"]}) == told


def test_an_interval_that_excludes_nothing_has_not_held():
    vague = dataclasses.replace(FORECAST, excludes={"dev_loss": 0.02})
    told = results.Tested.of(vague, [a_point(dev_loss=0.55)])
    assert told.holds["dev_loss"] is None
    assert told.verdicts == {"dev_loss": "says nothing", "return_mean": None}
    assert told.to_json()["verdicts"]["dev_loss"] == "says nothing"
    assert results.Tested.of(vague, [a_point(dev_loss=0.7)]).verdicts["dev_loss"] == "outside"
    assert results.Tested.of(FORECAST, [a_point(dev_loss=0.55)]).verdicts["dev_loss"] == "inside"
    assert results.Tested.of(vague).verdicts["dev_loss"] is None


def test_a_mean_over_fewer_seeds_than_the_interval_is_of_is_not_judged():
    of_two, lost = dataclasses.replace(FORECAST, agents=2), a_point(seed=0, dev_loss=None)
    one, two = a_point(seed=1, dev_loss=0.55), a_point(seed=2, dev_loss=0.58)
    assert results.Tested.of(of_two, [lost, one]).holds["dev_loss"] is None
    assert results.Tested.of(of_two, [one, two]).holds["dev_loss"] is True


def test_a_forecast_that_does_not_say_of_how_many_agents_is_of_one():
    old = {key: value for key, value in FORECAST.to_json().items() if key != "agents"}
    assert Forecast.from_json(old) == FORECAST
