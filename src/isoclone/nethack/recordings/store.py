"""The store of imported NetHack recordings.

demos/
  request.json           the request; written first
  games/<folder>/<name>.arrow    one game each, see `gamefile`
  demonstrations.json    totals, split and fingerprint; written last: without it, unfinished
  games.parquet, .csv    the table of games, for people
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.base.records import conform, shown
from isoclone.demos.demonstrations import Finished
from isoclone.nethack.game import CHALLENGE
from isoclone.nethack.recordings.gamefile import FRAMES, GameFile

FORMAT, KIND, MIXTURE = 1, "nld", "nld-mixture"
RECORDINGS, TABLE = "recordings", "games.csv"  # beside a store: what it was made from
FAILED = "expert failed: "


@dataclass(frozen=True)
class GameInfo:
    """A game: a row of the table of games.

    Attributes:
        index: number of the game, in the order of the recordings' names.
        name: the recording's path below the source.
        seed: NetHack's seed, if the source gives it.
        length: number of demonstrated actions, one a frame; equals the environment's steps.
        episode_return: the score when play ended, as the environment pays it.
        end: 'terminated', or 'truncated' for a game that was quit or breaks off.
        content_sha256: of the screens, keys and scores that were played.
        frames: all frames of the recording; `length` and the `cut_` counts (see `cut`) add up to
            it. Play begins at frame `cut_opening`.
        unknown_keys: frames within `length` whose key is none of the game's actions.
        points, turns, death, role, race, alignment, gender, max_depth: from the xlogfile.
    """

    index: int
    name: str
    seed: int | None
    length: int
    episode_return: float
    end: str
    content_sha256: str
    frames: int
    cut_opening: int
    cut_end_screens: int
    cut_quit: int
    cut_stuck: int
    unknown_keys: int
    points: int | None
    turns: int | None
    death: str | None
    role: str | None
    race: str | None
    alignment: str | None
    gender: str | None
    max_depth: int | None

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for values that are impossible."""
        conform(self)
        cut = self.cut_opening, self.cut_end_screens, self.cut_quit, self.cut_stuck
        if self.length < 1 or min(cut) < 0 or self.length + sum(cut) != self.frames:
            raise ValueError(f"the frames of {shown(self.name)} do not add up")
        if PurePosixPath(self.name).is_absolute() or ".." in PurePosixPath(self.name).parts:
            raise ValueError(f"{shown(self.name)} lies outside of the demonstrations")


@dataclass(frozen=True)
class NldGame:
    """A whole game: row t is a screen, the expert's action at it, and the score then.

    chars and colors (t, 24, 80) uint8; cursor (t, 2) uint8, row and column; actions (t,) int16,
    `UNKNOWN` where the key is no action; scores (t,) int32.
    """

    chars: np.ndarray
    colors: np.ndarray
    cursor: np.ndarray
    actions: np.ndarray
    scores: np.ndarray


UNKNOWN = -1
KEYS = 256


@dataclass(frozen=True, repr=False)
class StoredGames(Finished):
    """Imported games in a directory; see `demonstrations.NldDemonstrations`.

    `action_of_key` gives the action of each of 256 keys, or `UNKNOWN`. `skipped` are recordings
    that were left out, each with its reason.
    """

    episodes: tuple[GameInfo, ...]
    action_of_key: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...]

    format = FORMAT
    row = GameInfo
    command = "import"
    unfinished = "unfinished: run the same import again"

    @classmethod
    def _check_kind(cls, path: Path, data: dict[str, Any]) -> None:
        if data.get("kind") == MIXTURE:
            raise DataError(f"{path} holds a mixture; give one of the demonstrations it is made of")
        if data.get("kind") != KIND:
            raise DataError(f"{path} holds no NetHack recordings")

    @classmethod
    def _fields_of_kind(cls, data: dict[str, Any]) -> dict[str, Any]:
        table, known = tuple(data["action_of_key"]), range(UNKNOWN, data["n_actions"])
        if len(table) != KEYS or any(type(a) is not int or a not in known for a in table):
            raise ValueError("action_of_key is no table of actions")
        return {
            "action_of_key": table,
            "skipped": tuple((row["name"], row["reason"]) for row in data["skipped"]),
        }

    def traits(self) -> dict[str, Any]:
        """Return what games must have in common to be mixed; characters may differ."""
        keys = {"keys of actions": self.action_of_key}
        return {"game": self.game_name, "frames": self.frame, "actions": self.n_actions, **keys}

    @cached_property
    def _by_index(self) -> dict[int, GameInfo]:
        return {info.index: info for info in self.episodes}  # a part of a mixture has not all

    def episode_path(self, index: int) -> Path:
        """Return the path of a game's file."""
        return game_path(self.path, self._by_index[index].name)

    def made_from(self, info: GameInfo) -> dict[str, Any]:
        """Decode a game; return the fields of its row that follow from its contents.

        The return of a task is none of them: rewards are not in a recording.
        """
        file, end = self.open_game(info.index), info.cut_opening + info.length
        keys, scores = file.moves()
        actions = np.array(self.action_of_key)[keys[info.cut_opening : end]]
        score = float(final_score(scores, end, bool(info.cut_end_screens)))
        return {
            "content_sha256": content_sha256(file, info.cut_opening, end),
            "unknown_keys": int((actions == UNKNOWN).sum()),
            "frames": len(keys),
            **({"episode_return": score} if self.game_name == f"nethack/{CHALLENGE}" else {}),
        }

    def action_counts(self, split: str) -> np.ndarray:
        """Count how often the expert took each action in a split, (n_actions,) int64."""
        table, counts = np.array(self.action_of_key), np.zeros(self.n_actions, np.int64)
        for info in self.in_split(split):
            keys, _ = self.open_game(info.index).moves()
            actions = table[keys[info.cut_opening :][: info.length]]
            counts += np.bincount(actions[actions >= 0], minlength=self.n_actions)
        return counts

    def _summary_of_kind(self) -> dict[str, Any]:
        frames = sum(info.frames for info in self.episodes)
        cuts = ("cut_opening", "cut_end_screens", "cut_quit", "cut_stuck", "unknown_keys")
        beside = self.path.parent / RECORDINGS
        recorded = {"recordings": beside.resolve().as_posix(), "games": read_table(beside)}
        return {
            "frames": frames,
            **{name: sum(getattr(info, name) for info in self.episodes) for name in cuts},
            "bytes_per_frame": self._bytes() / frames,
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
            **(recorded if recorded["games"] else {}),
        }

    def _lines_of_kind(self, said: dict[str, Any]) -> list[str]:
        games = said.get("games", ())
        lost = [row for row in games if not row["ttyrec"]]
        failed = [row for row in games if row["how_it_ended"].startswith(FAILED)]
        recorded = (
            f"{len(games)} games recorded in {said.get('recordings')}: {len(lost)} lost with their "
            f"process, {len(failed)} ended by a failure of the expert; see its {TABLE}"
        )
        left_out = Counter(reason for _, reason in self.skipped).most_common()
        return [
            *(f"game of seed {row['seed']}: {row['how_it_ended']}" for row in [*lost, *failed]),
            *([recorded] if games else []),
            f"{said['samples']:,} samples ({said['train_samples']:,} train, "
            f"{said['dev_samples']:,} dev) in {len(self.episodes)} games, "
            f"{said['bytes_per_frame']:.1f} bytes a frame",
            f"cut from {said['frames']:,} frames: {said['cut_opening']:,} before the first action, "
            f"{said['cut_end_screens']:,} of end screens, {said['cut_quit']:,} of quitting, "
            f"{said['cut_stuck']:,} stuck before that; {said['unknown_keys']:,} with keys that are "
            "no actions, not learned from",
            *(f"left out {count}: {reason}" for reason, count in left_out),
        ]

    def open_game(self, index: int) -> GameFile:
        """Open a game's file.

        Raises:
            DataError: it is damaged.
        """
        return GameFile(self.episode_path(index), self._by_index[index].frames)

    def read(self, index: int) -> NldGame:
        """Read one game from its first frame to its last action; 3.9 kB a frame.

        Raises:
            DataError: the file is damaged.
        """
        file, info = self.open_game(index), self._by_index[index]
        play = slice(info.cut_opening, info.cut_opening + info.length)
        batches = [file.screens(i) for i in range(-(-play.stop // FRAMES))]
        chars, colors, cursor = (np.concatenate(p)[play] for p in zip(*batches, strict=True))
        keys, scores = (moves[play] for moves in file.moves())
        actions = np.array(self.action_of_key, np.int16)[keys]
        return NldGame(chars, colors, cursor, actions, scores)

    def __iter__(self) -> Iterator[NldGame]:
        return (self.read(info.index) for info in self.episodes)

    def samples_of(self, info: GameInfo) -> int:
        """Return the number of frames to learn from: those whose key is an action."""
        return info.length - info.unknown_keys


def content_sha256(file: GameFile, first: int, end: int) -> str:
    """Return the SHA-256 of the screens, keys and scores of frames `first` to `end` - 1.

    The file itself is not hashed: a ttyrec holds the time of every screen, and names of files after
    the end, so the same game recorded twice would differ.
    """
    digest = hashlib.sha256()
    for i in range(first // FRAMES, -(-end // FRAMES)):
        begin = i * FRAMES
        for part in file.screens(i):
            digest.update(part[max(first - begin, 0) : end - begin].data)
    for moves in file.moves():
        digest.update(moves[first:end].tobytes())
    return digest.hexdigest()


def final_score(scores: np.ndarray, end: int, over: bool) -> int:
    """Return the sum of NLE's rewards up to frame `end` - 1.

    They are 0 for the step that ends a game by itself (`over`).
    """
    return int(scores[min(end - 1 if over else end, len(scores) - 1)])


def read_table(recordings: Path) -> list[dict[str, Any]]:
    """Read the table of a folder of recordings, a row for each game; none without a table."""
    path = recordings / TABLE
    if not path.is_file():
        return []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [{**row, "seed": int(row["seed"])} for row in csv.DictReader(file)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def game_path(home: Path, name: str) -> Path:
    """Return the path in the store of the recording of that name."""
    return home / "games" / f"{name.split('.ttyrec')[0]}.arrow"
