"""What a game tells of many episodes in its own words: figures, lines and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpisodeTable:
    """A table about episodes; every cell is text already."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class EpisodeAccount:
    """What a game tells of the episodes that an agent played (`Game.account_of`).

    Attributes:
        figures: plain values, for `--json`.
        lines: sentences for people, above the tables.
        tables: shown on the screen in this order.
        notes: what the tables need to be understood, below them.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()
    tables: Sequence[EpisodeTable] = ()
    notes: Sequence[str] = ()
