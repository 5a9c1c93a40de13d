"""A user's law by name: fitted, checked, completed; and what happens when it fails."""

from __future__ import annotations

import dataclasses
import json

import laws_truth
import numpy as np
import pytest

from isoclone import laws
from isoclone.base.errors import DataError, FitError, SpecError, UnknownNameError
from isoclone.base.records import Forecast, Interval, Status


class HoffmannSlope:
    """Half of the compute's growth to size; the loss a straight line in logs."""

    def __init__(self, table):
        budgets = np.unique(table["budget_flops"])
        best = [table["dev_loss"][table["budget_flops"] == b].min() for b in budgets]
        self.line = np.polyfit(np.log10(budgets), np.log10(best), 1)

    def forecast(self, flops):
        size, loss = (flops / 6 / 20) ** 0.5, float(10 ** np.polyval(self.line, np.log10(flops)))
        return Forecast(
            flops=flops,
            params=Interval(size, None, None),
            samples=Interval(flops / 6 / size, None, None),
            dev_loss=Interval(loss, 0.9 * loss, 1.1 * loss),
            return_mean=None,
            decades_beyond=0.0,
        )


class NoLoss(HoffmannSlope):
    def forecast(self, flops):
        return Forecast(**vars(super().forecast(flops)) | {"dev_loss": Interval(-1.0, None, None)})


class Near(HoffmannSlope):
    """Fails beyond the evidence."""

    def forecast(self, flops):
        if flops > 1e21:
            raise OverflowError("too far")
        return super().forecast(flops)


@pytest.fixture(autouse=True)
def registered():
    broken = {
        "raises": lambda table: 1 / 0,
        "mute": lambda table: object(),
        "no-loss": NoLoss,
        "near": Near,
        "absent": "isoclone.laws.nowhere:fit",
        "odd-status": type("OddStatus", (HoffmannSlope,), {"status": lambda self: []}),
        "words": lambda table: type("W", (), {"forecast": lambda self, flops: "high"})(),
    }
    for name, law in {"mine": HoffmannSlope, **broken}.items():
        laws.LAWS.add(name, law)
    yield
    for name in ("mine", *broken):
        laws.LAWS.remove(name)


TABLE = laws_truth.study(noise=0.005, budgets=8, returns=True)


def test_a_law_with_a_forecast_alone_is_completed():
    fitted = laws.fit_law("mine", TABLE)
    said = fitted.forecast(1e21)
    assert (fitted.name, fitted.status, said.method["law"]) == ("mine", (), "mine")
    curves = fitted.curves(np.logspace(18, 21, 4))
    assert curves.dev_loss.value[-1] == said.dev_loss.value
    assert curves.params.low[0] == curves.params.value[0]  # an open end is drawn at the value
    assert curves.return_mean is None
    assert "return_mean" not in curves.to_json()
    assert fitted.exponents()["forecasts"].params.value == pytest.approx(0.5)
    assert len(fitted.isoflop_curves()) == 8
    body = fitted.to_json()
    assert json.loads(json.dumps(body, allow_nan=False)) == body
    assert body["laws"]["params"]["exponent"]["value"] == pytest.approx(0.5)


def test_the_default_has_all_that_a_completed_law_has():
    default, mine = laws.fit_law(laws.DEFAULT_LAW, TABLE), laws.fit_law("mine", TABLE)
    assert isinstance(default, laws.ScalingLaws)
    assert default.name == laws.DEFAULT_LAW
    assert laws.DEFAULT_LAW in laws.LAWS.names()
    for part in laws.FittedLaw.__annotations__.keys() | {
        "forecast",
        "curves",
        "isoflop_curves",
        "exponents",
        "to_json",
    }:
        assert hasattr(default, part), part
        assert hasattr(mine, part), part
    assert {"laws", "exponents", "isoflops", "status", "budgets"} <= default.to_json().keys()
    assert {"laws", "exponents", "isoflops", "status", "budgets"} <= mine.to_json().keys()


def test_a_law_sees_clean_rows_and_the_scores_it_asks_for():
    seen = {}

    def law(table, expert_return=None):
        seen.update(table, expert=expert_return)
        return HoffmannSlope(table)

    table = {**TABLE, "status": ["ok"] * len(TABLE["flops"]), "seed": [0] * len(TABLE["flops"])}
    table["dev_loss"] = [None, *table["dev_loss"][1:]]
    laws.LAWS.add("mine", law)
    laws.fit_law("mine", table, expert_return=7.0, random_return=1.0)
    assert seen.pop("expert") == 7.0
    assert {len(values) for values in seen.values()} == {len(TABLE["flops"]) - 1}
    assert all(seen[name].dtype == float for name in ("dev_loss", "dev_loss_se", "budget_flops"))
    assert np.isnan(seen["dev_loss_se"]).all()
    assert len(np.unique(seen["budget_flops"])) == 8
    assert "seed" in seen


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "ZeroDivisionError"),
        ("mute", "no method forecast"),
        ("absent", "module isoclone.laws.nowhere cannot be imported"),
        ("odd-status", "'method' object is not iterable"),
    ],
)
def test_the_default_stands_for_a_law_that_cannot_be_fitted(name, said):
    fitted = laws.fit_law(name, TABLE)
    assert fitted.name == laws.DEFAULT_LAW
    assert fitted.status[0].code == "law_failed"
    assert f"law '{name}'" in fitted.status[0].message
    assert said in fitted.status[0].message
    assert fitted.forecast(1e21).status[0].code == "law_failed"
    assert fitted.to_json()["status"][0]["code"] == "law_failed"


@pytest.mark.parametrize(
    ("name", "said"),
    [("no-loss", "at 2e+21 FLOPs its dev_loss is -1"), ("words", "gave str"), ("near", "too far")],
)
def test_the_default_answers_where_a_forecast_fails(name, said):
    fitted, default = laws.fit_law(name, TABLE), laws.fit(TABLE)
    forecast = fitted.forecast(2e21)
    assert said in forecast.status[0].message
    assert forecast.dev_loss == default.forecast(2e21).dev_loss
    grid = np.logspace(18, 22, 3)
    assert fitted.curves(grid).to_json() == default.curves(grid).to_json()
    assert json.dumps(fitted.to_json(), allow_nan=False)


def test_what_a_law_says_of_itself_is_kept():
    class Told(HoffmannSlope):
        status = (Status("few", "few"),)

        def to_json(self):
            return {"slope": self.line[0]}

    laws.LAWS.add("mine", Told)
    body = laws.fit_law("mine", TABLE).to_json()
    assert body["fitted"]["slope"] < 0
    assert body["status"] == [{"code": "few", "message": "few"}]


def test_a_table_without_usable_rows_is_the_users_mistake():
    with pytest.raises(UnknownNameError, match="unknown law 'mien'; did you mean mine"):
        laws.fit_law("mien", TABLE)
    with pytest.raises(DataError, match="lacks the column params"):
        laws.fit_law("mine", {"dev_loss": [1.0]})
    with pytest.raises(FitError, match="no usable row"):
        laws.fit_law("mine", {name: [np.nan] for name in TABLE})
    with pytest.raises(SpecError, match="flops must be positive"):
        laws.fit_law("mine", TABLE).forecast(-1.0)


class OfMeans(HoffmannSlope):
    def forecast(self, flops, agents=1):
        return dataclasses.replace(super().forecast(flops), agents=agents)


def test_a_law_is_asked_for_the_mean_of_several_agents_if_it_can_say():
    laws.LAWS.add("of-means", OfMeans)
    try:
        said = [laws.fit_law(name, TABLE).forecast(1e21, agents=3) for name in ("of-means", "mine")]
    finally:
        laws.LAWS.remove("of-means")
    assert [f.agents for f in said] == [3, 1]
    assert laws.fit_law("near", TABLE).forecast(1e22, agents=3).agents == 3  # the default answers


WRONG = [
    ({"episodes": "x"}, "episodes must be a whole number or nothing, not 'x'"),
    ({"episodes": 2.5}, "episodes must be a whole number or nothing, not 2.5"),
    ({"episodes": -4}, "its episodes is -4, not at least 1"),
    ({"agents": float("nan")}, "agents must be a whole number, not nan"),
    ({"agents": None}, "agents must be a whole number, not None"),
    ({"agents": 0}, "its agents is 0, not at least 1"),
    ({"decades_beyond": np.inf}, "its decades_beyond is inf, not a finite number"),
    ({"params": None}, "params must be"),
    ({"params": (float("nan"), None, None)}, "its params is nan, not positive and finite"),
    ({"samples": (5.0, 7.0, 6.0)}, r"its samples is 5.0, outside its own interval [7.0, 6.0]"),
    ({"dev_loss": (1.0, float("nan"), 2.0)}, "its dev_loss has low = nan; an open end is None"),
    ({"dev_loss": (1.0, 0.5, np.inf)}, "its dev_loss has high = inf; an open end is None"),
    ({"dev_loss": (1.0, -0.5, 2.0)}, "its dev_loss has low = -0.5, below zero"),
    ({"dev_loss": (1.0, 0.5, 2.0, 95)}, "its dev_loss has level = 95, not between 0 and 1"),
    ({"return_mean": (3.0, 4.0, 2.0)}, r"its return_mean is 3.0, outside its own interval"),
    ({"return_mean": (-np.inf, None, None)}, "its return_mean is -inf, not finite"),
    ({"status": "odd"}, "status must be"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_each_field_of_a_forecast_is_checked_and_named(wrong, said):
    class Wrong(HoffmannSlope):
        def forecast(self, flops, agents=1, episodes=None):
            fields = {k: Interval(*v) if isinstance(v, tuple) else v for k, v in wrong.items()}
            return Forecast(**vars(super().forecast(flops)) | fields)

    laws.LAWS.add("mine", Wrong)
    status = laws.fit_law("mine", TABLE).forecast(2e21, agents=2, episodes=8).status[0]
    assert status.code == "law_failed"
    assert status.message.startswith("law 'mine' failed: ")
    assert said in status.message
    assert "\n" not in status.message


def test_a_return_below_zero_and_open_ends_are_sound():
    class Sound(HoffmannSlope):
        def forecast(self, flops, agents=1, episodes=None):
            back = {"return_mean": Interval(-3.0, -4, None), "episodes": episodes}
            return Forecast(**vars(super().forecast(flops)) | back | {"agents": agents})

    laws.LAWS.add("mine", Sound)
    said = laws.fit_law("mine", TABLE).forecast(2e21, agents=2, episodes=8)
    assert (said.method["law"], said.agents, said.episodes) == ("mine", 2, 8)


NO_COUNTS = [{"agents": 2.5}, {"agents": np.inf}, {"agents": "2"}, {"episodes": 0.5}, {"agents": 0}]


@pytest.mark.parametrize("asked", NO_COUNTS)
def test_numbers_of_agents_and_episodes_are_whole_ones(asked):
    for fitted in (laws.fit(TABLE), laws.fit_law("mine", TABLE)):
        with pytest.raises(SpecError, match=f"^{next(iter(asked))} must be"):
            fitted.forecast(1e21, **asked)
    with pytest.raises(SpecError, match=r"^expert_return must be a number or nothing, not 'high'"):
        laws.fit(TABLE, expert_return="high")
