"""The scale of the returns: ends are kept, nothing explodes."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.laws.reinforcement.scale import ReturnScale

RETURNS = np.array([-3.0, 0.0, 10.0, 250.0, 500.0])


@pytest.mark.parametrize(
    ("floor", "ceiling", "kind"),
    [
        (None, None, "return"),
        (None, 500.0, "return"),
        (0.0, None, "root"),
        (0.0, 500.0, "log odds"),
    ],
)
def test_there_and_back(floor, ceiling, kind):
    scale = ReturnScale.of(RETURNS, floor, ceiling)
    assert scale.kind == kind
    z = scale.forward(RETURNS)
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()
    assert scale.back(z) == pytest.approx(RETURNS, abs=1e-9)


def test_ends_are_finite_and_never_left():
    scale = ReturnScale.of(RETURNS, -3.0, 500.0)
    assert np.abs(scale.forward(np.array([-1e9, 1e9]))).max() < 6
    far = scale.back(np.array([-1e9, -30.0, 30.0, 1e9]))
    assert far == pytest.approx([-3.0, -3.0, 500.0, 500.0])


def test_an_error_near_the_ceiling_stays_bounded():
    scale = ReturnScale.of(RETURNS, -3.0, 500.0)
    error = scale.error(np.array([500.0, 250.0]), np.array([5.0, 5.0]))
    assert np.isfinite(error).all()
    assert 0 < error[1] < error[0] < 1
