"""IsoFLOP curves on points whose optimum is known."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import CHINCHILLA, best_size, study

from isoclone.laws.isoflop import fit_isoflops, shared_curvature
from isoclone.laws.points import Points


def test_isoflop_optimum_is_near_the_true_one():
    for curve in fit_isoflops(Points.from_table(study())):
        assert curve.interior
        assert np.log10(curve.params / best_size(CHINCHILLA, curve.budget)) == pytest.approx(
            0, abs=0.1
        )


def test_optimum_at_the_edge_is_flagged_not_used():
    table = study()
    small = max(table["params"]) / 4
    kept = [i for i, n in enumerate(table["params"]) if n > small]
    curves = fit_isoflops(Points.from_table({k: [v[i] for i in kept] for k, v in table.items()}))
    assert not curves[0].interior
    assert curves[0].edge == "low"


def test_shared_curvature_gives_the_same_optima_on_like_curves():
    curves = fit_isoflops(Points.from_table(study()))
    shared = shared_curvature(curves)
    assert shared is not None
    for curve, size in zip(curves, shared["params"].values(), strict=True):
        assert np.log10(size / curve.params) == pytest.approx(0, abs=0.1)


def test_gradient_is_that_of_the_fitted_optimum_and_curvature():
    table = study(noise=0.003)
    curve = fit_isoflops(Points.from_table(table))[2]
    step = 1e-5
    for row, (size, budget) in enumerate(zip(table["params"], table["flops"], strict=True)):
        if not np.isclose(budget, curve.budget) or size not in curve.gradient():
            continue
        losses = list(table["dev_loss"])
        losses[row] *= np.exp(step)
        moved = fit_isoflops(Points.from_table(table | {"dev_loss": losses}))[2]
        shift = np.log10(moved.params / curve.params), moved.curvature - curve.curvature
        assert curve.gradient()[size] == pytest.approx(np.array(shift) / step, rel=1e-2, abs=1e-3)
    assert len(curve.gradient()) == sum(curve.used)
