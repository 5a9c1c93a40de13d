"""Verbs that record demonstrations, bring them in from elsewhere, and look at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from isoclone.base.errors import SpecError
from isoclone.cli.flags import CREW, FLAT, Crew, demos_in

DEMOS_OUT = Path("demos-out")

if TYPE_CHECKING:
    from isoclone.executors import Executor
    from isoclone.nethack.recordings import NldDemonstrations, NldRecordRequest


def record(
    game: Positional[str],
    *,
    out: Path | None = None,
    expert: str = "scripted",
    samples: int | None = None,
    games: int | None = None,
    character: str | None = None,
    autoascend: Path | None = None,
    seed: int = 0,
    dev_fraction: float = 0.1,
    max_steps: int | None = None,
    trust: bool = False,
    crew: Annotated[Crew, FLAT] = CREW,
    json: bool = False,
) -> None:
    """Record an expert's demonstrations, in parallel; run it again to go on.

    Args:
        game: toy, atari/<Name>, gym/<id>, nethack.
        out: directory for the demonstrations; demos-out/<game>-<expert> unless said.
        expert: scripted, lookahead, random, autoascend, sb3/<hub id>, or an SB3 zip.
        samples: at least so many samples (100,000 unless said); the last episode is finished.
        games: (NetHack) games to record, 100 unless said; more of them later goes on with these.
        character: (NetHack) who is played, as role-race-alignment-gender, or '@' for anybody.
        autoascend: (NetHack) your checkout of AutoAscend.
        seed: seed of the whole recording.
        dev_fraction: share of episodes held out.
        max_steps: truncate an episode after so many agent steps.
        trust: load a pickled checkpoint: it can run any code, so trust its author.
        json: print one JSON document.
    """
    from isoclone.cli.console import ConsoleObserver
    from isoclone.demos import RecordRequest
    from isoclone.demos import record as do_record
    from isoclone.nethack.recordings import NldRecordRequest

    out = out or DEMOS_OUT / f"{game}-{expert}".replace("/", "-").lower()
    limits = {} if max_steps is None else {"max_steps": max_steps}
    if game.partition("/")[0] == "nethack":
        if samples is not None:
            raise SpecError("--samples: NetHack is recorded in whole games; give --games")
        if autoascend is not None and expert != "autoascend":
            raise SpecError(f"--autoascend is for --expert autoascend, not for {expert}")
        nld_request = NldRecordRequest(
            games=100 if games is None else games,
            expert=expert,
            seed=seed,
            game=game,
            game_options=limits | ({} if character is None else {"character": character}),
            expert_options={} if autoascend is None else {"path": str(autoascend.resolve())},
        )
        pool = crew.gathered()
        record_nethack(nld_request, out, dev_fraction, pool, json)
        return
    for flag, value in (("games", games), ("character", character), ("autoascend", autoascend)):
        if value is not None:
            raise SpecError(f"--{flag} is for NetHack, not for {game}")
    request = RecordRequest(
        game=game,
        expert=expert,
        samples=100_000 if samples is None else samples,
        seed=seed,
        dev_fraction=dev_fraction,
        game_options=limits,
        expert_options={"trust": True} if trust else {},
    )
    with ConsoleObserver() as observer, crew.gathered() as pool:
        observer.phase("record", f"{expert} plays {game}")
        do_record(request, out, pool, observer.progress)
    demos_show(out, json=json)


def demos_show(demos: Positional[Path], *, json: bool = False) -> None:
    """Show demonstrations: game, expert, score, episodes, split, fingerprint. Verifies every file.

    Args:
        demos: a directory of demonstrations, or a study directory.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDOUT, plus_minus, print_json
    from isoclone.demos import open_demos
    from isoclone.nethack.recordings import NldDemonstrations

    found = open_demos(demos_in(demos))
    if isinstance(found, NldDemonstrations):
        print_json(nld_summary(found)) if json else show_nld(found)
        return
    mean, se = found.score()
    ends = [info.end for info in found.episodes]
    size = sum(found.episode_path(i.index).stat().st_size for i in found.episodes)
    summary = {
        "path": found.path.resolve().as_posix(),
        "game": found.game_name,
        "expert": found.expert_name,
        "score_mean": mean,
        "score_se": se,
        "samples": found.samples,
        "train_samples": found.samples_in("train"),
        "dev_samples": found.samples_in("dev"),
        "bytes_per_sample": size / found.samples,
        "terminated": ends.count("terminated"),
        "truncated": ends.count("truncated"),
        "fingerprint": found.fingerprint,
        "episodes": [{**vars(i), "split": found.split_of(i)} for i in found.episodes],
    }
    if json:
        print_json(summary)
        return
    STDOUT.print(f"{found.expert_name} in {found.game_name}: {plus_minus(mean, se, 1)}")
    STDOUT.print(
        f"{found.samples:,} samples ({summary['train_samples']:,} train, "
        f"{summary['dev_samples']:,} dev) in {len(ends)} episodes "
        f"({ends.count('terminated')} terminated, {ends.count('truncated')} truncated), "
        f"{summary['bytes_per_sample']:.1f} bytes a sample"
    )
    STDOUT.print(f"fingerprint {found.fingerprint}, every file verified")


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
    from isoclone.cli.console import ConsoleObserver, print_json
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
    print_json(nld_summary(demos)) if json else show_nld(demos)


def demos_select(
    demos: Positional[Path],
    *,
    where: str,
    out: Path,
    json: bool = False,
) -> None:
    """Select train games of imported NetHack recordings; the dev games stay the same.

    Nothing is decoded or copied: the games are hard links.

    Args:
        demos: a directory of imported recordings, or one that holds them: of a recording, a study.
        where: a condition on the table of games, as in "episode_return > 20000".
        out: directory for the selection.
        json: print one JSON document.
    """
    from isoclone.cli.console import print_json
    from isoclone.nethack.recordings import NldDemonstrations, select

    found = select(NldDemonstrations.open(demos_in(demos)), out, where)
    print_json(nld_summary(found)) if json else show_nld(found)


def nld_summary(demos: NldDemonstrations) -> dict[str, Any]:
    """Imported recordings as one JSON document."""
    mean, se = demos.score()
    size = sum(demos.episode_path(info.index).stat().st_size for info in demos.episodes)
    frames = sum(info.frames for info in demos.episodes)
    cuts = ("cut_opening", "cut_end_screens", "cut_quit", "cut_stuck", "unknown_keys")
    return {
        "path": demos.path.resolve().as_posix(),
        "game": demos.game_name,
        "game_options": demos.game_options,
        "expert": demos.expert_name,
        "score_mean": mean,
        "score_se": se,
        "samples": demos.samples,
        "train_samples": demos.samples_in("train"),
        "dev_samples": demos.samples_in("dev"),
        "frames": frames,
        **{name: sum(getattr(info, name) for info in demos.episodes) for name in cuts},
        "bytes_per_frame": size / frames,
        "fingerprint": demos.fingerprint,
        "skipped": [{"name": name, "reason": reason} for name, reason in demos.skipped],
        "episodes": [{**vars(i), "split": demos.split_of(i)} for i in demos.episodes],
    }


def show_nld(demos: NldDemonstrations) -> None:
    """Print what was imported, what was cut and what was left out."""
    from isoclone.cli.console import STDOUT, plus_minus

    said = nld_summary(demos)
    score = plus_minus(said["score_mean"], said["score_se"], 1)
    STDOUT.print(f"{demos.expert_name} in {demos.game_name}: {score}")
    STDOUT.print(
        f"{said['samples']:,} samples ({said['train_samples']:,} train, {said['dev_samples']:,} "
        f"dev) in {len(demos.episodes)} games, {said['bytes_per_frame']:.1f} bytes a frame"
    )
    STDOUT.print(
        f"cut from {said['frames']:,} frames: {said['cut_opening']:,} before the first action, "
        f"{said['cut_end_screens']:,} of end screens, "
        f"{said['cut_quit']:,} of quitting, {said['cut_stuck']:,} stuck before that; "
        f"{said['unknown_keys']:,} with keys that are no actions, not learned from"
    )
    for reason, count in Counter(reason for _, reason in demos.skipped).most_common():
        STDOUT.print(f"left out {count}: {reason}", markup=False)
    STDOUT.print(f"fingerprint {demos.fingerprint}, every file verified")


def record_nethack(
    request: NldRecordRequest,
    out: Path,
    dev_fraction: float,
    pool: Executor,
    json: bool,
) -> None:
    """Record NetHack games into OUT/nld, import them into OUT/demos, and tell how it went."""
    from isoclone.cli.console import STDOUT, ConsoleObserver, print_json
    from isoclone.nethack.recordings import record_demos
    from isoclone.study.builtins import builtin

    with ConsoleObserver() as observer, pool:
        observer.phase("record", f"{request.expert} plays {request.games} games of {request.game}")
        rows, demos = record_demos(
            request,
            out / "nld",
            out / "demos",
            dev_fraction=dev_fraction,
            executor=pool,
            progress=observer.progress,
            tell=observer.trouble,
        )
    lost = [row for row in rows if "ttyrec" not in row]
    failed = [row for row in rows if str(row["how_it_ended"]).startswith("expert failed")]
    if json:
        recordings = (out / "nld").resolve().as_posix()
        print_json({"recordings": recordings, "games": rows, **nld_summary(demos)})
        return
    for row in lost + failed:
        STDOUT.print(f"game of seed {row['seed']}: {row['how_it_ended']}", markup=False)
    STDOUT.print(
        f"{len(rows)} games: {len(lost)} lost with their process, {len(failed)} ended by a failure "
        f"of the expert; recorded in {out / 'nld'}, listed in its games.csv"
    )
    show_nld(demos)
    if demos.game_name == builtin("nethack").game:
        STDOUT.print(f"use it: isoclone run nethack --demos {out}", markup=False)


VERBS: dict[str, Callable[..., Any]] = {
    "record": record,
    "demos show": demos_show,
    "demos import nld": import_nld,
    "demos select": demos_select,
}
