"""Forecasters combined by their past errors, with intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isoclone.laws.frontier.ensemble import LOSS, Ensemble, quantile, youth

X = np.arange(10) / 3.0


ADAPTIVE = replace(LOSS, sharpness=6.0)


def ensemble(y, wild=False, settings=ADAPTIVE):
    """A forecaster that knows the truth beside one that expects no change."""
    y = np.asarray(y, float)
    whole = Ensemble(X, y, np.full(len(X) + 1, 0.01), {"knows": 0.5, "flat": 0.5}, settings)

    def fit(seen):
        knows = lambda x: np.interp(x, X, y) + (1e9 if wild else 0.0)  # noqa: E731
        return [knows, lambda x: np.full(np.shape(x), y[seen - 1])]

    whole.replay(fit, 3)
    return whole


def test_weight_goes_to_what_was_right():
    found = ensemble(2.0 - 0.3 * X)
    assert found.weights(3) == pytest.approx([0.5, 0.5])  # no error is known yet: the prior
    assert found.weights(10)[0] > 0.95
    assert found.combined(9, 9) == pytest.approx(2.0 - 0.3 * X[9], abs=0.01)
    assert found.said("flat", 9, 9) == pytest.approx(2.0 - 0.3 * X[8])


def test_without_sharpness_the_weights_stay_what_they_were():
    found = ensemble(2.0 - 0.3 * X, settings=LOSS)
    assert found.weights(10) == pytest.approx([0.5, 0.5])


def test_past_forecasts_are_judged_near_the_named_horizons():
    found = ensemble(2.0 - 0.3 * X)
    ahead = {target - (seen - 1) for seen, target in found.judged}
    assert ahead == {1, 2, 3, 4, 5}  # budgets a third of a decade apart: .33, .67, 1, 1.33, 1.67


def test_a_wild_forecast_counts_as_no_change():
    assert ensemble(2.0 - 0.3 * X, wild=True).combined(9, 9) == pytest.approx(2.0 - 0.3 * X[8])


def test_weights_never_see_what_came_later():
    y = 2.0 - 0.3 * X
    later = np.where(np.arange(10) >= 8, 5.0, y)
    assert ensemble(y).weights(8) == pytest.approx(ensemble(later).weights(8))


def test_intervals_widen_with_horizon_level_and_youth():
    found = ensemble(2.0 - 0.3 * X)
    near, far = found.half_width(X[-1] + np.array([0.3, 1.0]))
    assert 0 < near < far
    assert found.half_width(X[-1] + 0.3, level=0.5)[0] < near
    assert youth(3) > 3.0 > youth(6) > youth(12) > 1.0
    assert quantile(0.95) > 1.96


def test_inside_the_evidence_it_interpolates():
    found = ensemble(2.0 - 0.3 * X)
    assert found.predict(np.array([0.5]))[0] == pytest.approx(1.85)
    assert set(found.to_json()) == {"weights", "stretch"}
