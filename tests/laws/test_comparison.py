"""Laws compared by their past forecasts."""

from __future__ import annotations

import laws_truth
import numpy as np
import pytest

from isoclone import laws
from isoclone.base.errors import UnknownNameError
from isoclone.base.records import Forecast, Interval

TABLE = laws_truth.study(noise=0.005, budgets=8)


class Last:
    """The last loss, for ever."""

    def __init__(self, table):
        self.seen = table["budget_flops"].max()
        self.loss = table["dev_loss"][table["budget_flops"] == self.seen].min()

    def forecast(self, flops):
        assert flops > self.seen  # nothing that was seen is asked for
        one = Interval(1.0, None, None)
        loss = Interval(self.loss, 0.99 * self.loss, 1.01 * self.loss)
        return Forecast(flops, one, one, loss, None, 0.0)


@pytest.fixture(autouse=True)
def registered():
    def early(table):
        if len(np.unique(table["budget_flops"])) < 6:
            raise ValueError("too few for me")
        return Last(table)

    laws.LAWS.add("last", Last)
    laws.LAWS.add("early", early)
    yield
    laws.LAWS.remove("last")
    laws.LAWS.remove("early")


def test_the_default_is_first_and_better_than_no_change():
    rows = laws.compare(["last"], TABLE, min_train=5)
    assert [(r.law, r.horizon, r.forecasts) for r in rows] == [
        ("isoclone", 1, 3), ("isoclone", 2, 2), ("isoclone", 3, 1),
        ("last", 1, 3), ("last", 2, 2), ("last", 3, 1),
    ]  # fmt: skip
    default, last = rows[:3], rows[3:]
    assert all(a.rms_log_error < 0.5 * b.rms_log_error for a, b in zip(default, last, strict=True))
    assert all(r.coverage == 1.0 for r in default)
    assert all(r.coverage == 0.0 and r.reason is None for r in last)
    assert default[1].horizon_decades == pytest.approx(2 * 2.5 / 7, abs=0.01)


def test_a_law_that_fails_has_a_reason_and_what_it_did_say():
    rows = [r for r in laws.compare(["early"], TABLE, min_train=5) if r.law == "early"]
    assert [r.forecasts for r in rows] == [2, 1, 0]
    assert {r.reason.code for r in rows} == {"law_failed"}
    assert "ValueError: too few for me" in rows[0].reason.message
    assert rows[2].rms_log_error is None
    assert rows[2].coverage is None


def test_too_few_budgets_give_no_row_and_a_wrong_name_an_error():
    short = laws_truth.study(budgets=3)
    assert laws.compare(["last"], short) == []
    with pytest.raises(UnknownNameError):
        laws.compare(["lost"], TABLE)
