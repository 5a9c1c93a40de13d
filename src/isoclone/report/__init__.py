"""The report: one interactive page that needs nothing but itself.

facts      everything the page tells, read from a study
words      numbers and text, escaped
figures    charts, as data for plotly.js, with colours by role
pieces     small pieces of HTML
page       its parts (headline, charts, verdict, nethack, savings, laws, points, reproduce) and the
           whole, with style, script and plotly.js inlined
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isoclone.base.store import write_bytes
from isoclone.report.facts import gather
from isoclone.report.page import render

if TYPE_CHECKING:
    from isoclone.study.study import Study

__all__ = ["write_report"]


def write_report(study: Study) -> Path:
    """Write `report.html` into the study's directory, whole or not at all; returns its path.

    The same study gives the same bytes: nothing on the page depends on when it was written.
    """
    path = study.path / "report.html"
    write_bytes(path, render(gather(study)).encode())
    return path
