"""Sizes and budgets from a few short curves: a pure function, tried on losses with a known law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isoclone.study.sizes import Curve, Grid, frontier, grid_up_to, largest_affordable, told

GUESS = math.log(4)


def cost(width: int) -> float:
    return 6.0 * (8 * width + width**2 + 4 * width)


def curve(width: int, most: float, floor: float = 0.0) -> Curve:
    """A loss with an optimum of width ~ C^(1/4): too small a size is stuck, too large one slow."""
    flops = [1_024 * 2**k * cost(width) for k in range(12) if 1_024 * 2**k <= most]
    params = width**2
    losses = [floor + min(GUESS, params**-0.3 + 20 * (c / params) ** -0.3) for c in flops]
    return Curve(width, params, cost(width), 1e-5, flops, losses)


def curves(most: float = 3e5, floor: float = 0.0) -> list[Curve]:
    return [curve(width, most, floor) for width in (1, 2, 4, 8, 16, 32, 64)]


def test_the_best_width_grows_as_the_law_says():
    seen = frontier(curves(), GUESS)
    ratio = seen.best_width(1e10) / seen.best_width(1e8)
    assert 2 < ratio < 5  # 100^(1/4) is 3.2
    exact = math.sqrt((20 * 1e8**-0.3) ** (-1 / 0.6))  # where the two terms fall and rise alike
    assert exact / 2 < seen.best_width(1e8) < exact * 2


def test_best_widths_lie_inside_the_grid_at_both_ends():
    seen = frontier(curves(), GUESS)
    chosen = grid_up_to(seen, 1e9, lambda w: 32 * cost(w))
    assert len(chosen.budgets_flops) == 6
    assert chosen.budgets_flops[-1] == 1e9
    assert list(chosen.widths) == sorted(set(chosen.widths))
    assert len(chosen.widths) >= 5
    for budget in (*chosen.budgets_flops, 10 / 3 * chosen.budgets_flops[-1]):
        assert chosen.widths[0] < seen.best_width(budget) < chosen.widths[-1]


def test_budgets_begin_where_something_is_learned():
    seen = frontier(curves(), GUESS)
    at = grid_up_to(seen, seen.learned_from() * 8, lambda w: 0.0).budgets_flops[0]
    assert at == pytest.approx(seen.learned_from(), rel=0.1)
    assert np.interp(at * 1.1, seen.flops, seen.losses) < GUESS - 0.45 * (GUESS - seen.floor)


def test_budgets_end_where_time_does():
    seen = frontier(curves(), GUESS)

    def share(grid: Grid) -> float:
        return max(grid.budgets_flops) / 3e9

    chosen = largest_affordable(seen, lambda w: 0.0, share)
    assert 2e9 < max(chosen.budgets_flops) <= 3e9
    assert largest_affordable(seen, lambda w: 0.0, lambda grid: 2.0).budgets_flops  # or the least


def test_budgets_end_a_decade_after_the_floor():
    flat = [
        Curve(w, w**2, cost(w), 1e-5, c.flops, [max(loss, 0.8) for loss in c.losses])
        for w, c in zip((1, 2, 4, 8, 16, 32, 64), curves(), strict=True)
    ]
    seen = frontier(flat, GUESS)
    at = seen.floor_from()
    assert at is not None
    assert frontier(curves(), GUESS).floor_from() is None
    chosen = largest_affordable(seen, lambda w: 0.0, lambda grid: 0.0)
    assert max(chosen.budgets_flops) == pytest.approx(10 * at, rel=0.1)


def test_a_calibration_is_told_in_a_line():
    assert told({}, (1e6, 1e7)) == ""
    measured = {
        "curves": [c.to_json() for c in curves()],
        "guess_loss": GUESS,
        "seconds": 31.2,
        "minutes": 5.0,
        "workers": 2,
        "speed": {"base_s": 1e-5, "rollout_steps_per_s": 1234.0},
    }
    line = told(measured, (1e8, 1e9))
    assert "calibration of 31 s, for 5 min on 2 workers" in line
    assert "1,234 steps/s" in line
