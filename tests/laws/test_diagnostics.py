"""What makes a fit or a forecast less certain is named."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import codes, study
from rl_truth import rl_study

from isoclone import laws
from isoclone.base.errors import DataError
from isoclone.laws import diagnostics
from isoclone.laws.isoflop import fit_isoflops
from isoclone.laws.points import Points


def test_optima_at_the_edge_and_few_budgets_are_named():
    table = study(budgets=4)
    small = np.array(table["params"]) < np.quantile(table["params"], 0.3)
    points = Points.from_table(table)
    assert codes(diagnostics.of_optima(fit_isoflops(points))) == {"few_budgets"}
    cut = fit_isoflops(points.keep(small))
    found = diagnostics.of_optima(cut)
    assert codes(found) == {"optimum_censored", "few_optima", "few_budgets"}
    assert "(high end)" in found[0].message
    assert "larger sizes or smaller budgets would enclose it" in found[0].message
    large = diagnostics.of_optima(fit_isoflops(points.keep(~small)))[0]
    assert "(low end)" in large.message
    assert "fewer parameters at width 1) or larger budgets would enclose it" in large.message


def test_returns_that_no_power_law_fits_are_named():
    none, negative = np.array([np.nan]), np.array([-2.0, 5.0])
    assert codes(diagnostics.of_returns(none, None)) == {"no_returns"}
    assert codes(diagnostics.of_returns(negative, None)) == {"returns_not_positive"}
    assert diagnostics.of_returns(negative, random_return=-3.0) == []
    assert diagnostics.of_returns(np.array([1.0, 5.0]), None) == []


def test_a_forecast_far_from_the_evidence_says_how_far():
    points = Points.from_table(study())
    last, size = float(points.budgets[-1]), float(np.median(points.params))
    assert diagnostics.of_forecast(points, last, size, last) == []
    far = diagnostics.of_forecast(points, 100 * last, size, 100 * last)
    assert codes(far) == {"far_extrapolation"}
    assert "2.0 decades beyond" in far[0].message
    low = points.budgets[0] / 10
    assert codes(diagnostics.of_forecast(points, low, size, low)) == {"below_evidence"}
    assert codes(diagnostics.of_forecast(points, last, 1.0, last)) == {"size_not_sampled"}
    assert codes(diagnostics.of_forecast(points, last, size, 2 * last)) == {"flops_differ"}


def test_samples_seen_again_are_said_to_be_ignored():
    table = study()
    table["unique_samples"] = [min(d, 1e9) for d in table["samples"]]
    assert "repeats_ignored" in codes(laws.fit(table).status)
    assert "repeats_ignored" not in codes(laws.fit(study()).status)


@pytest.mark.parametrize("by_return", [False, True])
def test_a_ceiling_that_cannot_be_one_is_said(by_return):
    table = rl_study() if by_return else study(noise=0.01, returns=True)
    top = max(table["return_mean"])
    high, low = laws.fit(table, expert_return=0.5 * top), laws.fit(table, expert_return=2 * top)
    said = {s.code: s.message for s in high.status}
    assert f"{top:g} is higher than the ceiling {0.5 * top:g}" in said["above_ceiling"]
    assert "above_ceiling" in codes(high.forecast(10 * high.last_budget_).status)
    assert "above_ceiling" not in codes(low.status)
    assert high.forecast(2 * high.last_budget_).excludes["return_mean"] < 1.0
    ignored = laws.fit(table, expert_return=2 * top, random_return=3 * top)
    assert "ceiling_ignored" in codes(ignored.status)


def test_figures_that_cannot_be_are_counted_by_column():
    table = study(noise=0.01, returns=True)
    rows = len(table["flops"])
    table["return_mean"][:3] = [np.inf, -np.inf, 1e300]
    table["return_se"] = [-1.0, np.inf, *[0.1] * (rows - 2)]
    table["dev_loss_se"] = [-0.5] + [None] * (rows - 1)
    table["episodes"] = [0] + [8] * (rows - 1)
    fitted = laws.fit(table)
    (said,) = [s.message for s in fitted.status if s.code == "figures_ignored"]
    for part in ("3 of return_mean, such as inf", "2 of return_se", "1 of dev_loss_se"):
        assert part in said
    assert "1 of episodes, such as 0" in said
    rows = laws.clean_table(table)
    assert np.isnan(rows["return_mean"]).sum() == 3
    assert "figures_ignored" not in codes(laws.fit(study(returns=True)).status)


@pytest.mark.parametrize("odd", [0, -3.0, np.inf])
def test_unique_samples_that_cannot_be_name_their_row(odd):
    table = study()
    table["unique_samples"] = [1e9] * len(table["flops"])
    table["unique_samples"][4], table["dev_loss"][0] = odd, None
    with pytest.raises(DataError, match=f"^unique_samples of row 5 is {odd:g}: how many"):
        laws.fit(table)
    table["dev_loss"][4] = None  # a row that is left out may say what it will
    assert laws.fit(table).points_.dropped
