"""Selections of imported games as new demonstrations, for experts of other strengths."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path

from isoclone.base.errors import DataError, SpecError
from isoclone.base.store import link_or_copy
from isoclone.demos.demonstrations import DONE
from isoclone.nethack.recordings.demonstrations import NldDemonstrations
from isoclone.nethack.recordings.importer import Played, claim, finish
from isoclone.nethack.recordings.store import GameInfo
from isoclone.nethack.recordings.where import Where

FIELDS = {field.name for field in dataclasses.fields(GameInfo)}


def select(demos: NldDemonstrations, out: str | Path, where: str) -> NldDemonstrations:
    """Make demonstrations of the train games that match and all dev games, without decoding.

    The dev games are the same, whether they match or not, so that losses can be compared. Files are
    hard links where the disk supports them, and copies elsewhere.

    Args:
        where: condition on columns of the table of games, as in "episode_return > 20000".

    Raises:
        SpecError: a condition that cannot be read, or that no train game matches.
        SpecMismatchError: `out` holds another selection.
    """
    out, wanted = Path(out), Where(where, FIELDS)
    request = {"select": where, "from": demos.fingerprint}
    if (out / DONE).exists():
        claim(out, request)
        with suppress(DataError):  # damaged: make it again
            return NldDemonstrations.open(out)
    kept = [info for info in demos.episodes if demos.split_of(info) == "dev" or wanted(vars(info))]
    if len(kept) == len(demos.dev_episodes):
        raise SpecError(f"--where {where!r}: none of {demos.path}'s train games matches")
    claim(out, request)
    games = [dataclasses.replace(info, index=i) for i, info in enumerate(kept)]
    dev = [i for i, info in enumerate(kept) if demos.split_of(info) == "dev"]
    names = {info.name for info in kept}
    left = [(i.name, f"not ({where})") for i in demos.episodes if i.name not in names]
    for info in kept:
        there = demos.episode_path(info.index)
        link_or_copy(there, out / there.relative_to(demos.path))
    finish(out, games, dev, left, demos.expert_name, Played.of(demos))
    return NldDemonstrations.open(out)
