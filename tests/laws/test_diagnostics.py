"""What makes a fit or a forecast less certain is named."""

from __future__ import annotations

import numpy as np
from laws_truth import codes, study

from isoclone import laws
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
