"""NetHack's part of the command line: importing and selecting recordings, and watching games."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from isoclone.base.errors import SpecError
from isoclone.cli.demos import show_demos


def import_nld(
    source: Positional[Path],
    *,
    out: Path,
    where: str | None = None,
    dev_fraction: float = 0.1,
    dev_folder: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    without_log: bool = False,
    refuse_damaged: bool = False,
    expert: str = "recorded",
    executor: str = "processes",
    workers: int | None = None,
    json: bool = False,
) -> None:
    """Import NetHack recordings (NLD-AA, or ttyrecs NLE made), in parallel; run it again to go on.

    See docs/nethack.md for what is kept, cut and left out.

    For example:

        isoclone demos import nld nld-aa --out demos/aa --expert AutoAscend
        isoclone demos import nld nld-aa --out demos/monks --where "role == 'Mon'"

    Args:
        source: a folder of *.ttyrec3.bz2 with their xlogfiles, searched to any depth.
        out: directory for the demonstrations.
        where: only games whose log matches, as in "role == 'Mon' and death != 'quit'".
        dev_fraction: share of games held out, chosen by their contents.
        dev_folder: hold out the games of this folder instead; may be repeated.
        without_log: also import recordings that no xlogfile tells about.
        refuse_damaged: stop at a damaged recording instead of leaving it out.
        expert: who played, for people.
        executor: who does the work: processes, serial.
        workers: how many at once; the number of cores unless said.
        json: print one JSON document.
    """
    from isoclone.cli.console import ConsoleObserver
    from isoclone.executors import executor as make_executor
    from isoclone.nethack.recordings import import_nld as do_import

    with ConsoleObserver() as observer:
        observer.phase("import", f"recordings in {source}")
        demos = do_import(
            source,
            out,
            where=where,
            dev_fraction=dev_fraction,
            dev_folders=dev_folder,
            without_log=without_log,
            refuse_damaged=refuse_damaged,
            expert=expert,
            executor=make_executor(executor, workers),
            progress=observer.progress,
            tell=observer.trouble,
        )
    show_demos(demos, json)


def select(demos: Positional[Path], *, where: str, out: Path, json: bool = False) -> None:
    """Select train games of imported NetHack recordings; the dev games stay the same.

    Nothing is decoded or copied: the games are hard links.

    For example:

        isoclone demos select demos/aa --where "episode_return > 20000" --out demos/aa-strong

    Args:
        demos: a directory of imported recordings, or one that holds them: of a recording, a study.
        where: a condition on the table of games, as in "episode_return > 20000".
        out: directory for the selection.
        json: print one JSON document.
    """
    from isoclone.demos import demos_in
    from isoclone.nethack.recordings import NldDemonstrations
    from isoclone.nethack.recordings import select as do_select

    show_demos(do_select(NldDemonstrations.open(demos_in(demos)), out, where), json)


class TerminalViewer:
    """The viewer of recordings and of agents' games in the terminal: `isoclone play`."""

    def accepts(self, source: Path, game_name: str | None) -> bool:
        """Return whether `source` is a recording, or a checkpoint of an agent of NetHack."""
        if game_name is None:
            return ".ttyrec" in source.name
        return game_name.startswith("nethack/")

    def show(
        self,
        source: Path,
        *,
        policy: Any,
        out: Path | None,
        seed: int,
        sampling: str,
        at: int,
        frames: int | None,
        json: bool,
    ) -> None:
        """Play a reel on the terminal, or print some of its frames as text or JSON.

        Raises:
            SpecError: `out` with a recording, or no frame of that number.
        """
        from isoclone.games import game
        from isoclone.nethack.watch import Reel, played, recorded

        if policy is None and out is not None:
            raise SpecError(f"--out films a checkpoint at play; {source} is a recording")
        if policy is None:
            reel = Reel(recorded(source))
        else:
            the_game = game(policy.run.game, **policy.run.game_options)
            chunk = 1 if frames is None else frames  # play no further than is shown
            reel = Reel(played(policy, the_game, seed, sampling), chunk)
        _show(source, reel, at, frames, json)


def _show(source: Path, reel: Any, at: int, frames: int | None, json: bool) -> None:
    from isoclone.cli.output import print_json, print_plain
    from isoclone.nethack.watch import key_name, lines, watch

    if frames is None and not json and sys.stdout.isatty():
        watch(reel, at)
        return
    first = at if at >= 0 else reel.last() + 1 + at
    shots = [reel.get(number) for number in range(first, first + (1 if frames is None else frames))]
    shown = [shot for shot in shots if shot is not None]
    if not shown:
        raise SpecError(f"{source} has no frame {at}; it has {len(reel)}")
    if json:
        told = [
            {"key": key_name(shot.key), "score": shot.score, "screen": lines(shot.frame)}
            for shot in shown
        ]
        facts = {"frames": reel.last() + 1, "score": reel.score()}
        print_json({"source": source.resolve().as_posix(), **facts, "first": first, "shown": told})
        return
    for number, shot in enumerate(shown, first):
        print_plain("\n".join(lines(shot.frame)).rstrip())
        print_plain(f"-- frame {number:,}, key {key_name(shot.key)}, score {shot.score:,}")
