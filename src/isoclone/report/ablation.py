"""The page of an ablation: dev loss and score of each variant, its cost, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoclone.base.records import Point
from isoclone.base.schema import Column, figures
from isoclone.base.store import write_bytes
from isoclone.laws.saved import WORDS, Worth
from isoclone.report.figures import against_cost, along, by_variant
from isoclone.report.measured import Along, Costs, Measured
from isoclone.report.page import whole_page
from isoclone.report.sections import Section
from isoclone.report.templating import environment


def write_ablation(
    path: Path,
    name: str,
    question: str,
    rows: Sequence[Measured],
    worths: Sequence[Worth] = (),
    by: Along | None = None,
    costs: Sequence[Costs] = (),
) -> Path:
    """Write the page of variants, their measured points and compute multipliers; return its path.

    Variants without any dev loss, as those of reinforcement learning, are shown by their return.

    Args:
        by: a number that the variants differ by.
        costs: of each variant, beside FLOPs.
    """
    parts: Any = environment().get_template("ablation.html.j2").module  # its macros
    lost = any(m.point.dev_loss is not None for m in rows)
    played = any(m.point.return_mean is not None for m in rows)
    measure = "return_mean" if played and not lost else "dev_loss"
    sections, best = {}, _extremes(rows, measure)
    if by is not None and best[0] is not None:
        drawn = {"along": along([m for m in rows if m.point.budget_flops == best[0]], by, measure)}
        what = WORDS[measure].capitalize()
        html = parts.along(what, by.axis, best[0])
        sections["along"] = Section(f"{what} against {by.axis}", html=html, figures=drawn)
    if measure == "dev_loss":
        drawn = {"variants": by_variant(rows, measure)}
        what = "What it does to the dev loss"
        sections["variants"] = Section(what, html=parts.variants(), figures=drawn)
    if worths:
        html = parts.worth(worths, WORDS[worths[0].measure])
        sections["worth"] = Section("What it is worth in compute", html=html)
    drawn = {cost: against_cost(rows, cost, measure) for cost in ("flops", "train_seconds")}
    html = parts.cost(WORDS[measure].capitalize())
    sections["cost"] = Section("What it costs", html=html, figures=drawn)
    if costs:
        sections["costs"] = Section("What training and play cost", html=parts.costs(costs))
    if played:
        drawn = {"returns": by_variant(rows, "return_mean")}
        html = parts.returns()
        sections["returns"] = Section("What it does to the score", html=html, figures=drawn)
    sections["points"] = Section("Every point", html=parts.points(rows, _more()))
    header = parts.header(name, question, measure, *best)
    page = whole_page(f"{name}: an isoclone ablation", header, sections)
    write_bytes(path, page.encode())
    return path


SHOWN = {  # figures that the page's table has columns for, or that stand beside another
    "dev_loss",
    "dev_loss_se",
    "dev_accuracy",
    "dev_accuracy_top3",
    "train_loss",
    "return_mean",
    "return_se",
}


def _more() -> list[Column]:
    """Return the figures of a point that the table has no column for: each gets one."""
    return [column for column in figures(Point) if column.name not in SHOWN]


def _extremes(
    rows: Sequence[Measured], measure: str
) -> tuple[float | None, Measured | None, Measured | None]:
    """Return the largest budget that all have been trained to, and the best and worst there.

    The best has the lowest dev loss, or the highest return.
    """
    known = [m for m in rows if getattr(m.point, measure) is not None]
    if not known:
        return None, None, None
    reached: dict[str, set[float]] = {}
    for m in known:
        reached.setdefault(m.label, set()).add(m.point.budget_flops)
    last = max(set.intersection(*reached.values()) or set.union(*reached.values()))
    here = [m for m in known if m.point.budget_flops == last]
    order = sorted(here, key=lambda m: getattr(m.point, measure), reverse=measure == "return_mean")
    return last, order[0], order[-1] if len(order) > 1 else None
