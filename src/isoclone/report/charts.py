"""The places of the charts, each with a caption that says how to read it."""

from __future__ import annotations

import math

from isoclone.report.facts import Facts
from isoclone.report.pieces import chart, note, section
from isoclone.report.words import (
    power,
)


def isoflop(facts: Facts) -> str:
    """IsoFLOP curves."""
    if not facts.measured:
        return section("isoflop", "How big a model", note("No point has a dev loss yet."))
    edge = [c for c in facts.isoflops if not c["points"].get("interior", True)]
    said = "One curve for each compute budget: dev loss on held-out episodes against model size."
    if facts.isoflops:
        said += (
            " A filled diamond is a curve's optimum; the line is the parabola it was read from, "
            "drawn over the sizes it was fitted to."
        )
    if edge:
        where = ", ".join(power(c["budget_flops"]) for c in edge)
        said += (
            f" A <b>hollow</b> diamond ({where} FLOPs) lies at the edge of the sampled sizes: "
            "it is only a bound, and the exponents leave it out."
        )
    if facts.agent and facts.agent.dev_loss is not None:
        said += " The star is the forecast agent."
    said += " Bars are standard errors over episodes. Hover for the run behind a point."
    label = f"Dev loss against parameters at {len(facts.budgets)} compute budgets"
    return section(
        "isoflop",
        "How big a model: isoFLOP curves",
        chart("chart-isoflop", label, "tall"),
        note(said),
    )


def frontier(facts: Facts) -> str:
    """N, D, dev loss and return against compute, and return against dev loss."""
    if not facts.measured:
        return ""
    names = {
        "params": "Best size against compute",
        "samples": "Samples at the best size",
        "dev_loss": "Dev loss",
        "return_mean": "Mean return",
    }
    boxes = []
    for key in facts.frontiers:
        title = names[key]
        label = f"{title} against compute, with law, 95 % band and forecast"
        boxes.append(
            f"<figure><figcaption>{title}</figcaption>{chart(f'chart-{key}', label)}</figure>"
        )
    said = (
        "Line: what the laws say, dashed beyond the largest swept budget; shade: its 95 % band. "
        "Bar with a dash: the forecast and its interval. Star: the agent that was trained to "
        "test it (its size and samples were chosen by the forecast, its loss and return measured). "
        "Diamonds are isoFLOP optima, large dots the run with the lowest dev loss at a budget, "
        "faint dots all others."
    )
    if facts.curves is None:
        said = (
            "No law could be fitted, so the points stand alone: large dots for the run with the "
            "lowest dev loss at a budget, faint dots for all others."
        )
    if not boxes:
        said = "One budget makes no frontier: sweep at least two."
    parts = [f'<div class="grid">{"".join(boxes)}</div>', note(said)]
    if facts.has_returns:
        parts.append("<h3>Does a lower dev loss mean a better player?</h3>")
        parts.append(
            chart("chart-return-loss", "Mean return against dev loss, every policy played", "mid")
        )
        parts.append(note(_correlation(facts)))
    return section("frontier", "What compute buys", *parts)


def _correlation(facts: Facts) -> str:
    pairs = [(p.dev_loss, p.return_mean) for p in facts.measured if p.return_mean is not None]
    said = (
        "Every policy of the sweep, colours and shapes as in the isoFLOP chart; bars are standard "
        "errors over episodes."
    )
    if len(pairs) < 4:
        return said
    ranks = [_ranks([float(v or 0.0) for v in column]) for column in zip(*pairs, strict=True)]
    middle = (len(pairs) - 1) / 2
    spread = math.prod(math.sqrt(sum((r - middle) ** 2 for r in column)) for column in ranks)
    both = sum((a - middle) * (b - middle) for a, b in zip(*ranks, strict=True))
    if not spread:
        return said
    rho = f"{both / spread:.2f}".replace("-", "−")
    return f"{said} Rank correlation {rho} over {len(pairs)} policies (−1: never out of order)."


def _ranks(values: list[float]) -> list[float]:
    """Ranks from 0, ties sharing their mean."""
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) - 1) / 2 for v in values]
