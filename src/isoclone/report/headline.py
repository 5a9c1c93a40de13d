"""The top of the page: game, expert, and the answer in one sentence, with its tiles."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from isoclone.report.facts import Facts
from isoclone.report.templating import fill


def headline(facts: Facts, trouble: list[str] | None = None) -> Markup:
    """Return the page's header; `trouble` is listed with the facts' missing parts."""
    best = min(facts.measured, key=lambda p: p.dev_loss or 0.0, default=None)
    return fill(
        "headline",
        facts=facts,
        best=best,
        held=_held_words(facts.held),
        ruler=_ruler(facts),
        missing=[*facts.missing, *(trouble or [])],
    )


def _held_words(answers: dict[str, bool | None]) -> str:
    """Return which of the measured figures lie in their intervals, as the end of a sentence."""
    held = {key: answer for key, answer in answers.items() if answer is not None}
    if not held:
        return ""
    if len(held) == 1:
        return ": inside the interval" if all(held.values()) else ": outside the interval"
    if all(held.values()):
        return ": both inside their intervals"
    if not any(held.values()):
        return ": both outside their intervals"
    inside, outside = ("loss", "return") if held["dev_loss"] else ("return", "loss")
    return f": the {inside} inside its interval, the {outside} outside"


def _ruler(facts: Facts) -> dict[str, Any] | None:
    """Return where random play, forecast, measurement and expert lie on a ruler, in per cent."""
    low, high = facts.score("random"), facts.score("expert")
    predicted = facts.forecast and facts.forecast.return_mean
    if low is None or high is None or not predicted or not (high > low):
        return None
    agent = facts.agent.return_mean if facts.agent else None
    ends = [low, high, predicted.low, predicted.high, agent]
    known = [v for v in ends if v is not None]
    first, last = min(known), max(known)

    def at(value: float) -> float:
        return 4 + 92 * (value - first) / (last - first)

    return {
        "random": low,
        "expert": high,
        "left": at(first if predicted.low is None else predicted.low),
        "right": at(last if predicted.high is None else predicted.high),
        "ticks": [at(low), at(high)],
        "agent": None if agent is None else at(agent),
        "share": None if agent is None else (agent - low) / (high - low),
    }
