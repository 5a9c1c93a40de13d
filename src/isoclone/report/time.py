"""Where a study's time went: who did what when, and how long workers waited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from isoclone.base.formatting import duration
from isoclone.base.trace import Span
from isoclone.report.facts import Facts
from isoclone.report.figures import layout_of, linear_axis
from isoclone.report.sections import Figure, Section
from isoclone.report.templating import fill

KINDS = {  # of a worker's spans: the colour
    "record": "@law",
    "train": "@seq0",
    "evaluate": "@seq0.75",
    "film": "@star",
    "other work": "@muted",
}
OTHER = "other work"  # of a task: starting, reading, writing
DRIVER = "the driver"  # the process that hands out the tasks; drawn by its phases
FINEST = 1 / 600  # of the time at work: shorter gaps between spans of one kind are not drawn
Stretch = tuple[float, float]  # from, to


def time_spent(facts: Facts) -> Section | None:
    """Return the workers' time by kind of work, and a chart of it; None without a trace."""
    shares = shares_of(facts.trace)
    if not shares:
        return None
    total = sum(shares.values())
    words = ", ".join(f"{kind} {seconds / total:.0%}" for kind, seconds in shares.items())
    tasks = [span for span in facts.trace if span.kind == "task"]
    workers = max(span.workers for span in facts.trace)
    html = fill("time", words=words, total=duration(total), workers=workers, tasks=len(tasks))
    return Section("Where the time went", html=html, figures={"time": _gantt(facts.trace)})


def shares_of(spans: Sequence[Span]) -> dict[str, float]:
    """Return the workers' seconds by kind of work, waiting last; {} where nothing is known.

    All that one process does alone between tasks, such as fitting laws, counts as other work.
    """
    drives = [span for span in spans if span.kind == "drive"]
    tasks = [span for span in spans if span.kind == "task"]
    inner = [span for span in spans if span.kind in KINDS]
    capacity = sum(span.seconds * span.workers for span in drives)
    if not tasks or not capacity:
        return {}
    shares = {kind: sum(s.seconds for s in inner if s.kind == kind) for kind in KINDS}
    working = sum(span.seconds for span in tasks)
    covered = _length(_merged((s.begin, s.end) for s in tasks))
    alone = max(0.0, _length(_merged((s.begin, s.end) for s in [*drives, *tasks])) - covered)
    shares[OTHER] = max(0.0, working - sum(shares.values())) + alone
    shares["wait"] = max(0.0, capacity - working - alone)
    return {kind: seconds for kind, seconds in shares.items() if seconds or kind == "wait"}


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return the time that any of the stretches covers."""
    merged: list[Stretch] = []
    for begin, end in sorted(stretches):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def _length(stretches: Sequence[Stretch]) -> float:
    return sum(end - begin for begin, end in stretches)


def _gantt(spans: Sequence[Span]) -> Figure:
    """Draw each worker's spans along the time at work; between two commands no time passes."""
    at_work = _merged((span.begin, span.end) for span in spans)
    workers = list(dict.fromkeys(s.worker for s in sorted(spans, key=lambda s: s.begin)))
    drivers = {span.worker for span in spans if span.kind == "drive"}
    names = {w: f"worker {i}" for i, w in enumerate((w for w in workers if w not in drivers), 1)}
    traces: list[dict[str, Any]] = []
    # Other work lies beneath the rest.
    for kind, colour in [(DRIVER, "@grid"), *reversed(KINDS.items())]:
        known = {OTHER: "task", DRIVER: "drive"}.get(kind, kind)
        of_kind = [span for span in spans if span.kind == known]
        here = _joined(of_kind, FINEST * _length(at_work))
        bars = {
            "name": kind,
            "y": [names.get(span.worker, DRIVER) for span in here],
            "base": [_since(at_work, span.begin) / 60 for span in here],
            "x": [span.seconds / 60 for span in here],
            "marker": {"color": colour, "opacity": 1, "line": {"width": 0}},
            "hovertext": [f"{kind} {span.name}<br>{duration(span.seconds)}" for span in here],
        }
        if here:
            traces.append({"type": "bar", "orientation": "h", "hoverinfo": "text", **bars})
    layout = layout_of(linear_axis("minutes of work"), {"automargin": True})
    return {"data": traces, "layout": {**layout, "barmode": "overlay"}}


def _joined(spans: Iterable[Span], gap: float) -> list[Span]:
    """Return spans with those of a worker joined that less than `gap` seconds part."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.worker, span.begin)):
        last = joined[-1] if joined else None
        if last is not None and last.worker == span.worker and span.begin - last.end < gap:
            name = last.name if last.name == span.name else ""
            joined[-1] = replace(last, end=max(last.end, span.end), name=name)
        else:
            joined.append(span)
    return joined


def _since(at_work: Sequence[Stretch], moment: float) -> float:
    """Return the seconds of work up to a moment."""
    return sum(min(end, moment) - begin for begin, end in at_work if begin < moment)
