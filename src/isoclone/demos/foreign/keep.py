"""Keep the episodes of others as demonstrations: streamed, checked, and resumed by their contents.

Every episode is a file of its own, which is complete or absent, and knows the hash of its contents.
So a second call reads the source anew and writes what is missing; what is equal stays, and what
differs is refused.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from isoclone.base.errors import DataError, IsocloneError, SpecError, SpecMismatchError
from isoclone.base.records import jsonable
from isoclone.base.store import claim, flush_all, is_free
from isoclone.demos.base import Progress
from isoclone.demos.demonstrations import DONE, FORMAT, HELD, REQUEST, FrameDemonstrations
from isoclone.demos.episode import Episode, EpisodeInfo, read_info, return_of, write_episode
from isoclone.demos.foreign.base import Given, Unfit
from isoclone.demos.foreign.read import EpisodeReader
from isoclone.demos.foreign.spaces import Spaces
from isoclone.demos.manifest import episode_path, write_manifest
from isoclone.games import Game

WRITERS, WAITING_BYTES = 2, 256 << 20  # threads that write; what may wait for them
REASONS = 20  # kinds of reasons that are kept word for word

Episodes = Iterable[Any] | Callable[[], Iterable[Any]]


def demos_from(
    episodes: Episodes,
    *,
    path: str | Path,
    game: str | Game | None = None,
    game_options: dict[str, Any] | None = None,
    observation_space: Any = None,
    action_space: Any = None,
    bins: int = 256,
    reading: dict[str, Any] | None = None,
    expert: str = "imported",
    dev_fraction: float = 0.1,
    refuse_damaged: bool = False,
    source: str = "",
    total: int | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> FrameDemonstrations:
    """Make demonstrations of episodes that others played, or go on with what is there.

    An episode is (observations, actions, rewards, terminated, truncated), see
    `demos.foreign.base.Given`; one that is unfit is left out, counted, with its reason. One episode
    is in memory at a time, and a few that wait to be written.

    Args:
        episodes: an iterable of them, or a function without arguments that returns one.
        path: the directory.
        game: what was played, as a game or its name; its spaces are the episodes'. Without one, the
            demonstrations are of the game 'data', which has spaces and no environment.
        game_options: the game's options, where it is given by name.
        observation_space: Gymnasium's space, JSON values or text (see `games.described`); by the
            first episode's shape and dtype unless given.
        action_space: likewise; whole numbers are choices, as many as the largest says, unless
            given. Continuous actions need it for their bounds.
        bins: of each number of a continuous action.
        reading: options of the reader of observations, without a game (see `games.spaces`).
        expert: name of who played.
        dev_fraction: share of episodes held out.
        refuse_damaged: end at an episode that is unfit instead of leaving it out.
        source: where they are from, in words.
        total: number of episodes, for `progress`, which is called with ('import', done, total).
        tell: called with a line about what was left out or understood.

    Raises:
        DataError: nothing is fit, fewer than two episodes, or the source fails.
        SpecError: a space cannot be read, or is needed and missing.
        SpecMismatchError: the directory holds other demonstrations.
    """
    if not 0 < dev_fraction <= 0.5:
        raise SpecError(f"dev_fraction must be above 0 and at most .5, not {dev_fraction}")
    spaces = Spaces.of(game, game_options, observation_space, action_space, bins, reading)
    asked = {**spaces.asked, "expert": expert, "dev_fraction": dev_fraction}
    store = _Store(Path(path), jsonable({"format": FORMAT, "imported": True, **asked}))
    left_out: Counter[str] = Counter()
    example: dict[str, str] = {}
    reader: EpisodeReader | None = None
    with store:
        for number, given in enumerate(_each(episodes)):
            name, reason = f"episode {number}", ""
            if isinstance(given, Unfit):
                name, reason = given
            else:
                try:
                    found = _given(given)
                    reader = reader or spaces.reader(found)
                    episode, end = reader.read(found)
                except DataError as error:
                    reason = str(error)
            if not reason:
                store.keep(episode, end)
            elif refuse_damaged:
                raise DataError(f"{source or 'episodes'}: {name}: {reason}")
            else:
                left_out[_kind_of(reason)] += 1
                example.setdefault(_kind_of(reason), f"{name}: {reason}")
            if progress:
                progress("import", number + 1, total or 0)
    if not store.count:
        why = next(iter(example.values()), "there are no episodes")
        raise DataError(f"{source or 'episodes'}: nothing could be imported: {why}")
    assert reader is not None
    said = {"source": source, "left_out": sum(left_out.values())}
    reasons = [[count, example[kind]] for kind, count in left_out.most_common(REASONS)]
    notes = reader.actions.notes()
    facts = {**spaces.facts(reader), "expert": expert, **({"read_as": notes} if notes else {})}
    store.finish(facts, dev_fraction, {**said, "why": reasons})
    demos = FrameDemonstrations.open(path)
    for line in [*(f"left out {count}: {text}" for count, text in reasons), *notes] if tell else ():
        tell(line)  # type: ignore[misc]
    return demos


def _each(episodes: Episodes) -> Iterator[Any]:
    """Yield the episodes; what somebody else's code raises becomes a DataError."""
    number = 0
    try:
        for given in episodes() if callable(episodes) else episodes:
            yield given
            number += 1
    except (IsocloneError, GeneratorExit):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"reading episode {number} failed: {type(error).__name__}: {said}"
        ) from error


def _given(value: Any) -> Given:
    if isinstance(value, Given):
        return value
    if isinstance(value, tuple | list) and len(value) == 5:
        return Given(*value)
    raise DataError(
        "an episode is (observations, actions, rewards, terminated, truncated), not "
        f"{type(value).__name__}{f' of {len(value)}' if isinstance(value, tuple | list) else ''}"
    )


def _kind_of(reason: str) -> str:
    """Return a reason without its numbers, so that equal ones are counted together."""
    return "".join("#" if c.isdigit() else c for c in reason)


class _Store:
    """A directory that episodes are kept in; as a context, it waits for all to be written."""

    def __init__(self, path: Path, request: dict[str, Any]):
        self.path, self.count = path, 0
        self._request, self._claimed = request, (path / REQUEST).exists()
        self._finished: FrameDemonstrations | None = None
        if self._claimed:
            claim(path, REQUEST, request, HELD)
        elif not is_free(path):
            raise SpecError(
                f"{path} is not empty and holds no demonstrations; choose another place"
            )
        if (path / DONE).exists():
            self._finished = FrameDemonstrations.open(path, verify=False)
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    def __enter__(self) -> _Store:
        self._threads = ThreadPoolExecutor(WRITERS)
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self._wait(0)

    def keep(self, episode: Episode, end: str) -> None:
        """Have an episode written, unless an equal one is there.

        Raises:
            SpecMismatchError: another is there.
        """
        if not self._claimed:  # not before: the first episode may be refused
            claim(self.path, REQUEST, self._request, HELD)
            self._claimed = True
        index, self.count = self.count, self.count + 1
        size = episode.frames.nbytes
        self._waiting.append((size, self._threads.submit(self._write, index, episode, end)))
        self._wait(WAITING_BYTES)

    def _wait(self, most: int) -> None:
        """Wait until episodes of at most so many bytes, and a few, are yet to be written."""
        while self._waiting and (
            sum(size for size, _ in self._waiting) > most or len(self._waiting) > 4 * WRITERS
        ):
            self._waiting.popleft()[1].result()

    def _write(self, index: int, episode: Episode, end: str) -> None:
        info = EpisodeInfo(
            index=index,
            seed=0,
            length=len(episode.actions),
            episode_return=return_of(episode),
            end=end,
            content_sha256=episode.content_sha256(),
            action_error=episode.action_error,
        )
        path, known = episode_path(self.path, index), self._known(index)
        if known is not None and known != info:
            raise self._differs(f"episode {index} there is another")
        if known is None or not path.exists():
            write_episode(path, episode, info, flush=False)

    def _known(self, index: int) -> EpisodeInfo | None:
        """Return the row of the episode that is there, or was when the directory was finished."""
        if self._finished is not None:
            if index >= len(self._finished.episodes):
                raise self._differs(f"it has {len(self._finished.episodes)} episodes, not more")
            row: EpisodeInfo = self._finished.episodes[index]
            return row
        path = episode_path(self.path, index)
        if not path.exists():
            return None
        try:
            return read_info(path)
        except DataError:  # the file is damaged: write it again
            path.unlink()
            return None

    def _differs(self, how: str) -> SpecMismatchError:
        return SpecMismatchError(
            f"{self.path} holds other demonstrations ({how}); choose another directory"
        )

    def finish(self, facts: dict[str, Any], dev_fraction: float, imported: dict[str, Any]) -> None:
        """Write what says "complete", unless it is there.

        Raises:
            SpecMismatchError: the directory holds more episodes than the source.
            DataError: there is one episode alone.
        """
        there = len(list((self.path / "episodes").glob("[0-9]*.parquet")))
        if self._finished is not None:
            if self.count != len(self._finished.episodes):
                raise self._differs(
                    f"it has {len(self._finished.episodes)} episodes, the source {self.count}"
                )
            return
        if there > self.count:
            raise self._differs(f"it has {there} episodes, the source {self.count}")
        flush_all()  # what says "complete" comes after all that it speaks of
        write_manifest(self.path, {**facts, "imported": imported}, self.count, dev_fraction)
