"""How good the forecasts would have been."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isoclone.base.errors import SpecError
from isoclone.laws.frontier.backtest import backtest, summary


def test_backtest_has_the_default_and_the_baselines(fitted):
    methods = {r.method for r in fitted.backtest_}
    assert {"paper", "default", "persistence", "last-slope"} <= methods
    default = [r for r in fitted.backtest_ if r.method == "default"]
    assert all(r.coverage is not None for r in default)


def test_too_few_budgets_to_train_on_are_refused(fitted):
    with pytest.raises(SpecError, match="min_train must be at least 3, not 2"):
        backtest(fitted.replay_, "", min_train=2)


def test_the_summary_is_over_groups(fitted):
    rows = fitted.backtest_
    twice = summary([*rows, *(replace(row, group="again") for row in rows)])
    assert {row.groups for row in twice} == {2}
    paper = [row for row in twice if row.method == "paper"]
    assert all(row.rmse_ratio_to_paper == pytest.approx(1.0) for row in paper)
