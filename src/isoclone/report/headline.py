"""The top of the page: game, expert, and the answer in one sentence, with its tiles."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from isoclone.base.formatting import plural
from isoclone.base.results import NOT_A_TEST
from isoclone.report.compared import no_better, share_of
from isoclone.report.facts import Facts
from isoclone.report.templating import fill
from isoclone.report.words import with_error

QUANTITY = {"dev_loss": "loss", "return_mean": "return"}


def headline(facts: Facts, trouble: list[str] | None = None) -> Markup:
    """Return the page's header; `trouble` is listed with the facts' missing parts."""
    best = min(facts.measured, key=facts.cost, default=None)
    return fill(
        "headline",
        facts=facts,
        best=best,
        held=_held_words(facts.verdicts),
        warning=_warning(facts),
        ruler=_ruler(facts),
        expert=facts.expert,
        epochs=_epochs(facts),
        above=above_the_expert(facts),
        missing=[*facts.missing, *(trouble or [])],
    )


def _warning(facts: Facts) -> str | None:
    """Return a sentence if the agent does not beat random play, or may not; else None."""
    players = facts.references.get("random"), facts.references.get("expert")
    found = no_better(*share_of(facts.agent, *players))
    return f"But {found[0].message}." if found else None


def _epochs(facts: Facts) -> float | None:
    """Return how often the forecast's samples go over the demonstrations; None if not known."""
    agent = facts.agent
    if facts.forecast is None:
        return None
    if facts.by_return:  # whoever learns by playing sees each step once
        return None
    if agent is not None and agent.epochs and agent.samples:
        return agent.epochs * facts.forecast.samples.value / agent.samples
    if facts.demos is None:
        return None
    return facts.forecast.samples.value / facts.demos.samples["train"]


def above_the_expert(facts: Facts) -> str | None:
    """Return a sentence if the forecast return is higher than the expert's, None if it is not."""
    expert, predicted = facts.references.get("expert"), facts.forecast
    if expert is None or predicted is None or predicted.return_mean is None:
        return None
    if predicted.return_mean.value <= expert.mean:
        return None
    return (
        f"The forecast return is higher than what was measured of the expert, "
        f"{with_error(expert.mean, expert.se)} over {plural(expert.episodes, 'episode')}: "
        "imitation has no evidence for that."
    )


def _held_words(verdicts: dict[str, str | None]) -> str:
    """Return which of the measured figures lie in their intervals, as the end of a sentence."""
    told = {key: word for key, word in verdicts.items() if word is not None}
    if not told:
        return ""
    if NOT_A_TEST in told.values():
        return ", which does not test the forecast: it was made later"
    vague = [QUANTITY[key] for key, word in told.items() if word == "says nothing"]
    tested = {QUANTITY[key]: word for key, word in told.items() if word != "says nothing"}
    end = f"; the forecast of the {' and of the '.join(vague)} says nothing" if vague else ""
    if not tested:
        return end
    if len(tested) == 1:
        (figure, word), *_ = tested.items()
        if not vague and list(told) == ["return_mean"]:
            return f", {word} its interval"
        return f": the {figure} {word} its interval{end}" if vague else f": {word} the interval"
    if len(set(tested.values())) == 1:
        return f": both {tested['loss']} their intervals"
    inside, outside = sorted(tested, key=lambda figure: tested[figure])
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
