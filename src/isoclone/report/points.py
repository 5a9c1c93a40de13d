"""Every point, one row each, sortable."""

from __future__ import annotations

from typing import Any

from isoclone.base.records import Point
from isoclone.report.facts import Facts
from isoclone.report.pieces import code, note, section
from isoclone.report.words import (
    MISSING,
    esc,
    percent,
    plural,
    power,
    whole,
    with_error,
)


def points(facts: Facts) -> str:
    """Every point, one row each, sortable."""
    everyone = [*facts.points, *([facts.agent] if facts.agent else [])]
    if not everyone:
        return ""
    headings = [
        "run",
        "budget C",
        "spent C",
        "width",
        "N",
        "D",
        "epochs",
        "dev loss",
        "accuracy",
        "return",
        "seed",
        "status",
        "checkpoint or reason",
    ]
    head = "".join(
        f'<th scope=col aria-sort="none"><button type=button>{h}</button></th>' for h in headings
    )
    body = "".join(_row(p) for p in everyone)
    said = (
        f"{plural(len(everyone), 'point')}; click a heading to sort. The same table is in "
        f"{code(facts.folder + '/points.csv')} and {code('points.parquet')}; run "
        f"<i>r</i> is the folder {code(facts.folder + '/runs/')}<i>r</i>."
    )
    return section(
        "points",
        "Every point",
        '<div class="scroll long" tabindex=0><table class="sortable">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        note(said),
    )


def _row(p: Point) -> str:
    cells: list[tuple[Any, str]] = [
        (p.budget_flops, power(p.budget_flops)),
        (p.flops, power(p.flops, 4)),
        (p.width, str(p.width)),
        (p.params, whole(p.params)),
        (p.samples, whole(p.samples)),
        (p.epochs, f"{p.epochs:.2f}"),
        (p.dev_loss, with_error(p.dev_loss, p.dev_loss_se)),
        (p.dev_accuracy, MISSING if p.dev_accuracy is None else percent(p.dev_accuracy, 1)),
        (p.return_mean, with_error(p.return_mean, p.return_se)),
        (p.seed, str(p.seed)),
    ]
    figures = "".join(f'<td data-v="{"" if v is None else v}">{text}</td>' for v, text in cells)
    state = p.status if p.status != "ok" else "forecast" if p.role == "forecast" else "ok"
    kind = ' class="lost"' if p.status != "ok" else ' class="agent"' if p.role == "forecast" else ""
    why = esc(p.reason or "no reason given") if p.status != "ok" else code(p.checkpoint or MISSING)
    return f"<tr{kind}><td>{code(p.run_id)}</td>{figures}<td>{esc(state)}</td><td>{why}</td></tr>"
