"""Returns: on which scales they are followed."""

from __future__ import annotations

from laws_truth import codes, study

import isoclone.laws as laws


def test_negative_returns_take_no_log_law():
    table = study(returns=True)
    table["return_mean"] = [r - 40 for r in table["return_mean"]]
    found = laws.fit(table)
    assert "returns_not_positive" in codes(found.status)
    assert found.replay_.returns.names == ["linear"]
    assert found.forecast(1e21).return_mean is not None
