"""Synthetic truth: make a surface with known exponents, and ask for them back."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import CHINCHILLA, best_size, loss, study

from isoclone.base.errors import FitError
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.power import PowerLaw
from isoclone.laws.surface import FORMS, Surface, bootstrap_weights


def columns(**options):
    table = study(**options)
    return (np.array(table[name]) for name in ("params", "samples", "dev_loss"))


def test_noiseless_chinchilla_is_recovered():
    fitted = Surface("chinchilla").fit(*columns(), sd=0.001)
    want = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    for name, value in want.items():
        assert fitted.params_[name] == pytest.approx(value, rel=0.02), name
    assert fitted.at_bound_ == []


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_predicts_what_it_was_fitted_to(form):
    n, d, y = columns(noise=0.005)
    fitted = Surface(form).fit(n, d, y, sd=0.005)
    assert np.std(np.log(fitted.predict(n, d) / y)) < 0.006


def test_coupled_truth_needs_the_coupled_form():
    n, d, _ = columns()
    truth = 1.0 + 400 / n**0.34 + 40 * n**0.15 / d**0.28
    coupled, plain = (Surface(f).fit(n, d, truth, sd=0.001) for f in ("coupled", "chinchilla"))
    assert coupled.sd_ < 1e-3 < plain.sd_


def test_optimum_agrees_with_the_closed_form():
    fitted = Surface().fit(*columns(), sd=0.001)
    log_n, _ = fitted.optimum(1e22, FlopRule.six_nd())
    assert log_n[0] == pytest.approx(np.log10(best_size(CHINCHILLA, 1e22)), abs=0.01)


def test_no_floor_in_the_data_is_said():
    truth = dict(CHINCHILLA, E=0.0)
    fitted = Surface().fit(*columns(truth=truth), sd=0.001)
    assert fitted.at_bound_ == ["E"]


def test_a_wild_run_does_not_move_a_robust_fit():
    n, d, y = columns(noise=0.003)
    y[5] *= 3
    fitted = Surface().fit(n, d, y, sd=0.003)
    assert fitted.params_["alpha"] == pytest.approx(0.34, abs=0.05)


def test_bootstrap_keeps_runs_whole_and_spreads_around_the_fit():
    n, d, y = columns(noise=0.01)
    fitted = Surface().fit(n, d, y, sd=0.01)
    weights = bootstrap_weights(np.arange(len(n)) // 6, 200, seed=1)
    assert (weights[:, :6] == weights[:, :1]).all()
    alpha = fitted.refit(weights)[:, 3]
    assert 0.001 < alpha.std() < 0.1
    assert abs(np.median(alpha) - fitted.theta_[3]) < 2 * alpha.std()


def test_too_few_points_is_an_error():
    with pytest.raises(FitError, match="needs 5 points"):
        Surface().fit([1e6, 2e6], [1e9, 2e9], [3.0, 2.9])


def test_loss_helper_is_the_textbook_formula():
    assert loss(CHINCHILLA, 7e10, 1.4e12) == pytest.approx(1.94, abs=0.01)


def test_influence_foretells_what_a_changed_loss_does_to_the_fit():
    n, d, y = columns(noise=0.005)
    before = Surface(huber=50.0).fit(n, d, y, sd=0.005)
    changed = y.copy()
    changed[7] *= np.exp(1e-4)
    after = Surface(huber=50.0).fit(n, d, changed, sd=0.005)
    shift = (after.log_loss(n, d) - before.log_loss(n, d)) / 1e-4
    moved = before.theta_ + 1e-4 * before.influence()[:, 7]
    told = (before.log_loss(n, d, moved[None])[0] - before.log_loss(n, d)) / 1e-4
    assert told == pytest.approx(shift, abs=0.02)


def test_what_too_few_points_lack_is_counted():
    many, same = np.geomspace(1e6, 1e8, 12), np.full(12, 1e9)
    with pytest.raises(FitError, match=r"it has 12 points, of 12 and 1$"):
        Surface().fit(many, same, np.linspace(3, 2, 12))
    with pytest.raises(FitError, match="3 points have 1 that can be used"):
        PowerLaw().fit([1.0, 1.0, -1.0], [1.0, 2.0, 3.0])
