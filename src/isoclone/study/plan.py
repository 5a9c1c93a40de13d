"""Choose what to run next: a pure function of the specification and the points so far.

The grid is walked budget by budget. Rules make it adaptive; all look at the best size at a budget:
that with the lowest dev loss (mean over seeds), or where nothing is imitated the highest return.
They come in two strengths; 'wide' is what a study takes unless it names 'narrow'.

- **Stopped.** A size two or more steps below the best, and worse than it by more than twice their
  combined SE, is trained no further: the best size grows with compute. Narrow: every size below.
- **Waits.** A size three or more steps above the best of the budget before is not trained yet. Its
  run would start from the beginning later on, so waiting costs nothing. Narrow: at the last budget,
  which costs most, two or more.
- **Joins.** If the largest size trained at a budget is the best, the next one joins. Narrow: if the
  smallest is, the one below it comes back; at the last budget a third size joins at most, and none
  comes back.
- **Added.** If the best is the largest (smallest) size there is, a size beyond it is added, by the
  ratio of the last two sizes, `extend` times at most on either side.

`benchmarks/bench_plan.py` measures what they cost, and how good forecasts are after them. Narrow
rules make the same forecast of the loss for three quarters of the FLOPs, and know the best size
less well: the demo's exponent of N came out as .48 [.17, .80] instead of .38 [.30, .46].
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isoclone.base.records import Point
from isoclone.base.results import Decision, mean_cost
from isoclone.study.spec import NARROW, WIDE, StudySpec


@dataclass(frozen=True)
class Rules:
    """The numbers in the rules above.

    A size stops so many steps below the best, if it is worse by so many SEs; it waits so many steps
    above the best of the budget before, and at the last budget. `narrow`: sizes that stopped come
    back, and at the last budget only sizes join that do not wait at others.
    """

    hopeless_steps: int
    hopeless_ses: float
    waiting_steps: int
    waiting_last: int
    narrow: bool


RULES = {
    NARROW: Rules(1, 0.0, waiting_steps=3, waiting_last=2, narrow=True),
    WIDE: Rules(2, 2.0, waiting_steps=3, waiting_last=3, narrow=False),
}


@dataclass(frozen=True)
class Cell:
    """One point to be measured: a size, a seed, a budget."""

    width: int
    seed: int
    budget_flops: float


@dataclass(frozen=True)
class Sweep:
    """State of the sweep: cells still missing at the current budget, and decisions so far."""

    cells: tuple[Cell, ...]
    decisions: tuple[Decision, ...]
    widths: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is left to measure."""
        return not self.cells


def grid(spec: StudySpec) -> list[Cell]:
    """Return every cell of the plain grid."""
    return [
        Cell(width, seed, budget)
        for budget in spec.budgets_flops
        for width in spec.widths
        for seed in spec.seeds
    ]


def next_cells(spec: StudySpec, points: Iterable[Point]) -> Sweep:
    """Return the cells to measure next; none when the sweep is complete.

    The answer depends on the points alone, never on their order or on the worker that measured
    them, so an interrupted sweep goes on as it would have without the interruption.
    """
    return _Walk(spec, points).sweep()


class _Walk:
    """The walk over the grid, as far as the points go."""

    def __init__(self, spec: StudySpec, points: Iterable[Point]):
        self._spec, self._rules = spec, RULES[spec.rules]
        self._measured = {(p.width, p.seed, p.budget_flops): p for p in points if p.role == "sweep"}
        self._widths, self._stopped = list(spec.widths), set[int]()
        self._decisions: list[Decision] = []

    def sweep(self) -> Sweep:
        """Return the state of the sweep."""
        best = None
        for budget in self._spec.budgets_flops:
            best_before, active = best, self._active(best, budget)
            while True:
                if missing := self._missing(active, budget):
                    return Sweep(missing, tuple(self._decisions), tuple(self._widths))
                seeds = self._spec.seeds
                at_budget = {w: [self._measured[w, s, budget] for s in seeds] for w in active}
                best = _best(at_budget)
                more = self._more(active, best, best_before, budget)
                if more is None:
                    break
                active = sorted([*active, more])
            if self._spec.adaptive and best is not None:
                self._stop_hopeless(at_budget, best, budget)
        return Sweep((), tuple(self._decisions), tuple(self._widths))

    def _is_last(self, budget: float) -> bool:
        return budget == self._spec.budgets_flops[-1]

    def _active(self, best_before: int | None, budget: float) -> list[int]:
        """Return the sizes to train at a budget, before any joins."""
        active = [w for w in self._widths if w not in self._stopped]
        if not self._spec.adaptive or best_before is None:
            return active
        steps = self._rules.waiting_last if self._is_last(budget) else self._rules.waiting_steps
        near = self._within(steps, best_before)
        for width in self._widths[len(near) :]:
            why = f"width {best_before} was best at the budget before"
            self._decide(budget, width, "waits", why)
        return [w for w in active if w in near]

    def _within(self, steps: int, best: int) -> list[int]:
        """Return the sizes that are less than so many steps above the best."""
        return self._widths[: self._widths.index(best) + steps]

    def _missing(self, active: Sequence[int], budget: float) -> tuple[Cell, ...]:
        """Return the cells of a budget that are not measured.

        The small ones take the most time for a budget, and so come first.
        """
        cells = [Cell(w, s, budget) for w in active for s in sorted(self._spec.seeds)]
        return tuple(c for c in cells if (c.width, c.seed, budget) not in self._measured)

    def _more(
        self, active: list[int], best: int | None, best_before: int | None, budget: float
    ) -> int | None:
        """Return a size to train at a budget too: one that waits or stopped, or a new one."""
        spec, widths = self._spec, self._widths
        if best is None or not spec.adaptive:
            return None
        at, last = widths.index(best), self._is_last(budget)
        if best == active[-1] != widths[-1]:
            more = widths[at + 1]
            if self._rules.narrow and last and not self._is_near(more, best_before):
                return None
            self._decide(budget, more, "joins", f"width {best} was best")
            return more
        if best == active[0] != widths[0] and self._rules.narrow and not last:
            self._stopped.discard(widths[at - 1])
            self._decide(budget, widths[at - 1], "joins", f"width {best} was best")
            return widths[at - 1]
        added = _beyond(spec, widths, best)
        if added is None or spec.batch_flops(added) > budget:
            return None
        edge = "largest" if added > widths[-1] else "smallest"
        self._widths = sorted([*widths, added])
        self._decide(budget, added, "added", f"width {best}, the {edge}, was best")
        return added

    def _is_near(self, width: int, best_before: int | None) -> bool:
        """Return whether a size does not wait, as long as the budget is not the last."""
        return best_before is None or width in self._within(self._rules.waiting_steps, best_before)

    def _stop_hopeless(self, at_budget: dict[int, list[Point]], best: int, budget: float) -> None:
        for width, points in at_budget.items():
            steps = self._widths.index(best) - self._widths.index(width)
            gap = mean_cost(points) - mean_cost(at_budget[best])
            noise = math.hypot(_se(points), _se(at_budget[best]))
            if steps >= self._rules.hopeless_steps and gap > self._rules.hopeless_ses * noise:
                self._stopped.add(width)
                sizes = "size" if steps == 1 else "sizes"
                why = f"{steps} {sizes} below width {best} and {self._worse(points, gap, noise)}"
                self._decide(budget, width, "stopped", why)

    def _worse(self, points: Sequence[Point], gap: float, noise: float) -> str:
        """Return in words how far a size is behind the best."""
        if not math.isfinite(gap):
            return f"a run of it {next((p.status for p in points if p.status != 'ok'), 'is lost')}"
        unit = f"{gap:.3f} nats" if self._spec.imitates else f"{gap:.4g} of return"
        return f"worse by {unit}" + (f" ({gap / noise:.1f} SE)" if noise else "")

    def _decide(self, budget: float, width: int, what: str, why: str) -> None:
        self._decisions.append(Decision(budget, width, what, why))


def _best(at_budget: dict[int, list[Point]]) -> int | None:
    """Return the best size; of several that are equal, as all are at the highest score, the middle.

    None where no size has a figure.
    """
    costs = {width: mean_cost(points) for width, points in at_budget.items()}
    lowest = min(costs.values())
    equal = sorted(width for width, cost in costs.items() if cost == lowest)
    return equal[len(equal) // 2] if math.isfinite(lowest) else None


def _beyond(spec: StudySpec, widths: list[int], best: int | None) -> int | None:
    """Return the size to add if the best one lies at an edge; None if it does not, or may not."""
    if best == widths[-1] and sum(w > max(spec.widths) for w in widths) < spec.extend:
        return max(best + 1, round(best * best / widths[-2]))
    if best == widths[0] > 1 and sum(w < min(spec.widths) for w in widths) < spec.extend:
        return min(best - 1, max(1, round(best * best / widths[1])))
    return None


def _se(points: Sequence[Point]) -> float:
    """Return the SE of `mean_cost`; that of returns counts the spread between seeds."""
    if any(p.dev_loss is not None for p in points):
        return math.sqrt(sum((p.dev_loss_se or 0.0) ** 2 for p in points)) / len(points)
    count = len(points)
    played = sum((p.return_se or 0.0) ** 2 for p in points) / count
    returns = [p.return_mean or 0.0 for p in points]
    between = statistics.variance(returns) if count > 1 else 0.0
    return math.sqrt(max(played, between) / count)


def flops_spent(points: Iterable[Point]) -> float:
    """Add up the training FLOPs of all runs, each up to its last point."""
    furthest: dict[str, float] = {}
    for p in points:
        furthest[p.run_id] = max(furthest.get(p.run_id, 0.0), p.flops)
    return sum(furthest.values())


def grid_flops(spec: StudySpec, widths: Sequence[int] | None = None) -> float:
    """Return the FLOPs of a plain grid: every size (the spec's, or those given) to all budgets."""
    each = spec.flops_to(max(spec.budgets_flops))
    return len(widths or spec.widths) * len(spec.seeds) * each
