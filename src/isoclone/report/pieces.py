"""Small pieces of HTML that the parts of the page are made of."""

from __future__ import annotations

import json
from typing import Any

from isoclone.report.words import MISSING, esc, spaced


def table(head: list[str], rows: list[list[str]], kind: str = "") -> str:
    """A table; a cell that starts with '<td' or '<th' is taken as it is."""
    top = "".join(f"<th scope=col>{h}</th>" for h in head)
    body = "".join(
        "<tr>"
        + "".join(c if c.startswith(("<td", "<th")) else f"<td>{c}</td>" for c in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex=0><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def chart(name: str, label: str, kind: str = "") -> str:
    """The place of a chart; the label is what a screen reader says."""
    return f'<div class="chart {kind}" id="{name}" role="img" aria-label="{esc(label)}"></div>'


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page with a heading that can be linked to."""
    return f'<section id="{name}"><h2>{title}</h2>{"".join(parts)}</section>'


def code(text: Any) -> str:
    """Escaped text in the code font."""
    return f"<code>{esc(text)}</code>"


def note(text: str) -> str:
    """A caption: HTML, already escaped."""
    return f'<p class="note">{text}</p>'


def holds(answer: bool | None) -> str:
    if answer is None:
        return MISSING
    mark, word = ("✓", "inside") if answer else ("✕", "outside")
    return f'<span class="{"yes" if answer else "no"}">{mark} {word}</span>'


def statuses(status: Any) -> str:
    """Status messages as a list, each with its code."""
    items = []
    for entry in status:
        told = entry if isinstance(entry, dict) else entry.to_json()
        text = str(told.get("message", "")).rstrip(".")
        text = text[:1].upper() + text[1:]
        items.append(f"<li>{esc(text)}. <small>{esc(spaced(told.get('code', '')))}</small></li>")
    return f'<ul class="status">{"".join(items)}</ul>' if items else ""


def raw(title: str, value: Any) -> str:
    text = json.dumps(value, indent=2, sort_keys=True)
    return f"<details><summary>{title}</summary><pre>{esc(text)}</pre></details>"
