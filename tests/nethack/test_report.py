"""NetHack's section of the report: registered by its plugin, for studies of NetHack only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from isoclone.report.page import render, sections_of
from isoclone.report.sections import section_names
from isoclone.study.facts import gather
from isoclone.study.study import Study


def test_published_frontier_is_drawn_beside_a_study_of_nethack(finished_study: Path) -> None:
    facts = gather(Study.open(finished_study))
    assert "paper" not in sections_of(facts)[0]
    names = section_names()
    assert names[names.index("went") + 1 :][:2] == ["challenge", "paper"]
    spec = dataclasses.replace(facts.spec, game="nethack/NetHackChallenge-v0")
    dressed = dataclasses.replace(facts, spec=spec)
    section = sections_of(dressed)[0]["paper"]
    ours, theirs, star = section.figures["paper-1"]["data"]
    assert theirs["x"][0] == 1e14
    assert theirs["y"][-1] == 0.342
    best = dressed.best_at(dressed.budgets[0])
    assert ours["x"][0] == 6.0 * best.params * best.samples
    assert star["y"] == [dressed.agent.dev_loss]
    page = render(dressed)
    assert 'id="chart-paper-1"' in page
    assert "by the convention <code>exact</code>" in page
