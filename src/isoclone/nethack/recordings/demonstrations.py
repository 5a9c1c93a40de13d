"""NetHack recordings as demonstrations, like any other kind to training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isoclone.base.registry import resolved
from isoclone.demos.base import Progress, Source
from isoclone.nethack.recordings.source import GameSource
from isoclone.nethack.recordings.store import StoredGames


@dataclass(frozen=True)
class NldDemonstrations(StoredGames):
    """Imported demonstrations in a directory; open them with `NldDemonstrations.open(path)`."""

    def source(self, frames: str, layout: str, progress: Progress | None = None) -> Source:
        """Return the games as they are, for policies that read screens; nothing is expanded."""
        return GameSource(self)

    def select(self, out: str | Path, where: str) -> NldDemonstrations:
        """Make demonstrations of the train games that meet a condition; see `select.select`."""
        chosen: NldDemonstrations = resolved("isoclone.nethack.recordings.select:select")(
            self, out, where
        )
        return chosen
