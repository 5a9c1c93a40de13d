"""Recording: an expert plays episodes in parallel, and finished ones are written to disk.

Episodes are numbered; an episode's seed depends on its number alone. Recording ends with
the first episode by which the wanted number of samples is reached, so which episodes make up the
demonstrations does not depend on the number of workers, nor on where recording was interrupted.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, ExecutionError, SpecError, StoreError
from isoclone.base.records import jsonable, stable_id
from isoclone.base.store import claim, read_json, write_json
from isoclone.base.timers import calling
from isoclone.demos.base import Demonstrations, Progress
from isoclone.demos.demonstrations import DONE, FORMAT, HELD, REQUEST, FrameDemonstrations
from isoclone.demos.episode import Episode, EpisodeInfo, read_info, write_episode
from isoclone.demos.manifest import episode_path, write_manifest
from isoclone.executors import Executor, Files, SerialExecutor, Task
from isoclone.experts import Expert, View, expert
from isoclone.games import Env, Game, check_seed, game, make_env

PROGRESS_SECONDS = 1.0
PLAYING = "playing"  # folder of the step counts of unfinished episodes


@dataclass(frozen=True)
class RecordRequest:
    """A request to record whole episodes until there are enough samples, and enough episodes.

    `expert` is a name (or a live expert, which only this process can play).
    """

    game: str
    expert: str | Expert
    samples: int
    seed: int = 0
    dev_fraction: float = 0.1
    game_options: dict[str, Any] = field(default_factory=dict)
    expert_options: dict[str, Any] = field(default_factory=dict)
    episodes: int = 0

    def check(self) -> None:
        """Raise SpecError for a value out of its range."""
        if self.samples < 1:
            raise SpecError(f"samples must be at least 1, not {self.samples}")
        if self.episodes < 0 or self.episodes == 1:
            raise SpecError("episodes must be at least 2, so that one can be held out")
        check_seed(self.seed)
        if not 0 < self.dev_fraction <= 0.5:
            raise SpecError(f"dev_fraction must be above 0 and at most .5, not {self.dev_fraction}")

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
    if (path / DONE).exists():
        claim(path, REQUEST, request.declared(), HELD)
    else:  # before the directory is claimed: the name may be unknown
        the_game = game(request.game, **request.game_options)
        player = _player(request, the_game)
        claim(path, REQUEST, request.declared(), HELD)
        workers = executor or SerialExecutor()  # an executor that was given is closed by the caller
        count = _play_until_enough(path, request, player, workers, progress)
        _finish(path, request, the_game, player, count)
    return FrameDemonstrations.open(path)


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
    lengths: dict[int, int] = {}
    shutil.rmtree(path / PLAYING, ignore_errors=True)  # left by a recording that was killed

    def enough() -> int | None:
        """Return how many episodes are needed; None while earlier ones are unfinished."""
        total = 0
        for index in range(len(lengths)):
            if index not in lengths:
                return None
            total += lengths[index]
            if total >= request.samples and index + 1 >= request.episodes:
                return index + 1
        return None

    def tasks() -> Iterator[Task]:
        first = 0
        while enough() is None:
            group = range(first, first + player.lockstep)
            yield Task(play_group, (path, request, tuple(group)), first, files=_files(path, group))
            first += player.lockstep

    turn = threading.Lock()

    def told() -> None:
        if progress:
            with turn:  # so that the timer's count and ours are told in order
                if request.episodes:
                    progress("record", min(len(lengths), request.episodes), request.episodes)
                    return
                steps = sum(lengths.copy().values()) + steps_in_progress(path)
                progress("record", min(steps, request.samples), request.samples)

    with calling(told, PROGRESS_SECONDS):
        for outcome in workers.run(tasks()):
            if outcome.error:
                raise ExecutionError(f"recording {request.game} failed: {outcome.error}")
            lengths.update({info.index: info.length for info in outcome.result})
            told()
    needed = enough()
    assert needed is not None  # tasks() goes on until it is not
    for file in (path / "episodes").glob("*.parquet"):
        if file.stem.isdigit() and int(file.stem) >= needed:
            file.unlink()
    shutil.rmtree(path / PLAYING, ignore_errors=True)
    return needed


def _files(path: Path, indices: Sequence[int]) -> Files:
    """Return the files that `play_group` reads, if they are there already, and writes."""
    there = {p.relative_to(path).as_posix(): p for p in (episode_path(path, i) for i in indices)}
    return Files(path, {name: p for name, p in there.items() if p.exists()}, tuple(there))


# A worker plays many groups with one expert and one set of environments. Two live experts may
# share a name, so they are told apart by identity (being in here keeps them alive).
_LIVE: dict[tuple[str, int], tuple[Game, Expert, list[Env]]] = {}


def play_group(path: Path, request: RecordRequest, indices: Sequence[int]) -> list[EpisodeInfo]:
    """Play the episodes of one group side by side, write them, and return their rows.

    Episodes that are already on disk are not played again.
    """
    done = _already_played(path, indices)
    if done is not None:
        return done
    named = isinstance(request.expert, str)
    key = stable_id(request.declared()), 0 if named else id(request.expert)
    if key not in _LIVE:
        the_game = game(request.game, **request.game_options)
        _LIVE[key] = the_game, _player(request, the_game), [make_env(the_game) for _ in indices]
    the_game, player, envs = _LIVE.pop(key)  # put back only if nothing fails
    telling = _Telling(path / PLAYING / f"{indices[0]:06d}.json")
    infos = [
        _keep(path, index, seed, episode, end)
        for index, seed, episode, end in play(
            the_game, player, request.seed, indices, envs, telling.steps
        )
    ]
    telling.done()
    _LIVE[key] = the_game, player, envs
    return infos


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
        return [read_info(episode_path(path, index)) for index in indices]
    except DataError:  # the file is damaged: play the episode again
        return None


def _keep(path: Path, index: int, seed: int, episode: Episode, end: str) -> EpisodeInfo:
    info = EpisodeInfo(
        index=index,
        seed=seed,
        length=len(episode.actions),
        episode_return=float(episode.rewards.sum(dtype=np.float64)),
        end=end,
        content_sha256=episode.content_sha256(),
    )
    write_episode(episode_path(path, index), episode, info)
    return info


def episode_seed(seed: int, index: int) -> int:
    """Return the 31-bit seed of episode `index` of a recording."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0] >> 1)


class _Live:
    """An episode being played."""

    def __init__(self, env: Env, stack: int, seed: int, index: int):
        self.index, self.seed = index, episode_seed(seed, index)
        self.view = View(env, np.random.default_rng([self.seed, 1]), stack)
        self.view.frames.append(self.view.env.reset(self.seed))
        self.actions: list[int] = []
        self.rewards: list[float] = []
        self.end: str | None = None

    def step(self, action: int) -> None:
        frame, reward, terminated, truncated = self.view.env.step(action)
        self.actions.append(action)
        self.rewards.append(reward)
        if terminated or truncated:
            self.end = "terminated" if terminated else "truncated"
        else:
            self.view.frames.append(frame)

    def episode(self) -> Episode:
        return Episode(
            np.stack(self.view.frames),
            np.array(self.actions, np.int16),
            np.array(self.rewards, np.float32),
        )


def play(
    the_game: Game,
    player: Expert,
    seed: int,
    indices: Sequence[int],
    envs: Sequence[Env] | None = None,
    tell: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, int, Episode, str]]:
    """Play episodes side by side; yield (index, seed, episode, end) in the order they end.

    `envs` are environments of the game to play in, one for each episode; fresh ones if not given.
    `tell` is called after every step with the number of steps of the unfinished episodes.

    Raises:
        DataError: the expert chose an action the game does not have.
    """
    if envs is None:
        with ExitStack() as held:
            fresh = [held.enter_context(closing(make_env(the_game))) for _ in indices]
            yield from play(the_game, player, seed, indices, fresh, tell)
        return
    stack = the_game.frame.stack
    live = [_Live(env, stack, seed, index) for env, index in zip(envs, indices, strict=False)]
    while live:
        for one, action in zip(live, player.act([one.view for one in live]), strict=True):
            if not 0 <= action < the_game.n_actions:
                raise DataError(
                    f"expert '{player.name}' chose action {action}; "
                    f"{the_game.name} has 0 to {the_game.n_actions - 1}"
                )
            one.step(int(action))
        if tell:
            tell(sum(len(one.actions) for one in live))
        for one in [one for one in live if one.end]:
            live.remove(one)
            yield one.index, one.seed, one.episode(), str(one.end)


def _finish(path: Path, request: RecordRequest, the_game: Game, player: Expert, count: int) -> None:
    """Write the episode table, and last of all the file that says it is complete."""
    spaces = {"frame": the_game.frame, "n_actions": the_game.n_actions}
    facts = {"game": request.game, "game_options": request.game_options, **spaces}
    write_manifest(path, {**facts, "expert": player.name}, count, request.dev_fraction)
