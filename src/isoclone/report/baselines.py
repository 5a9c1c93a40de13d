"""The forecast agent beside the baselines, and facts about its episodes."""

from __future__ import annotations

import math
from typing import Any

from isoclone.base.results import Baseline, Reference
from isoclone.report.facts import Facts
from isoclone.report.sections import Section
from isoclone.report.templating import fill
from isoclone.report.words import spaced, with_error

WHO = {
    "marginal": "a player that looks at nothing and draws actions as often as the expert",
    "smallest": "the smallest agent of the sweep",
    "clone": "the clone that it started from",
}
NUMBERS = {"depth": "deepest level", "length": "actions"}  # fact -> its name
MOST = 8  # ends of episodes that are shown


def baselines(facts: Facts) -> Section | None:
    """Return the forecast agent's return beside those of the players it must beat."""
    agent = facts.agent
    if agent is None or agent.return_mean is None or not (facts.baselines or facts.references):
        return None
    players: dict[str, Baseline | Reference] = {
        WHO.get(name, name): row
        for name, row in facts.baselines.items()
        if row.run_id != agent.run_id  # the smallest agent may be the agent itself, trained on
    }
    for name, who in (("random", "random play"), ("expert", f"the expert ({facts.expert})")):
        if name in facts.references:
            players[who] = facts.references[name]
    rows = [_row(agent.return_mean, agent.return_se, who, row) for who, row in players.items()]
    html = fill("baselines", agent=agent, rows=rows, episodes=_episodes(facts))
    return Section("Whom it beats", html=html)


def _row(mean: float, se: float | None, who: str, player: Baseline | Reference) -> dict[str, Any]:
    """Return a player's figures, and how far the agent is ahead of it."""
    row = {"who": who, "reason": None, "run_id": None, "params": None, **player.to_json()}
    if player.mean is not None:
        row["lead"] = mean - player.mean
        row["error"] = math.hypot(se or 0.0, player.se or 0.0)
    return row


def _episodes(facts: Facts) -> list[tuple[str, int]]:
    """Return how many episodes each kind of player played, the agent aside."""
    known: list[tuple[str, Baseline | Reference | None]] = [
        ("the baselines", next((b for b in facts.baselines.values() if b.episodes), None)),
        ("random play", facts.references.get("random")),
        ("the expert, for the demonstrations,", facts.references.get("expert")),
    ]
    return [(who, row.episodes) for who, row in known if row and row.episodes]


def went(facts: Facts) -> Section | None:
    """Return the facts about the forecast agent's episodes, for games that have any."""
    told = facts.went
    rows = [
        [NUMBERS.get(key, spaced(key)), with_error(value["mean"], value["se"])]
        for key, value in told.items()
        if "mean" in value
    ]
    if not rows:
        return None
    html = fill("went", rows=rows, causes=_shares(told, "deaths"), ends=_shares(told, "ends"))
    return Section("How its games went", html=html)


def _shares(told: dict[str, Any], key: str) -> list[tuple[str, float]]:
    """Return the most frequent ends of episodes, each with its share of all episodes."""
    count = sum(told.get("ends", {}).values())
    return [(end, n / count) for end, n in list(told.get(key, {}).items())[:MOST]]
