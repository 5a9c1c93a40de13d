"""Tune a study's learning rate and batch size: a grid at three sizes, a law, and a check of it.

out/grid    an ablation: every width x rate x batch size, at each budget
out/check   another one, on seeds of its own: the recipe as it is, and as the law has it
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclone.base.errors import FitError, SpecError
from isoclone.base.records import Record, Status
from isoclone.base.store import write_json
from isoclone.laws.rates import FEWEST, BestRate, RateLaw, fit_rates, vertex
from isoclone.laws.saved import Worth
from isoclone.report.measured import Measured
from isoclone.study.ablation import Ablation
from isoclone.study.folder import StudyFolder
from isoclone.study.session import Session
from isoclone.study.spec import StudySpec

AS_IT_IS, TUNED = "as it is", "tuned"
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the recipe's
BATCHES = (0.5, 1.0, 2.0)
SIZES = 3


@dataclass(frozen=True)
class Gain(Record):
    """Dev losses at a budget, means over the seeds of the check, in nats per action."""

    budget_flops: float
    width: int
    before: float
    after: float


@dataclass(frozen=True)
class Tuned(Record):
    """What tuning found: the law of the best rate, the recipe it gives, and what that gains."""

    law: RateLaw
    best: tuple[BestRate, ...]
    recipe: dict[str, Any]
    gains: tuple[Gain, ...]
    worth: Worth
    status: tuple[Status, ...] = ()


def tune(
    spec: StudySpec,
    out: str | Path,
    session: Session | None = None,
    rates: Sequence[float] = RATES,
    batches: Sequence[float] = BATCHES,
) -> Tuned:
    """Find learning rate and batch size of a study; finished work is not done twice.

    Args:
        spec: the study; its smallest, middle and largest width are tuned at all its budgets.
        rates: factors of the recipe's learning rate to try, ascending.
        batches: factors of its batch size.

    Raises:
        SpecError: the study imitates nobody, or has fewer widths or budgets than are needed.
        FitError: too few of the best rates lie inside those that were tried.
    """
    out = Path(out)
    _check(spec, rates)
    grid, cells = _grid(spec, rates, batches)
    rows = grid.run(out / "grid", spec.demos, session)
    best, status = _best(rows, cells)
    batch = _best_batch(best)
    chosen = [each for each in best if each.batch_size == batch]
    law = fit_rates(chosen)
    recipe = _recipe(spec, law, batch, chosen)
    demos = spec.demos or str(StudyFolder(out / "grid" / "demos-of-all").demos)
    check = _check_of(spec, recipe)
    judged = check.run(out / "check", demos, session)
    (worth,) = check.worths(judged)
    found = Tuned(law, tuple(best), recipe, _gains(judged, check), worth, tuple(status))
    write_json(out / "tuned.json", found.to_json())
    return found


def _check(spec: StudySpec, rates: Sequence[float]) -> None:
    if not spec.imitates:
        raise SpecError("tune compares dev losses, and a study of learning by play has none")
    if len(spec.widths) < SIZES or len(spec.budgets_flops) < 2:
        raise SpecError(f"tune needs {SIZES} widths and two budgets: --widths, --budgets")
    if len(rates) < SIZES or list(rates) != sorted(set(rates)) or min(rates) <= 0:
        raise SpecError("--rates: give three or more factors of the learning rate, ascending")


def _widths(spec: StudySpec) -> tuple[int, ...]:
    """Return the smallest, the middle and the largest width."""
    return spec.widths[0], spec.widths[len(spec.widths) // 2], spec.widths[-1]


def _grid(
    spec: StudySpec, rates: Sequence[float], batches: Sequence[float]
) -> tuple[Ablation, dict[str, tuple[float, int]]]:
    """Return the ablation of all widths, rates and batch sizes; {label: (rate, batch size)}.

    The rate is what the width is trained at: `width_power` is part of it.
    """
    variants, cells = {}, {}
    power, base = spec.recipe["width_power"], spec.recipe["width_base"]
    for width in _widths(spec):
        for batch in sorted({max(1, round(f * spec.recipe["batch_size"])) for f in batches}):
            for factor in rates:
                rate = factor * spec.recipe["learning_rate"]
                label = f"w{width} b{batch} x{factor:g}"
                recipe = {**spec.recipe, "learning_rate": rate, "batch_size": batch}
                variants[label] = {"width": width, "recipe": recipe}
                cells[label] = rate * (width / base) ** -power, batch
    name, question = f"{spec.name}-grid", "Which learning rate, and which batch size?"
    budgets = spec.budgets_flops
    return Ablation(name, question, spec, variants, spec.widths[0], budgets, spec.seeds, 0), cells


def _best(
    rows: Sequence[Measured], cells: dict[str, tuple[float, int]]
) -> tuple[list[BestRate], list[Status]]:
    """Return the best rate of each width, batch size and budget; how many had none."""
    losses: dict[tuple[int, float, int], dict[float, list[float]]] = {}
    samples: dict[tuple[int, float, int], int] = {}
    for m in rows:
        rate, batch = cells[m.label]
        key = (m.point.width, m.point.budget_flops, batch)
        value = math.inf if m.point.dev_loss is None else m.point.dev_loss
        losses.setdefault(key, defaultdict(list))[rate].append(value)
        samples[key] = m.point.samples or samples.get(key, 0)
    found = []
    for key, by_rate in sorted(losses.items()):
        at = vertex({rate: sum(each) / len(each) for rate, each in by_rate.items()})
        if at is not None:
            width, budget, batch = key
            found.append(BestRate(width, budget, float(samples[key]), batch, *at))
    outside = len(losses) - len(found)
    if not outside:
        return found, []
    said = f"{outside} of {len(losses)} best rates lie beyond those that were tried: left out"
    return found, [Status("rate_censored", said)]


def _best_batch(best: Sequence[BestRate]) -> int:
    """Return the batch size of the lowest losses, over the cells where all have a best rate.

    Only sizes with best rates enough for a law are chosen from; of those that share no cell, the
    one with the most.
    """
    if not best:
        raise FitError("no best learning rate lies inside the rates that were tried: more --rates")
    count = Counter(each.batch_size for each in best)
    sizes = {size for size in count if count[size] >= FEWEST} or set(count)
    by_cell: dict[tuple[int, float], dict[int, float]] = defaultdict(dict)
    for each in best:
        if each.batch_size in sizes:
            by_cell[each.width, each.budget_flops][each.batch_size] = math.log(each.dev_loss)
    shared = [cell for cell in by_cell.values() if set(cell) == sizes]
    if not shared:
        return max(sorted(sizes), key=lambda size: count[size])
    return min(sorted(sizes), key=lambda size: sum(cell[size] for cell in shared))


def _recipe(spec: StudySpec, law: RateLaw, batch: int, best: Sequence[BestRate]) -> dict[str, Any]:
    """Return the recipe by the law, at the samples of the largest budget's middle size."""
    last = [each.samples for each in best if each.budget_flops == max(b.budget_flops for b in best)]
    samples = sorted(last)[len(last) // 2]
    rate = float(f"{law.rate(spec.recipe['width_base'], samples):.3g}")
    power = round(-law.width_exponent.value, 3)
    changes = {"learning_rate": rate, "width_power": power, "batch_size": batch}
    return {**spec.recipe, **changes, "name": f"{spec.recipe['name']}-tuned"}


def _check_of(spec: StudySpec, recipe: dict[str, Any]) -> Ablation:
    """Return the ablation that judges the recipe, on as many seeds, none of them the grid's."""
    seeds = tuple(max(spec.seeds) + 1 + place for place in range(len(spec.seeds)))
    variants: dict[str, dict[str, Any]] = {AS_IT_IS: {}, TUNED: {"recipe": recipe}}
    width, budgets = _widths(spec)[1], spec.budgets_flops[-2:]
    name = f"{spec.name}-check"
    return Ablation(name, "What does tuning gain?", spec, variants, width, budgets, seeds, 0)


def _gains(rows: Sequence[Measured], check: Ablation) -> tuple[Gain, ...]:
    """Return the losses of both recipes at each budget of the check; NaN where one was lost."""
    found = []
    for budget in check.budgets_flops:
        mean = {}
        for label in (AS_IT_IS, TUNED):
            here = [
                m.point.dev_loss for m in rows if (m.label, m.point.budget_flops) == (label, budget)
            ]
            known = [loss for loss in here if loss is not None]
            mean[label] = sum(known) / len(known) if len(known) == len(here) else math.nan
        found.append(Gain(budget, check.width, mean[AS_IT_IS], mean[TUNED]))
    return tuple(found)


def tuned_spec(spec: StudySpec, found: Tuned) -> StudySpec:
    """Return the study with the recipe that was found."""
    return dataclasses.replace(spec, recipe=found.recipe)
