"""The whole: fit, forecast, allocation, back-test, and what they say about themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from laws_truth import CHINCHILLA, best_size, loss, study

import isoclone.laws as laws
from isoclone.base.errors import DataError, FitError, SpecError
from isoclone.base.records import Forecast
from isoclone.laws.allocation import Allocation
from isoclone.laws.design import next_runs
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.inverse import flops_for
from isoclone.laws.points import Points


@pytest.fixture(scope="module")
def fitted():
    return laws.fit(study(noise=0.003, returns=True, budgets=8))


def codes(found):
    return {s.code for s in found}


def test_forecast_holds_the_truth_a_decade_on(fitted):
    forecast = fitted.forecast(10**21.5)
    n = best_size(CHINCHILLA, 10**21.5)
    assert forecast.params.holds(n)
    assert forecast.dev_loss.holds(loss(CHINCHILLA, n, 10**21.5 / 6 / n))
    assert forecast.decades_beyond == pytest.approx(1.0)
    assert forecast.return_mean is not None


def test_forecast_travels_through_json(fitted):
    forecast = fitted.forecast(1e21)
    text = json.dumps(forecast.to_json(), allow_nan=False)
    assert Forecast.from_json(json.loads(text)) == forecast


def test_a_given_run_is_forecast_itself(fitted):
    best = fitted.forecast(1e21)
    off = fitted.forecast(1e21, params=best.params.value / 10)
    assert off.dev_loss.value > best.dev_loss.value
    truth = loss(CHINCHILLA, off.params.value, off.samples.value)
    assert off.dev_loss.value == pytest.approx(truth, rel=0.05)
    assert off.return_mean is None


def test_everything_goes_to_json(fitted):
    body = json.loads(json.dumps(fitted.to_json(), allow_nan=False))
    assert body["surface"]["coefficients"]["alpha"]["value"] == pytest.approx(0.34, abs=0.05)
    assert (
        body["laws"]["params"]["exponent"]["low"]
        < 0.45
        < body["laws"]["params"]["exponent"]["high"]
    )
    assert body["paper"]["quadratic"] is not None


def test_curves_and_forecast_agree(fitted):
    curves = fitted.curves(np.array([1e21]))
    assert curves.dev_loss.value[0] == pytest.approx(fitted.forecast(1e21).dev_loss.value)
    assert (curves.params.low <= curves.params.high).all()


def test_backtest_has_the_default_and_the_baselines(fitted):
    methods = {r["method"] for r in fitted.backtest_}
    assert {"paper", "default", "persistence", "last-slope"} <= methods
    default = [r for r in fitted.backtest_ if r["method"] == "default"]
    assert all(r["coverage"] is not None for r in default)


def test_no_forecast_looks_ahead():
    table = study(noise=0.01, budgets=9, seed=4)
    cut = sorted(set(table["flops"]))[6]
    early = {k: [v[i] for i, c in enumerate(table["flops"]) if c < cut] for k, v in table.items()}
    changed = dict(table)
    changed["dev_loss"] = [
        x * (1.3 if c >= cut else 1.0)
        for x, c in zip(table["dev_loss"], table["flops"], strict=True)
    ]
    said = [
        laws.fit(t).replay_.loss.combined(6, 6) if t is not early else None
        for t in (table, changed)
    ]
    assert said[0] == pytest.approx(said[1])
    assert laws.fit(early).replay_.loss.predict(np.log10([cut]))[0] == pytest.approx(said[0])


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_allocation_interval_holds_as_often_as_it_says(noise):
    held = []
    for seed in range(40):
        points = Points.from_table(study(noise=noise, seed=seed))
        _, low, high = Allocation(bootstraps=60, seed=seed).fit(Evidence(points)).interval(1e21)
        held.append(low[0] <= best_size(CHINCHILLA, 1e21) <= high[0])
    assert np.mean(held) >= 0.87  # .95 less two standard errors of 40 trials


def test_the_ceiling_caps_returns():
    free = laws.fit(study(returns=True))
    capped = laws.fit(study(returns=True), expert_return=50.0)
    top = free.forecast(1e23).return_mean
    assert capped.forecast(1e23).return_mean.high <= max(50.0, top.value)


def test_negative_returns_take_no_log_law():
    table = study(returns=True)
    table["return_mean"] = [r - 40 for r in table["return_mean"]]
    found = laws.fit(table)
    assert "returns_not_positive" in codes(found.status)
    assert found.replay_.returns.names == ["linear"]
    assert found.forecast(1e21).return_mean is not None


def test_missing_returns_stay_missing():
    table = study(returns=True)
    table["return_mean"] = [None] * len(table["flops"])
    found = laws.fit(table)
    assert found.forecast(1e21).return_mean is None
    assert "no_returns" in codes(found.status)


def test_dropped_rows_are_counted_with_their_reason():
    table = study()
    table["dev_loss"][0] = float("nan")
    table["dev_loss"][1] = -1.0
    table["samples"][2] = "many"
    table["params"][3] = 1e300
    for name in table:
        table[name].append(table[name][10])
    found = laws.fit(table)
    assert sum(found.points_.dropped.values()) == 5
    assert "rows_dropped" in codes(found.status)


def test_failed_runs_are_left_out_and_said():
    table = study()
    table["status"] = ["ok"] * len(table["flops"])
    table["status"][7] = "diverged"
    assert laws.fit(table).points_.dropped == {"status is 'diverged'": 1}


def test_units_off_by_a_million_are_suspected():
    table = study()
    table["samples"] = [d / 1e6 for d in table["samples"]]
    assert "units_suspect" in codes(laws.fit(table).status)


def test_the_plateau_before_learning_begins_is_left_out_and_counted():
    table = study(noise=0.003, budgets=7)
    budgets = np.unique(np.round(np.log10(table["flops"]), 3))
    early = np.log10(table["flops"]) < budgets[2] - 0.01
    loss_before = np.array(table["dev_loss"])
    table["dev_loss"] = np.where(early, 1.003 * loss_before.max(), loss_before).tolist()
    fitted = laws.fit(table)
    assert "plateau" in codes(fitted.status)
    assert sum(fitted.points_.dropped.values()) == early.sum()
    assert len(fitted.points_.budgets) == 5


def test_a_frontier_that_falls_from_the_start_has_no_plateau(fitted):
    assert "plateau" not in codes(fitted.status)
    assert not fitted.points_.dropped


def test_one_budget_is_no_law():
    with pytest.raises(FitError, match="two budgets"):
        laws.fit(study(budgets=1, decades=(18, 18)))


def test_two_sizes_still_answer_and_say_so():
    found = laws.fit(study(sizes=2))
    assert found.forecast(1e21).dev_loss.value > 0
    assert "few_optima" in codes(found.status)


def test_bad_questions_are_one_line_errors(fitted):
    for flops in (0.0, -1.0, float("nan"), 1e300):
        with pytest.raises(SpecError):
            fitted.forecast(flops)
    with pytest.raises(DataError, match="lacks the column params"):
        laws.fit({"dev_loss": [1.0]})
    with pytest.raises(SpecError):
        laws.ScalingLaws(ceiling="sky")


def test_a_target_is_inverted(fitted):
    wanted = fitted.forecast(1e21).dev_loss.value
    flops = flops_for(fitted, loss=wanted)
    assert flops["value"] == pytest.approx(1e21, rel=0.1)
    assert flops["low"] < flops["value"] < (flops["high"] or np.inf)
    with pytest.raises(FitError, match="not reached"):
        flops_for(fitted, loss=0.01)


def test_next_runs_beat_a_uniform_grid_in_simulation(fitted):
    """The designed runs shrink the variance more than evenly spread ones of equal cost."""
    plan = next_runs(fitted, 1e22, 1e20, most=5)
    spent = sum(run.flops for run in plan["runs"])
    assert 0 < spent <= 1e20
    assert plan["runs"][-1].params_sd_log10_after < plan["params_sd_log10"]
    designed = _spread(fitted, [(r.params, r.samples) for r in plan["runs"]])
    sizes = np.geomspace(*np.quantile(fitted.points_.params, [0.1, 0.9]), len(plan["runs"]))
    uniform = _spread(fitted, [(n, spent / len(sizes) / 6 / n) for n in sizes])
    assert designed <= uniform * 1.05


def _spread(fitted, runs) -> float:
    """SD of the refitted log10 N_opt(1e22) over noisy repeats of the study with the runs added."""
    from isoclone.laws.flop_rule import FlopRule
    from isoclone.laws.surface import Surface

    rng, found = np.random.default_rng(0), []
    n = np.concatenate([fitted.points_.params, [r[0] for r in runs]])
    d = np.concatenate([fitted.points_.samples, [r[1] for r in runs]])
    for _ in range(60):
        y = loss(CHINCHILLA, n, d) * np.exp(rng.normal(0, 0.003, len(n)))
        surface = Surface(starts=2).fit(n, d, y, sd=0.003)
        found.append(surface.optimum(1e22, FlopRule.six_nd())[0][0])
    return float(np.std(found))
