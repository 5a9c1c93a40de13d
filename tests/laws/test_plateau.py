"""The plateau before learning begins."""

from __future__ import annotations

import numpy as np
from laws_truth import codes, study

import isoclone.laws as laws


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
