"""Demonstrations from NetHack recordings, with the interface of all demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isoclone.base.registry import resolved
from isoclone.demos.base import Progress, Source
from isoclone.nethack.recordings.source import GameSource
from isoclone.nethack.recordings.store import StoredGames


@dataclass(frozen=True, repr=False)
class NldDemonstrations(StoredGames):
    """Imported demonstrations in a directory; open them with `NldDemonstrations.open(path)`."""

    mixed_as = "isoclone.nethack.recordings.mixture:MixedGames"

    def source(self, frames: str, layout: str, progress: Progress | None = None) -> Source:
        """Return the games as a source of screens; they are read as they are needed."""
        return GameSource(self)

    def select(self, out: str | Path, where: str) -> NldDemonstrations:
        """Make demonstrations of the train games that meet a condition; see `select.select`."""
        chosen: NldDemonstrations = resolved("isoclone.nethack.recordings.select:select")(
            self, out, where
        )
        return chosen
