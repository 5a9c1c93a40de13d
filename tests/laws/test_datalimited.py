"""Effective data: synthetic truth, and a real study of the toy game where it can be trained."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isoclone.base.errors import FitError, SpecError
from isoclone.laws.datalimited import DataLimitedLaw, best_so_far, effective_samples, fit_points
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.points import Points


def truth(n, d, u, repeats):
    return 0.2 + 8 / n**0.4 + 25 / effective_samples(d, u, repeats) ** 0.35


def grid(repeats, noise=0.003, seed=0):
    rng = np.random.default_rng(seed)
    n, u, epochs = (
        v.ravel()
        for v in np.meshgrid(np.logspace(3, 6, 5), [1e4, 1e5, 1e6], [1.0, 3.0, 10.0, 40.0])
    )
    return n, u * epochs, u, truth(n, u * epochs, u, repeats) * np.exp(rng.normal(0, noise, len(n)))


def test_once_through_is_worth_itself_and_repeats_are_worth_less():
    assert effective_samples(1e6, 1e6, 5) == pytest.approx(1e6)
    assert effective_samples(5e5, 1e6, 5) == pytest.approx(5e5)
    assert 1e6 < effective_samples(1e7, 1e6, 5) < 6e6 * 1.0001
    assert effective_samples(1e12, 1e6, 5) == pytest.approx(6e6)


@pytest.mark.parametrize("repeats", [2.0, 10.0])
def test_the_worth_of_repeats_is_recovered(repeats):
    law = DataLimitedLaw(bootstraps=40).fit(*grid(repeats), sd=0.003)
    assert law.repeats_.low / 1.2 <= repeats <= law.repeats_.high * 1.2
    assert law.repeats_.value == pytest.approx(repeats, rel=0.35)
    assert not law.at_bound_


def test_how_many_demonstrations_must_i_collect():
    law = DataLimitedLaw(bootstraps=10).fit(*grid(5.0, noise=0.0005), sd=0.001)
    wanted = float(truth(1e5, 4 * 3e5, 3e5, 5.0))
    assert law.unique_needed(1e5, wanted, epochs=4) == pytest.approx(3e5, rel=0.15)
    with pytest.raises(FitError, match="no number of samples"):
        law.unique_needed(1e3, 0.1, epochs=1)


def table(repeats, noise=0.002):
    """A runs table with C = 6 N D: sixty runs of one size, one collection, one number of epochs."""
    n, d, u, y = grid(repeats, noise)
    columns = {"flops": 6 * n * d, "params": n, "samples": d, "unique_samples": u, "dev_loss": y}
    return {**columns, "run_id": [f"r{i}" for i in range(len(n))]}


def test_demonstrations_needed_for_a_budget_agree_with_the_truth():
    law = fit_points(Points.from_table(table(5.0)), bootstraps=30)
    flops, rule = 1e12, FlopRule.six_nd()
    found = law.demos_needed(flops, rule, within=0.02)
    sizes = np.geomspace(1e2, 1e7, 200)
    unlimited = truth(sizes, flops / 6 / sizes, 1e30, 5.0).min()
    u = np.geomspace(1e4, 1e9, 400)
    limited = np.array([truth(sizes, flops / 6 / sizes, one, 5.0).min() for one in u])
    wanted = u[np.argmax(limited <= 1.02 * unlimited)]
    assert found.unique_samples.value == pytest.approx(wanted, rel=0.35)
    assert found.unique_samples.low <= wanted * 1.3
    assert found.unique_samples.high >= wanted / 1.3
    assert found.dev_loss <= 1.02 * found.dev_loss_unlimited * 1.0001
    losses = [row["dev_loss"] for row in found.curve]
    assert losses == sorted(losses, reverse=True)
    assert found.epochs > 1
    json.dumps(found.to_json(), allow_nan=False)


def test_a_loss_out_of_reach_is_one_line():
    law = fit_points(Points.from_table(table(5.0)), bootstraps=5)
    with pytest.raises(FitError, match="no number of samples reaches") as caught:
        law.demos_needed(1e10, FlopRule.six_nd(), loss=0.05)
    assert "\n" not in str(caught.value)
    with pytest.raises(SpecError):
        law.demos_needed(-1.0, FlopRule.six_nd())


def test_best_so_far_never_rises_and_keeps_runs_apart():
    best = best_so_far(["a", "b", "a", "a"], [1, 1, 3, 2], [0.5, 0.9, 0.6, 0.4])
    assert best.tolist() == [0.5, 0.9, 0.4, 0.4]


def test_without_repeats_nothing_can_be_said():
    n, _, u, y = grid(5.0)
    with pytest.raises(FitError, match="no run repeats"):
        DataLimitedLaw().fit(n, u, u, y)
