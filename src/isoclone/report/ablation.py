"""The page of an ablation: what each variant reached, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isoclone.base.store import write_bytes
from isoclone.report.figures import Figure, against_cost, by_variant
from isoclone.report.measured import Measured
from isoclone.report.page import whole_page
from isoclone.report.pieces import chart, code, note, section, table
from isoclone.report.words import MISSING, esc, number, percent, power, whole, with_error

SAME_GAMES = (
    "Bars are standard errors over dev games; those are the same games for all variants, so "
    "differences between variants are surer than the bars say."
)
COSTS = (
    "The same points against what they cost: exact compute on the left, and on the right the time "
    "that training took on this machine (of one core, where it is a CPU). Evaluation is in neither."
)
HEAD = [
    "variant", "N", "C, FLOPs", "dev loss ± SE", "D", "top 1", "top 3", "return ± SE", "episodes",
    "training, s", "seed", "run",
]  # fmt: skip


def write_ablation(path: Path, name: str, question: str, rows: Sequence[Measured]) -> Path:
    """Write the page of variants and what was measured of them; returns its path."""
    played = any(m.point.return_mean is not None for m in rows)
    parts = [_losses(), _costs(), _returns() if played else "", _table(rows)]
    body = (
        f'<header><p class="eyebrow">isoclone ablation · {esc(name)}</p><h1>{esc(question)}</h1>'
        f'<p class="lead">{_answer(rows)}</p></header>' + "".join(parts)
    )
    page = whole_page(f"{name}: an isoclone ablation", body, _figures(rows, played))
    write_bytes(path, page.encode())
    return path


def _figures(rows: Sequence[Measured], played: bool) -> dict[str, Figure]:
    figures = {"chart-variants": by_variant(rows, "dev_loss")}
    for cost in ("flops", "train_seconds"):
        figures[f"chart-{cost}"] = against_cost(rows, cost)
    if played:
        figures["chart-returns"] = by_variant(rows, "return_mean")
    return figures


def _answer(rows: Sequence[Measured]) -> str:
    """Best and worst at the largest budget that all have been trained to, in a sentence."""
    known = [m for m in rows if m.point.dev_loss is not None]
    if not known:
        return "No variant was measured."
    reached: dict[str, set[float]] = {}
    for m in known:
        reached.setdefault(m.label, set()).add(m.point.budget_flops)
    last = max(set.intersection(*reached.values()) or set.union(*reached.values()))
    order = sorted(
        (m for m in known if m.point.budget_flops == last), key=lambda m: m.point.dev_loss or 0.0
    )
    told = [
        f"<b>{esc(m.label)}</b> at {with_error(m.point.dev_loss, m.point.dev_loss_se)} nats"
        for m in (order[0], order[-1])
    ]
    if len(order) == 1:
        return f"At {power(last)} FLOPs: {told[0]}."
    return f"At {power(last)} FLOPs the lowest dev loss is {told[0]}, the highest {told[1]}."


def _losses() -> str:
    label = "Dev loss of each variant at each budget"
    return section(
        "variants", "What it does to the dev loss",
        chart("chart-variants", label, "mid"), note(SAME_GAMES),
    )  # fmt: skip


def _costs() -> str:
    flops = chart("chart-flops", "Dev loss of each variant against compute", "mid")
    seconds = chart("chart-train_seconds", "Dev loss of each variant against time", "mid")
    return section(
        "cost", "What it costs", f'<div class="grid">{flops}{seconds}</div>', note(COSTS)
    )


def _returns() -> str:
    label = "Mean return of each variant at each budget"
    said = "Bars are standard errors over the episodes played."
    return section(
        "returns", "What it does to the score", chart("chart-returns", label, "mid"), note(said)
    )


def _table(rows: Sequence[Measured]) -> str:
    return section("points", "Every point", table(HEAD, [_cells(m) for m in rows], "figures"))


def _cells(measured: Measured) -> list[str]:
    p, seconds = measured.point, measured.train_seconds
    return [
        esc(measured.label),
        whole(p.params),
        power(p.flops),
        with_error(p.dev_loss, p.dev_loss_se) if p.status == "ok" else esc(p.reason),
        whole(p.samples),
        MISSING if p.dev_accuracy is None else percent(p.dev_accuracy, 1),
        MISSING if p.dev_accuracy_top3 is None else percent(p.dev_accuracy_top3, 1),
        with_error(p.return_mean, p.return_se),
        whole(p.episodes),
        number(seconds),
        str(p.seed),
        code(p.run_id),
    ]
