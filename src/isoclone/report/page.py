"""The whole page: sections, style, script and plotly.js in one string."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from isoclone.base.errors import FOREIGN, DataError, words_of
from isoclone.base.records import jsonable
from isoclone.report.facts import Facts
from isoclone.report.figures import styled
from isoclone.report.headline import headline
from isoclone.report.sections import BUILT_IN, SECTIONS, Section, section_names
from isoclone.report.templating import asset, fill


def render(facts: Facts) -> str:
    """Return the page of a study as HTML."""
    sections, trouble = sections_of(facts)
    title = f"{facts.spec.name}: an isoclone study"
    return whole_page(title, headline(facts, trouble), sections)


def sections_of(facts: Facts) -> tuple[dict[str, Section], list[str]]:
    """Return the sections that have any content, as HTML, in the order of the page.

    A registered section that cannot be made is left out; the second list has a sentence for each
    of them, with the reason.
    """
    made: dict[str, Section] = {}
    trouble: list[str] = []
    for name in section_names():
        try:
            section = SECTIONS.make(name, facts)
            if section is not None:
                taken = {key for other in made.values() for key in other.figures}
                made[name] = _checked(name, section, taken)
        except FOREIGN as error:
            if name in BUILT_IN:
                raise
            trouble.append(f"Section {name}: {words_of(error)}.")
    return made, trouble


def _checked(name: str, section: Any, taken: set[str]) -> Section:
    """Return a section as HTML; raise an error if it cannot be shown."""
    if not isinstance(section, Section):
        raise DataError(f"it is a {type(section).__name__}, not a Section or None")
    figures = jsonable(dict(section.figures))
    json.dumps(figures)  # raises if a value is not plain
    section = dataclasses.replace(section, figures=figures)
    if section.html is None:
        places = {f"{name}-{i}": label for i, label in enumerate(section.figures, 1)}
        html = fill("section", section=section, places=places)
        drawn = dict(zip(places, map(styled, figures.values()), strict=True))
        section = dataclasses.replace(section, html=html, figures=drawn)
    if again := taken & set(section.figures):
        raise DataError(f"another section has a chart of the name {sorted(again)[0]}")
    return section


def whole_page(title: str, header: Markup, sections: Mapping[str, Section]) -> str:
    """Return a page around its sections, with what their charts need."""
    figures = {
        f"chart-{name}": figure for s in sections.values() for name, figure in s.figures.items()
    }
    return fill(
        "page",
        title=title,
        header=header,
        sections=sections.items(),
        figures=figures,
        style=asset("page.css"),
        script=asset("page.js"),
        library=_plotly() if figures else "",
    )


def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
