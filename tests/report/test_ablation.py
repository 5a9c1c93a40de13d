"""The page of an ablation, from the points of a finished toy study as if they were variants."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from isoclone.base.records import Interval, Point, Status
from isoclone.base.schema import figure
from isoclone.laws.saved import Worth
from isoclone.report.ablation import write_ablation
from isoclone.report.measured import Measured
from isoclone.study.study import Study


@pytest.fixture(scope="module")
def rows(finished_study: Path) -> list[Measured]:
    points = Study.open(finished_study).points()
    return [Measured(f"width <{p.width}>", p, 1.5 * p.width) for p in points]


def test_page_names_best_and_worst_and_escapes(rows: list[Measured], tmp_path: Path) -> None:
    page = write_ablation(tmp_path / "a.html", "mine<", "How <wide>?", rows).read_text()
    assert "isoclone ablation · mine&lt;" in page
    assert "<h1>How &lt;wide&gt;?</h1>" in page
    last = max(m.point.budget_flops for m in rows)
    here = sorted((m for m in rows if m.point.budget_flops == last), key=lambda m: m.point.dev_loss)
    assert f"the lowest dev loss is <b>width &lt;{here[0].point.width}&gt;</b>" in page
    for chart in ("variants", "flops", "train_seconds", "returns"):
        assert f'id="chart-{chart}"' in page
    for m in rows:
        assert f"<code>{m.point.run_id}</code>" in page


def test_no_returns_and_failed_points(rows: list[Measured], tmp_path: Path) -> None:
    nothing = {"dev_loss": None, "return_mean": None, "status": "failed", "reason": "lost <it>"}
    lost = [dataclasses.replace(m, point=dataclasses.replace(m.point, **nothing)) for m in rows]
    page = write_ablation(tmp_path / "a.html", "mine", "Why?", lost).read_text()
    assert "No variant was measured." in page
    assert "lost &lt;it&gt;" in page
    assert "chart-returns" not in page


def test_multipliers_and_what_stands_in_their_way(rows: list[Measured], tmp_path: Path) -> None:
    known = Worth(
        "deep<", "flat<", "dev_loss", 0.5, 1e9, 2e9, Interval(2.0, 1.5, 2.5), (Status("a", "b<"),)
    )
    unknown = Worth("wide", "flat<", "dev_loss", status=(Status("no_overlap", "they never meet"),))
    page = write_ablation(tmp_path / "a.html", "mine", "Why?", rows, [known, unknown]).read_text()
    assert "<td>deep&lt;</td><td>2</td>" in page
    assert "[1.50, 2.50]" in page
    assert "C of flat&lt;, FLOPs" in page
    assert "They never meet. <small>no overlap</small>" in page
    assert "B&lt;." in page


@dataclasses.dataclass(frozen=True)
class Wider(Point):
    """A point with a figure more."""

    dev_confidence: float | None = figure("mean probability of the action", "share", default=None)


def test_a_new_figure_has_a_heading_in_words(rows, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("isoclone.report.ablation.Point", Wider)
    wider = [
        dataclasses.replace(m, point=Wider(**vars(m.point), dev_confidence=0.625)) for m in rows
    ]
    page = write_ablation(tmp_path / "a.html", "mine", "Why?", wider).read_text()
    assert '<th scope=col title="mean probability of the action, share">dev confidence</th>' in page
    assert page.count("<td>0.625</td>") == len(rows)
