"""What one group of runs saves over another: known shapes, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoclone.base.errors import FitError
from isoclone.laws.saved import flops_saved

BUDGETS = (1e9, 2e9, 4e9, 8e9)


def runs(saving: float, seed: int = 0, luck: float = 0.0) -> dict[str, Any]:
    """Return runs whose return is 100 log2(C / saving / 1e9), the middle size's; others less."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {}
    for size, worse in ((100, 30.0), (300, 0.0), (900, 20.0)):
        for run in range(3):
            lasting = luck * rng.normal()
            for budget in BUDGETS:
                told = {
                    "run_id": f"{size}-{run}",
                    "seed": run,
                    "budget_flops": budget,
                    "flops": budget,
                    "params": size,
                    "samples": budget / size,
                    "return_mean": 100 * np.log2(budget / saving / 1e9) - worse + lasting,
                    "return_se": 1.0,
                }
                for name, value in told.items():
                    rows.setdefault(name, []).append(value)
    return rows


def test_half_the_compute_is_half_the_compute() -> None:
    found = flops_saved(runs(1.0), runs(2.0))
    assert found.return_mean == pytest.approx(200)
    assert found.ratio.value == pytest.approx(0.5)
    assert found.flops_with == pytest.approx(4e9)
    assert found.ratio.low is not None
    assert found.ratio.high is not None
    assert found.ratio.low <= 0.5 <= found.ratio.high < 0.55


def test_the_interval_holds_the_truth_where_runs_have_luck() -> None:
    held, widths = 0, []
    for seed in range(20):
        pair = runs(1.0, seed, luck=25.0), runs(2.0, 100 + seed, luck=25.0)
        found = flops_saved(*pair, level=120.0)
        low, high = found.ratio.low or 0.0, found.ratio.high or np.inf
        held += low <= 0.5 <= high
        widths.append(high / low)
    assert held >= 17
    assert np.median(widths) < 4


@pytest.mark.parametrize("level", [-500.0, 1e6])
def test_a_return_that_one_does_not_come_to_is_refused(level: float) -> None:
    with pytest.raises(FitError, match=r"both groups come to the same return between"):
        flops_saved(runs(1.0), runs(2.0), level)


def test_groups_without_a_return_in_common_are_refused() -> None:
    with pytest.raises(FitError, match="come to the same return at none"):
        flops_saved(runs(1.0), runs(1e3))
