"""The section `watch` of the report."""

from __future__ import annotations

from isoclone.report import Section


def watch(facts) -> Section:
    """Tell how often each size points where the watchman does."""
    rows = [(p.width, f"{p.dev_accuracy:.1%}") for p in facts.points]
    return Section("The watch", text=["Lanterns were pointed at."], head=["width", ""], rows=rows)
