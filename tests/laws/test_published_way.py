"""The paper's laws on points whose law is known."""

from __future__ import annotations

import pytest
from laws_truth import study

from isoclone.base.errors import FitError
from isoclone.laws.points import Points
from isoclone.laws.published_way import published_way


def test_every_law_of_the_paper_is_fitted():
    points = Points.from_table(study(budgets=7, returns=True))
    found = published_way(points)
    assert found["budgets"] == 7
    for way in ("parabola", "parabola_near", "best_point"):
        assert found[way]["params"]["exponent"]["value"] == pytest.approx(0.28 / 0.62, abs=0.08)
        assert found[way]["dev_loss"]["exponent"]["value"] < 0
    assert found["returns"]["by_flops"]["exponent"]["value"] > 0
    assert found["quadratic"]["exponents"]["N"] == pytest.approx(0.45, abs=0.1)


def test_a_window_drops_small_budgets_and_may_not_be_empty():
    points = Points.from_table(study(budgets=7))
    late = published_way(points, from_flops=float(points.budgets[3]))
    assert late["budgets"] == 4
    assert late["from_flops"] == pytest.approx(points.budgets[3])
    assert late["returns"] is None
    with pytest.raises(FitError, match="no budget reaches"):
        published_way(points, from_flops=1e30)
