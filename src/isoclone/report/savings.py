"""What the adaptive plan saved, decision by decision."""

from __future__ import annotations

import math

from isoclone.report.facts import Facts
from isoclone.report.pieces import note, section, table
from isoclone.report.words import (
    esc,
    number,
    percent,
    power,
)
from isoclone.study import plan


def savings(facts: Facts) -> str:
    """What the adaptive plan saved, decision by decision."""
    found = facts.savings
    spent, full = found["spent_flops"], found["grid_flops"]
    saved = found["saved_share"]
    told = (
        f"The sweep spent <b>{power(spent)} FLOPs</b> on {found['points']} points. A plain grid "
        f"over the same {len(facts.sweep.widths)} sizes would have spent {power(full)} FLOPs on "
        f"{found['grid_points']}"
    )
    told += f": <b>{percent(saved)} saved</b>." if saved >= 0.005 else ": nothing was saved."
    if not facts.sweep.complete:
        told += " The sweep is not finished, so part of this is simply still to come."
    parts = [f"<p>{told}</p>", _heatmap(facts)]
    if found["decisions"]:
        rows = [
            [
                power(d["budget_flops"]),
                str(int(d["width"])),
                f'<td><span class="tag {esc(d["what"])}">{esc(d["what"])}</span></td>',
                f'<td class="why">{esc(d["why"])}</td>',
            ]
            for d in found["decisions"]
        ]
        parts.append("<h3>Every decision, with its reason</h3>")
        parts.append(table(["budget, FLOPs", "width", "decision", "why"], rows))
    parts.append(_rules(facts))
    return section("plan", "What the plan saved", *parts)


def _rules(facts: Facts) -> str:
    if not facts.spec.adaptive:
        return note("The plan was a plain grid (adaptive = false): every size at every budget.")
    return (
        "<details><summary>The rules</summary><p>Budgets are walked from small to large; each rule "
        "looks at the size with the lowest dev loss (mean over seeds) at a budget.</p><ul>"
        f"<li><b>Stopped.</b> A size {plan.HOPELESS_STEPS} or more steps below the best, and worse "
        f"than it by more than {plan.HOPELESS_SES:g} times their combined standard error, is "
        "trained no further: the best size grows with compute.</li>"
        f"<li><b>Waits.</b> A size {plan.WAITING_STEPS} or more steps above the best of the budget "
        "before is left for later. It joins when the best has come nearer, and then costs what it "
        "would have cost anyway.</li>"
        "<li><b>Added.</b> If the best is the largest (smallest) size there is, one beyond it is "
        f"added, by the ratio of the last two sizes, at most {facts.spec.extend} on either side."
        "</li></ul></details>"
    )


def _heatmap(facts: Facts) -> str:
    """Sizes by budgets: each cell's dev loss, shaded by how near its budget's best it is."""
    decided = {(d["width"], d["budget_flops"]): d["what"] for d in facts.savings["decisions"]}
    params = {p.width: p.params for p in facts.points}
    added = {d["width"] for d in facts.savings["decisions"] if d["what"] == "added"}
    rows = []
    for width in reversed(facts.sweep.widths):
        size = f"<br><small>N {number(params.get(width))}</small>" if width in params else ""
        mark = " <small>added</small>" if width in added else ""
        cells = [f"<th scope=row>width {width}{mark}{size}</th>"]
        for budget in facts.budgets:
            cells.append(_cell(facts, width, budget, decided.get((width, budget), "")))
        rows.append(cells)
    head = ["", *(power(b) for b in facts.budgets)]
    said = (
        "Dev loss of each size (rows) at each budget (columns, FLOPs), mean over seeds. The "
        "stronger a cell's shade, the nearer it is to its budget's best, which is framed. "
        "■ stopped after this "
        "budget, … waits, + added here, ✕ diverged or failed, · not trained."
    )
    return table(head, rows, "heat") + note(said)


def _cell(facts: Facts, width: int, budget: float, decision: str) -> str:
    here = [p for p in facts.points if p.width == width and p.budget_flops == budget]
    mark = {"stopped": " ■", "added": " +", "waits": ""}.get(decision, "")
    if not here:
        return f'<td class="none">{"… waits" if decision == "waits" else "·"}</td>'
    loss = plan.mean_loss(here)
    if not math.isfinite(loss):
        return f'<td class="bad">✕{mark}</td>'
    losses = _losses(facts, budget)
    best = min(losses)
    near = math.exp(-math.log(loss / best) / 0.12) if loss > 0 and best > 0 else 1.0
    kind = ' class="best"' if loss == best else ""
    runs = esc("run " + ", ".join(p.run_id for p in here))
    return f'<td{kind} title="{runs}" style="--near:{100 * near:.0f}%">{number(loss)}{mark}</td>'


def _losses(facts: Facts, budget: float) -> list[float]:
    """Mean dev loss of every size that has one at a budget."""
    found = []
    for width in facts.sweep.widths:
        here = [p for p in facts.points if p.width == width and p.budget_flops == budget]
        if here and math.isfinite(loss := plan.mean_loss(here)):
            found.append(loss)
    return found
