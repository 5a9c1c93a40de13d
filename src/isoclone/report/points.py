"""Every point, one row each, sortable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from isoclone.base.records import Point
from isoclone.base.schema import Column, columns, figures
from isoclone.report.facts import Facts
from isoclone.report.sections import Section
from isoclone.report.templating import fill
from isoclone.report.words import MISSING, number, percent, power, whole, with_error

HEADS = {  # heading -> the column of a point that has its meaning
    "run": "run_id",
    "budget C": "budget_flops",
    "spent C": "flops",
    "width": "width",
    "N": "params",
    "D": "samples",
    "epochs": "epochs",
    "dev loss": "dev_loss",
    "accuracy": "dev_accuracy",
    "return": "return_mean",
    "seed": "seed",
}
LOSSES = ("epochs", "dev_loss", "dev_accuracy")  # what only imitation has
MANY = 500  # points; of more, not all are on the page
LEFT_OUT = {"dev_loss_se", "return_se", "train_loss", "dev_accuracy_top3"}  # not on the page


def points(facts: Facts) -> Section | None:
    """Return every point, one row each; a figure added to `Point` has a column here by itself."""
    if not facts.everyone:
        return None
    told = LEFT_OUT | set(HEADS.values())
    new = [column for column in figures(Point) if column.name not in told]
    known = {column.name: column for column in columns(Point)}
    heads = [(head, known[name].says) for head, name in _heads(facts).items()]
    heads += [(column.heading, column.says) for column in new]
    mixed = ["dev_loss_parts"] if any(p.dev_loss_parts for p in facts.everyone) else []
    heads += [("dev loss by part", known[name].says) for name in mixed]
    heads += [("status", ""), ("checkpoint or reason", "")]
    shown = _shown(facts)
    rows = [(p, [*_cells(p, facts), *_figures(p, new), *_texts(p, mixed)]) for p in shown]
    left_out = len(facts.everyone) - len(shown)
    html = fill(
        "points", facts=facts, folder=facts.folder, heads=heads, rows=rows, left_out=left_out
    )
    return Section("Every point", html=html)


def _shown(facts: Facts) -> list[Point]:
    """Return the points to show: all, or of many those of low loss at each budget, and the lost."""
    everyone = list(facts.everyone)
    if len(everyone) <= MANY:
        return everyone
    ranks: Counter[float] = Counter()
    kept, each = set(), MANY // len({p.budget_flops for p in everyone})
    for p in sorted(everyone, key=facts.cost):
        ranks[p.budget_flops] += 1
        if ranks[p.budget_flops] <= each or p.status != "ok" or p.role != "sweep":
            kept.add(id(p))
    return [p for p in everyone if id(p) in kept]


def _heads(facts: Facts) -> dict[str, str]:
    """Return the headings: without those of losses where no point has one."""
    return {head: name for head, name in HEADS.items() if not facts.by_return or name not in LOSSES}


def _cells(p: Point, facts: Facts) -> list[tuple[Any, str]]:
    """Return the cells of the headings, but for the run: what to sort by, and what to show."""
    cells = [
        (p.budget_flops, power(p.budget_flops)),
        (p.flops, power(p.flops, 4)),
        (p.width, str(p.width)),
        (p.params, whole(p.params)),
        (p.samples, whole(p.samples)),
        (p.epochs, f"{p.epochs:.2f}"),
        (p.dev_loss, with_error(p.dev_loss, p.dev_loss_se)),
        (p.dev_accuracy, percent(p.dev_accuracy, 1)),
        (p.return_mean, with_error(p.return_mean, p.return_se)),
        (p.seed, str(p.seed)),
    ]
    shown = [name for name in HEADS.values() if name != "run_id"]
    left_out = LOSSES if facts.by_return else ()
    return [cell for name, cell in zip(shown, cells, strict=True) if name not in left_out]


def _texts(p: Point, names: Sequence[str]) -> list[tuple[Any, str]]:
    values = [getattr(p, name) for name in names]
    return [(value, value or MISSING) for value in values]


def _figures(p: Point, new: list[Column]) -> list[tuple[Any, str]]:
    values = [getattr(p, column.name) for column in new]
    return [(value, number(value)) for value in values]
