"""The top of the page: game, expert, and the answer in one sentence, with its tiles."""

from __future__ import annotations

from isoclone.base.records import Interval
from isoclone.report.facts import Facts
from isoclone.report.pieces import holds
from isoclone.report.words import (
    bounds,
    decimals,
    esc,
    exponents,
    number,
    percent,
    plural,
    power,
    with_error,
)


def headline(facts: Facts) -> str:
    """Game, expert, and the answer in one sentence, with its tiles."""
    spec = facts.spec
    missing = "".join(f"<li>{esc(text)}</li>" for text in facts.missing)
    notice = f'<div class="notice"><b>What is missing</b><ul>{missing}</ul></div>'
    return (
        f'<header><p class="eyebrow">isoclone study · {esc(spec.name)}</p>'
        f"<h1>Imitating the {esc(spec.expert)} expert in {esc(spec.game)}</h1>"
        f'<p class="lead">{_answer(facts)}</p>'
        f'<div class="tiles">{"".join(_tiles(facts))}</div>{notice if missing else ""}</header>'
    )


def _answer(facts: Facts) -> str:
    predicted = facts.forecast
    if predicted is None:
        return _best_so_far(facts)
    times = predicted.flops / max(facts.budgets)
    width = f" (width {facts.agent.width})" if facts.agent else ""
    expected = f"expect a dev loss of <b>{number(predicted.dev_loss.value)}</b> nats "
    expected += bounds(predicted.dev_loss.low, predicted.dev_loss.high)
    if predicted.return_mean:
        high = bounds(predicted.return_mean.low, predicted.return_mean.high)
        expected += f" and a return of <b>{number(predicted.return_mean.value)}</b> {high}"
    return (
        f"With <b>{power(predicted.flops)} FLOPs</b>, {times:.1f} times the largest swept budget, "
        f"train <b>{number(predicted.params.value)} parameters</b>{width} on "
        f"<b>{number(predicted.samples.value)} samples</b>: {expected}. {_verdict(facts)}"
    )


def _best_so_far(facts: Facts) -> str:
    best = min(facts.measured, key=lambda p: p.dev_loss or 0.0, default=None)
    if best is None:
        return "No policy has been measured yet."
    played = ""
    if best.return_mean is not None:
        played = f" and a return of <b>{with_error(best.return_mean, best.return_se)}</b>"
    return (
        f"No forecast yet. The best of {plural(len(facts.points), 'point')} so far has "
        f"<b>{number(best.params)} parameters</b> (width {best.width}) after "
        f"<b>{number(best.samples)} samples</b>, {power(best.flops)} FLOPs: a dev loss of "
        f"<b>{with_error(best.dev_loss, best.dev_loss_se)}</b> nats{played}."
    )


def _verdict(facts: Facts) -> str:
    agent = facts.agent
    if agent is None:
        return "The agent that tests this has not been trained yet."
    if agent.dev_loss is None:
        return f"The agent trained to test this has no figures: {esc(agent.reason)}."
    told = f"a dev loss of <b>{with_error(agent.dev_loss, agent.dev_loss_se)}</b>"
    if agent.return_mean is not None:
        told += f" and a return of <b>{with_error(agent.return_mean, agent.return_se)}</b>"
    return f"Trained to test this, the agent reached {told}{_held_words(facts)}."


def _held_words(facts: Facts) -> str:
    """Which of the measured figures lie in their intervals, as the end of a sentence."""
    held = {key: answer for key, answer in facts.held.items() if answer is not None}
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


def _tiles(facts: Facts) -> list[str]:
    tiles = []
    for key, symbol, label in (
        ("params", "N<sub>opt</sub>", "best size grows as"),
        ("samples", "D<sub>opt</sub>", "its samples grow as"),
    ):
        k = facts.exponent(key)
        if k:
            value = f"{symbol} ∝ C<sup>{decimals(k['value'])}</sup>"
            tiles.append(_tile(label, value, f"95 % {exponents(k)}"))
    predicted, agent = facts.forecast, facts.agent
    if predicted:
        held = facts.held
        loss = (
            agent and agent.dev_loss is not None and with_error(agent.dev_loss, agent.dev_loss_se)
        )
        tiles.append(_against("dev loss, nats", predicted.dev_loss, loss or None, held["dev_loss"]))
        if predicted.return_mean:
            played = agent and agent.return_mean is not None
            text = with_error(agent.return_mean, agent.return_se) if agent and played else None
            tiles.append(
                _against("return", predicted.return_mean, text, held["return_mean"], _scale(facts))
            )
    return tiles


def _tile(label: str, value: str, below: str, kind: str = "") -> str:
    return (
        f'<div class="tile {kind}"><span class="label">{label}</span>'
        f'<span class="value">{value}</span><span class="below">{below}</span></div>'
    )


def _against(
    label: str, interval: Interval, measured: str | None, held: bool | None, extra: str = ""
) -> str:
    """A forecast and its measurement in one tile."""
    low_high = bounds(interval.low, interval.high)
    forecast = f"forecast {number(interval.value)} {low_high}"
    if measured is None:
        return _tile(
            f"{label}, forecast", number(interval.value), f"95 % {low_high}{extra}", "wide"
        )
    below = f"{forecast}<br>{holds(held)}{extra}"
    return _tile(f"{label}, measured", measured, below, "wide")


def _scale(facts: Facts) -> str:
    """Random play, forecast, measurement and expert on one little ruler."""
    low, high = facts.score("random"), facts.score("expert")
    predicted = facts.forecast and facts.forecast.return_mean
    if low is None or high is None or not predicted or not (high > low):
        return ""
    agent = facts.agent.return_mean if facts.agent else None
    ends = [low, high, predicted.low, predicted.high, agent]
    known = [v for v in ends if v is not None]
    first, last = min(known), max(known)

    def at(value: float) -> float:
        return 4 + 92 * (value - first) / (last - first)

    left = at(first if predicted.low is None else predicted.low)
    right = at(last if predicted.high is None else predicted.high)
    marks = f'<i class="range" style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
    marks += "".join(f'<i class="tick" style="left:{at(v):.1f}%"></i>' for v in (low, high))
    said, middle = f"random {number(low)}, expert {number(high)}", ""
    if agent is not None:
        marks += f'<b style="left:{at(agent):.1f}%">★</b>'
        share = (agent - low) / (high - low)
        said += f"; the agent is {percent(share)} of the way from one to the other"
        middle = f"<b>{percent(share)}</b>"
    words = f"<span>random {number(low)}</span>{middle}<span>expert {number(high)}</span>"
    return (
        f'<span class="ruler" role="img" aria-label="{said}">{marks}</span>'
        f'<span class="ends">{words}</span>'
    )
