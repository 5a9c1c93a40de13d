"""The FLOPs that the adaptive plan saved, decision by decision."""

from __future__ import annotations

import math
from typing import Any

from isoclone.base.records import Point
from isoclone.base.results import mean_loss
from isoclone.report.facts import Facts
from isoclone.report.sections import Section
from isoclone.report.templating import fill

MARKS = {"stopped": " ■", "added": " +", "waits": "", "joins": "", "": ""}
FADE = 0.12  # a loss e^0.12 times the best is drawn e times fainter


def savings(facts: Facts) -> Section:
    """Return the FLOPs that the plan saved, and dev loss or return of each size at each budget."""
    html = fill("plan", facts=facts, rows=_heatmap(facts), marks=MARKS)
    return Section("What the plan saved", html=html)


def _heatmap(facts: Facts) -> list[dict[str, Any]]:
    """Return sizes by budgets: each cell's figure, and how near it is to its budget's best."""
    decided = {(d.width, d.budget_flops): d.what for d in facts.savings.decisions}
    added = {d.width for d in facts.savings.decisions if d.what == "added"}
    params = {p.width: p.params for p in facts.points}
    cells = {
        (width, budget): _cell(facts, width, budget, decided.get((width, budget), ""))
        for width in facts.sweep.widths
        for budget in facts.budgets
    }
    shade = _shade_returns if facts.by_return else _shade
    for budget in facts.budgets:
        shade([cells[width, budget] for width in facts.sweep.widths])
    return [
        {
            "width": width,
            "params": params.get(width),
            "added": width in added,
            "cells": [cells[width, budget] for budget in facts.budgets],
        }
        for width in reversed(facts.sweep.widths)
    ]


def _cell(facts: Facts, width: int, budget: float, decision: str) -> dict[str, Any]:
    here = [p for p in facts.points if p.width == width and p.budget_flops == budget]
    cost = _mean_cost(facts, here)
    known = None if not math.isfinite(cost) else -cost if facts.by_return else cost
    return {"runs": [p.run_id for p in here], "loss": known, "decision": decision}


def _mean_cost(facts: Facts, here: list[Point]) -> float:
    """Return the mean loss over seeds, or minus the mean return; infinite where one is missing."""
    if not here:
        return math.inf
    return sum(map(facts.cost, here)) / len(here) if facts.by_return else mean_loss(here)


def _shade_returns(cells: list[dict[str, Any]]) -> None:
    """Add to the cells of a budget how near they are to the best, from its lowest return on."""
    known = [cell["loss"] for cell in cells if cell["loss"] is not None]
    low, best = min(known, default=0.0), max(known, default=0.0)
    for cell in cells:
        cell["best"] = cell["loss"] == best
        share = 1.0 if best == low else ((cell["loss"] or low) - low) / (best - low)
        cell["near"] = 100 * share**2


def _shade(cells: list[dict[str, Any]]) -> None:
    """Add to the cells of a budget how near they are to the best, 100 for the best itself."""
    best = min((cell["loss"] for cell in cells if cell["loss"] is not None), default=0.0)
    for cell in cells:
        loss = cell["loss"] or 0.0
        cell["best"] = cell["loss"] == best
        cell["near"] = 100 * (best / loss) ** (1 / FADE) if loss > 0 and best > 0 else 100.0
