"""What is known at one moment of a study."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import study

from isoclone.laws.frontier.evidence import MIN_NOISE, Evidence
from isoclone.laws.points import Points


def test_the_evidence_until_a_budget_is_that_of_the_rows_until_it():
    whole = Evidence(Points.from_table(study(noise=0.01, budgets=8)))
    early = whole.until(5)
    assert len(early.x) == 5
    assert early.points.budget.max() == whole.points.budgets[4]
    assert (early.curves == whole.curves[:, :5]).all()
    assert (early.best == whole.best[:5]).all()


def test_the_frontier_is_the_lowest_loss_unless_its_luck_is_known():
    table = study(noise=0.01, budgets=6)
    plain = Evidence(Points.from_table(table))
    assert (plain.y == plain.best).all()
    table["dev_loss_se"] = [0.01 * loss for loss in table["dev_loss"]]
    stated = Evidence(Points.from_table(table))
    assert stated.noise > plain.noise >= MIN_NOISE
    assert np.mean(stated.y - stated.best) > 0  # the lowest of several noisy losses is too low


def test_the_rule_is_that_of_the_points():
    evidence = Evidence(Points.from_table(study()))
    assert evidence.rule.per_sample(1e8) == pytest.approx(6e8)
