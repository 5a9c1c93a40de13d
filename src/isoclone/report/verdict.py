"""The forecast against its measurement, and the agent at play."""

from __future__ import annotations

import base64

from isoclone.base.records import Point
from isoclone.report.facts import Facts
from isoclone.report.pieces import code, holds, note, section, statuses, table
from isoclone.report.words import (
    MISSING,
    bounds,
    esc,
    flat,
    number,
    plural,
    power,
    spaced,
    whole,
    with_error,
)


def forecast(facts: Facts) -> str:
    """The forecast against its measurement."""
    predicted, agent = facts.forecast, facts.agent
    if predicted is None:
        return section("forecast", "The forecast", note("There is no forecast yet."))
    held = facts.held
    names = {
        "params": "parameters N",
        "samples": "training samples D",
        "dev_loss": "dev loss, nats",
        "return_mean": "return",
    }
    rows = []
    for key, name in names.items():
        interval = getattr(predicted, key)
        if interval is None:
            rows.append([name, MISSING, MISSING, MISSING, "not forecast"])
            continue
        chosen = key in ("params", "samples")
        value = number(interval.value)
        measured = _measured(agent, key)
        verdict = "chosen, not tested" if chosen else holds(held[key])
        rows.append([name, value, bounds(interval.low, interval.high), measured, verdict])
    head = ["quantity", "forecast", "95 % interval", "trained / measured ± SE", "holds?"]
    beyond = predicted.decades_beyond
    far = (
        f"The forecast is for {power(predicted.flops)} FLOPs, {beyond:.2f} decades beyond the "
        f"largest budget with evidence (a factor of {number(10**beyond)})."
        if beyond > 0
        else f"The forecast is for {power(predicted.flops)} FLOPs, inside the evidence."
    )
    parts = [
        table(head, rows, "figures"),
        f"<p>{far} {_who(agent)}</p>",
        statuses(predicted.status),
    ]
    if predicted.method:
        told = "; ".join(
            f"{esc(spaced(k))}: {esc(flat(v))}" for k, v in sorted(predicted.method.items())
        )
        parts.append(note(f"Method: {told}."))
    body = f"<div>{''.join(parts)}</div>{video(facts)}"
    return section("forecast", "The forecast, put to the test", f'<div class="split">{body}</div>')


def _measured(agent: Point | None, key: str) -> str:
    if agent is None:
        return "not trained yet"
    if key in ("params", "samples"):
        return whole(getattr(agent, key))
    error = agent.dev_loss_se if key == "dev_loss" else agent.return_se
    return with_error(getattr(agent, key), error)


def _who(agent: Point | None) -> str:
    if agent is None:
        return "Nobody has been trained to test it yet."
    played = f", {plural(agent.episodes, 'episode')} played" if agent.episodes else ""
    return f"Tested by run {code(agent.run_id)} (seed {agent.seed}{played})."


def video(facts: Facts) -> str:
    """The forecast agent at play."""
    if facts.video is None:
        return ""
    data = base64.b64encode(facts.video).decode()
    agent = facts.agent
    said = "The agent at play: the middle one of three episodes, by return."
    if agent:
        said = (
            f"The forecast agent at play (the middle one of three episodes, by return): width "
            f"{agent.width}, {whole(agent.params)} parameters, {whole(agent.samples)} samples. "
            f"{code(agent.checkpoint or '')}"
        )
    return (
        '<figure class="video"><video controls loop muted playsinline preload="auto" '
        f'src="data:video/mp4;base64,{data}"></video><figcaption>{said}</figcaption></figure>'
    )
