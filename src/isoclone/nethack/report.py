"""The report's section on NetHack: the published frontier beside the study's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from isoclone.report.facts import Facts
from isoclone.report.figures import QUANTITIES, layout_of, log_axis
from isoclone.report.sections import Section
from isoclone.report.words import number, power, whole

# Tuyls et al. 2023, NetHack: the lowest dev loss at each budget, C = 6ND, as reported.
PAPER = {1e14: 1.280, 5e14: 0.665, 1e15: 0.576, 2e15: 0.512, 5e15: 0.420, 1e16: 0.342}
PAPER_BATCH = 262_144
NOTE = Markup(
    "Dev loss against C = 6ND, the paper's own count. Dots: the lowest dev loss at each of "
    "this study's budgets (star: the forecast agent). Squares: Tuyls et al. 2023, NetHack. "
    "The comparison is unkind to the paper: its batch of about {batch} samples "
    "starves small budgets of steps, its demonstrations are more and other games of the same "
    "bot, and its dev games are not these. "
    "Here {loss} nats took {flops_6nd} FLOPs by 6ND, or {flops} by the convention "
    "<code>{convention}</code>."
)


def paper(facts: Facts) -> Section | None:
    """Return the published NetHack frontier beside the study's; None for other games."""
    if facts.spec.game.split("/")[0] != "nethack" or not facts.measured:
        return None
    ours = facts.best[-1]
    note = NOTE.format(
        batch=whole(PAPER_BATCH),
        loss=number(ours.dev_loss),
        flops_6nd=power(6.0 * ours.params * ours.samples),
        flops=power(ours.flops),
        convention=ours.flop_convention,
    )
    label = "Dev loss against compute by 6ND, this study's and the paper's frontier"
    return Section("Beside the paper", figures={label: _chart(facts)}, note=note)


def _chart(facts: Facts) -> dict[str, Any]:
    layout = layout_of(log_axis("compute C by 6ND (FLOPs)"), log_axis(QUANTITIES["dev_loss"]))
    layout["showlegend"] = False
    points = [(6.0 * p.params * p.samples, p.dev_loss, f"N {whole(p.params)}") for p in facts.best]
    theirs = [(c, loss, "Tuyls et al. 2023") for c, loss in PAPER.items()]
    curves = [
        _curve(points, "@law", "circle", "lines+markers"),
        _curve(theirs, "@muted", "square", "lines+markers"),
    ]
    agent = facts.agent
    if agent is not None and agent.dev_loss is not None:
        here = (6.0 * agent.params * agent.samples, agent.dev_loss, "the forecast agent")
        curves.append(_curve([here], "@star", "star", "markers"))
    return {"data": curves, "layout": layout}


def _curve(
    points: Sequence[tuple[float, float | None, str]], colour: str, symbol: str, mode: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": mode,
        "x": [c for c, _, _ in points],
        "y": [loss for _, loss, _ in points],
        "hovertext": [
            f"{name}<br>{power(c)} FLOPs by 6ND<br>{number(loss)} nats" for c, loss, name in points
        ],
        "hoverinfo": "text",
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "size": 16 if symbol == "star" else 9, "symbol": symbol},
    }
