"""The sections of the charts, each with a caption that says how to read it."""

from __future__ import annotations

import math

from isoclone.report import figures
from isoclone.report.facts import Facts
from isoclone.report.sections import Section
from isoclone.report.templating import fill

FRONTIERS = {
    "params": "Best size against compute",
    "samples": "Samples at the best size",
    "dev_loss": "Dev loss",
    "return_mean": "Mean return",
}


def isoflop(facts: Facts) -> Section:
    """Return the isoFLOP curves."""
    edges = [c.budget for c in facts.isoflops if not c.interior]
    html = fill("isoflop", facts=facts, edges=edges)
    if not facts.measured:
        return Section("How big a model", html=html)
    drawn = {"isoflop": figures.isoflop(facts)}
    return Section("How big a model: isoFLOP curves", html=html, figures=drawn)


def frontier(facts: Facts) -> Section | None:
    """Return N, D, dev loss and return against compute, and return against dev loss.

    Of runs without losses: N, D and return against compute.
    """
    if not facts.measured:
        return None
    drawn = {key: figures.frontier(facts, key) for key in facts.frontiers}
    if facts.has_returns and not facts.by_return:
        drawn["return-loss"] = figures.return_against_loss(facts)
    pairs = [
        (float(p.dev_loss or 0.0), p.return_mean)
        for p in facts.measured
        if p.return_mean is not None
    ]
    correlation = _rank_correlation(pairs)
    html = fill(
        "frontier", facts=facts, names=_names(facts), correlation=correlation, played=len(pairs)
    )
    return Section("What compute buys", html=html, figures=drawn)


def _names(facts: Facts) -> dict[str, str]:
    """Return the captions of the charts."""
    steps = {"samples": "Environment steps at the best size"} if facts.by_return else {}
    return {**FRONTIERS, **steps}


def _rank_correlation(pairs: list[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation; None of fewer than four pairs, or of equal ones."""
    if len(pairs) < 4:
        return None
    ranks = [_ranks(list(column)) for column in zip(*pairs, strict=True)]
    middle = (len(pairs) - 1) / 2
    spread = math.prod(math.sqrt(sum((r - middle) ** 2 for r in column)) for column in ranks)
    both = sum((a - middle) * (b - middle) for a, b in zip(*ranks, strict=True))
    return both / spread if spread else None


def _ranks(values: list[float]) -> list[float]:
    """Return ranks from 0, ties sharing their mean."""
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) - 1) / 2 for v in values]
