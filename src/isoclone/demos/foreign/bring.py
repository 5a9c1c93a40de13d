"""Import a dataset of a format by its place: `isoclone demos import KIND PLACE`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from isoclone.base.errors import DataError, SpecError
from isoclone.base.tables import IMPORTS
from isoclone.demos.base import Progress
from isoclone.demos.demonstrations import FrameDemonstrations
from isoclone.demos.foreign.base import Foreign, Given, Unfit
from isoclone.demos.foreign.keep import demos_from
from isoclone.demos.foreign.pictures import newest
from isoclone.demos.foreign.read import array
from isoclone.games import Game


def import_demos(
    kind: str,
    source: str,
    *,
    path: str | Path,
    game: str | Game | None = None,
    stacked: bool = False,
    options: dict[str, Any] | None = None,
    expert: str | None = None,
    observation_space: Any = None,
    action_space: Any = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    **others: Any,
) -> FrameDemonstrations:
    """Import demonstrations made by others, or go on with an import that was stopped.

    Args:
        kind: the format: 'arrays', 'lerobot', 'minari', 'parquet', or one that was registered.
        source: a path, or what else the format calls a place.
        path: the directory for the demonstrations.
        game: what was played; the game 'data' unless said, which has no environment.
        stacked: observations are stacks of grey pictures, the newest last: keep that one.
        options: of the reader of the format.
        expert: who played; as the source says unless given.
        observation_space: instead of what the source says, see `demos_from`.
        action_space: likewise.
        others: `game_options`, `bins`, `reading`, `dev_fraction` and `refuse_damaged`, as of
            `demos_from`.

    Raises:
        UnknownNameError: no such format.
        DataError: the source cannot be read, or nothing in it is fit.
        SpecError: an option that the reader does not have, or a space that is needed.
        SpecMismatchError: the directory holds other demonstrations.
    """
    try:
        found: Foreign = IMPORTS.make(kind, source, **options or {})
    except TypeError as error:
        raise SpecError(f"import {kind}: {error}") from error
    for note in found.notes if tell else ():
        tell(note)  # type: ignore[misc]
    if tell and game is None and found.recorded_in:
        tell(
            f"recorded in {found.recorded_in}: with --game gym/{found.recorded_in} returns can be "
            "measured, too"
        )
    episodes = found.episodes
    if stacked:
        episodes = functools.partial(_unstacked, found.episodes)
        found = dataclasses.replace(found, observation_space=None)
    if game is None:
        others["observation_space"] = observation_space or found.observation_space
        others["action_space"] = action_space or found.action_space
    elif observation_space or action_space:
        raise SpecError("give either a game, which has its spaces, or spaces")
    return demos_from(
        episodes,
        path=path,
        game=game,
        expert=expert or found.expert or "imported",
        source=found.name,
        total=found.total,
        progress=progress,
        tell=tell,
        **others,
    )


def _unstacked(episodes: Callable[[], Any]) -> Iterator[Given | Unfit]:
    for given in episodes():
        if isinstance(given, Unfit):
            yield given
            continue
        seen, *rest = given
        try:
            single = newest(array(seen, "observations"))
        except DataError as error:
            yield Unfit("an episode", str(error))
            continue
        yield Given(single, *rest)
