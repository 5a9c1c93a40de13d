"""The page of a suite: one row and one mark a game, and where the law fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoclone.base.records import Interval
from isoclone.base.store import write_bytes
from isoclone.report.compared import Compared
from isoclone.report.figures import by_game
from isoclone.report.page import whole_page
from isoclone.report.sections import Section
from isoclone.report.templating import environment

PARTS = ("params", "samples", "dev_loss", "return_mean")


def write_suite(path: Path, name: str, question: str, rows: Sequence[Compared]) -> Path:
    """Write the page that compares the studies of a suite; return its path."""
    parts: Any = environment().get_template("suite.html.j2").module  # its macros
    several = len({row.game for row in rows}) > 1
    sections: dict[str, Section | None] = {
        "games": Section("Game by game" if several else "Study by study", html=parts.games(rows)),
        "failings": Section("Where the law fails, or is not shown", html=parts.failings(rows)),
        "exponents": Section("Exponents", html=parts.exponents(rows, PARTS), figures=_drawn(rows)),
        "forecast": Section("Forecast against measurement", html=parts.forecasts(rows)),
        "floor": _floors(parts, rows),
        "share": Section(
            "From random play to the expert", html=parts.shares(rows), figures=_shares(rows)
        ),
    }
    header = parts.header(name, question, rows)
    shown = {key: section for key, section in sections.items() if section}
    page = whole_page(f"{name}: an isoclone suite", header, shown)
    write_bytes(path, page.encode())
    return path


def _floors(parts: Any, rows: Sequence[Compared]) -> Section | None:
    """Return how far above their experts' own entropy the agents are, where that is known."""
    known = [row for row in rows if row.above_floor is not None]
    return Section("How far the loss can fall", html=parts.floors(known)) if known else None


def _span(row: Compared) -> tuple[float, float | None, float | None]:
    """Return the share with a 95 % interval of 1.96 standard errors to both sides."""
    share, half = row.share or 0.0, None if row.share_se is None else 1.96 * row.share_se
    return share, *((None, None) if half is None else (share - half, share + half))


def _shares(rows: Sequence[Compared]) -> dict[str, Any]:
    """Return the chart of the shares, if any game has one."""
    marks = [(row.name, *_span(row)) for row in rows if row.share is not None]
    return {"share": by_game(marks, "share of the way")} if marks else {}


def _drawn(rows: Sequence[Compared]) -> dict[str, Any]:
    """Return a chart of each exponent that any game has."""
    titles = {
        "params": "exponent of N",
        "samples": "exponent of D",
        "dev_loss": "exponent of dev loss",
        "return_mean": "exponent of return",
    }
    drawn = {}
    for key in PARTS:
        known: list[tuple[str, Interval]] = [
            (row.name, row.exponents[key]) for row in rows if row.exponents.get(key)
        ]
        if known:
            marks = [(name, i.value, i.low, i.high) for name, i in known]
            drawn[key] = by_game(marks, titles[key])
    return drawn
