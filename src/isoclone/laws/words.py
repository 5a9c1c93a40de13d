"""Say in words what a fitted law's figures (as in its JSON) are; for screen and page alike."""

from __future__ import annotations

from typing import Any

from isoclone.base.formatting import interval_text, plural


def laws_text(laws: dict[str, Any]) -> list[str]:
    """Return in words what the exponents are: least squares or with a prior; and how L bends."""
    lines = []
    params = laws.get("params") or {}
    prior, plain = params.get("prior"), params.get("plain")
    if prior:
        alone = "least squares alone needs two optima inside the sampled sizes"
        if plain:
            n, d = (interval_text(plain[key], ".2f") for key in ("params", "samples"))
            alone = f"least squares alone gives N_opt ~ C^{n}, D_opt ~ C^{d}"
        lines.append(
            "too little is known of the optima: exponents lean on a prior "
            f"{prior['exponent']} ± {prior['sd']}; {alone}"
        )
    local = (laws.get("dev_loss") or {}).get("local")
    if local:
        bends = "it bends: " if local["bends"] else ""
        lines.append(
            f"best dev loss: the exponent above is that of a straight line through all budgets; "
            f"{bends}{local['at_last_budget']:.3g} at the last budget, "
            f"{local['a_decade_on']:.3g} a decade on"
        )
    found = laws.get("return_mean") or {}
    if found.get("to_flops"):
        lines.append(
            f"return: R = {10 ** found['log10_factor']:.3g} C^{found['exponent']['value']:.3g} "
            f"up to {found['to_flops']:.3g} FLOPs"
        )
    return [*lines, *_intrinsic_text(laws.get("intrinsic"))]


def _intrinsic_text(found: dict[str, Any] | None) -> list[str]:
    """Return the law of intrinsic performance with its coefficients and source."""
    if not found:
        return []
    told = ", ".join(f"{name} {found[name]:.3g}" for name in ("aN", "aE", "r", "b", "Nc", "Ec"))
    return [
        f"{found['name']}, the least compute that reaches a return ({found['source']}): "
        f"{found['formula']} with {told}; fitted to {found['cells']} means, {found['left_out']} "
        "outside the best returns left out"
    ]


def window_text(window: dict[str, Any]) -> str:
    """Return '188 of 245 points: the last 3 decades, within 1.6 x the best of their budget'."""
    parts = []
    if window["decades"] is not None:
        parts.append(f"the last {window['decades']:g} decades")
    if window["loss_within"] is not None:
        parts.append(f"within {window['loss_within']:g} x the best of their budget")
    if window["outliers"]:
        parts.append(f"{window['outliers']} outliers left out")
    count = f"{window['points']} of {window['of']} points"
    return f"{count}: {', '.join(parts)}" if parts else count


def forecast_text(forecast: dict[str, Any]) -> list[str]:
    """Return in words what a forecast's intervals are of, and how well loss foretells return."""
    agents, episodes, method = forecast["agents"], forecast["episodes"], forecast["method"]
    told, lines = method.get("return_by_loss") or {}, []
    alone = "return_by_loss" in method and "share_of_loss" not in told and forecast["return_mean"]
    if agents > 1:
        but = ", but that of the return is one agent's" if alone else ""
        lines.append(f"intervals are those of the mean of {agents} agents of different seeds{but}")
    if episodes:
        each = "each agent" if agents > 1 else "an agent"
        lines.append(f"the return's interval is that of {plural(episodes, 'episode')} of {each}")
    return [*lines, *_return_text(told)]


def _return_text(told: dict[str, Any]) -> list[str]:
    lines = _shares_text(told) if "share_of_loss" in told else []
    r = told.get("rank_correlation")
    if r:
        interval = f"{r['value']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
        lines.append(f"rank correlation of dev loss and return over all points: {interval}")
    return lines


def _shares_text(told: dict[str, Any]) -> list[str]:
    loss, played = told["share_of_loss"], told.get("share_of_episodes")
    rest = f"{100 * (1 - loss):.0f} % from the agents' episodes and how returns follow losses"
    if played is not None:  # forecasts of before November 28, 2026 do not tell it apart
        rest = (
            f"{100 * played:.0f} % from the agents' own episodes, "
            f"{100 * (1 - loss - played):.0f} % from how returns follow losses"
        )
    return [
        f"of the variance of the return's forecast {100 * loss:.0f} % come from the loss's, {rest}"
    ]
