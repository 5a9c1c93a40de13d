"""The last slope, and how it is damped."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.laws.frontier.trend import damped, local_slope

X = np.array([0.0, 0.5, 1.0, 1.5])


def test_a_straight_line_has_its_slope_whatever_the_memory():
    for memory in (0.0, 0.3, 10.0):
        assert local_slope(X, 3.0 - 0.2 * X, memory) == pytest.approx(-0.2)


def test_a_short_memory_is_the_last_slope_and_a_long_one_the_mean():
    y = np.array([0.0, 1.0, 1.5, 1.6])
    assert local_slope(X, y, 0.0) == pytest.approx(0.2)
    assert local_slope(X, y, 1e6) == pytest.approx(1.6 / 1.5, rel=1e-3)
    assert 0.2 < local_slope(X, y, 0.3) < 1.6 / 1.5


def test_damping_bends_the_horizon_towards_its_limit():
    ahead = np.array([0.0, 0.01, 100.0])
    assert damped(ahead, 0.5) == pytest.approx([0.0, 0.01, 2.0], rel=1e-2)
    assert (damped(ahead, 0.0) == ahead).all()
