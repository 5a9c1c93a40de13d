"""Every law with its formula, coefficients and intervals."""

from __future__ import annotations

from typing import Any

from isoclone.report.facts import Facts
from isoclone.report.pieces import note, raw, section, statuses, table
from isoclone.report.words import (
    MISSING,
    decimals,
    esc,
    exponents,
    flat,
    number,
    spaced,
)

ROADS = {
    "isoflop_optima": "a line through the isoFLOP optima",
    "surface_6nd": "the parametric surface, at C = 6ND",
}
LAWS = (
    ("params", "N<sub>opt</sub>", "size: parameters of the best policy"),
    ("samples", "D<sub>opt</sub>", "data: training samples of the best policy"),
    ("dev_loss", "L", "dev loss along the frontier, nats per action"),
    ("return_mean", "R", "mean return along the frontier"),
)


def laws(facts: Facts) -> str:
    """Every law with its formula, coefficients and intervals."""
    found = facts.laws
    if not found:
        return section("laws", "The laws", note("No law could be fitted."))
    rows = [_law(facts, *law) for law in LAWS]
    head = ["law", "formula", "exponent, 95 %", "scatter, decades", "points"]
    parts = [table(head, rows), _roads(found), _surface(found.get("surface"))]
    parts += [statuses(found.get("status") or []), _dropped(found.get("dropped"))]
    rest = {k: v for k, v in found.items() if k not in ("status", "dropped")}
    parts.append(raw("Everything that was fitted (laws.json)", rest))
    return section("laws", "The laws", *parts)


def _law(facts: Facts, key: str, symbol: str, what: str) -> list[str]:
    """One law as a row; a law known by its exponent alone has no factor."""
    k = facts.exponent(key)
    if k is None:
        return [what, "not fitted", MISSING, MISSING, MISSING]
    law = ((facts.laws or {}).get("laws") or {}).get(key) or {}
    raised = f"C<sup>{decimals(k['value'], 3)}</sup>"
    factor = law.get("log10_factor")
    formula = f"{symbol} ∝ {raised}" if factor is None else f"{symbol} = {_ten(factor)} · {raised}"
    scatter = decimals(law.get("residual_sd_log10"), 3)
    return [what, formula, exponents(k), scatter, str(law.get("points", MISSING))]


def _ten(exponent: float) -> str:
    """10^exponent, also where no float is that large or small."""
    return number(10**exponent) if abs(exponent) < 300 else f"10<sup>{decimals(exponent, 0)}</sup>"


def _roads(found: dict[str, Any]) -> str:
    """The exponents as each way of fitting them has it, for comparison."""
    roads = dict(found.get("exponents") or {})
    published = (found.get("paper") or {}).get("parabola") or {}
    if published:
        roads["published way: parabolas over all sizes"] = {
            key: (published.get(key) or {}).get("exponent") for key in ("params", "samples")
        }
    rows = []
    for road, pair in roads.items():
        cells = [(pair or {}).get(key) for key in ("params", "samples")]
        told = [f"{decimals(k['value'])} {exponents(k)}" if k else MISSING for k in cells]
        rows.append([esc(ROADS.get(road, spaced(road))), *told])
    if not rows:
        return ""
    head = ["exponents by", "N<sub>opt</sub> against C", "D<sub>opt</sub> against C"]
    return "<h3>The same exponents by other roads</h3>" + table(head, rows)


def _surface(surface: dict[str, Any] | None) -> str:
    """The parametric surface, whatever form it has."""
    if not surface:
        return note("No parametric surface L(N, D) was fitted.")
    found = dict(surface)
    formula = esc(found.pop("formula", "L(N, D)"))
    rows = [
        [f"<i>{esc(name)}</i>", esc(flat(value))]
        for name, value in dict(found.pop("coefficients", None) or {}).items()
    ]
    told = "; ".join(f"{esc(spaced(k))}: {esc(flat(v))}" for k, v in sorted(found.items()))
    return (
        f"<h3>Parametric surface: <code>{formula}</code></h3>"
        + (table(["coefficient", "value, 95 %"], rows) if rows else "")
        + note(told)
    )


def _dropped(dropped: Any) -> str:
    if not dropped:
        return ""
    return f"<p>Left out of the fits: {esc(flat(dropped))}.</p>"
