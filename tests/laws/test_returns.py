"""Returns: on which scales they are followed."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import codes, study

import isoclone.laws as laws
from isoclone.laws import returns


def test_negative_returns_take_no_log_law():
    table = study(returns=True)
    table["return_mean"] = [r - 40 for r in table["return_mean"]]
    found = laws.fit(table)
    assert "returns_not_positive" in codes(found.status)
    assert found.replay_.returns.names == ["linear"]
    assert found.forecast(1e21).return_mean is not None


def series(value, ceiling=None, floor=None):
    x = np.arange(len(value)) / 3.0
    value = np.array(value, float)
    loss = 2.0 - 0.1 * x
    ahead = lambda at: 2.0 - 0.1 * np.asarray(at)  # noqa: E731
    se = np.full(len(value), np.nan)
    return returns.ReturnSeries(x, value, se, loss, ahead, floor, ceiling)


def test_the_scales_depend_on_floor_and_ceiling():
    assert set(returns.forecasters(series([1, 2, 3]))) == {"linear", "root", "log", "by-loss"}
    with_top = returns.forecasters(series([1, 2, 3], ceiling=9.0))
    assert set(with_top) == {"root", "log", "logit", "by-loss"}
    assert set(returns.forecasters(series([-1, 2, 3]))) == {"linear"}
    assert set(returns.forecasters(series([-1, 2, 3], ceiling=9.0))) == {"linear", "logit"}
    assert set(returns.forecasters(series([0, 0, 0], ceiling=0.0))) == {"linear"}  # no room
    assert "log" in returns.forecasters(series([-1, 2, 3], floor=-2.0))


@pytest.mark.parametrize("name", ["root", "log", "logit", "by-loss"])
def test_every_scale_starts_at_the_last_return_and_stays_below_the_ceiling(name):
    s = series([1, 2, 4, 6], ceiling=9.0)
    curve = returns.forecasters(s)[name](s)
    assert curve(s.x[-1:])[0] == pytest.approx(6.0)
    ahead = curve(s.x[-1] + np.array([0.3, 1.0, 5.0]))
    assert 6.0 < ahead[0] <= ahead[-1] <= 9.0


def test_a_straight_line_is_continued():
    s = series([1, 2, 3, 4])
    assert returns.linear(s)(s.x[-1:] + 1 / 3)[0] == pytest.approx(5.0)
    assert returns.last_slope(s)(s.x[-1:] + 2 / 3)[0] == pytest.approx(6.0)
    assert returns.persistence(s)(s.x[-1:] + 2 / 3)[0] == 4.0
