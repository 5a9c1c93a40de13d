"""Mixtures of NetHack recordings, with weights: good players and weak ones, bots and people."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclone.base.store import link_or_copy
from isoclone.demos.base import Progress, Source
from isoclone.demos.mixture import Mixed, Part, mixed_name, with_parts
from isoclone.nethack.recordings.demonstrations import NldDemonstrations
from isoclone.nethack.recordings.importer import Played, finish
from isoclone.nethack.recordings.source import GameSource
from isoclone.nethack.recordings.store import MIXTURE, GameInfo, game_path


@dataclass(frozen=True, repr=False)
class MixedGames(Mixed, NldDemonstrations):
    """Recorded games of several demonstrations; made by `demos.mixture`."""

    kind = MIXTURE
    of_part = NldDemonstrations

    def source(self, frames: str, layout: str, progress: Progress | None = None) -> Source:
        """Return the games as a source of screens; every lane of a batch keeps to one part."""
        return GameSource(self, self.shares())

    @classmethod
    def make(cls, out: Path, rows: list[Part], parts: list[Any]) -> None:
        """Link the games, and write what says "complete" last; see `Mixed.make`.

        Their names begin with the number of their part, so that no two are the same.
        """
        games: list[GameInfo] = []
        dev: list[int] = []
        skipped: list[tuple[str, str]] = []
        for number, part in enumerate(parts):
            for info in part.episodes:
                moved = dataclasses.replace(info, index=len(games), name=f"{number}/{info.name}")
                link_or_copy(part.episode_path(info.index), game_path(out, moved.name))
                if part.split_of(info) == "dev":
                    dev.append(moved.index)
                games.append(moved)
            skipped += [(f"{number}/{name}", reason) for name, reason in part.skipped]

        def more(fingerprint: str) -> dict[str, Any]:
            return {
                "kind": cls.kind,
                "parts": [vars(row) for row in rows],
                "fingerprint": with_parts(fingerprint, rows),
            }

        finish(out, games, dev, skipped, mixed_name(rows), Played.of(parts[0]), more)
