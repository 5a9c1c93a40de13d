"""Recording: an expert plays episodes in parallel, and finished ones are written to disk.

Episodes are numbered; an episode's seed depends on its number alone. Recording ends with
the first episode by which the wanted number of samples is reached, and two episodes that differ are
there, so which episodes make up the demonstrations does not depend on the number of workers, nor on
where recording was interrupted. If the first 16 are copies of one, it ends with those.

Who asks for more of what a directory holds has more played, and gets what a single recording of all
would be; who asks for less gets what is there, also of a recording that was stopped. An expert is
known by its identity (`experts.identity`): what another one played is never gone on with.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import (
    DataError,
    ExecutionError,
    SpecError,
    SpecMismatchError,
    StoreError,
)
from isoclone.base.records import jsonable, stable_id
from isoclone.base.store import claim, read_claim, read_json, write_json
from isoclone.base.timers import calling
from isoclone.base.trace import span
from isoclone.demos.base import Demonstrations, Progress
from isoclone.demos.demonstrations import (
    DONE,
    FORMAT,
    HELD,
    REQUEST,
    FrameDemonstrations,
    table_digest,
)
from isoclone.demos.episode import (
    Episode,
    EpisodeInfo,
    read_info,
    read_sound_info,
    write_episode,
)
from isoclone.demos.live import KEPT, LiveGame
from isoclone.demos.manifest import episode_path, restore_request, write_manifest
from isoclone.demos.play import play
from isoclone.demos.seeded import ignored_seed
from isoclone.executors import Executor, Files, SerialExecutor, Task
from isoclone.experts import Expert, expert, notes_of
from isoclone.experts.identity import KNOWN, said
from isoclone.games import Game, check_seed, game
from isoclone.games.actions import several

PROGRESS_SECONDS = 1.0
MOST_COPIES = 16  # so many copies of one episode, and no other, are enough to know
AMOUNT = ("samples", "episodes")  # what may differ when a recording goes on
LENIENT = (*AMOUNT, "expert", "expert_options", "identity")  # the identity is compared in words
PLAYING = "playing"  # folder of the step counts of unfinished episodes


@dataclass(frozen=True)
class RecordRequest:
    """A request to record whole episodes until there are enough samples, and enough episodes.

    `expert` is a name (or a live expert, which only this process can play). `identity` says who
    that is (see `experts.identity`); it is looked up if it is not given.
    """

    game: str
    expert: str | Expert
    samples: int
    seed: int = 0
    dev_fraction: float = 0.1
    game_options: dict[str, Any] = field(default_factory=dict)
    expert_options: dict[str, Any] = field(default_factory=dict)
    episodes: int = 0
    identity: dict[str, Any] | None = None

    def check(self) -> None:
        """Raise SpecError for a value out of its range."""
        if self.samples < 1:
            raise SpecError(f"samples must be at least 1, not {self.samples}")
        if self.episodes < 0 or self.episodes == 1:
            raise SpecError("episodes must be at least 2, so that one can be held out")
        check_seed(self.seed)
        if not 0 < self.dev_fraction <= 0.5:
            raise SpecError(f"dev_fraction must be above 0 and at most .5, not {self.dev_fraction}")

    def identified(self) -> RecordRequest:
        """Return the request with the identity of its expert.

        Raises:
            SpecMismatchError: it has one, and the expert is another by now.
        """
        found = KNOWN.identity(self.expert, self.expert_options)
        if self.identity is not None and self.identity != found:
            raise SpecMismatchError(
                f"the expert is another by now: {said(found)}, not {said(self.identity)}"
            )
        return replace(self, identity=found)

    def declared(self) -> dict[str, Any]:
        """Return the request as JSON values, for the directory."""
        name = self.expert if isinstance(self.expert, str) else self.expert.name
        values = {**self.__dict__, "expert": name, "format": FORMAT}
        if not self.episodes:  # as in recordings made before this field existed
            del values["episodes"]
        return jsonable(values)


def record(
    request: RecordRequest,
    path: str | Path,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> FrameDemonstrations:
    """Record demonstrations into a directory, or go on with what is there.

    Raises:
        SpecMismatchError: the directory holds demonstrations of another request.
        ExecutionError: the expert or the game kept failing.
    """
    path = Path(path)
    request.check()
    there = _finished(path)
    forged = there is not None and there.counted_fingerprint() != there.fingerprint
    harmed = there.episodes if there is not None and forged else _harmed(there)
    if there is None or harmed or not _suffices(there, request):
        the_game = game(request.game, **request.game_options)  # first: the name may be unknown
        player = _player(request, the_game)
        request = request.identified()
        request = _claim(path, request, there)
        for info in harmed:
            episode_path(path, info.index).unlink(missing_ok=True)
        workers = executor or SerialExecutor()  # an executor that was given is closed by the caller
        try:
            count = _play_until_enough(path, request, player, workers, progress)
            _check_same(path, () if forged else harmed)
            _finish(path, request, the_game, player, count)
        finally:
            KEPT.close()
            KNOWN.leave(request.expert, request.identity or {}, request.expert_options)
    else:
        _claim(path, request if request.identity else request.identified(), there)
    return FrameDemonstrations.open(path)


def _finished(path: Path) -> FrameDemonstrations | None:
    """Return the finished demonstrations in a directory; None where their table is no good.

    A table that was changed is made again of the episodes, which have their rows in them. Where
    its digest fits and its fingerprint does not, somebody forged it, and nothing is believed.
    """
    if not (path / DONE).exists():
        return None
    with contextlib.suppress(StoreError):
        table = read_json(path / DONE)
        if isinstance(table, dict) and table.get("table_digest") == table_digest(table):
            return FrameDemonstrations.open(path, verify=False)
    return None


def _harmed(there: FrameDemonstrations | None) -> Sequence[EpisodeInfo]:
    """Return the rows of the episodes that are missing, damaged or edited."""
    return [info for info, harm in there.harms() if harm] if there else []


def _check_same(path: Path, harmed: Sequence[EpisodeInfo]) -> None:
    """Raise DataError if an episode that was lost is another now that it was played again."""
    for info in harmed:
        file = episode_path(path, info.index)
        if read_info(file).content_sha256 != info.content_sha256:
            raise DataError(
                f"{file} was damaged, and came out otherwise when it was played again: the game or "
                "the expert is another by now; restore it, or record into another directory"
            )


def _suffices(there: FrameDemonstrations, request: RecordRequest) -> bool:
    """Return whether what is there answers a request; more copies of one episode tell nothing."""
    enough = there.samples >= request.samples and len(there.episodes) >= request.episodes
    return enough or there.copies + 1 == len(there.episodes)


def _claim(path: Path, request: RecordRequest, there: FrameDemonstrations | None) -> RecordRequest:
    """Take a directory for a request, or check that what it holds was asked for alike.

    Returns:
        The request; where more was asked for before, and that is not finished, one for all whole
        episodes that are there.

    Raises:
        SpecMismatchError: the expert or a setting is another, or more was asked for there, and
            what is there does not suffice.
        SpecError: the directory holds something else.
    """
    declared = request.declared()
    restore_request(path)
    if not (path / REQUEST).exists():
        claim(path, REQUEST, declared, HELD)
        return request
    before = read_claim(path, REQUEST)
    _refuse_other(path, before, request)
    claim(path, REQUEST, {k: v for k, v in declared.items() if k not in LENIENT}, HELD)
    asked = {k: declared.get(k, 0) for k in AMOUNT}
    held = {k: before.get(k) or 0 for k in AMOUNT}
    if any(asked[k] < held[k] for k in AMOUNT) and there is None:
        words = ", ".join(f"{k} {held[k]}" for k in AMOUNT if held[k])
        found = _of_what_is_there(path, request, words)
        write_json(path / REQUEST, found.declared())
        return found
    if any(asked[k] > held[k] for k in AMOUNT):
        most = {k: max(asked[k], held[k]) for k in AMOUNT}
        write_json(path / REQUEST, replace(request, **most).declared())
    return request


def _of_what_is_there(path: Path, request: RecordRequest, before: str) -> RecordRequest:
    """Return a request for all whole episodes in a directory, up to the first that is missing.

    Raises:
        SpecMismatchError: they are fewer than asked for; `before` says what was asked for before.
    """
    infos = list[EpisodeInfo]()
    with contextlib.suppress(DataError, OSError):
        while True:
            infos.append(read_sound_info(episode_path(path, len(infos))))
    samples = sum(info.length for info in infos)
    if samples < request.samples or len(infos) < max(2, request.episodes):
        raise SpecMismatchError(
            f"{path} holds an unfinished recording of more ({before}), so far {samples} samples in "
            f"{len(infos)} whole episodes: ask for no more than these, finish it, or record into "
            "another directory"
        )
    episodes = len(infos) if request.episodes else 0
    return replace(request, samples=samples, episodes=episodes)


def _refuse_other(path: Path, before: dict[str, Any], request: RecordRequest) -> None:
    """Raise SpecMismatchError if a directory was taken for another expert; name both."""
    held, mine = before.get("identity"), request.identity
    if held != mine and mine is not None:
        who = before.get("expert"), request.declared()["expert"]
        words = said(held) if isinstance(held, dict) else "of no known identity"
        raise SpecMismatchError(
            f"{path} holds demonstrations of another expert ({who[0]}: {words}; asked: {who[1]}: "
            f"{said(mine)}); choose another directory"
        )


def record_demonstrations(
    request: RecordRequest,
    path: str | Path,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Demonstrations:
    """Record demonstrations as the game records them, or go on with what is there.

    A game may have a way of its own: `record_demonstrations(request, path, executor, progress)`.
    All others are recorded frame by frame, by `record`.

    Raises:
        SpecMismatchError: the directory holds demonstrations of another request.
        ExecutionError: the expert or the game kept failing.
    """
    own = getattr(game(request.game, **request.game_options), "record_demonstrations", record)
    if own is not record:
        request = request.identified()
    demos: Demonstrations = own(request, Path(path), executor, progress)
    return demos


def _player(request: RecordRequest, the_game: Game) -> Expert:
    return expert(request.expert, the_game, **request.expert_options)


def _play_until_enough(
    path: Path,
    request: RecordRequest,
    player: Expert,
    workers: Executor,
    progress: Progress | None,
) -> int:
    """Play groups of episodes in turn; return how many episodes make up the demonstrations."""
    count = _Count(request)
    shutil.rmtree(path / PLAYING, ignore_errors=True)  # left by a recording that was killed

    def tasks() -> Iterator[Task]:
        first = 0
        while count.needed is None:
            group = range(first, first + player.lockstep)
            yield Task(play_group, (path, request, tuple(group)), first, files=_files(path, group))
            first += player.lockstep

    turn = threading.Lock()

    def told() -> None:
        if progress:
            with turn:  # so that the timer's count and ours are told in order
                if request.episodes:
                    progress("record", min(count.episodes, request.episodes), request.episodes)
                    return
                steps = count.steps + steps_in_progress(path)
                progress("record", min(steps, request.samples), request.samples)

    with calling(told, PROGRESS_SECONDS):
        for outcome in workers.run(tasks()):
            if outcome.error:
                raise ExecutionError(f"recording {request.game} failed: {outcome.error}")
            count.add(outcome.result)
            told()
    needed = count.needed
    assert needed is not None  # tasks() goes on until it is not
    for file in (path / "episodes").glob("*.parquet"):
        if file.stem.isdigit() and int(file.stem) >= needed:
            file.unlink()
    shutil.rmtree(path / PLAYING, ignore_errors=True)
    return needed


class _Count:
    """Episodes played so far, and how many of them make up the demonstrations.

    `needed` is None until that is known: episodes count in the order of their numbers.
    """

    def __init__(self, request: RecordRequest):
        self.needed: int | None = None
        self.episodes, self.steps = 0, 0  # played, in any order
        self._request, self._waiting = request, dict[int, EpisodeInfo]()
        self._next, self._samples, self._contents = 0, 0, set[str]()

    def add(self, played: Sequence[EpisodeInfo]) -> None:
        """Count episodes, in whatever order they come."""
        self.episodes += len(played)
        self.steps += sum(info.length for info in played)
        self._waiting.update({info.index: info for info in played})
        while self.needed is None and self._next in self._waiting:
            info = self._waiting.pop(self._next)
            self._next += 1
            self._samples += info.length
            if len(self._contents) < 2:
                self._contents.add(info.content_sha256)
            if self._is_enough():
                self.needed = self._next

    def _is_enough(self) -> bool:
        if len(self._contents) < 2:  # nothing could be held out
            return self._next >= MOST_COPIES
        asked = self._request
        return self._samples >= asked.samples and self._next >= asked.episodes


def _files(path: Path, indices: Sequence[int]) -> Files:
    """Return the files that `play_group` reads, if they are there already, and writes."""
    there = {p.relative_to(path).as_posix(): p for p in (episode_path(path, i) for i in indices)}
    return Files(path, {name: p for name, p in there.items() if p.exists()}, tuple(there))


def play_group(path: Path, request: RecordRequest, indices: Sequence[int]) -> list[EpisodeInfo]:
    """Play the episodes of one group side by side, write them, and return their rows.

    Episodes that are already on disk are not played again.
    """
    done = _already_played(path, indices)
    if done is not None:
        return done
    named = isinstance(request.expert, str)
    key = stable_id(request.declared()), 0 if named else id(request.expert)
    telling = _Telling(path / PLAYING / f"{indices[0]:06d}.json")
    making = KEPT.at_hand(key, lambda: _live_game(request, len(indices)))
    with span("record"), making as live:
        played = play(live.game, live.player, request.seed, indices, live.envs, telling.steps)
        infos = [_keep(path, *one) for one in played]
    telling.done()
    return infos


def _live_game(request: RecordRequest, count: int) -> LiveGame:
    the_game = game(request.game, **request.game_options)
    return LiveGame.made(the_game, _player(request, the_game), count)


class _Telling:
    """Progress of unfinished episodes, in a file: one episode can take minutes."""

    def __init__(self, path: Path):
        self._path, self._next = path, time.monotonic() + PROGRESS_SECONDS

    def steps(self, count: int) -> None:
        """Write how many steps of unfinished episodes have been played, if it is time to."""
        if time.monotonic() > self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            write_json(self._path, {"steps": count})

    def done(self) -> None:
        """Delete the file: the episodes are finished and written."""
        self._path.unlink(missing_ok=True)


def steps_in_progress(path: Path) -> int:
    """Return the steps of unfinished episodes, as last written by the workers."""
    steps = 0
    for file in (path / PLAYING).glob("*.json"):
        with contextlib.suppress(StoreError, OSError):  # finished or being replaced just now
            steps += read_json(file)["steps"]
    return steps


def _already_played(path: Path, indices: Sequence[int]) -> list[EpisodeInfo] | None:
    if not all(episode_path(path, index).exists() for index in indices):
        return None
    try:
        return [read_sound_info(episode_path(path, index)) for index in indices]
    except DataError:  # the file is damaged: play the episode again
        return None


def _keep(path: Path, index: int, seed: int, episode: Episode, end: str) -> EpisodeInfo:
    """Write an episode, unless a sound file of it is there: finished ones never change."""
    if episode_path(path, index).exists():
        with contextlib.suppress(DataError):
            return read_sound_info(episode_path(path, index))
    info = EpisodeInfo(
        index=index,
        seed=seed,
        length=len(episode.actions),
        episode_return=float(episode.rewards.sum(dtype=np.float64)),
        end=end,
        content_sha256=episode.content_sha256(),
        action_error=episode.action_error,
    )
    write_episode(episode_path(path, index), episode, info)
    return info


def _finish(path: Path, request: RecordRequest, the_game: Game, player: Expert, count: int) -> None:
    """Write the episode table, and last of all the file that says it is complete."""
    spaces: dict[str, Any] = {"frame": the_game.frame, "n_actions": the_game.n_actions}
    if several(the_game):
        spaces["action_sizes"] = several(the_game)
    spaces |= {
        name: value
        for name, value in (
            ("read_as", getattr(the_game, "describe", list)()),
            ("unrepeatable", ignored_seed(the_game)),
        )
        if value
    }
    facts = {"game": request.game, "game_options": request.game_options, **spaces}
    write_manifest(
        path,
        {
            **facts,
            "expert": player.name,
            "expert_identity": request.identity,
            "expert_notes": notes_of(player),
            "expert_recurrent": bool(getattr(player, "recurrent", False)),
            "request": read_json(path / REQUEST),
        },
        count,
        request.dev_fraction,
    )
