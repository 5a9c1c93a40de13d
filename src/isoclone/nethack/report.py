"""What a study of whole games tells besides: whom its agent beats, and the published frontier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from isoclone.report.facts import Facts
from isoclone.report.pieces import chart, code, note, section, table
from isoclone.report.words import MISSING, esc, number, percent, power, whole, with_error

# Tuyls et al. 2023, NetHack: the lowest dev loss at each budget, C = 6ND, as reported.
PAPER = {1e14: 1.280, 5e14: 0.665, 1e15: 0.576, 2e15: 0.512, 5e15: 0.420, 1e16: 0.342}
PAPER_BATCH = 262_144
WHO = {
    "marginal": "a player that looks at nothing and draws actions as often as the expert",
    "smallest": "the smallest agent of the sweep",
}


def rivals(facts: Facts) -> str:
    """The forecast agent beside those it must beat, and how its games went."""
    agent = facts.agent
    if agent is None or agent.return_mean is None or not facts.rivals:
        return ""
    rows = [["the forecast agent", _score(agent.return_mean, agent.return_se), "", ""]]
    for name, row in facts.rivals.items():
        rows.append([_who(name, row), *_against(agent.return_mean, agent.return_se, row)])
    for name in ("random", "expert"):
        known = facts.references.get(name)
        if known:
            label = "random keys" if name == "random" else f"the expert ({esc(facts.spec.expert)})"
            rows.append([label, _score(known["mean"], known.get("se")), "", ""])
    head = ["player", "mean score ± SE", "the agent is ahead by", "ahead by more than 2 SE"]
    said = (
        f"The agent and its rivals played {agent.episodes} games each, cut off where the study "
        "says; the expert's score is of the demonstrations."
    )
    return section(
        "rivals", "Whom it beats", table(head, rows, "figures"), note(said), _went(facts)
    )


def _who(name: str, row: dict[str, Any]) -> str:
    told = WHO.get(name, esc(name))
    if "params" in row:
        told += f" ({whole(row['params'])} parameters, run {code(row['run_id'])})"
    return told


def _score(mean: float, se: float | None) -> str:
    return with_error(mean, se)


def _against(mean: float, se: float | None, row: dict[str, Any]) -> list[str]:
    """A rival's score, the agent's lead, and whether it is more than chance."""
    if row.get("mean") is None:
        return [f"not measured: {esc(row.get('reason'))}", MISSING, MISSING]
    lead, error = mean - row["mean"], math.hypot(se or 0.0, row.get("se") or 0.0)
    verdict = "yes" if lead > 2 * error else "no"
    times = f" ({lead / error:.1f} SE)" if error else ""
    told = with_error(lead, error) + times
    return [_score(row["mean"], row.get("se")), told, f'<span class="{verdict}">{verdict}</span>']


def _went(facts: Facts) -> str:
    """How the agent's games went, in a table of numbers and a line of causes."""
    told = facts.went
    if not told:
        return ""
    names = {"score": "score", "depth": "deepest level", "turns": "turns", "length": "actions"}
    rows = [
        [label, with_error(told[key]["mean"], told[key]["se"])]
        for key, label in names.items()
        if key in told
    ]
    count = sum(told["ends"].values())
    causes = ", ".join(
        f"{esc(cause)} ({percent(n / count)})" for cause, n in list(told["deaths"].items())[:8]
    )
    text = f"What ended them most often: {causes}." if causes else "None of them ended."
    return f"<h3>How its games went</h3>{table(['', 'mean ± SE'], rows, 'figures')}{note(text)}"


def paper(facts: Facts) -> str:
    """The published NetHack frontier beside this study's."""
    if not facts.plays_nethack or not facts.measured:
        return ""
    best = [p for p in map(facts.best_at, facts.budgets) if p is not None]
    ours = best[-1]
    said = (
        "Dev loss against C = 6ND, the paper's own count. Dots: the lowest dev loss at each of "
        "this study's budgets (star: the forecast agent). Squares: Tuyls et al. 2023, NetHack. "
        f"The comparison is unkind to the paper: its batch of about {whole(PAPER_BATCH)} samples "
        "starves small budgets of steps, its demonstrations are more and other games of the same "
        "bot, and its dev games are not these. "
        f"Here {number(ours.dev_loss)} nats took {power(6.0 * ours.params * ours.samples)} FLOPs "
        f"by 6ND, or {power(ours.flops)} by the convention {code(ours.flop_convention)}."
    )
    label = "Dev loss against compute by 6ND, this study's and the paper's frontier"
    return section("paper", "Beside the paper", chart("chart-paper", label, "mid"), note(said))


def paper_traces(facts: Facts) -> list[dict[str, Any]]:
    """The curves of the chart; see `figures` for what colours mean."""
    best = [p for p in map(facts.best_at, facts.budgets) if p is not None]
    points = [(6.0 * p.params * p.samples, p.dev_loss, f"N {whole(p.params)}") for p in best]
    theirs = [(c, loss, "Tuyls et al. 2023") for c, loss in PAPER.items()]
    curves = [
        _curve(points, "@law", "circle", "lines+markers"),
        _curve(theirs, "@muted", "square", "lines+markers"),
    ]
    agent = facts.agent
    if agent is not None and agent.dev_loss is not None:
        here = (6.0 * agent.params * agent.samples, agent.dev_loss, "the forecast agent")
        curves.append(_curve([here], "@star", "star", "markers"))
    return curves


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
