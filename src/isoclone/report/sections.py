"""The sections of the page: their class, their order, and registering others.

Importing this is light: a plugin registers a section without importing templates or NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.base.tables import SECTIONS

if TYPE_CHECKING:
    from isoclone.report.facts import Facts

Figure = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """One part of the page. Text is escaped, unless it is `markupsafe.Markup`.

    Attributes:
        title: its heading.
        text: paragraphs, above the table and the charts.
        head: of the table, one text for each column.
        rows: of the table: texts, whole numbers, floats (shown with three digits), None.
        figures: charts as plotly.js takes them, {"data": [...], "layout": {...}}, by what a screen
            reader says of each. Arrays may be NumPy's; a number that is not finite is a gap.
            Layout that is left out is the page's; a colour may be a role of the style sheet, such
            as '@law' or '@star', see `report.figures`.
        note: a caption, below everything.
        html: replaces text, table, note and the places of the charts. A chart is then drawn in
            `<div class="chart" id="chart-NAME">`, and NAME is its name in `figures`.
    """

    title: str
    text: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    note: str = ""
    html: str | None = None


Render = Callable[["Facts"], Section | None]

BUILT_IN = {  # in the order of the page
    "isoflop": "isoclone.report.charts:isoflop",
    "frontier": "isoclone.report.charts:frontier",
    "forecast": "isoclone.report.verdict:forecast",
    "law": "isoclone.report.laws:law",
    "baselines": "isoclone.report.baselines:baselines",
    "went": "isoclone.report.baselines:went",
    "training": "isoclone.report.training:training",
    "time": "isoclone.report.time:time_spent",
    "plan": "isoclone.report.savings:savings",
    "floor": "isoclone.report.floor:floor",
    "laws": "isoclone.report.laws:laws",
    "points": "isoclone.report.points:points",
    "reproduce": "isoclone.report.reproduce:reproduce",
}
for _name, _render in BUILT_IN.items():
    SECTIONS.add(_name, _render)
_AFTER: dict[str, str] = {}  # section -> the one it follows


def add_section(name: str, render: Render | str, after: str = "went") -> None:
    """Add a section to every report, directly after another one.

    Args:
        name: its id on the page, as `#name` of a link: letters, digits, '-' and '_'.
        render: takes the `Facts` of a study and returns a `Section`, or None to be left out; or
            the name of such a function, "package.module:function".
        after: a built-in section, or one that was registered before.

    Raises:
        SpecError: the name cannot be an id, or is that of a built-in section.
        UnknownNameError: there is no section `after`.
    """
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise SpecError(f"report section '{name}': use letters, digits, '-' and '_' for the name")
    if name in BUILT_IN:
        raise SpecError(f"report section '{name}' is built in; choose another name")
    if after == name or after not in BUILT_IN.keys() | _AFTER.keys():
        raise UnknownNameError("report section", after, [*BUILT_IN, *_AFTER])
    _AFTER[name] = after
    SECTIONS.add(name, render)


def section_names() -> list[str]:
    """Return the names of all sections, in the order of the page."""
    known = SECTIONS.names()  # plugins are loaded by this
    order = list(BUILT_IN)
    for name in [*_AFTER, *known]:
        if name not in known or name in order:  # removed again, or has its place already
            continue
        after = _AFTER.get(name)
        place = order.index(after) + 1 if after in order else len(order)
        while place < len(order) and _AFTER.get(order[place]) == after:
            place += 1  # those with the same place: in the order of their registration
        order.insert(place, name)
    return order
