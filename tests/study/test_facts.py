"""What is gathered of a study for its report: its law, what made its points, what is torn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isoclone.base.records import Forecast, Interval
from isoclone.base.store import read_json
from isoclone.laws import DEFAULT_LAW, LAWS
from isoclone.report.page import render
from isoclone.study.facts import gather
from isoclone.study.folder import StudyFolder
from isoclone.study.study import Study


class Flat:
    """A law that expects of every budget what the last one reached."""

    def __init__(self, table: dict[str, Any]):
        self.best = min(zip(table["dev_loss"], table["params"], table["samples"], strict=True))

    def forecast(self, flops: float) -> Forecast:
        """Return the best point so far."""
        loss, params, samples = (float(value) for value in self.best)
        sizes = Interval(params, None, None), Interval(samples, None, None)
        return Forecast(flops, *sizes, Interval(loss, loss / 2, 2 * loss), None, 0.5)


def broken(table: dict[str, Any]) -> Flat:
    """Fail, as a user's law may."""
    raise ZeroDivisionError("no <slope>")


@pytest.fixture
def laws() -> Iterator[None]:
    """Register two laws for one test."""
    LAWS.add("flat", Flat)
    LAWS.add("broken", broken)
    yield
    LAWS.remove("flat")
    LAWS.remove("broken")


def with_law(path: Path, name: str) -> Study:
    """Return a finished study as one that asks for a law and has not tested its forecast yet."""
    spec = read_json(path / "study.json")
    spec["spec"]["law"] = name
    StudyFolder(path).write_spec(spec)
    (path / "forecast.json").unlink()
    return Study.open(path)


def test_study_of_the_default_law_has_nothing_to_compare(finished_study: Path) -> None:
    facts = gather(Study.open(finished_study))
    assert facts.law_name == DEFAULT_LAW
    assert facts.law_comparison == ()
    assert facts.law_reason is facts.default_forecast is None
    assert '<section id="law">' not in render(facts)


@pytest.mark.usefixtures("laws")
def test_law_of_a_user_is_forecast_beside_the_default(study_copy: Path) -> None:
    default = Study.open(study_copy).forecast()
    facts = gather(with_law(study_copy, "flat"))
    assert facts.law_reason is None
    assert facts.default_forecast == default
    assert facts.forecast.params.value == min((p.dev_loss, p.params) for p in facts.points)[1]
    page = render(facts)
    assert page.index('<section id="forecast">') < page.index('<section id="law">')
    assert "by the law <code>flat</code>" in page
    assert "the law&#39;s own forecasts" in page


@pytest.mark.usefixtures("laws")
def test_law_that_fails_leaves_the_default_and_its_reason(study_copy: Path) -> None:
    default = Study.open(study_copy).forecast()
    facts = gather(with_law(study_copy, "broken"))
    assert facts.forecast.dev_loss == default.dev_loss
    assert facts.forecast.status[0].code == "law_failed"
    assert "no <slope>" in facts.law_reason
    page = render(facts)
    assert "but the forecast is not by it" in page
    assert "no &lt;slope&gt;" in page


def test_what_made_the_points_is_told(finished_study: Path) -> None:
    facts = gather(Study.open(finished_study))
    point = facts.points[0]
    made = f"isoclone {point.isoclone_version}, torch {point.torch_version}, device cpu"
    assert made in render(facts)


def test_torn_files_are_named(study_copy: Path) -> None:
    (study_copy / "references.json").write_text('{"expert": {"mean": "x"}}')
    facts = gather(Study.open(study_copy))
    assert any("references.json is damaged" in text for text in facts.missing)
    assert facts.references == {}


@pytest.mark.usefixtures("laws")
def test_the_default_beside_a_users_law_has_the_same_ends(study_copy, monkeypatch) -> None:
    monkeypatch.setattr(Study, "bounds", lambda self: {})  # as if no score were known
    default = Study.open(study_copy).forecast()
    assert gather(with_law(study_copy, "flat")).default_forecast == default
