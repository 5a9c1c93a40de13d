"""Recorded play of an expert: immutable, split by episode, fingerprinted.

demos/
  request.json           what was asked for; written first
  episodes/000000.parquet ...
  demonstrations.json    totals, split and fingerprint; written last: without it, unfinished
  episodes.parquet, .csv the episode table, for people
  cache/                 frames expanded for training; can be deleted at any time
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from isoclone.base.errors import DataError, StoreError
from isoclone.base.formatting import plural, plus_minus
from isoclone.base.receipts import Receipts, stamp
from isoclone.base.records import jsonable, stable_id
from isoclone.base.store import read_json, sha256_file
from isoclone.demos.base import Progress, Source
from isoclone.demos.cache import open_cache
from isoclone.demos.episode import (
    Episode,
    EpisodeInfo,
    read_actions,
    read_episode,
    read_info,
    return_of,
)
from isoclone.executors import default_workers
from isoclone.experts.identity import said as who
from isoclone.games import FrameSpec, Game, action_sizes, game
from isoclone.games.actions import as_logits_rows, several

FORMAT = 1
REQUEST, DONE = "request.json", "demonstrations.json"
HELD = "other demonstrations", "demonstrations"  # what `store.claim` says of a directory
_SOUND: Receipts[Any] = Receipts()  # episodes' files, with the row and hash they were held to


@dataclass(frozen=True, repr=False)
class Finished:
    """The common part of finished demonstrations of every kind; rows of `episodes` differ.

    Every row has an index, a length and an episode_return.
    """

    path: Path
    game_name: str
    game_options: dict[str, Any]
    expert_name: str
    frame: FrameSpec
    n_actions: int
    episodes: tuple[Any, ...]
    file_sha256: tuple[str, ...]
    dev_episodes: frozenset[int]
    fingerprint: str
    expert_identity: dict[str, Any] = dataclasses.field(default_factory=dict, kw_only=True)
    expert_notes: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    expert_recurrent: bool = dataclasses.field(default=False, kw_only=True)  # as far as is known

    format: ClassVar[int]
    row: ClassVar[type]
    command: ClassVar[str]  # the verb that makes them, for messages: 'record'
    unfinished: ClassVar[str]
    mixed_as: ClassVar[str] = ""  # the class that mixes such ones, "module:Name"; '' if none does

    def __repr__(self) -> str:
        count = f"{plural(len(self.episodes), 'episode')}, {plural(self.samples, 'sample')}"
        kind, who = type(self).__name__, f"{self.expert_name} in {self.game_name}"
        return f"{kind}({who}: {count}, {self.fingerprint}, '{self.path}')"

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Self:
        """Open finished demonstrations and check that they hold what their fingerprint says.

        `verify=False` leaves the check out, for callers that know it was made already.

        Raises:
            DataError: none there, unfinished, of another kind or a newer format, or a file damaged
                or edited.
        """
        path = Path(path)
        if not (path / DONE).exists():
            begun = (path / REQUEST).exists()
            raise DataError(f"{path}: {cls.unfinished if begun else 'no demonstrations'}")
        data = _read(path / DONE)
        demos = cls._from_json(path, data)
        if verify:
            if data.get("table_digest") != table_digest(data):
                raise DataError(f"{path / DONE} was edited; restore it or {cls.command} again")
            demos.verify()
        return demos

    @classmethod
    def _from_json(cls, path: Path, data: Any) -> Self:
        if not isinstance(data, dict):
            raise DataError(f"{path / DONE} is damaged or edited: not a table")
        cls._check_kind(path, data)
        number = data.get("format", 0)
        if isinstance(number, int) and number > cls.format:
            newest = cls.format
            raise DataError(f"{path} has format {number}, newer than {newest}: update isoclone")
        try:
            frame = data["frame"]
            return cls(
                path=path,
                game_name=data["game"],
                game_options=data["game_options"],
                expert_name=data["expert"],
                frame=FrameSpec(tuple(frame["shape"]), frame["dtype"], frame["stack"]),
                n_actions=data["n_actions"],
                episodes=tuple(cls.row(**row) for row in data["episodes"]),
                file_sha256=tuple(data["file_sha256"]),
                dev_episodes=frozenset(data["dev_episodes"]),
                fingerprint=data["fingerprint"],
                expert_identity=data.get("expert_identity") or {},
                expert_notes=tuple(str(note) for note in data.get("expert_notes") or ()),
                expert_recurrent=data.get("expert_recurrent") is True,
                **cls._fields_of_kind(data),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = " ".join(str(error).split())[:120]
            raise DataError(f"{path / DONE} is damaged or edited: {why}") from error

    @classmethod
    def _check_kind(cls, path: Path, data: dict[str, Any]) -> None:
        """Raise DataError for demonstrations of another kind."""

    @classmethod
    def _fields_of_kind(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that only this kind has."""
        return {}

    def verify(self) -> None:
        """Decode every episode, hold it to its row, and count the fingerprint anew from the rows.

        Files that this process found sound before, and that have not changed since, are not read
        again.

        Raises:
            DataError: a file is missing, damaged, edited or forged.
        """
        with closing(self.harms()) as found:
            for _, harm in found:
                if harm:
                    raise DataError(f"{harm}; restore it or {self.command} again")
        counted = self.counted_fingerprint()
        if counted != self.fingerprint:
            raise DataError(
                f"{self.path / DONE} has the fingerprint {self.fingerprint}, and what it holds has "
                f"{counted}: edited or forged; restore it or {self.command} again"
            )

    def counted_fingerprint(self) -> str:
        """Count the fingerprint anew from the rows, the split and the game."""
        dev = sorted(self.dev_episodes)
        known = (self.game_name, self.game_options, self.episodes, dev)
        return fingerprint(*known, self.frame, self.n_actions)

    def harms(self) -> Generator[tuple[Any, str | None]]:
        """Yield every episode's row, with a sentence on what is wrong with its file, or None.

        Episodes are decoded on every core: Arrow and hashlib release Python's lock as they work.

        Raises:
            DataError: there are not as many hashes as episodes.
        """
        if len(self.episodes) != len(self.file_sha256):
            raise DataError(f"{self.path / DONE} is damaged: it lacks hashes of some episodes")
        threads = ThreadPoolExecutor(default_workers())
        try:
            found = threads.map(self._harm, self.episodes, self.file_sha256)
            yield from zip(self.episodes, found, strict=True)
        finally:
            threads.shutdown(cancel_futures=True)

    def _harm(self, info: Any, expected_sha256: str) -> str | None:
        """Return a sentence on what is wrong with an episode's file, or None."""
        path = self.episode_path(info.index)
        try:
            before = stamp(path)
            if _SOUND.of(path, before) == (info, expected_sha256):
                return None
            if sha256_file(path) != expected_sha256:
                return f"{path} is damaged or was edited"
            wrong = self._differing(info)
        except FileNotFoundError:
            return f"{path} is missing"
        except DataError as error:
            return str(error).partition(";")[0]
        if wrong:
            return f"{path} holds another {wrong} than {DONE} says: edited or forged"
        _SOUND.keep(path, before, (info, expected_sha256))
        return None

    def _differing(self, info: Any) -> str | None:
        """Return the first field of an episode's row that its contents contradict, or None."""
        made = self.made_from(info)
        return next(
            (name for name, value in made.items() if _differ(value, getattr(info, name))), None
        )

    def made_from(self, info: Any) -> dict[str, Any]:
        """Decode an episode; return the fields of its row that follow from its contents.

        `content_sha256` is among them.

        Raises:
            DataError: it cannot be decoded.
        """
        raise NotImplementedError

    def episode_path(self, index: int) -> Path:
        """Return the file that holds an episode."""
        raise NotImplementedError

    def game(self) -> Game:
        """Return the game that was played, with its options and its expert's score."""
        played = game(self.game_name, **self.game_options)
        if dataclasses.is_dataclass(played) and not isinstance(played, type):
            mean = self.score()[0]
            return dataclasses.replace(played, expert_score=None if math.isnan(mean) else mean)
        return played

    def traits(self) -> dict[str, Any]:
        """Return what demonstrations must have in common to be mixed, by what it is."""
        return {
            "game": self.game_name,
            "game settings": self.game_options,
            "frames": self.frame,
            "actions": action_sizes(self),
        }

    def samples_of(self, info: Any) -> int:
        """Count the samples of an episode."""
        return int(info.length)

    @property
    def samples(self) -> int:
        """All samples, train and dev."""
        return sum(self.samples_of(info) for info in self.episodes)

    def split_of(self, info: Any) -> str:
        """Return 'train' or 'dev', the split of an episode's row."""
        return "dev" if info.index in self.dev_episodes else "train"

    def in_split(self, split: str) -> list[Any]:
        """Return the episodes of 'train' or of 'dev'."""
        return [info for info in self.episodes if self.split_of(info) == split]

    def samples_in(self, split: str) -> int:
        """Count the samples of 'train' or of 'dev'."""
        return sum(self.samples_of(info) for info in self.in_split(split))

    @property
    def copies(self) -> int:
        """Episodes that are copies of an earlier one, to the last bit."""
        return len(self.episodes) - len({info.content_sha256 for info in self.episodes})

    def unique_samples_in(self, split: str) -> int:
        """Count the samples of 'train' or of 'dev', those of copies of an episode once."""
        first = {info.content_sha256: info for info in reversed(self.in_split(split))}
        return sum(self.samples_of(info) for info in first.values())

    def score(self) -> tuple[float, float]:
        """Return the expert's mean return over all episodes, and its standard error.

        Both are NaN where the play of others came without rewards.
        """
        if any(info.episode_return is None for info in self.episodes):
            return math.nan, math.nan
        returns = np.array([info.episode_return for info in self.episodes])
        spread = returns.std(ddof=1) / np.sqrt(len(returns)) if len(returns) > 1 else float("nan")
        return float(returns.mean()), float(spread)

    def summary(self) -> dict[str, Any]:
        """Return a description, the table of episodes included, as JSON values."""
        mean, se = self.score()
        return jsonable(
            {
                "path": self.path.resolve().as_posix(),
                "game": self.game_name,
                "game_options": self.game_options,
                "expert": self.expert_name,
                "expert_identity": self.expert_identity,
                "expert_notes": self.expert_notes,
                "expert_recurrent": self.expert_recurrent,
                "score_mean": mean,
                "score_se": se,
                "samples": self.samples,
                "train_samples": self.samples_in("train"),
                "dev_samples": self.samples_in("dev"),
                "copies": self.copies,
                "unique_train_samples": self.unique_samples_in("train"),
                **self._summary_of_kind(),
                "fingerprint": self.fingerprint,
                "episodes": [{**vars(i), "split": self.split_of(i)} for i in self.episodes],
            }
        )

    def _summary_of_kind(self) -> dict[str, Any]:
        """Return the part of the summary that only this kind has."""
        return {}

    def lines(self) -> list[str]:
        """Return the summary as lines for people."""
        mean, se = self.score()
        score = "returns unknown (no rewards)" if math.isnan(mean) else plus_minus(mean, se, 1)
        return [
            f"{self.expert_name} in {self.game_name}: {score}",
            *self._lines_of_kind(self.summary()),
            *self._lines_of_copies(),
            *([f"expert: {who(self.expert_identity)}"] if self.expert_identity else []),
            *(f"- {note}" for note in self.expert_notes),
            f"fingerprint {self.fingerprint}, every file verified",
        ]

    def _lines_of_copies(self) -> list[str]:
        copies, count = self.copies, len(self.episodes)
        if not copies:
            return []
        rest = f"{self.unique_samples_in('train'):,} different train samples"
        if copies + 1 == count:
            rest += "; nothing can be held out: let the game or the expert depend on its seed"
        return [f"{copies} of {plural(count, 'episode')} are copies of others: {rest}"]

    def _lines_of_kind(self, said: dict[str, Any]) -> list[str]:
        """Return the summary's middle, samples and episodes, as lines for people."""
        raise NotImplementedError

    def _bytes(self) -> int:
        """Return the size of all episodes' files."""
        return sum(self.episode_path(i.index).stat().st_size for i in self.episodes)


@dataclass(frozen=True, repr=False)
class FrameDemonstrations(Finished):
    """Recorded frames in a directory; open them with `FrameDemonstrations.open(path)`.

    `action_sizes` is set where actions have several factors, see `games.actions`; `unrepeatable`
    where recording found that the game ignores its seeds, with what differed; `read_as` says how
    the game's spaces were read. `imported` is None, or of the play of others {source, left_out,
    why}: where it is from, how many episodes were left out, and [count, example] of each reason.
    """

    episodes: tuple[EpisodeInfo, ...]
    action_sizes: tuple[int, ...] = ()
    unrepeatable: str | None = None
    read_as: tuple[str, ...] = ()
    imported: dict[str, Any] | None = None

    format = FORMAT
    row = EpisodeInfo
    command = "record or import"
    unfinished = "unfinished: run the same record, import or mix command again"
    mixed_as = "isoclone.demos.mixture:MixedDemonstrations"

    @classmethod
    def _check_kind(cls, path: Path, data: dict[str, Any]) -> None:
        if data.get("kind") == "mixture":
            raise DataError(f"{path} holds a mixture of demonstrations; choose another directory")
        if "kind" in data:
            raise DataError(
                f"{path} holds imported recordings of whole games, not frames to shuffle"
            )

    @classmethod
    def _fields_of_kind(cls, data: dict[str, Any]) -> dict[str, Any]:
        sizes = tuple(int(n) for n in data.get("action_sizes", ()))
        if sizes and sum(sizes) != data["n_actions"]:
            raise ValueError("action_sizes do not add up to n_actions")
        imported = data.get("imported")
        if imported is not None and not {"source", "left_out", "why"} <= set(imported):
            raise ValueError("imported lacks a field")
        return {
            "action_sizes": sizes,
            "unrepeatable": data.get("unrepeatable"),
            "read_as": tuple(str(line) for line in data.get("read_as", ())),
            "imported": imported,
        }

    def episode_path(self, index: int) -> Path:
        """Return the file that holds an episode."""
        return self.path / "episodes" / f"{index:06d}.parquet"

    def made_from(self, info: Any) -> dict[str, Any]:
        """Decode an episode; return the fields of its row that follow from its contents."""
        path, made = self.episode_path(info.index), _row(info.index, self.read(info.index))
        told = read_info(path) if path.suffix == ".parquet" else info
        found = {"length": made.length, "episode_return": made.episode_return}
        return {"content_sha256": made.content_sha256, **found, "seed": told.seed, "end": told.end}

    @classmethod
    def of_files(
        cls, path: Path, game: Game, expert_name: str, count: int, dev_fraction: float = 0.1
    ) -> Self:
        """Return the demonstrations that a subclass reads from files of its own kind.

        Every file is read once; rows, split and fingerprint follow from what is in them.

        Args:
            path: the directory.
            game: what was played.
            expert_name: who played.
            count: how many episodes there are; `episode_path` says where each is.
            dev_fraction: share of the episodes that is held out.

        Raises:
            DataError: fewer than two episodes, so nothing can be held out.
        """
        demos = cls(
            path=path,
            game_name=game.name,
            game_options=game.options(),
            expert_name=expert_name,
            frame=game.frame,
            n_actions=game.n_actions,
            action_sizes=several(game),
            episodes=(),
            file_sha256=(),
            dev_episodes=frozenset(),
            fingerprint="",
        )
        rows = tuple(_row(index, demos.read(index)) for index in range(count))
        dev = choose_dev(rows, dev_fraction)
        return dataclasses.replace(
            demos,
            episodes=rows,
            file_sha256=tuple(sha256_file(demos.episode_path(row.index)) for row in rows),
            dev_episodes=frozenset(dev),
            fingerprint=fingerprint(
                game.name, game.options(), rows, dev, game.frame, game.n_actions
            ),
        )

    def expand(self, frames: str, layout: str, progress: Progress | None = None) -> None:
        """Expand the frames for policies of a layout, unless they are; without torch."""
        open_cache(self, frames, layout, progress)

    def source(self, frames: str, layout: str, progress: Progress | None = None) -> Source:
        """Expand the frames for policies of a layout, once; see `base.Demonstrations`."""
        from isoclone.demos.feed import FrameSource

        return FrameSource(open_cache(self, frames, layout, progress), action_sizes(self))

    def action_counts(self, split: str) -> np.ndarray:
        """Count how often the expert took each action in a split, (n_actions,) int64."""
        actions = [self._actions(info.index) for info in self.in_split(split)]
        rows = as_logits_rows(np.concatenate(actions), action_sizes(self))
        return np.bincount(rows.reshape(-1), minlength=self.n_actions)

    def _actions(self, index: int) -> np.ndarray:
        path = self.episode_path(index)
        return read_actions(path) if path.suffix == ".parquet" else self.read(index).actions

    def _summary_of_kind(self) -> dict[str, Any]:
        ends = [info.end for info in self.episodes]
        return {
            "bytes_per_sample": self._bytes() / self.samples,
            "terminated": ends.count("terminated"),
            "truncated": ends.count("truncated"),
            "action_error": self.action_error(),
            "unrepeatable": self.unrepeatable,
            "read_as": self.read_as,
            **({"imported": self.imported} if self.imported is not None else {}),
        }

    def action_error(self) -> float | None:
        """Return the mean distance of the expert's actions to what was recorded of them.

        It is in the actions' own units, over all samples; None unless actions were cut into bins.
        """
        known = [i for i in self.episodes if i.action_error is not None]
        steps = sum(info.length for info in known)
        total = sum(info.length * (info.action_error or 0.0) for info in known)
        return total / steps if steps else None

    def _lines_of_kind(self, said: dict[str, Any]) -> list[str]:
        ends = f"{said['terminated']} terminated, {said['truncated']} truncated"
        unknown = len(self.episodes) - said["terminated"] - said["truncated"]
        ends += f", {unknown} of unknown end" if unknown else ""
        return [
            *self._lines_of_import(),
            f"{said['samples']:,} samples ({said['train_samples']:,} train, "
            f"{said['dev_samples']:,} dev) in {plural(len(self.episodes), 'episode')} "
            f"({ends}), {said['bytes_per_sample']:.1f} bytes a sample",
            *self.remarks(),
        ]

    def _lines_of_import(self) -> list[str]:
        if self.imported is None:
            return []
        count, reasons = self.imported["left_out"], self.imported["why"]
        left = [f"left out {number:,}: {example}" for number, example in reasons]
        whole = "" if count else ", nothing left out"
        return [f"imported from {self.imported['source'] or 'episodes'}{whole}", *left]

    def remarks(self) -> list[str]:
        """Return how spaces were read, and what was lost by it, as lines for people."""
        lines, error = list(self.read_as), self.action_error()
        if error is not None:
            lines.append(
                f"actions were cut into bins: on average {error:.3g} from what the expert chose, "
                "in the game's own units"
            )
        if self.unrepeatable:
            lines.append(f"{self.unrepeatable}; this recording cannot be made again")
        return lines

    def read(self, index: int) -> Episode:
        """Return one episode's frames, actions and rewards."""
        return read_episode(self.episode_path(index), self.frame)

    def __iter__(self) -> Iterator[Episode]:
        return (self.read(info.index) for info in self.episodes)


def _row(index: int, episode: Episode) -> EpisodeInfo:
    """Make an episode's row from its contents alone."""
    contents = episode.content_sha256()
    return EpisodeInfo(index, 0, len(episode.actions), return_of(episode), "terminated", contents)


def _differ(made: Any, told: Any) -> bool:
    """Return whether two values differ; sums of rewards may in the last digit, between machines."""
    if isinstance(made, float):
        close = isinstance(told, float | int) and math.isclose(
            made, told, rel_tol=1e-9, abs_tol=1e-9
        )
        return not close
    return bool(made != told)


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except StoreError as error:
        raise DataError(str(error)) from error


class Contents(Protocol):
    """The fields of an episode's row that the split and the fingerprint depend on."""

    @property
    def index(self) -> int: ...

    @property
    def content_sha256(self) -> str: ...


def fingerprint(
    game_name: str,
    game_options: dict[str, Any],
    episodes: Sequence[Contents],
    dev_episodes: list[int],
    frame: FrameSpec,
    n_actions: int,
) -> str:
    """Return 16 hex digits over the game, its spaces, every episode's contents, and the split."""
    contents = [info.content_sha256 for info in episodes]
    known = {"game": game_name, "options": game_options, "episodes": contents}
    spaces = {"frame": jsonable(frame), "n_actions": n_actions}
    return stable_id({**known, **spaces, "dev": sorted(dev_episodes)}, 16)


def table_digest(data: dict[str, Any]) -> str:
    """Return 16 hex digits over the table, themselves aside; an edited table has others."""
    rest = {name: value for name, value in data.items() if name != "table_digest"}
    return stable_id(jsonable(rest), 16)


def choose_dev(episodes: Sequence[Contents], fraction: float) -> list[int]:
    """Choose the episodes to hold out: a pseudo-random share, at least two (one of two).

    The choice depends on the episodes' contents alone, so it is the same on every machine. Copies
    of an episode are all on one side; if all are copies of one, none is held out.

    Raises:
        DataError: fewer than two episodes, so nothing can be held out.
    """
    if len(episodes) < 2:
        raise DataError("one episode cannot be split into train and dev; record more samples")
    contents = {info.content_sha256 for info in episodes}
    count = min(max(2, round(fraction * len(contents))), len(contents) // 2)
    turn = sorted(contents, key=lambda content: hashlib.sha256(content.encode()).digest())
    held_out = set(turn[:count])
    return sorted(info.index for info in episodes if info.content_sha256 in held_out)
