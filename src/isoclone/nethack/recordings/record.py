"""Record NetHack games with NLE, as folders of ttyrecs that `nle.dataset` and isoclone read.

    OUT/recording.json              the request
    OUT/000012/nle.<pid>.0.ttyrec3.bz2, nle.<pid>.xlogfile, game.json
    OUT/games.csv                   all games: seed, steps, score, how each ended

Game number i has NetHack's seeds `seed` + i, for every expert. The folder of a game gets its name
when the game is over, so a recording that was stopped continues with the games that are missing.
When the expert fails, the game is quit and kept, with the reason; when its process dies, the game
is left out, with the reason.
"""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import FOREIGN, DataError, SpecError
from isoclone.base.records import jsonable, stable_id
from isoclone.base.store import claim, read_json, rename_folder, replacing, write_json
from isoclone.base.trace import span
from isoclone.demos import RecordRequest
from isoclone.executors import Executor, Files, SerialExecutor, Task, near
from isoclone.executors.serial import one_line
from isoclone.experts import Expert, View, expert
from isoclone.experts.identity import identity_of
from isoclone.games import game
from isoclone.nethack.game import NetHack
from isoclone.nethack.recordings.demonstrations import NldDemonstrations
from isoclone.nethack.recordings.importer import import_nld
from isoclone.nethack.recordings.store import FAILED, RECORDINGS, TABLE

RECORDING, GAME = "recording.json", "game.json"
HELD = "another recording", "recording"  # words for the error of `store.claim`
COLUMNS = (
    "folder", "ttyrec", "game", "seed", "env_steps", "return", "score", "points", "depth", "turns",
    "character", "death", "how_it_ended",
)  # fmt: skip
LARGEST_SEED = 2**63 - 1  # the largest that a table can hold
_GONE = np.empty(0, np.uint8)

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class NldRecordRequest:
    """The request of a recording: `games` games of NetHack, with the seeds from `seed` on."""

    games: int
    expert: str = "scripted"
    seed: int = 0
    game: str = "nethack"
    game_options: dict[str, Any] = field(default_factory=dict)
    expert_options: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] | None = None  # of the expert; looked up if it is not given

    def check(self) -> None:
        """Raise SpecError for a number out of range."""
        if self.games < 1:
            raise SpecError(f"games must be at least 1, not {self.games}")
        if not 0 <= self.seed <= LARGEST_SEED + 1 - self.games:
            raise SpecError(
                f"--seed {self.seed}: the seeds of {self.games} games must lie within "
                f"0 to {LARGEST_SEED}"
            )

    def declared(self) -> dict[str, Any]:
        """Return the values that must not change when a recording continues: all but `games`."""
        values: dict[str, Any] = jsonable(self.__dict__)
        return {name: value for name, value in values.items() if name != "games"}


def record_nld(
    request: NldRecordRequest,
    path: str | Path,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Record games into a folder, or continue the recording there.

    Args:
        progress: called with ('record', games finished, games).

    Returns:
        A row for each game, in the order of the seeds, as in games.csv: first the requested games,
        then further ones of an earlier recording.

    Raises:
        SpecError: a wrong request, game or expert, or a folder that holds something else.
        SpecMismatchError: the folder holds another recording.
        DataError: no game could be recorded.
    """
    path = Path(path)
    request.check()
    the_game, _ = _cast(request)
    if request.identity is None:
        request = replace(request, identity=identity_of(request.expert, request.expert_options))
    claim(path, RECORDING, request.declared(), HELD)
    for part in path.glob(".*.part"):  # games whose recording was killed
        shutil.rmtree(part)
    failed: dict[int, str] = {}
    tasks = (
        Task(play_game, (path, request, i), key=i, files=_files(path, i))
        for i in range(request.games)
    )
    with executor or SerialExecutor() as workers:
        for done, outcome in enumerate(workers.run(tasks), 1):
            if outcome.error:
                failed[outcome.task.key] = outcome.error
            if progress:
                progress("record", done, request.games)
    indices = sorted({*range(request.games), *_recorded(path)})
    rows = [_row(path, the_game, request.seed + i, i, failed.get(i)) for i in indices]
    write_table(path, rows)
    if len(failed) == request.games:
        raise DataError(f"{the_game.name}: no game could be recorded: {failed[0]}")
    return rows


def record_demos(
    request: NldRecordRequest,
    recordings: str | Path,
    store: str | Path,
    *,
    dev_fraction: float = 0.1,
    executor: Executor | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[list[dict[str, Any]], NldDemonstrations]:
    """Record games into one folder and import them into another, or continue both.

    A store with fewer of these games is brought up to date, as by `import_nld`.

    Raises:
        SpecError: only one game, so that none can be held out; else as `record_nld`.
        DataError: as `record_nld` and `import_nld`.
    """
    if request.games < 2:
        raise SpecError("games must be at least 2, so that one can be held out")
    rows = record_nld(request, recordings, executor, progress)
    demos = import_nld(
        recordings,
        store,
        dev_fraction=dev_fraction,
        expert=request.expert,
        executor=near(executor, Path(store)),
        progress=progress,
        tell=tell,
    )
    return rows, demos


def record_enough(
    request: NldRecordRequest,
    samples: int,
    recordings: str | Path,
    store: str | Path,
    *,
    dev_fraction: float = 0.1,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> NldDemonstrations:
    """Record and import games as `record_demos`, and more of them until they have `samples` steps.

    `request.games` games are played in any case. The number of further games depends only on the
    games, not on the executor.
    """
    steps = 0
    while True:
        rows = record_nld(request, recordings, executor, progress)
        steps = sum(int(row.get("env_steps") or 0) for row in rows[: request.games])
        if steps >= samples:
            break
        more = min(4.0, 1.05 * samples / max(steps, 1))
        request = replace(request, games=max(request.games + 1, math.ceil(request.games * more)))
    options: dict[str, Any] = {"dev_fraction": dev_fraction, "executor": executor}
    return record_demos(request, recordings, store, progress=progress, **options)[1]


def record_as_demonstrations(
    request: RecordRequest,
    path: Path,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> NldDemonstrations:
    """Record as many games as a request needs; see `demos.record_demonstrations`."""
    if request.samples < 1:
        raise SpecError(f"samples must be at least 1, not {request.samples}")
    return record_enough(
        NldRecordRequest(
            games=request.episodes or 2,
            expert=str(request.expert),
            seed=request.seed,
            game=request.game,
            game_options=request.game_options,
            expert_options=request.expert_options,
            identity=request.identity,
        ),
        request.samples,
        path.parent / RECORDINGS,
        path,
        dev_fraction=request.dev_fraction,
        executor=executor,
        progress=progress,
    )


def _cast(request: NldRecordRequest) -> tuple[NetHack, Expert]:
    """Return the game and the expert of a request."""
    the_game = game(request.game, **request.game_options)
    if not isinstance(the_game, NetHack):
        raise SpecError(f"{request.game} is not NetHack: its games are recorded by `record`")
    the_game.check_recordable()
    return the_game, expert(request.expert, the_game, **request.expert_options)


# A worker keeps its expert for all its games: AutoAscend takes half a minute to compile.
_LIVE: dict[str, tuple[NetHack, Expert]] = {}


def play_game(path: Path, request: NldRecordRequest, index: int) -> None:
    """Play and record game number `index`, unless it is there already."""
    folder = _folder(path, index)
    if (folder / GAME).exists():
        return
    key = stable_id(request.declared())
    if key not in _LIVE:
        _LIVE[key] = _cast(request)
    the_game, player = _LIVE[key]
    part = path / f".{folder.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    env = the_game.make_env(savedir=part)
    try:
        with span("record"):
            failure = _play(env, player, request.seed + index)
    finally:
        env.close()
    write_json(part / GAME, {**env.episode_facts(), "folder": folder.name, "failure": failure})
    rename_folder(part, folder)


def _play(env: Any, player: Expert, seed: int) -> str | None:
    """Play to the end; return why the expert failed, or None."""
    view = View(env, np.random.default_rng([seed, 1]), 1)
    view.frames.append(env.reset(seed))
    over = False
    while not over:
        try:
            action = int(player.act([view])[0])
        except FOREIGN as error:  # an expert may raise anything; the game so far is kept
            failure = one_line(error)
            env.quit(FAILED + failure)
            return failure
        frame, _, terminated, truncated = env.step(action)
        over = terminated or truncated
        view.frames[-1] = _GONE  # the frames of a long game take hundreds of megabytes
        view.frames.append(frame)
    return None


def _folder(path: Path, index: int) -> Path:
    return path / f"{index:06d}"


def _recorded(path: Path) -> list[int]:
    """Return the numbers of the games that were recorded."""
    names = [file.parent.name for file in path.glob(f"*/{GAME}")]
    return [int(name) for name in names if name.isdecimal()]


def _files(path: Path, index: int) -> Files:
    """Return the folder that `play_game` writes, and reads if the game is there already."""
    folder = _folder(path, index)
    return Files(path, {folder.name: folder} if folder.exists() else {}, (folder.name,))


def _row(
    path: Path, the_game: NetHack, seed: int, index: int, failure: str | None
) -> dict[str, Any]:
    """Return a game's row of the table; only seed and reason if it could not be recorded."""
    folder = _folder(path, index).name
    if failure is not None:
        return {"folder": folder, "game": the_game.name, "seed": seed, "how_it_ended": failure}
    return table_row({**read_json(path / folder / GAME), "folder": folder, "game": the_game.name})


def table_row(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the row of games.csv of a recorded game, from its environment's facts."""
    ended = facts["death"] if facts["end"] == "terminated" else facts["end"]
    row = {**facts, "env_steps": facts["length"], "how_it_ended": ended}
    return {name: row.get(name) for name in COLUMNS}  # older recordings lack some


def write_facts(path: Path, facts: Sequence[dict[str, Any]]) -> None:
    """Write games.csv from the environments' facts about the games recorded there."""
    write_table(path, [table_row(row) for row in facts])


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write games.csv, from which the importer reads the seeds and where play ended."""
    with (
        replacing(path / TABLE) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
