"""The page of an ablation: the dev loss and score of each variant, and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoclone.base.records import Point
from isoclone.base.schema import Column, figures
from isoclone.base.store import write_bytes
from isoclone.report.figures import against_cost, by_variant
from isoclone.report.measured import Measured
from isoclone.report.page import whole_page
from isoclone.report.sections import Section
from isoclone.report.templating import environment


def write_ablation(path: Path, name: str, question: str, rows: Sequence[Measured]) -> Path:
    """Write the page of variants and their measured points; return its path."""
    parts: Any = environment().get_template("ablation.html.j2").module  # its macros
    sections = {
        "variants": Section(
            "What it does to the dev loss",
            html=parts.variants(),
            figures={"variants": by_variant(rows, "dev_loss")},
        ),
        "cost": Section(
            "What it costs",
            html=parts.cost(),
            figures={cost: against_cost(rows, cost) for cost in ("flops", "train_seconds")},
        ),
    }
    if any(m.point.return_mean is not None for m in rows):
        drawn = {"returns": by_variant(rows, "return_mean")}
        html = parts.returns()
        sections["returns"] = Section("What it does to the score", html=html, figures=drawn)
    sections["points"] = Section("Every point", html=parts.points(rows, _more()))
    header = parts.header(name, question, *_extremes(rows))
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
    rows: Sequence[Measured],
) -> tuple[float | None, Measured | None, Measured | None]:
    """Return the largest budget that all have been trained to, and the best and worst there."""
    known = [m for m in rows if m.point.dev_loss is not None]
    if not known:
        return None, None, None
    reached: dict[str, set[float]] = {}
    for m in known:
        reached.setdefault(m.label, set()).add(m.point.budget_flops)
    last = max(set.intersection(*reached.values()) or set.union(*reached.values()))
    here = [m for m in known if m.point.budget_flops == last]
    order = sorted(here, key=lambda m: m.point.dev_loss or 0.0)
    return last, order[0], order[-1] if len(order) > 1 else None
