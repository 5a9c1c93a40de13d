"""A study played back."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import study

import isoclone.laws as laws
from isoclone.laws.frontier.replay import pooled


def test_no_forecast_looks_ahead():
    table = study(noise=0.01, budgets=9, seed=4)
    cut = sorted(set(table["flops"]))[6]
    early = {k: [v[i] for i, c in enumerate(table["flops"]) if c < cut] for k, v in table.items()}
    changed = dict(table)
    changed["dev_loss"] = [
        x * (0.9 if c >= cut else 1.0)
        for x, c in zip(table["dev_loss"], table["flops"], strict=True)
    ]
    said = [
        laws.fit(t).replay_.loss.combined(6, 6) if t is not early else None
        for t in (table, changed)
    ]
    assert said[0] == pytest.approx(said[1])
    assert laws.fit(early).replay_.loss.predict(np.log10([cut]))[0] == pytest.approx(said[0])


@pytest.mark.filterwarnings("error")
def test_returns_that_are_all_zero_are_known_to_be():
    assert pooled(np.zeros(3), np.zeros(3)) == (0.0, 0.0)


def test_pooled_returns_weigh_by_error_and_spread():
    value, spread = pooled(np.array([10.0, 10.0, 100.0]), np.array([1.0, 1.0, 1000.0]))
    assert value == pytest.approx(10.0, abs=0.1)
    even, tau = pooled(np.array([0.0, 100.0]), np.array([1.0, 1.0]))
    assert even == pytest.approx(50.0)
    assert tau > 50  # the spread between runs, not their own errors
    assert spread < tau
