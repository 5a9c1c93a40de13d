"""The report's sections on NetHack: the Challenge's ranking; the published frontier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from isoclone.nethack.ranking import FEW, HEAD, account, ranking
from isoclone.report.facts import Facts
from isoclone.report.figures import QUANTITIES, layout_of, log_axis
from isoclone.report.sections import Section
from isoclone.report.templating import environment
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
    """Return the published NetHack frontier beside the study's; None without dev losses."""
    if facts.spec.game.split("/")[0] != "nethack" or not facts.measured:
        return None
    ours = facts.best[-1]
    if ours.dev_loss is None:  # learned by play
        return None
    note = NOTE.format(
        batch=whole(PAPER_BATCH),
        loss=number(ours.dev_loss),
        flops_6nd=power(6.0 * ours.params * ours.samples),
        flops=power(ours.flops),
        convention=ours.flop_convention,
    )
    label = "Dev loss against compute by 6ND, this study's and the paper's frontier"
    return Section("Beside the paper", figures={label: _chart(facts)}, note=note)


RANKED = 12  # agents that the ranking shows
RANK_NOTE = (
    "The NetHack Challenge 2021 ranks by ascensions, then by the median score, then by the mean "
    "score. The median has a 95 % interval by order statistics, the mean its standard error over "
    "games."
)


def challenge(facts: Facts) -> Section | None:
    """Return the study's agents ranked as the Challenge does, and what ended the best's games.

    None for other games, and where no facts about games were recorded.
    """
    if facts.spec.game.split("/")[0] != "nethack" or not facts.episodes:
        return None
    parts: Any = environment().get_template("macros.html.j2").module
    everyone = {(p.run_id, p.budget_flops): p for p in facts.everyone}
    known = {key: ranking(rows) for key, rows in facts.episodes.items() if key in everyone}
    order = sorted(known, key=lambda key: known[key].order, reverse=True)
    if not order:
        return None
    agent = facts.agent and (facts.agent.run_id, facts.agent.budget_flops)
    shown = [key for place, key in enumerate(order, 1) if place <= RANKED or key == agent]
    head = ("rank", "agent", "C, FLOPs", "games", *HEAD[1:])
    rows = [
        [
            order.index(key) + 1,
            f"N {whole(everyone[key].params)}" + (" (forecast agent)" if key == agent else ""),
            power(everyone[key].budget_flops),
            f"{known[key].games}{', few' if known[key].games < FEW else ''}",
            *known[key].cells,
        ]
        for key in shown
    ]
    left = len(order) - len(shown)
    body = [parts.table(head, rows, "figures")]
    if left:
        body.append(Markup("<p class=note>{} more agents are ranked lower.</p>").format(left))
    judged = agent if agent in known else order[0]
    told = account(facts.episodes[judged])
    who = "The forecast agent" if judged == agent else f"The first, N {everyone[judged].params:,}"
    body.append(Markup("<p>{}, {}.</p>").format(who, told.lines[0]))
    for table in told.tables:
        body.append(parts.table(table.head, table.rows, "figures"))
    for note in (*told.notes, RANK_NOTE):
        body.append(Markup("<p class=note>{}</p>").format(note))
    return Section("As the NetHack Challenge ranks", html=Markup("").join(body))


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
