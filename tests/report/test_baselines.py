"""Whom the forecast agent beats, and how its games went: facts of a finished toy study, dressed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from isoclone.base.results import Baseline
from isoclone.evaluation.summary import summary
from isoclone.report.baselines import baselines, went
from isoclone.report.facts import Facts
from isoclone.study.facts import gather
from isoclone.study.study import Study

ROW = Baseline(90.0, 4.0, 200)


@pytest.fixture(scope="module")
def facts(finished_study: Path) -> Facts:
    return gather(Study.open(finished_study))


def dressed(facts: Facts, mean: float, se: float, **changes: object) -> Facts:
    """Return the facts with another return of the forecast agent."""
    agent = dataclasses.replace(facts.agent, return_mean=mean, return_se=se)
    tested = dataclasses.replace(facts.tested, by_seed=(agent,))
    return dataclasses.replace(facts, tested=tested, **changes)


def rows_of(facts: Facts) -> dict[str, str]:
    """Return the HTML of each row of the table, by the player's first words."""
    lines = baselines(facts).html.split("<tr><td>")[1:]
    return {" ".join(line.split("<")[0].split()[:3]): line for line in lines}


def test_lead_is_told_with_its_error(facts: Facts) -> None:
    small = dataclasses.replace(ROW, mean=40.0, params=9, run_id="r1")
    told = rows_of(dressed(facts, 100.0, 3.0, baselines={"marginal": ROW, "smallest": small}))
    assert "(2.0 SE)" in told["a player that"]
    assert ">no<" in told["a player that"]  # exactly two standard errors are not more than two
    assert "(12.0 SE)" in told["the smallest agent"]
    assert ">yes<" in told["the smallest agent"]
    assert "9 parameters, run <code>r1</code>" in told["the smallest agent"]


def test_the_agent_itself_is_no_rival(facts: Facts) -> None:
    own = dataclasses.replace(ROW, mean=40.0, params=9, run_id=facts.agent.run_id)
    told = rows_of(dressed(facts, 100.0, 3.0, baselines={"marginal": ROW, "smallest": own}))
    assert not any("smallest agent" in row for row in told.values())
    assert any("looks at nothing" in row for row in told.values())


def test_random_play_and_expert_are_rows_of_every_study(facts: Facts) -> None:
    told = rows_of(dataclasses.replace(facts, baselines={}))
    assert list(told) == ["the forecast agent", "random play", "the expert (scripted)"]
    named = dataclasses.replace(facts, demos=dataclasses.replace(facts.demos, expert="played"))
    assert "the expert (played)" in rows_of(dataclasses.replace(named, baselines={}))


def test_nobody_is_ahead_by_nothing(facts: Facts) -> None:
    drawn = {"smallest": Baseline(0.0, 0.0, 200)}
    text = baselines(dressed(facts, 0.0, 0.0, baselines=drawn, references={})).html
    assert ">yes<" not in text


def test_baseline_that_was_not_measured_says_why(facts: Facts) -> None:
    lost = {"smallest": Baseline(reason="worker <lost>", run_id="r1", params=9)}
    text = baselines(dressed(facts, 1.0, 0.1, baselines=lost)).html
    assert "not measured: worker &lt;lost&gt;" in text


def test_nothing_is_told_before_the_agent_has_played(facts: Facts) -> None:
    assert baselines(dataclasses.replace(facts, tested=None)) is None
    assert baselines(dataclasses.replace(facts, baselines={}, references={})) is None


def test_how_games_went_is_told_where_the_game_tells(facts: Facts) -> None:
    assert went(facts) is None
    episodes = [{"score": 5, "end": "terminated", "death": "killed by a <jackal>"}] * 2
    text = went(dataclasses.replace(facts, went=summary(episodes))).html
    assert "killed by a &lt;jackal&gt; (100 %)" in text
    assert "<td>score</td>" in text
    ended = [{"score": 5, "end": "truncated"}, {"score": 6, "end": "truncated"}]
    text = went(dataclasses.replace(facts, went=summary(ended))).html
    assert "How they ended: truncated (100 %)." in text
