"""The report: one interactive page in a single file, which needs no network.

facts       everything on the page, as plain data (gathered by `isoclone.study.facts`)
sections    the class of a section, the order of the built-in ones, registering others
figures     charts, as data for plotly.js, with colours by role
words       numbers as text: filters of the templates
templating  the templates' environment; templates/ has one for each part of the page
page        the whole, with style, script and plotly.js inlined
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isoclone.report.sections import SECTIONS, Section, add_section

if TYPE_CHECKING:
    from isoclone.report.facts import Facts

__all__ = ["SECTIONS", "Section", "add_section", "write_report"]


def write_report(path: Path, facts: Facts) -> Path:
    """Write the page of a study to a file, whole or not at all; return its path.

    The same facts give the same bytes: nothing on the page depends on when it was written.
    """
    from isoclone.base.seals import sealed
    from isoclone.base.store import write_bytes
    from isoclone.report.page import render

    write_bytes(path, sealed(render(facts).encode(), ".html"))
    return path
