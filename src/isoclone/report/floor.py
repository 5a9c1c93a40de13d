"""How far the loss can fall: the expert's own entropy, beside the agent and the fitted floor."""

from __future__ import annotations

from isoclone.report.compared import above_floor
from isoclone.report.facts import Facts
from isoclone.report.sections import Section
from isoclone.report.words import with_error


def floor(facts: Facts) -> Section | None:
    """Return the entropy of the expert's actions beside the agent's loss and the surface's E."""
    expert = facts.references.get("expert")
    if expert is None or expert.entropy_nats is None:
        return None
    measured = expert.entropy_nats
    rows: list[list[str]] = [
        ["the expert's own entropy", with_error(measured, expert.entropy_se), ""]
    ]
    agent, (above, error) = facts.agent, above_floor(facts.agent, expert)
    if agent is not None and above is not None:
        loss = with_error(agent.dev_loss, agent.dev_loss_se)
        rows.append(["the forecast agent's dev loss", loss, with_error(above, error)])
    fitted = ((facts.laws or {}).get("surface") or {}).get("coefficients", {}).get("E")
    if fitted:
        words = f"{fitted['value']:.3g} [{fitted['low']:.3g}, {fitted['high']:.3g}]"
        rows.append(["E, the floor of the fitted surface", words, _held(measured, fitted["high"])])
    return Section(
        "How far the loss can fall",
        text=[
            "The expert was asked many times over, in states of its own play, what it would do: "
            "the entropy of its answers is a loss that no imitator can go below. An imitator sees "
            "less than the whole state, so its own floor can lie higher."
        ],
        head=["", "nats per action", "above the expert's entropy"],
        rows=rows,
    )


def _held(measured: float, highest: float) -> str:
    """Return whether a fitted floor can lie at the measured entropy or above it."""
    if highest < measured:
        return "no: the fit expects losses below the expert's own entropy"
    return "may be"
