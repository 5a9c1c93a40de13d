"""Choose what to run next: a pure function of the specification and the points so far.

The grid is walked budget by budget. Three rules make it adaptive; all look at the size with the
lowest dev loss (mean over seeds) at a budget.

- **Stopped.** A size two or more steps below the best, and worse than it by more than twice their
  combined SE, is trained no further: the best size grows with compute.
- **Waits.** A size three or more steps above the best of the budget before is not trained yet. It
  joins once the best size is less than three steps below it, or is the largest that did not wait.
  Its run then starts from the beginning, so waiting costs nothing.
- **Added.** If the best is the largest (smallest) size there is, a size beyond it is added, by the
  ratio of the last two sizes, `extend` times at most on either side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isoclone.base.records import Point
from isoclone.base.results import Decision, mean_loss
from isoclone.study.spec import StudySpec

HOPELESS_STEPS = 2
HOPELESS_SES = 2.0
WAITING_STEPS = 3


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
    measured = {(p.width, p.seed, p.budget_flops): p for p in points if p.role == "sweep"}
    widths = list(spec.widths)
    decisions: list[Decision] = []
    stopped: set[int] = set()
    best_before: int | None = None
    for budget in spec.budgets_flops:
        active = _active(spec, widths, stopped, best_before, budget, decisions)
        while True:
            cells = [Cell(w, s, budget) for w in active for s in spec.seeds]
            missing = [c for c in cells if (c.width, c.seed, budget) not in measured]
            if missing:
                return Sweep(_longest_first(missing), tuple(decisions), tuple(widths))
            at_budget = {w: [measured[w, s, budget] for s in spec.seeds] for w in active}
            best = _best(at_budget)
            if best == active[-1] != widths[-1]:  # the next one has waited long enough
                active.append(widths[widths.index(best) + 1])
                decisions.append(Decision(budget, active[-1], "joins", f"width {best} was best"))
                continue
            added = _beyond(spec, widths, best)
            if added is None or not spec.adaptive or spec.batch_flops(added) > budget:
                break
            widths = sorted([*widths, added])
            active = sorted([*active, added])
            edge = "largest" if added > max(at_budget) else "smallest"
            decisions.append(
                Decision(budget, added, "added", f"width {best}, the {edge}, was best")
            )
        if spec.adaptive and best is not None:
            _stop_hopeless(at_budget, widths, best, budget, stopped, decisions)
        best_before = best
    return Sweep((), tuple(decisions), tuple(widths))


def _longest_first(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Sort cells by size: the small ones take the most time for a budget, and so come first."""
    return tuple(sorted(cells, key=lambda c: (c.width, c.seed)))


def _active(
    spec: StudySpec,
    widths: list[int],
    stopped: set[int],
    best_before: int | None,
    budget: float,
    decisions: list[Decision],
) -> list[int]:
    active = [w for w in widths if w not in stopped]
    if not spec.adaptive or best_before is None:
        return active
    limit = widths.index(best_before) + WAITING_STEPS
    for width in widths[limit:]:
        why = f"width {best_before} was best at the budget before"
        decisions.append(Decision(budget, width, "waits", why))
    return [w for w in active if widths.index(w) < limit]


def _best(at_budget: dict[int, list[Point]]) -> int | None:
    best = min(at_budget, key=lambda w: mean_loss(at_budget[w]))
    return best if math.isfinite(mean_loss(at_budget[best])) else None


def _beyond(spec: StudySpec, widths: list[int], best: int | None) -> int | None:
    """Return the size to add if the best one lies at an edge; None if it does not, or may not."""
    if best == widths[-1] and sum(w > max(spec.widths) for w in widths) < spec.extend:
        return max(best + 1, round(best * best / widths[-2]))
    if best == widths[0] > 1 and sum(w < min(spec.widths) for w in widths) < spec.extend:
        return min(best - 1, max(1, round(best * best / widths[1])))
    return None


def _stop_hopeless(
    at_budget: dict[int, list[Point]],
    widths: list[int],
    best: int,
    budget: float,
    stopped: set[int],
    decisions: list[Decision],
) -> None:
    for width, points in at_budget.items():
        steps = widths.index(best) - widths.index(width)
        gap = mean_loss(points) - mean_loss(at_budget[best])
        noise = math.hypot(_se(points), _se(at_budget[best]))
        if steps >= HOPELESS_STEPS and gap > HOPELESS_SES * noise:
            stopped.add(width)
            why = f"{steps} sizes below width {best} and worse by {gap:.3f} nats"
            if noise:
                why += f" ({gap / noise:.1f} SE)"
            decisions.append(Decision(budget, width, "stopped", why))


def _se(points: Sequence[Point]) -> float:
    return math.sqrt(sum((p.dev_loss_se or 0.0) ** 2 for p in points)) / len(points)


def flops_spent(points: Iterable[Point]) -> float:
    """Add up the training FLOPs of all runs, each up to its last point."""
    furthest: dict[str, float] = {}
    for p in points:
        furthest[p.run_id] = max(furthest.get(p.run_id, 0.0), p.flops)
    return sum(furthest.values())


def grid_flops(spec: StudySpec, widths: Sequence[int] | None = None) -> float:
    """Return the FLOPs of a plain grid: every size (the spec's, or those given) to all budgets."""
    return len(widths or spec.widths) * len(spec.seeds) * max(spec.budgets_flops)
