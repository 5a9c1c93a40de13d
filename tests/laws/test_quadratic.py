"""The paper's quadratic surface."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import study

from isoclone.base.errors import FitError
from isoclone.laws.quadratic import NAMES, QuadraticSurface


def test_the_exponent_is_that_of_the_minimum_along_the_budget():
    """Two budgets, the lowest fitted loss of each found on a grid of sizes."""
    table = study()
    fitted = QuadraticSurface().fit(table["params"], table["samples"], table["dev_loss"])
    coef = np.array([fitted.coef_[name] for name in NAMES])
    size = np.linspace(np.log(1e6), np.log(1e14), 400_001)
    best = []
    for flops in (1e19, 1e20):
        d = np.log(flops / 6) - size
        loss = coef @ np.stack([np.ones_like(size), size, d, size**2, size * d, d**2])
        best.append(size[loss.argmin()])
    a, b = fitted.exponents_
    assert (best[1] - best[0]) / np.log(10) == pytest.approx(a, abs=1e-3)
    assert a + b == pytest.approx(1.0)


def test_six_points_are_too_few():
    with pytest.raises(FitError, match="needs 7 points"):
        QuadraticSurface().fit([1e6] * 6, [1e9] * 6, [3.0] * 6)
