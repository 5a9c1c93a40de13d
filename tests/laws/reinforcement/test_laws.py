"""Laws of return: known exponents held, forecasts that say something, trouble named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from laws_truth import codes
from rl_truth import CEILING, rl_study

from isoclone import laws
from isoclone.base.errors import FitError, SpecError
from isoclone.laws.reinforcement.laws import ReturnLaws

ENDS = {"random_return": 0.0, "expert_return": CEILING}


@pytest.fixture(scope="module")
def fitted():
    return laws.fit(rl_study(luck=0.1), **ENDS)


def test_a_table_of_returns_gets_laws_of_return_by_itself(fitted):
    assert isinstance(fitted, ReturnLaws)
    assert isinstance(laws.fit_law("isoclone", rl_study()), ReturnLaws)
    table = rl_study()
    table["dev_loss"] = [1 / r for r in table["return_mean"]]
    assert isinstance(laws.fit(table), laws.ScalingLaws)


def test_the_known_exponent_and_optimum_come_back(fitted):
    a = fitted.exponents()["isoflop_optima"]
    assert a.params.holds(0.5)
    assert a.samples.holds(0.5)
    assert a.params.high - a.params.low < 0.5
    said = fitted.forecast(1e9)
    assert said.params.holds(1e4)
    assert said.params.value == pytest.approx(1e4, rel=0.3)
    assert said.params.value * said.samples.value * 6 == pytest.approx(1e9, rel=0.01)


def test_intervals_of_exponents_hold_as_often_as_they_say():
    held = []
    for seed in range(60):
        exponent = 0.3 + 0.05 * (seed % 9)
        kind = {"seeds": 1 + seed % 3, "luck": (0.1, 0.3, 0.5)[seed % 3]}
        found = laws.fit(rl_study(seed, exponent, **kind), **ENDS)
        held.append(found.exponents()["isoflop_optima"].params.holds(exponent))
    assert np.mean(held) >= 0.9  # .93 to .97 in benchmarks/bench_returns.py, of many more


def test_whole_runs_are_resampled_so_lasting_luck_widens_the_interval():
    def width(luck: float) -> float:
        a = laws.fit(rl_study(3, luck=luck, noise=0.05), **ENDS).exponents()["isoflop_optima"]
        return a.params.high - a.params.low

    assert width(0.5) > 2 * width(0.1)


def test_a_forecast_has_no_loss_and_its_return_can_be_missed(fitted):
    said = fitted.forecast(1e11)
    assert said.dev_loss is None
    back = said.return_mean
    assert 0 < back.low < back.value <= back.high <= CEILING
    assert set(said.excludes) == {"return_mean"}
    assert said.excludes["return_mean"] > 0.1
    assert said.decades_beyond == pytest.approx(1.0)


def test_forecasts_of_a_further_agent_hold():
    held, says = [], []
    for seed in range(24):
        table = rl_study(seed, budgets=6, decades=(7.5, 10.0))
        early = [c < 9e9 for c in table["budget_flops"]]
        past = {k: [v for v, e in zip(c, early, strict=True) if e] for k, c in table.items()}
        said = laws.fit(past, **ENDS).forecast(1e10)
        sizes = np.array(table["params"])
        near = sizes[np.argmin(np.abs(np.log(sizes / said.params.value)))]
        came = [
            r
            for r, e, n in zip(table["return_mean"], early, sizes, strict=True)
            if not e and n == near
        ]
        held += [said.return_mean.holds(r) for r in came]
        says.append(said.excludes["return_mean"])
    assert np.mean(held) >= 0.9
    assert np.median(says) > 0.4


def test_another_size_than_the_best_falls_short(fitted):
    best = fitted.forecast(1e10)
    other = fitted.forecast(1e10, params=best.params.value / 10)
    assert other.return_mean.value < best.return_mean.value
    assert other.params.value == pytest.approx(best.params.value / 10)
    with pytest.raises(SpecError, match="params must be positive"):
        fitted.forecast(1e10, params=-1)


def test_without_a_ceiling_or_a_floor_nothing_is_filled_in():
    root = laws.fit(rl_study(), random_return=0.0)
    plain = laws.fit(rl_study())
    assert root.scale_.kind == "root"
    assert plain.scale_.kind == "return"
    assert "no_random_reference" in codes(plain.status)
    assert "no_random_reference" not in codes(root.status)
    for found in (root, plain):
        back = found.forecast(1e10).return_mean
        assert back.low < back.value < back.high


def test_curves_and_figures_are_complete(fitted):
    curves = fitted.curves(np.logspace(8, 11, 7))
    assert curves.dev_loss is None
    assert "dev_loss" not in curves.to_json()
    assert (curves.return_mean.low <= curves.return_mean.value).all()
    assert (np.diff(curves.params.value) > 0).all()
    told = fitted.to_json()
    assert told["measure"] == "return_mean"
    assert told["laws"]["intrinsic"]["source"].endswith("arXiv 2301.13442")
    assert told["laws"]["return_saturating"]["saturating_by_flops"]["k"] < 0
    for curve in fitted.isoflop_curves():
        drawn = curve.curve()
        assert curve.key == "return_mean"
        assert set(drawn) == {"params", "return_mean"}
        assert curve.value == pytest.approx(drawn["return_mean"].max(), rel=0.01)


def test_intrinsic_performance_finds_the_exponent_too():
    found = [laws.fit(rl_study(s, luck=0.1), **ENDS).exponents()["intrinsic"] for s in range(8)]
    assert np.mean([e.params.value for e in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([e.params.holds(0.5) for e in found]) >= 0.7


# ---------------------------------------------------------------------- when things go wrong


def test_returns_of_one_seed_are_said():
    assert "one_seed" in codes(laws.fit(rl_study(seeds=1), **ENDS).status)
    assert "one_seed" not in codes(laws.fit(rl_study(seeds=2), **ENDS).status)


def test_returns_that_are_all_equal_are_one_line():
    table = rl_study()
    table["return_mean"] = [CEILING] * len(table["flops"])
    with pytest.raises(FitError, match=r"all 90 returns are equal \(500\)") as caught:
        laws.fit(table, **ENDS)
    assert "\n" not in str(caught.value)


def test_negative_returns_are_followed_without_a_power_law():
    table = rl_study()
    table["return_mean"] = [r - CEILING for r in table["return_mean"]]
    for ends in ({}, {"random_return": -CEILING, "expert_return": 0.0}):
        found = laws.fit(table, **ends)
        assert found.to_json()["laws"]["return_mean"] is None
        assert ("returns_not_positive" in codes(found.status)) == (not ends)
        back = found.forecast(1e10).return_mean
        assert -CEILING < back.value <= 0 or not ends
        assert found.exponents()["isoflop_optima"].params.holds(0.5)


@pytest.mark.parametrize("known", [True, False])
def test_a_ceiling_does_not_pass_for_a_power_law(known):
    table = rl_study(shift=4.0, slope=4.0, luck=0.1)
    table["return_mean"] = [min(1.05 * r, CEILING) for r in table["return_mean"]]
    ends = ENDS if known else {"random_return": 0.0}
    found = laws.fit(table, **ends)
    assert "saturated" in codes(found.status)
    assert found.saturated_[-1]
    assert not found.saturated_[0]
    law = found.to_json()["laws"]["return_mean"]
    assert law is None or law["to_flops"] < found.last_budget_
    back = found.forecast(1e11).return_mean
    assert back.low < back.value
    assert back.value > 0.9 * CEILING


def test_saturated_at_every_budget_is_a_status():
    found = laws.fit(rl_study(shift=6.5, slope=0.0, luck=0.2), **ENDS)
    said = next(s for s in found.status if s.code == "saturated")
    assert "at every budget" in said.message
    assert {"few_optima", "saturated"} <= codes(found.status)
    back = found.forecast(1e11).return_mean
    assert back.low < CEILING
    assert math.isfinite(found.forecast(1e11).params.value)


def test_one_budget_or_one_size_is_named():
    one = {k: v[::5] for k, v in rl_study().items()}
    with pytest.raises(FitError, match="at least two budgets"):
        laws.fit(one)
    found = laws.fit(rl_study(sizes=1), **ENDS)
    assert {"few_optima", "optimum_censored", "no_intrinsic"} <= codes(found.status)
    assert found.forecast(1e11).return_mean is not None


def test_a_wrong_ceiling_is_said():
    assert "above_ceiling" in codes(laws.fit(rl_study(), expert_return=100.0).status)
    found = laws.fit(rl_study(), expert_return=-5.0, random_return=0.0)
    assert "ceiling_ignored" in codes(found.status)
    assert found.scale_.kind == "root"


def test_runs_that_random_play_beats_are_said_to_be_beaten():
    assert "not_above_random" in codes(laws.fit(rl_study(), random_return=1e3).status)
    assert "not_above_random" not in codes(laws.fit(rl_study(), random_return=1.0).status)


def test_a_negative_return_that_is_not_the_best_keeps_the_power_law():
    table = rl_study()
    worst = min(range(len(table["flops"])), key=lambda row: table["return_mean"][row])
    table["return_mean"][worst] = -1.0
    found = laws.fit(table)
    assert found.to_json()["laws"]["return_mean"] is not None
    assert "returns_not_positive" not in codes(found.status)


def test_the_mean_of_several_agents_is_surer_than_one():
    found = laws.fit(rl_study(luck=0.6), **ENDS)
    said = [found.forecast(10**10.5, agents=count) for count in (1, 2, 8)]
    width = [f.return_mean.high - f.return_mean.low for f in said]
    assert width[0] > 1.05 * width[1] > 1.05 * width[2]
    assert [f.agents for f in said] == [1, 2, 8]
    with pytest.raises(SpecError, match="agents"):
        found.forecast(1e11, agents=0)
