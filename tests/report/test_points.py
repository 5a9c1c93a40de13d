"""The table of points: every figure of a point is a column, also one that is added later."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclone.report import points as room
from isoclone.report.points import points
from isoclone.study.facts import gather
from isoclone.study.study import Study


def test_new_figure_of_a_point_is_a_column(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = gather(Study.open(finished_study))
    assert ">train loss</button>" not in points(facts).html
    monkeypatch.setattr(room, "LEFT_OUT", room.LEFT_OUT - {"train_loss"})  # as if it were new
    html = points(facts).html
    assert ">train loss</button>" in html
    assert f'<td data-v="{facts.points[0].train_loss}">' in html


def test_headings_say_what_they_mean(finished_study: Path) -> None:
    html = points(gather(Study.open(finished_study))).html
    assert 'title="trainable parameters (N)">N</button>' in html


def test_of_many_points_the_page_shows_the_best_and_says_so(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = gather(Study.open(finished_study))
    everyone = facts.everyone
    assert "more are in the tables" not in points(facts).html
    budgets = {p.budget_flops for p in everyone}
    monkeypatch.setattr(room, "MANY", 2 * len(budgets))
    html = points(facts).html
    for budget in budgets:
        here = sorted((p for p in everyone if p.budget_flops == budget), key=lambda p: p.dev_loss)
        for rank, p in enumerate(here):
            row = f'<td data-v="{p.dev_loss}">'
            assert (row in html) == (rank < 2 or p.role != "sweep")
    assert "more are in the tables" in html
