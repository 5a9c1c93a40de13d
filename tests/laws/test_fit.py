"""The whole: fit, forecast, and what they say about themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from laws_truth import CHINCHILLA, STEEP, best_size, codes, loss, seeded, study

import isoclone.laws as laws
from isoclone.base.errors import DataError, FitError, SpecError
from isoclone.base.records import Forecast


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
    exponent = body["laws"]["params"]["exponent"]
    assert exponent["value"] == pytest.approx(0.28 / 0.62, abs=0.02)
    assert exponent["high"] - exponent["low"] < 0.03  # no prior, no floor: least squares
    assert body["paper"]["quadratic"] is not None


def test_curves_and_forecast_agree(fitted):
    curves = fitted.curves(np.array([1e21]))
    assert curves.dev_loss.value[0] == pytest.approx(fitted.forecast(1e21).dev_loss.value)
    assert (curves.params.low <= curves.params.high).all()


def test_the_ceiling_caps_returns():
    free = laws.fit(study(returns=True))
    capped = laws.fit(study(returns=True), expert_return=50.0)
    top = free.forecast(1e23).return_mean
    assert capped.forecast(1e23).return_mean.high <= max(50.0, top.value)


def test_missing_returns_stay_missing():
    table = study(returns=True)
    table["return_mean"] = [None] * len(table["flops"])
    found = laws.fit(table)
    assert found.forecast(1e21).return_mean is None
    assert "no_returns" in codes(found.status)


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


def test_a_file_is_read_and_whole_numbers_of_any_length_are_numbers(tmp_path, fitted):
    table = study(noise=0.003, returns=True, budgets=8)
    file = tmp_path / "runs.csv"
    rows = zip(*table.values(), strict=True)
    lines = [",".join(table), *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines))
    read = laws.fit(str(file))
    assert read.forecast(10**21).dev_loss == fitted.forecast(1e21).dev_loss
    whole = {k: [int(x) for x in v] if k in ("flops", "samples") else v for k, v in table.items()}
    assert laws.fit(whole).forecast(10**21).dev_loss.value == pytest.approx(
        fitted.forecast(1e21).dev_loss.value
    )
    lines = [line + f",{'group' if k == 0 else 'ab'[k % 2]}" for k, line in enumerate(lines)]
    file.write_text("\n".join(lines))
    with pytest.raises(SpecError, match="several groups"):
        laws.fit(file)


def test_the_loss_law_says_that_it_bends(fitted):
    local = fitted.to_json()["laws"]["dev_loss"]["local"]
    assert local["bends"]
    assert fitted.loss_law_.exponent_ < local["at_last_budget"] < local["a_decade_on"] < 0
    said = fitted.forecast(10 * fitted.last_budget_)
    assert said.method["loss_exponent"] == pytest.approx(local["a_decade_on"], rel=0.05)


def widths(table, **scores):
    """Return the log width of the loss's interval and the return's width, for 1, 2 and 8 agents."""
    fitted = laws.fit(table, **scores)
    said = [fitted.forecast(10**21.0, agents=count) for count in (1, 2, 8)]
    assert [f.agents for f in said] == [1, 2, 8]
    loss = [float(np.log(f.dev_loss.high / f.dev_loss.low)) for f in said]
    return loss, [f.return_mean.high - f.return_mean.low for f in said]


def test_the_mean_of_several_agents_is_surer_as_far_as_seeds_differ():
    table = seeded(2, noise=0.005, luck=0.05, returns=True)
    loss, back = widths(table, random_return=0.0, expert_return=100.0)
    assert loss[0] > 1.03 * loss[1] > 1.03 * loss[2]
    assert back[0] > back[1] > back[2]
    assert loss[2] > 0.5 * loss[0]  # what is not known of the frontier stays


def test_where_nothing_tells_of_luck_the_mean_of_several_agents_is_as_unsure_as_one():
    table = study(noise=0.005, returns=True) | {"run_id": None}  # each row is a run of its own
    loss, back = widths(table, random_return=0.0, expert_return=100.0)
    assert loss == [loss[0]] * 3
    assert back == [back[0]] * 3


@pytest.mark.parametrize(("seeds", "agents"), [(1, 1), (1, 4), (2, 1), (2, 4)])
def test_the_interval_of_the_loss_holds_the_luck_of_further_agents(seeds, agents):
    held = []
    for trial in range(20):
        table = seeded(
            seeds, trial, truth=STEEP, noise=0.01, luck=0.05, decades=(15.5, 18), budgets=5
        )
        said = laws.fit(table).forecast(10**18.5, agents=agents)
        n, chance = said.params.value, np.random.default_rng(trial).normal(0, 0.05, (10, agents))
        came = (loss(STEEP, n, 10**18.5 / 6 / n) * np.exp(chance)).mean(1)
        held += [said.dev_loss.holds(value) for value in came]
    assert np.mean(held) >= 0.93


def test_a_given_run_is_one_agent(fitted):
    assert fitted.forecast(1e21, params=1e9, agents=3).agents == 1
    with pytest.raises(SpecError, match="agents"):
        fitted.forecast(1e21, agents=0)
