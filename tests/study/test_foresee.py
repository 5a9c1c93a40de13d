"""Which cells an adaptive sweep is expected to take."""

from __future__ import annotations

import dataclasses

from isoclone.study.builtins import BREAKOUT
from isoclone.study.estimate import Speed, estimate
from isoclone.study.foresee import foreseen_cells
from isoclone.study.plan import grid
from isoclone.study.study import Study


def test_a_plain_grid_is_taken_whole():
    spec = BREAKOUT.replace(adaptive=False)
    assert set(foreseen_cells(spec, [])) == set(grid(spec))


def test_an_adaptive_sweep_takes_less_at_both_ends():
    """Breakout's took 44 of 60: width 2 to the second budget, width 21 at the last."""
    cells = foreseen_cells(BREAKOUT, [])
    assert 38 <= len(cells) <= 50
    last, first = BREAKOUT.budgets_flops[-1], BREAKOUT.budgets_flops[0]
    assert BREAKOUT.widths[0] not in {c.width for c in cells if c.budget_flops == last}
    assert BREAKOUT.widths[0] in {c.width for c in cells if c.budget_flops == first}


def test_points_that_are_there_say_where_the_best_size_is(finished_study):
    study = Study.open(finished_study)
    points = study.points()
    assert foreseen_cells(study.spec, points) == []
    budget = study.spec.budgets_flops[0]
    first = [p for p in points if p.budget_flops == budget]
    smallest = [dataclasses.replace(p, dev_loss=0.1 * p.width) for p in first]
    left = foreseen_cells(study.spec.replace(extend=0), smallest)
    assert {c.budget_flops for c in left} == set(study.spec.budgets_flops[1:])
    assert study.spec.widths[0] in {c.width for c in left}


def test_a_size_that_is_added_is_foreseen_and_has_a_cost(finished_study):
    study = Study.open(finished_study)
    first = [p for p in study.points() if p.budget_flops == study.spec.budgets_flops[0]]
    largest = [dataclasses.replace(p, dev_loss=1 / p.width) for p in first]
    cells = foreseen_cells(study.spec, largest)
    assert max(c.width for c in cells) > study.spec.widths[-1]
    costs = dict.fromkeys(study.spec.widths, 1000.0)
    whole = estimate(study.spec, Speed(1e-4, 0.0, 1e3, None), costs, 1, 50.0, largest)
    assert whole.sweep_s > 0
