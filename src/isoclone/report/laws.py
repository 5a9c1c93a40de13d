"""Every law with its formula, coefficients and intervals."""

from __future__ import annotations

from typing import Any

from isoclone.laws import DEFAULT_LAW
from isoclone.laws.words import laws_text, window_text
from isoclone.report.facts import Facts
from isoclone.report.sections import Section
from isoclone.report.templating import fill
from isoclone.report.words import MISSING, spaced

ROADS = {
    "isoflop_optima": "least squares through the isoFLOP optima",
    "isoflop_optima_plain": "least squares alone through the same optima",
    "best_return": "least squares through the best-scoring sizes",
    "surface_6nd": "the parametric surface, at C = 6ND",
    "forecasts": "the law's own forecasts, a decade beyond the sweep",
}
BY_RETURN = {
    "isoflop_optima": "least squares through the optima by return",
    "intrinsic": "intrinsic performance (Hilton et al. 2023)",
}
WITH_PRIOR = {"isoflop_optima": "the isoFLOP optima, with a prior"}
LAWS = (
    ("params", "N", "size: parameters of the best policy"),
    ("samples", "D", "data: training samples of the best policy"),
    ("dev_loss", "L", "dev loss along the frontier, nats per action"),
    ("return_mean", "R", "mean return along the frontier"),
)


QUANTITIES = {
    "params": "parameters N",
    "samples": "training samples D",
    "dev_loss": "dev loss, nats",
    "return_mean": "return",
}


def quantities(facts: Facts) -> dict[str, str]:
    """Return the quantities of a forecast with their names; no loss where runs have none."""
    if not facts.by_return:
        return QUANTITIES
    told = {**QUANTITIES, "samples": "environment steps D"}
    return {key: name for key, name in told.items() if key != "dev_loss"}


def law(facts: Facts) -> Section | None:
    """Return a user's law beside the default one, or why the default is used instead."""
    if facts.law_name == DEFAULT_LAW:
        return None
    html = fill("law", facts=facts, names=quantities(facts), default=DEFAULT_LAW)
    return Section("The law that the study chose", html=html)


def laws(facts: Facts) -> Section:
    """Return every law with its formula, coefficients and intervals."""
    found = facts.laws or {}
    html = fill(
        "laws",
        facts=facts,
        rows=[_law(facts, *law) for law in _laws_of(facts)],
        roads=_roads(found),
        surface=_surface(found.get("surface")),
        notes=laws_text(found.get("laws") or {}),
        rest={k: v for k, v in found.items() if k not in ("status", "dropped")},
    )
    return Section("The laws", html=html)


def _laws_of(facts: Facts) -> list[tuple[str, str, str]]:
    """Return the laws to show: key, letter and what it is of."""
    if not facts.by_return:
        return list(LAWS)
    steps = ("samples", "D", "data: environment steps of the best policy")
    return [steps if law[0] == "samples" else law for law in LAWS if law[0] != "dev_loss"]


def _law(facts: Facts, key: str, letter: str, what: str) -> dict[str, Any]:
    """Return one law as a row; its factor is left out if only the exponent is known."""
    law = ((facts.laws or {}).get("laws") or {}).get(key) or {}
    return {
        "what": what,
        "letter": letter,
        "optimum": key in ("params", "samples"),
        "exponent": facts.exponent(key),
        "log10_factor": law.get("log10_factor"),
        "scatter": law.get("residual_sd_log10"),
        "points": law.get("points", MISSING),
    }


def _roads(found: dict[str, Any]) -> dict[str, list[dict[str, Any] | None]]:
    """Return the exponents of N and D by each way of fitting them, for comparison."""
    roads = dict(found.get("exponents") or {})
    prior = ((found.get("laws") or {}).get("params") or {}).get("prior")
    by_return = BY_RETURN if found.get("measure") == "return_mean" else {}
    names = ROADS | by_return | (WITH_PRIOR if prior else {})
    published = (found.get("paper") or {}).get("parabola") or {}
    if published:
        roads["published way: parabolas over all sizes"] = {
            key: (published.get(key) or {}).get("exponent") for key in ("params", "samples")
        }
    return {
        names.get(road, spaced(road)): [(pair or {}).get(key) for key in ("params", "samples")]
        for road, pair in roads.items()
    }


def _surface(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the parametric surface, whatever form it has: formula, coefficients, the rest."""
    if not found:
        return None
    shown = ("formula", "coefficients", "window")
    window = found.get("window")
    return {
        "window": window_text(window) if window else None,
        "formula": found.get("formula", "L(N, D)"),
        "coefficients": found.get("coefficients") or {},
        "rest": {k: v for k, v in found.items() if k not in shown},
    }
