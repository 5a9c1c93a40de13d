"""Foresee which cells an adaptive sweep will take, by playing it on losses of the usual shape.

An adaptive sweep stops sizes that are too small and lets large ones wait, so it takes less time
than the plain grid, and how much less depends on what it finds. Before it begins, that is not
known; but its rules are (`plan.next_cells`), and so is the usual shape: at each budget log loss is
a parabola in log width, and the best width grows as C^0.25. The sizes of a study are chosen around
that, so the best width is taken to be the middle one at the middle budget, until points say
otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from isoclone.base.records import Point
from isoclone.study.plan import Cell, grid, next_cells
from isoclone.study.sizes import GROWTH
from isoclone.study.spec import StudySpec

CURVATURE = 0.1  # of log loss in log width
FALL = 0.2  # of the best loss with FLOPs, as an exponent
RELATIVE_SE = 0.02  # of a loss
TOLD_BY = 3  # sizes at a budget, by which its best one is known


def foreseen_cells(spec: StudySpec, done: Sequence[Point]) -> list[Cell]:
    """Return the cells that the sweep is expected to measure still, in its order."""
    points = [point for point in done if point.role == "sweep"]
    if not spec.imitates:  # returns have no usual shape: no size is expected to stop
        there = {(point.width, point.seed, point.budget_flops) for point in points}
        return [c for c in grid(spec) if (c.width, c.seed, c.budget_flops) not in there]
    usual = _Usual(spec, points)
    cells: list[Cell] = []
    while fresh := next_cells(spec, points).cells:
        cells += fresh
        points += [usual.point(cell) for cell in fresh]
    return cells


def usual_best_width(spec: StudySpec, budget_flops: float) -> float:
    """Return the width that is usually the best at a budget, as sizes are chosen around it."""
    widths, budgets = spec.widths, spec.budgets_flops
    return _grown(
        math.sqrt(widths[0] * widths[-1]), math.sqrt(budgets[0] * budgets[-1]), budget_flops
    )


def _grown(width: float, flops: float, budget_flops: float) -> float:
    """Return the best width at a budget where it is `width` at so many FLOPs."""
    return width * (budget_flops / flops) ** GROWTH[1]


class _Usual:
    """Losses of the usual shape, through the points that are there."""

    def __init__(self, spec: StudySpec, done: Sequence[Point]):
        self._spec, self._runs = spec, dict[tuple[int, int], Point]()
        budgets = spec.budgets_flops
        self._best_at = usual_best_width(spec, budgets[0]), budgets[0]  # a width, and its FLOPs
        self._levels = dict[float, float]()
        for budget in budgets:
            losses = {p.width: p.dev_loss for p in done if p.budget_flops == budget and p.dev_loss}
            if len(losses) >= TOLD_BY:
                best = min(losses, key=lambda width: losses[width] or math.inf)
                self._best_at = float(best), budget
            shape = [loss / self._shape(width, budget) for width, loss in losses.items() if loss]
            if shape:
                self._levels[budget] = sorted(shape)[len(shape) // 2]

    def _shape(self, width: int, budget_flops: float) -> float:
        best = _grown(*self._best_at, budget_flops)
        return budget_flops**-FALL * math.exp(CURVATURE * math.log(width / best) ** 2)

    def point(self, cell: Cell) -> Point:
        """Return a point with the loss that is expected of a cell."""
        key = cell.width, cell.seed
        if key not in self._runs:
            run = self._spec.run_for(*key, "foreseen", cell.budget_flops)
            self._runs[key] = Point.of_run(run, cell.budget_flops, 0, "sweep")
        loss = self._levels.get(cell.budget_flops, 1.0) * self._shape(cell.width, cell.budget_flops)
        told = {"budget_flops": cell.budget_flops, "dev_loss": loss}
        return Point(**{**self._runs[key].to_json(), **told, "dev_loss_se": RELATIVE_SE * loss})
