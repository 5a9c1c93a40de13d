"""Demonstrations of NetHack, imported from recordings: for a study, and as whole games.

demos/
  request.json           what was asked for; written first
  games/<folder>/<name>.arrow    one game each, see `gamefile`
  demonstrations.json    totals, split and fingerprint; written last: without it, unfinished
  games.parquet, .csv    the table of games, for people
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.demos.demonstrations import DONE, REQUEST, table_digest
from isoclone.demos.nld.gamefile import FRAMES, GameFile
from isoclone.errors import DataError, StoreError
from isoclone.games import FrameSpec, Game, game
from isoclone.store import read_json, sha256_file

FORMAT, KIND = 1, "nld"


@dataclass(frozen=True)
class GameInfo:
    """A row of the table of games.

    Attributes:
        index: its number, in the order of the recordings' names.
        name: the recording's path below the source.
        seed: NetHack's seed, if the source told it.
        length: actions demonstrated, one a frame; equals the environment's steps.
        episode_return: the score when play ended, as the environment pays it.
        end: 'terminated', or 'truncated' for a game that was quit or breaks off.
        content_sha256: over what the recording holds and `length`.
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


@dataclass(frozen=True)
class NldGame:
    """A whole game: row t is what was seen, what the expert did about it, and the score then.

    chars and colors (t, 24, 80) uint8; cursor (t, 2) uint8, row and column; actions (t,) int16,
    `UNKNOWN` where the key is no action; scores (t,) int32.
    """

    chars: np.ndarray
    colors: np.ndarray
    cursor: np.ndarray
    actions: np.ndarray
    scores: np.ndarray


UNKNOWN = -1


@dataclass(frozen=True)
class NldDemonstrations:
    """Imported demonstrations in a directory; open them with `NldDemonstrations.open(path)`.

    `action_of_key` gives the action of each of 256 keys, or `UNKNOWN`. `skipped` are recordings
    that were left out, each with its reason.
    """

    path: Path
    game_name: str
    game_options: dict[str, Any]
    expert_name: str
    frame: FrameSpec
    n_actions: int
    episodes: tuple[GameInfo, ...]
    file_sha256: tuple[str, ...]
    dev_episodes: frozenset[int]
    fingerprint: str
    action_of_key: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...]

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> NldDemonstrations:
        """Open finished demonstrations and check every file against its recorded hash.

        `verify=False` leaves the check out, for those who come after one who has made it.

        Raises:
            DataError: none there, unfinished, of another kind or a newer format, or a file damaged
                or edited.
        """
        path = Path(path)
        if not (path / DONE).exists():
            begun = (path / REQUEST).exists()
            hint = "unfinished: run the same import again" if begun else "no demonstrations"
            raise DataError(f"{path}: {hint}")
        data = _read(path / DONE)
        demos = cls._from_json(path, data)
        if verify:
            if data.get("table_digest") != table_digest(data):
                raise DataError(f"{path / DONE} was edited; restore it or import again")
            demos.verify()
        return demos

    @classmethod
    def _from_json(cls, path: Path, data: Any) -> NldDemonstrations:
        if not isinstance(data, dict) or data.get("kind") != KIND:
            raise DataError(f"{path} holds no NetHack recordings")
        if data.get("format", 0) > FORMAT:
            raise DataError(
                f"{path} has format {data['format']}, newer than {FORMAT}: update isoclone"
            )
        try:
            frame = data["frame"]
            return cls(
                path=path,
                game_name=data["game"],
                game_options=data["game_options"],
                expert_name=data["expert"],
                frame=FrameSpec(tuple(frame["shape"]), frame["dtype"], frame["stack"]),
                n_actions=data["n_actions"],
                episodes=tuple(GameInfo(**row) for row in data["episodes"]),
                file_sha256=tuple(data["file_sha256"]),
                dev_episodes=frozenset(data["dev_episodes"]),
                fingerprint=data["fingerprint"],
                action_of_key=tuple(data["action_of_key"]),
                skipped=tuple((row["name"], row["reason"]) for row in data["skipped"]),
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"{path / DONE} is damaged or edited: {error}") from error

    def verify(self) -> None:
        """Check every game's file against the hash taken when it was imported.

        Raises:
            DataError: a file is missing, damaged or edited.
        """
        for info, expected in zip(self.episodes, self.file_sha256, strict=True):
            path = self.episode_path(info.index)
            if not path.exists():
                raise DataError(f"{path} is missing; restore it or import again")
            if sha256_file(path) != expected:
                raise DataError(f"{path} is damaged or was edited; restore it or import again")

    def episode_path(self, index: int) -> Path:
        """Where the game's frames are."""
        return game_path(self.path, self.episodes[index].name)

    def read(self, index: int) -> NldGame:
        """One game, from its first frame to its last action; 3.9 kB a frame.

        Raises:
            DataError: the file is damaged.
        """
        file, info = GameFile(self.episode_path(index)), self.episodes[index]
        play = slice(info.cut_opening, info.cut_opening + info.length)
        batches = [file.screens(i) for i in range(-(-play.stop // FRAMES))]
        chars, colors, cursor = (np.concatenate(p)[play] for p in zip(*batches, strict=True))
        keys, scores = (moves[play] for moves in file.moves())
        actions = np.array(self.action_of_key, np.int16)[keys]
        return NldGame(chars, colors, cursor, actions, scores)

    def __iter__(self) -> Iterator[NldGame]:
        return (self.read(info.index) for info in self.episodes)

    def game(self) -> Game:
        """The game that was played, with its options; it now knows its expert's score."""
        played = game(self.game_name, **self.game_options)
        if dataclasses.is_dataclass(played) and not isinstance(played, type):
            return dataclasses.replace(played, expert_score=self.score()[0])
        return played

    @property
    def samples(self) -> int:
        """All samples, train and dev: frames with an action, without those of unknown keys."""
        return sum(samples_of(info) for info in self.episodes)

    def split_of(self, info: GameInfo) -> str:
        """'train' or 'dev'."""
        return "dev" if info.index in self.dev_episodes else "train"

    def in_split(self, split: str) -> list[GameInfo]:
        """The games of 'train' or of 'dev'."""
        return [info for info in self.episodes if self.split_of(info) == split]

    def samples_in(self, split: str) -> int:
        """Samples of 'train' or of 'dev'."""
        return sum(samples_of(info) for info in self.in_split(split))

    def score(self) -> tuple[float, float]:
        """The expert's mean return over all games, and its standard error."""
        returns = np.array([info.episode_return for info in self.episodes])
        spread = returns.std(ddof=1) / np.sqrt(len(returns)) if len(returns) > 1 else float("nan")
        return float(returns.mean()), float(spread)


def samples_of(info: GameInfo) -> int:
    """Frames of a game that can be learned from."""
    return info.length - info.unknown_keys


def game_path(home: Path, name: str) -> Path:
    """Where in the store the recording of that name is."""
    return home / "games" / f"{name.split('.ttyrec')[0]}.arrow"


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except StoreError as error:
        raise DataError(str(error)) from error
