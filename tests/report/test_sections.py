"""Sections by others: written in ten lines, checked, escaped, and never the end of a page."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.report import SECTIONS, Section, add_section
from isoclone.report.facts import Facts
from isoclone.report.page import render, sections_of
from isoclone.report.sections import _AFTER, BUILT_IN, section_names
from isoclone.report.words import number
from isoclone.study.facts import gather
from isoclone.study.study import Study

FIGURE = {"data": [{"type": "scatter", "x": np.array([1, 2]), "y": [3, np.nan]}], "layout": {}}


@pytest.fixture(scope="module")
def facts(finished_study: Path) -> Facts:
    return gather(Study.open(finished_study))


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Take away what a test registered."""
    section_names()  # plugins are loaded
    before = dict(_AFTER)
    yield
    for name in _AFTER.keys() - before.keys():
        SECTIONS.remove(name)
        del _AFTER[name]


def mine(facts: Facts) -> Section:
    """Return a section as a user would write one."""
    rows = [[p.width, p.dev_loss] for p in facts.measured]
    return Section(
        "Widths <b>",
        text=["How <i>wide</i>?", Markup("in <b>bold</b>")],
        head=["width", "loss"],
        rows=rows,
        figures={"loss against width": FIGURE},
        note="<end>",
    )


def test_section_of_text_table_and_chart(facts: Facts) -> None:
    add_section("widths", mine, after="isoflop")
    names = section_names()
    assert names.index("widths") == names.index("isoflop") + 1
    page = render(facts)
    assert '<section id="widths"><h2>Widths &lt;b&gt;</h2>' in page
    assert "<p>How &lt;i&gt;wide&lt;/i&gt;?</p>" in page
    assert "<p>in <b>bold</b></p>" in page
    assert "&lt;end&gt;" in page
    first = facts.measured[0]
    assert f"<td>{first.width}</td><td>{number(first.dev_loss)}</td>" in page
    assert 'id="chart-widths-1" role="img" aria-label="loss against width"' in page
    assert page.index('id="isoflop"') < page.index('id="widths"') < page.index('id="frontier"')


def test_chart_has_the_style_of_the_page_and_what_it_brings(facts: Facts) -> None:
    figure = {"data": [], "layout": {"xaxis": {"type": "log"}, "title": {"text": "mine"}}}
    add_section("styled", lambda facts: Section("Styled", figures={"a chart": figure}))
    layout = sections_of(facts)[0]["styled"].figures["styled-1"]["layout"]
    assert layout["xaxis"]["type"] == "log"
    assert layout["xaxis"]["gridcolor"] == "@grid"
    assert layout["title"] == {"text": "mine"}


def test_html_of_a_section_is_taken_as_it_is_only_if_it_says_so(facts: Facts) -> None:
    add_section("plain", lambda facts: Section("Plain", html="<u>x</u>"))
    add_section("marked", lambda facts: Section("Marked", html=Markup("<u>y</u>")))
    page = render(facts)
    assert "&lt;u&gt;x&lt;/u&gt;" in page
    assert "<u>y</u>" in page


def test_sections_after_the_same_one_keep_their_order(facts: Facts) -> None:
    for name in ("first", "second"):
        add_section(name, mine, after="plan")
    add_section("third", mine, after="second")
    names = section_names()
    at = names.index("plan")
    assert names[at + 1 : at + 4] == ["first", "second", "third"]


def test_section_may_have_nothing_to_tell(facts: Facts) -> None:
    add_section("silent", lambda facts: None)
    sections, trouble = sections_of(facts)
    assert "silent" not in sections
    assert not trouble


@pytest.mark.parametrize(
    ("render_it", "said"),
    [
        (lambda facts: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda facts: "text", "it is a str, not a Section or None"),
        (lambda facts: Section("A", html="", figures={"isoflop": FIGURE}), "a chart of the name"),
        (lambda facts: Section("A", figures={"a": {"data": [object()]}}), "not JSON serializable"),
        ("isoclone.nowhere:render", "No module named"),
    ],
)
def test_broken_section_is_named_and_left_out(facts: Facts, render_it: object, said: str) -> None:
    add_section("broken", render_it)
    page = render(facts)
    assert '<section id="broken">' not in page
    assert "Section broken: " in page
    assert said in page


def test_what_cannot_be_registered() -> None:
    with pytest.raises(SpecError, match="letters, digits"):
        add_section("a b", mine)
    with pytest.raises(SpecError, match="built in"):
        add_section("laws", mine)
    with pytest.raises(UnknownNameError, match="nowhere"):
        add_section("mine", mine, after="nowhere")


def test_built_in_sections_are_in_order() -> None:
    assert [name for name in section_names() if name in BUILT_IN] == list(BUILT_IN)


def test_mixed_points_are_told(facts: Facts) -> None:
    first, *others = facts.points
    mixed = dataclasses.replace(first, torch_version="1.0<b>")
    page = render(dataclasses.replace(facts, points=[mixed, *others]))
    assert "points were made with torch" in page
    assert "1.0&lt;b&gt; (1)" in page


def test_registering_is_light() -> None:
    code = (
        "import sys; from isoclone.report import add_section; "
        "add_section('mine', 'mine:render'); "
        "print(sorted({'torch', 'numpy', 'jinja2', 'plotly'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
