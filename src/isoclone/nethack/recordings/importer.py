"""Import a folder of NetHack recordings: decode each once and store it for training.

Each game is a task and a file of its own, which is complete or absent. So an import that was
stopped continues with the games that are missing. A finished import, run again, adds recordings
that are new and decodes damaged games again. A recording that cannot be used is left out, listed
with its reason, or ends the import if the user wishes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isoclone.base import store
from isoclone.base.errors import DataError, SpecError, UnknownNameError
from isoclone.base.records import jsonable
from isoclone.base.store import sha256_file, write_json, write_rows
from isoclone.demos.demonstrations import (
    DONE,
    HELD,
    REQUEST,
    choose_dev,
    fingerprint,
    table_digest,
)
from isoclone.demos.manifest import restore_request
from isoclone.executors import Executor, SerialExecutor, Task
from isoclone.games import game
from isoclone.nethack.game import CHALLENGE, FRAME, NetHack, key_actions
from isoclone.nethack.recordings.cut import Cut, find_cut
from isoclone.nethack.recordings.demonstrations import NldDemonstrations
from isoclone.nethack.recordings.earlier import Earlier
from isoclone.nethack.recordings.gamefile import FRAMES, GameFile, write_game
from isoclone.nethack.recordings.store import (
    FORMAT,
    KIND,
    UNKNOWN,
    GameInfo,
    content_sha256,
    final_score,
    game_path,
)
from isoclone.nethack.recordings.ttyrec import (
    VERSIONS,
    Frames,
    Recording,
    check_whole,
    decode,
    find_recordings,
    folder_of,
    holds_recordings,
    natural,
)
from isoclone.nethack.recordings.where import Where
from isoclone.nethack.recordings.xlogfile import FIELDS, Log

NO_KEYS = "ttyrec version 1 holds no keys, so there is nothing to imitate"
NO_LOG = "no line in an xlogfile (unfinished, or the xlogfile is missing)"
Progress = Callable[[str, float, float], None]
Skipped = list[tuple[str, str]]


@dataclass(frozen=True)
class ImportRequest:
    """The request of an import: the recordings, and how to split them.

    Attributes:
        source: folder of recordings, relative to the store, so that both can be moved together.
        where: condition on a game's xlogfile fields, see `where`.
        dev_fraction: share of games held out, chosen by their contents; not used with
            `dev_folders`.
        dev_folders: the games of these folders (names below the source) are held out instead.
        without_log: also import recordings without a line in an xlogfile.
        expert: name of the player, for tables.
    """

    source: str
    where: str | None = None
    dev_fraction: float = 0.1
    dev_folders: tuple[str, ...] = ()
    without_log: bool = False
    expert: str = "recorded"

    def check(self) -> None:
        """Raise SpecError for a fraction out of range or a condition that cannot be read."""
        if not 0 < self.dev_fraction <= 0.5:
            raise SpecError(f"dev_fraction must be above 0 and at most .5, not {self.dev_fraction}")
        if self.where is not None:
            Where(self.where, FIELDS)


def import_nld(
    source: str | Path,
    out: str | Path,
    *,
    where: str | None = None,
    dev_fraction: float = 0.1,
    dev_folders: Sequence[str] = (),
    without_log: bool = False,
    refuse_damaged: bool = False,
    expert: str = "recorded",
    executor: Executor | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> NldDemonstrations:
    """Import a folder of recordings (NLD-AA, or games NLE recorded), or continue an import.

    A finished import adds recordings that are new in the source or no longer damaged, and decodes
    games again that are damaged in the store. Without the source it stays as it is.

    Args:
        refuse_damaged: end the import at a damaged recording instead of leaving it out.
        progress: called with ('import', bytes of recordings read, bytes of all).
        tell: called with a line about the changes to a finished import.
        where, dev_fraction, dev_folders, without_log, expert: see `ImportRequest`.

    Raises:
        DataError: there is nothing to import, a recording is damaged and `refuse_damaged` is set,
            or a game is damaged and its recording is missing or has changed.
        SpecError: a condition that cannot be read, or folders that leave no game to train on.
        SpecMismatchError: `out` holds another import.
        MissingExtraError: NLE is not installed.
    """
    request = ImportRequest(
        os.path.relpath(Path(source).resolve(), Path(out).resolve()),
        where, dev_fraction, tuple(dev_folders), without_log, expert,
    )  # fmt: skip
    request.check()
    source, out = Path(source), Path(out)
    if (out / DONE).exists():
        claim(out, jsonable(request))
    earlier = Earlier.of(out)
    if earlier.finished and not holds_recordings(source):
        earlier.check_mendable((), source)
        return earlier.finished
    try:
        chosen, skipped = _choose(source, request)
    except DataError as error:
        if earlier.finished is None or earlier.harmed:
            raise
        if tell:
            tell(f"nothing new is imported: {error}")
        return earlier.finished
    todo = {r.name: r for r in chosen if r.name not in earlier.sound}
    earlier.check_mendable(todo, source)
    _check_folders([*earlier.sound, *todo], request)
    played = _played_in(chosen, earlier.finished)
    claim(out, jsonable(request))
    earlier.clear(todo)
    made = _import_all(out, todo.values(), played, skipped, refuse_damaged, executor, progress)
    earlier.check_same(made, source)
    left_out = sorted((name, reason) for name, reason in skipped if name not in earlier.sound)
    if earlier.finished and not made and left_out == list(earlier.finished.skipped):
        return earlier.finished
    if tell and (said := earlier.told(made)):
        tell(said)
    games = _in_order(earlier.sound | made)
    if not games:
        raise DataError(f"nothing could be imported: {skipped[-1][0]}: {skipped[-1][1]}")
    finish(out, games, _choose_dev(games, request), left_out, request.expert, played)
    return NldDemonstrations.open(out)


class Played(NamedTuple):
    """The game that was played: its name, number of actions, and the action of each of 256 keys."""

    game: str
    n_actions: int
    action_of_key: tuple[int, ...]

    @classmethod
    def of(cls, demos: NldDemonstrations) -> Played:
        """Return the game of imported demonstrations."""
        return cls(demos.game_name, demos.n_actions, demos.action_of_key)

    @property
    def is_challenge(self) -> bool:
        """Whether the player pressed all keys of a recording, until the game was over."""
        return self.game == f"nethack/{CHALLENGE}"


def _played_in(chosen: list[Recording], known: NldDemonstrations | None) -> Played:
    """Return the game of all recordings: NLE's challenge, unless their games.csv names another.

    Raises:
        DataError: there are several games, it is not NetHack, or the store holds another.
        SpecError: the player's keys in its recordings look the same as NLE's own.
    """
    names = {recording.told.game or f"nethack/{CHALLENGE}" for recording in chosen}
    names |= {known.game_name} if known else set()
    if len(names) > 1:
        said = " and of ".join(sorted(names))
        raise DataError(f"games of {said} cannot be imported together: give each its own --out")
    if known:
        return Played.of(known)
    the_game = _named(names.pop())
    the_game.check_recordable()
    return Played(the_game.name, the_game.n_actions, key_actions(the_game.env_id))


def _named(name: str) -> NetHack:
    try:
        the_game = game(name)
    except UnknownNameError as error:
        raise DataError(f"the recordings' games.csv names an {error}") from error
    if not isinstance(the_game, NetHack):
        raise DataError(f"the recordings' games.csv names {name}, which is not NetHack")
    return the_game


def _in_order(games: dict[str, GameInfo]) -> list[GameInfo]:
    """Return the games numbered in the order of their names."""
    rows = [games[name] for name in sorted(games, key=natural)]
    return [dataclasses.replace(info, index=index) for index, info in enumerate(rows)]


def claim(out: Path, request: dict[str, Any]) -> None:
    """Take an empty directory, or check that it already belongs to this request.

    Raises:
        SpecMismatchError: it belongs to another request.
        SpecError: it holds something else.
    """
    restore_request(out)
    store.claim(out, REQUEST, {**request, "kind": KIND, "format": FORMAT}, HELD)


def _choose(source: Path, request: ImportRequest) -> tuple[list[Recording], Skipped]:
    """Return the recordings to import, and those left out, each with its reason."""
    wanted = Where(request.where, FIELDS) if request.where else None
    chosen: list[Recording] = []
    skipped: Skipped = []
    for recording in find_recordings(source):
        reason = _unfit(recording, wanted, request.without_log)
        if reason:
            skipped.append((recording.name, reason))
        else:
            chosen.append(recording)
    if not chosen:
        reasons = sorted({reason for _, reason in skipped})
        hint = "" if NO_LOG not in reasons else "; --without-log imports games without one"
        raise DataError(f"{source}: nothing to import: {'; '.join(reasons)}{hint}")
    return chosen, skipped


def _check_folders(names: Iterable[str], request: ImportRequest) -> None:
    """Raise SpecError, before hours of decoding, if --dev-folder leaves no dev or train games."""
    folders = {folder_of(name) for name in names}
    for folder in request.dev_folders:
        if folder not in folders:
            raise SpecError(
                f"--dev-folder {folder}: no game to import lies in a folder of that name"
            )
    if folders <= set(request.dev_folders):
        raise SpecError("--dev-folder: every game is held out; none is left to train on")


def _unfit(recording: Recording, wanted: Where | None, without_log: bool) -> str | None:
    if recording.version == 1:
        return NO_KEYS
    if recording.version not in VERSIONS:
        return f"unknown ttyrec version {recording.version}"
    if recording.log is None and not without_log:
        return NO_LOG
    if wanted and not wanted(recording.log or {}):
        return f"not ({wanted.text})"
    return None


def _import_all(
    out: Path,
    chosen: Collection[Recording],
    played: Played,
    skipped: Skipped,
    refuse_damaged: bool,
    executor: Executor | None,
    progress: Progress | None,
) -> dict[str, GameInfo]:
    """Import every chosen recording, the largest first, so that the last ones end soon.

    Returns:
        Rows by name, of index 0. Recordings that could not be imported are added to `skipped`.
    """
    sizes = {recording.name: _size(recording.path) for recording in chosen}
    turn = sorted(chosen, key=lambda recording: -sizes[recording.name])
    tasks = (Task(import_game, (out, recording, played), recording.name) for recording in turn)
    games: dict[str, GameInfo] = {}
    done = 0
    with executor or SerialExecutor() as workers:
        for outcome in workers.run(tasks):
            name = outcome.task.key
            reason = outcome.error or outcome.result
            if isinstance(reason, str):
                if refuse_damaged:
                    raise DataError(f"{name}: {reason}")
                skipped.append((name, reason))
            else:
                games[name] = reason
            done += sizes[name]
            if progress:
                progress("import", done, sum(sizes.values()))
    return games


def _size(path: Path) -> int:
    """Return the bytes of a recording; 0 for a broken link, which `import_game` reports."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def import_game(out: Path, recording: Recording, played: Played) -> GameInfo | str:
    """Decode one recording into the store, if it is not there; return its row (of index 0).

    If the recording cannot be used, return the reason.
    """
    path = game_path(out, recording.name)
    try:
        if path.exists():
            with suppress(DataError):  # damaged: decode it again
                return _describe(GameFile(path), recording, played)
        _store(path, recording, played)
        return _describe(GameFile(path), recording, played)
    except DataError as error:
        return str(error)


def _store(path: Path, recording: Recording, played: Played) -> None:
    stream = check_whole(recording.path, recording.version)
    if not stream.frames:
        raise DataError(f"{recording.path} holds no frames")
    facts: dict[str, Any] = {"name": recording.name, "frames": stream.frames}
    frames = decode(recording.path, recording.version, stream, FRAMES)
    if not played.is_challenge:
        frames = _players_own(frames, played, facts)
    write_game(path, frames, facts)


def _players_own(
    frames: Iterator[Frames], played: Played, facts: dict[str, Any]
) -> Iterator[Frames]:
    """Yield the frames whose keys are the game's actions, `FRAMES` at a time; count them in facts.

    In NLE's other tasks NLE presses spaces and escapes within a step; the player never saw the
    screens at those keys.
    """
    actions, held, facts["frames"] = np.array(played.action_of_key), None, 0
    for some in frames:
        own = actions[some.keys] != UNKNOWN
        parts = [part[own] for part in some]
        facts["frames"] += int(own.sum())
        held = (
            Frames(*parts)
            if held is None
            else Frames(*map(np.concatenate, zip(held, parts, strict=True)))
        )
        if len(held.keys) >= FRAMES:
            yield Frames(*(part[:FRAMES] for part in held))
            held = Frames(*(part[FRAMES:] for part in held))
    if held is not None and len(held.keys):
        yield held


def _find_cut(file: GameFile, recording: Recording, played: Played) -> Cut:
    """Return which of the stored frames were played.

    Raises:
        DataError: games.csv lacks the steps or return of a task, or has more steps than keys.
    """
    told, frames = recording.told, file.facts()["frames"]
    if played.is_challenge:
        return find_cut(file, told.steps)
    if told.steps is None or told.returned is None:
        raise DataError(
            f"{recording.path}: games.csv lacks its env_steps or return; record it again"
        )
    if told.steps > frames:
        raise DataError(f"{recording.path} holds {frames} of the {told.steps} keys in games.csv")
    return Cut(0, told.steps, quit=frames - told.steps)


def _describe(file: GameFile, recording: Recording, played: Played) -> GameInfo:
    cut, told = _find_cut(file, recording, played), recording.told
    if cut.length < 1:
        raise DataError(f"{recording.path}: no frame was played")
    end = cut.end
    keys, scores = file.moves()
    log: Log = recording.log or {}
    actions = np.array(played.action_of_key)[keys[cut.opening : end]]
    terminated, score = (
        bool(cut.end_screens),
        float(final_score(scores, cut.end, bool(cut.end_screens))),
    )
    if not played.is_challenge:
        terminated, score = bool(told.terminated), float(told.returned or 0)
    return GameInfo(
        index=0,
        name=recording.name,
        seed=told.seed,
        length=cut.length,
        episode_return=score,
        end="terminated" if terminated else "truncated",
        content_sha256=content_sha256(file, cut.opening, cut.end),
        frames=len(keys),
        cut_opening=cut.opening,
        cut_end_screens=cut.end_screens,
        cut_quit=cut.quit,
        cut_stuck=cut.stuck,
        unknown_keys=int((actions == UNKNOWN).sum()),
        points=log.get("points"),
        turns=log.get("turns"),
        death=log.get("death"),
        role=log.get("role"),
        race=log.get("race"),
        alignment=log.get("align0", log.get("align")),
        gender=log.get("gender0", log.get("gender")),
        max_depth=log.get("maxlvl"),
    )


def finish(
    out: Path,
    games: list[GameInfo],
    dev: list[int],
    skipped: Skipped,
    expert: str,
    played: Played,
    more: Callable[[str], dict[str, Any]] | None = None,
) -> None:
    """Write the table of games, and last the file that marks the import as complete.

    Args:
        dev: indices of the games held out.
        more: what another kind than imported games writes instead, from their fingerprint.
    """
    options = {"character": _one_character(games)}
    request = store.read_claim(out, REQUEST)
    rows = [{**dataclasses.asdict(i), "split": "dev" if i.index in dev else "train"} for i in games]
    write_rows(out / "games", rows, _columns())
    counted = fingerprint(played.game, options, games, dev, FRAME, played.n_actions)
    done: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "game": played.game,
        "game_options": options,
        "expert": expert,
        "frame": FRAME,
        "n_actions": played.n_actions,
        "action_of_key": played.action_of_key,
        "episodes": games,
        "file_sha256": [sha256_file(game_path(out, info.name)) for info in games],
        "dev_episodes": dev,
        "skipped": [{"name": name, "reason": reason} for name, reason in sorted(skipped)],
        "request": request,
        "fingerprint": counted,
        **(more(counted) if more else {}),
    }
    write_json(out / DONE, {**done, "table_digest": table_digest(done)})


def _columns() -> dict[str, type]:
    kinds: dict[str, type] = {"str": str, "int": int, "float": float}
    told = {f.name: str(f.type).removesuffix(" | None") for f in dataclasses.fields(GameInfo)}
    return {name: kinds[kind] for name, kind in told.items()} | {"split": str}


def _choose_dev(games: list[GameInfo], request: ImportRequest) -> list[int]:
    if len(games) < 2:
        raise DataError("a single game cannot be split into train and dev: import two or more")
    if not request.dev_folders:
        return choose_dev(games, request.dev_fraction)
    dev = [i.index for i in games if folder_of(i.name) in request.dev_folders]
    if not 0 < len(dev) < len(games):
        raise DataError(f"{len(dev)} of {len(games)} imported games are held out by --dev-folder")
    return dev


def _one_character(games: list[GameInfo]) -> str:
    """Return the character of all games in NLE's form; '@', a random one, if they differ."""
    parts = {(i.role, i.race, i.alignment, i.gender) for i in games}
    one = parts.pop()
    if parts or not all(one):
        return "@"
    return "-".join(str(part).lower() for part in one)
