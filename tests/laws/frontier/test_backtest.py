"""How good the forecasts would have been."""

from __future__ import annotations


def test_backtest_has_the_default_and_the_baselines(fitted):
    methods = {r["method"] for r in fitted.backtest_}
    assert {"paper", "default", "persistence", "last-slope"} <= methods
    default = [r for r in fitted.backtest_ if r["method"] == "default"]
    assert all(r["coverage"] is not None for r in default)
