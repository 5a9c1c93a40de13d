"""The page of an ablation: one figure, one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isoclone.records import Point
from isoclone.report.figures import categories
from isoclone.report.page import whole_page
from isoclone.report.pieces import chart, code, note, section, table
from isoclone.report.words import MISSING, esc, percent, power, whole, with_error
from isoclone.store import write_bytes


def write_ablation(path: Path, name: str, question: str, rows: Sequence[tuple[str, Point]]) -> Path:
    """Write the page of variants and their points; returns its path."""
    body = (
        f'<header><p class="eyebrow">isoclone ablation · {esc(name)}</p><h1>{esc(question)}</h1>'
        "</header>" + section("variants", "What it did to the dev loss", *_parts(rows))
    )
    figures = {"chart-variants": categories(rows)}
    write_bytes(path, whole_page(f"{name}: an isoclone ablation", body, figures).encode())
    return path


def _parts(rows: Sequence[tuple[str, Point]]) -> list[str]:
    head = [
        "variant",
        "N",
        "D",
        "C, FLOPs",
        "dev loss ± SE",
        "top 1",
        "top 3",
        "return ± SE",
        "run",
    ]
    cells = [
        [
            esc(label),
            whole(p.params),
            whole(p.samples),
            power(p.flops),
            with_error(p.dev_loss, p.dev_loss_se) if p.status == "ok" else esc(p.reason),
            MISSING if p.dev_accuracy is None else percent(p.dev_accuracy, 1),
            MISSING if p.dev_accuracy_top3 is None else percent(p.dev_accuracy_top3, 1),
            with_error(p.return_mean, p.return_se),
            code(p.run_id),
        ]
        for label, p in rows
    ]
    said = (
        "Each variant was trained to the same budget. Bars are standard errors over dev games; the "
        "dev games are the same for all variants, so differences are surer than the bars say."
    )
    label = "Dev loss of each variant"
    return [chart("chart-variants", label, "mid"), note(said), table(head, cells, "figures")]
