"""A law of a user's: beside the default in the report, or why the default stands."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from isoclone.base.records import Status
from isoclone.laws import DEFAULT_LAW, LawComparison
from isoclone.report.facts import Facts
from isoclone.report.laws import law
from isoclone.study.facts import gather
from isoclone.study.study import Study


@pytest.fixture(scope="module")
def facts(finished_study: Path) -> Facts:
    return gather(Study.open(finished_study))


def compared(name: str, **fields: object) -> LawComparison:
    row = LawComparison(name, 1, 0.5, 4, 0.0123, 0.75)
    return dataclasses.replace(row, **fields)


def test_default_law_needs_no_section(facts: Facts) -> None:
    assert facts.law_name == DEFAULT_LAW
    assert law(facts) is None


def test_chosen_law_is_set_beside_the_default(facts: Facts) -> None:
    rows = (compared(DEFAULT_LAW), compared("mine<", coverage=None))
    usual = dataclasses.replace(facts.forecast, return_mean=None)
    chosen = {"law_name": "mine<", "law_comparison": rows, "default_forecast": usual}
    text = law(dataclasses.replace(facts, **chosen)).html
    assert "The forecast is by the law <code>mine&lt;</code>" in text
    assert f"<td>{DEFAULT_LAW} (the default)</td>" in text
    assert "<td>0.0123</td><td>75 %</td><td>4</td>" in text
    assert "<td>0.0123</td><td>–</td><td>4</td>" in text
    assert text.count("<td>dev loss, nats</td>") == 1
    assert "<td>–</td><td>–</td></tr>" in text  # no return by the default


def test_law_that_failed_leaves_the_default_and_a_reason(facts: Facts) -> None:
    lost = compared("mine", forecasts=0, rms_log_error=None, coverage=None)
    lost = dataclasses.replace(lost, reason=Status("law_failed", "no points <here>"))
    chosen = {"law_name": "mine", "law_reason": "it divides by 0.", "law_comparison": (lost,)}
    text = law(dataclasses.replace(facts, **chosen)).html
    assert "the forecast is not by it: it divides by 0.</p>" in text
    assert "no points &lt;here&gt;" in text


def test_too_few_budgets_for_a_comparison_is_said(facts: Facts) -> None:
    text = law(dataclasses.replace(facts, law_name="mine")).html
    assert "too few budgets" in text
