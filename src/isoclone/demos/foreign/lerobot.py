"""LeRobotDataset folders, version 3: Parquet files of steps, and videos of pictures.

    meta/info.json                              features, frames a second, where files are
    meta/stats.json                             lowest and highest values, for actions' bins
    meta/episodes/chunk-*/file-*.parquet        episodes: rows, files, times in videos
    data/chunk-*/file-*.parquet                 steps of many episodes
    videos/<key>/chunk-*/file-*.mp4             pictures of many episodes

The format does not say how an episode ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base import parquet
from isoclone.base.errors import DataError, MissingExtraError, SpecError, StoreError
from isoclone.base.limits import check_array, check_unpacked
from isoclone.base.records import shown
from isoclone.base.store import read_json
from isoclone.demos.foreign.base import Foreign, Given, Unfit
from isoclone.demos.foreign.tables import HUB, fetched, values_of
from isoclone.demos.foreign.trees import files_below

NAMES = ("observations", "actions", "rewards")
REWARD, ACTION, OBSERVATION = "next.reward", "action", "observation"
ROW_NUMBERS = ("index", "episode_index", "frame_index")
OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def read_lerobot(source: str, **names: str) -> Foreign:
    """Read a LeRobotDataset v3 folder, or hf://USER/DATASET.

    Args:
        names: features by `observations` (several with commas), `actions` and `rewards`; unless
            said all that begin with 'observation', 'action', and 'next.reward' if it is there.

    Raises:
        DataError: it is none, of another version, or lacks a feature; the message names it.
        SpecError: a name that no feature has here.
        MissingExtraError: it has videos and PyAV is not installed.
    """
    for name in names:
        if name not in NAMES:
            raise SpecError(f"lerobot: there is no '{name}'; there are {', '.join(NAMES)}")
    root = fetched(source, ["meta/*", "data/*", "videos/*"]) if HUB in source else Path(source)
    found = _Dataset(root, names)
    return Foreign(
        found.episodes,
        source if HUB in source else root.resolve().name,
        action_space=found.action_space(),
        total=len(found.rows) + len(found.unlisted),
    )


class _Dataset:
    """A dataset's description, and its episodes."""

    def __init__(self, root: Path, names: dict[str, str]):
        try:
            info = read_json(root / "meta" / "info.json")
        except StoreError as error:
            raise DataError(f"{root} is no LeRobotDataset: {error}") from error
        version = str(_field(info, "codebase_version", root))
        if not version.startswith("v3"):
            raise DataError(
                f"{root} has LeRobotDataset version {version}; convert it to v3.0 by lerobot's own "
                "converter (lerobot.datasets.v30.convert_dataset_v21_to_v30)"
            )
        self.root, self.info = root, info
        self.features = _field(info, "features", root)
        if not isinstance(self.features, dict) or not all(
            isinstance(feature, dict) for feature in self.features.values()
        ):
            raise DataError(f"{root / 'meta' / 'info.json'}: features are no table of tables")
        self.fps = _field(info, "fps", root)
        if type(self.fps) not in (int, float) or not 0 < self.fps < 1e6:
            raise DataError(f"{root / 'meta' / 'info.json'}: fps {shown(self.fps)} cannot be so")
        known = [name for name in self.features if name not in OWN]
        usual = [name for name in known if name.split(".")[0] == OBSERVATION]
        self.observations = names["observations"].split(",") if "observations" in names else usual
        self.action = names.get("actions", ACTION)
        self.reward = names.get("rewards", REWARD if REWARD in self.features else None)
        wanted = [*self.observations, self.action, *([self.reward] if self.reward else [])]
        for name in wanted:
            if name not in self.features:
                raise DataError(f"{root} has no feature {name}; it has {', '.join(known)}")
        if not self.observations:
            raise DataError(f"{root} has no observations; name features by --observations")
        self.rows = self._episode_rows()
        self.unlisted = self._unlisted()
        self._videos: dict[str, _Video] = {}
        self._file: _Steps | None = None

    def _is_video(self, name: str) -> bool:
        return bool(self.features[name].get("dtype") == "video")

    def _episode_rows(self) -> list[dict[str, Any]]:
        files = files_below(self.root / "meta" / "episodes", "*.parquet")
        if not files:
            raise DataError(f"{self.root} has no meta/episodes/*.parquet")
        columns = ["episode_index", "data/chunk_index", "data/file_index"]
        columns += ["dataset_from_index", "dataset_to_index"]
        for name in filter(self._is_video, self.observations):
            columns += [f"videos/{name}/{what}" for what in ("chunk_index", "file_index")]
            columns += [f"videos/{name}/from_timestamp"]
        rows = [row for file in files for row in _read(file, columns).to_pylist()]
        if not all(isinstance(row["episode_index"], int) for row in rows):
            raise DataError(f"{self.root / 'meta' / 'episodes'}: episode_index is no number")
        return sorted(rows, key=lambda row: row["episode_index"])

    def _unlisted(self) -> list[int]:
        """Return the episodes that have steps and that meta/episodes does not list.

        Raises:
            DataError: meta/info.json tells of more episodes than there are.
        """
        there: set[int] = set()
        for file in files_below(self.root / "data", "*.parquet"):
            with suppress(DataError):  # said of the episodes that are in it
                column = _read(file, ["episode_index"])["episode_index"]
                there |= {number for number in column.unique().to_pylist() if number is not None}
        found = sorted(there - {row["episode_index"] for row in self.rows})
        told, known = self.info.get("total_episodes"), len(self.rows) + len(found)
        if isinstance(told, int) and told > known:
            raise DataError(
                f"{self.root} has {known} of the {told} episodes that meta/info.json tells of: "
                "bring the missing files here (or correct total_episodes)"
            )
        return found

    def action_space(self) -> Any:
        """Return a Box of the actions' lowest and highest values, None for whole numbers.

        Raises:
            DataError: meta/stats.json has none.
        """
        from gymnasium import spaces

        if not str(self.features[self.action].get("dtype", "")).startswith("float"):
            return None
        path = self.root / "meta" / "stats.json"
        try:
            stats = read_json(path)[self.action]
            low, high = (np.array(stats[side], np.float64).reshape(-1) for side in ("min", "max"))
        except (StoreError, KeyError, TypeError, ValueError):
            return None  # asked for where it is needed
        if low.shape != high.shape or not np.isfinite([low, high]).all() or (low > high).any():
            raise DataError(f"{path}: the least and the largest {self.action} cannot be so")
        same = low == high
        return spaces.Box(
            np.where(same, low - 0.5, low).astype(np.float32),
            np.where(same, high + 0.5, high).astype(np.float32),
            dtype=np.float32,
        )

    def episodes(self) -> Iterator[Given | Unfit]:
        """Yield the episodes in their order."""
        for row in self.rows:
            try:
                yield self._episode(row)
            except DataError as error:
                yield Unfit(f"episode {row['episode_index']}", str(error))
            except (TypeError, ValueError, OverflowError) as error:  # a number that is none
                said = " ".join(str(error).split())[:160]
                yield Unfit(f"episode {row['episode_index']}", f"its row cannot be so: {said}")
        for number in self.unlisted:
            yield Unfit(f"episode {number}", "it has steps, and meta/episodes does not list it")

    def _episode(self, row: dict[str, Any]) -> Given:
        first, stop = int(row["dataset_from_index"]), int(row["dataset_to_index"])
        part = self._steps(row).episode(row["episode_index"], first, stop)
        seen = {}
        for name in self.observations:
            seen[name] = (
                self._pictures(row, name, stop - first)
                if self._is_video(name)
                else values_of(part[name], name)
            )
        observations = seen if len(seen) > 1 else next(iter(seen.values()))
        actions = values_of(part[self.action], self.action)
        rewards = values_of(part[self.reward], self.reward) if self.reward else None
        return Given(observations, actions, rewards)

    def _steps(self, row: dict[str, Any]) -> _Steps:
        """Return the file that an episode's steps are in."""
        pattern = str(_field(self.info, "data_path", self.root))
        path = self._path(pattern, row["data/chunk_index"], row["data/file_index"])
        if self._file is None or self._file.path != path:
            names = [name for name in self.observations if not self._is_video(name)]
            names += [self.action, *([self.reward] if self.reward else [])]
            self._file = _Steps(path, names)
        return self._file

    def _path(self, pattern: str, chunk: Any, file: Any, key: str = "") -> Path:
        try:
            name = pattern.format(chunk_index=int(chunk), file_index=int(file), video_key=key)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise DataError(f"meta/info.json: {pattern[:80]} is no path of files") from error
        path = self.root / name
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(f"meta/info.json: {pattern[:80]} leads out of the dataset")
        return path

    def _pictures(self, row: dict[str, Any], name: str, count: int) -> np.ndarray:
        chunk, file = (row[f"videos/{name}/{what}"] for what in ("chunk_index", "file_index"))
        path = self._path(str(_field(self.info, "video_path", self.root)), chunk, file, name)
        video = self._videos.get(name)
        if video is None or video.path != path:
            if video is not None:
                video.close()
            video = self._videos[name] = _Video(path, self.fps)
        return video.pictures(float(row[f"videos/{name}/from_timestamp"]), count)


class _Steps:
    """A file of steps: which of its rows are whose is held, and the row groups read last."""

    def __init__(self, path: Path, columns: list[str]):
        there = _names_in(path, [*columns, "index", "episode_index"])
        table = _read(path, [name for name in ROW_NUMBERS if name in there])
        self.path, self._columns = path, columns
        self._numbers = {name: values_of(table[name], name) for name in table.column_names}
        self._order = np.argsort(self._numbers["index"], kind="stable")
        self._sorted = self._numbers["index"][self._order]
        self._groups = parquet.groups(path, columns)
        self._begins = np.cumsum([0, *(group.rows for group in self._groups)])
        self._held: tuple[list[int], Any] | None = None

    def episode(self, number: int, first: int, stop: int) -> dict[str, Any]:
        """Return an episode's columns in the order of `index`, wherever its rows lie in the file.

        Raises:
            DataError: they are not all there, their numbers disagree, or they unpack to more than
                the limit.
        """
        at, end = np.searchsorted(self._sorted, [first, stop])
        rows = self._order[at:end]
        ids = self._numbers["episode_index"][rows]
        whole = len(rows) == stop - first and stop > first
        if not whole or (ids != number).any() or (np.diff(self._sorted[at:end]) != 1).any():
            raise DataError(f"its rows {first} to {stop} are not all in its data file")
        if (
            "frame_index" in self._numbers
            and (np.diff(self._numbers["frame_index"][rows].astype(np.int64)) <= 0).any()
        ):
            raise DataError("its frame_index does not rise as its index does")
        return self._read(rows)

    def _read(self, rows: np.ndarray) -> dict[str, Any]:
        groups = np.unique(np.searchsorted(self._begins, rows, "right") - 1).tolist()
        if self._held is None or self._held[0] != groups:
            self._held = None
            check_unpacked(self.path, sum(self._groups[k].unpacked_bytes for k in groups))
            table = parquet.read_groups(self.path, groups, self._columns).combine_chunks()
            self._held = groups, table
        begins = np.cumsum([0, *(self._groups[k].rows for k in groups)])
        which = np.searchsorted(groups, np.searchsorted(self._begins, rows, "right") - 1)
        inner = begins[which] + rows - self._begins[np.array(groups)[which]]
        table = self._held[1]
        if (np.diff(inner) == 1).all():
            table = table.slice(int(inner[0]), len(inner))
        else:
            table = table.take(inner)
        return {name: table[name] for name in self._columns}


class _Video:
    """A video, decoded in the order of its pictures."""

    def __init__(self, path: Path, fps: float):
        try:
            import av
        except ImportError as error:
            raise MissingExtraError("reading videos", "lerobot") from error
        self.path, self._fps, self._av = path, fps, av
        self._open()

    def _open(self) -> None:
        try:
            self._container: Any = self._av.open(str(self.path))
            self._stream = self._container.streams.video[0]
        except (self._av.FFmpegError, OSError, IndexError, ValueError) as error:
            raise DataError(f"{self.path} is no video that can be read: {error}") from error
        self._stream.thread_type = "AUTO"
        self._decoded = self._container.decode(self._stream)
        self._next = 0.0  # time of the next picture, in seconds

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def pictures(self, begin: float, count: int) -> np.ndarray:
        """Return `count` pictures from a time on, (count, h, w, 3) uint8.

        Raises:
            DataError: they are not in the video, at their times.
        """
        shape = self._stream.height, self._stream.width, 3
        check_array(f"{self.path}: {count} pictures", (count, *shape), "uint8")
        half = 0.5 / self._fps
        if begin < self._next - half:
            self.close()
            self._open()
        found: np.ndarray | None = None
        taken = 0
        try:
            while taken < count:
                frame = next(self._decoded)
                time = float(frame.time or 0.0)
                self._next = time + 1 / self._fps
                if time < begin - half:  # of an episode before
                    continue
                wanted = begin + taken / self._fps
                if abs(time - wanted) > half:
                    raise DataError(f"{self.path} has no picture at {wanted:.3f} s")
                picture = frame.to_ndarray(format="rgb24")
                if found is None:
                    found = np.empty((count, *picture.shape), np.uint8)
                found[taken] = picture
                taken += 1
        except (StopIteration, self._av.FFmpegError) as error:
            why = str(error) or "it ends"
            raise DataError(
                f"{self.path} has {taken} of {count} pictures from {begin:.3f} s on: {why}"
            ) from error
        assert found is not None
        return found


def _field(info: Any, name: str, root: Path) -> Any:
    if not isinstance(info, dict) or info.get(name) is None:
        raise DataError(f"{root / 'meta' / 'info.json'} has no {name}")
    return info[name]


def _names_in(path: Path, columns: list[str]) -> list[str]:
    """Return the names of a file's columns.

    Raises:
        DataError: it cannot be read, or has not all of those columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        there: list[str] = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:160]
        raise DataError(f"{path} cannot be read: {said}") from error
    missing = [name for name in columns if name not in there]
    if missing:
        raise DataError(f"{path} has no column {missing[0]}")
    return there


def _read(path: Path, columns: list[str]) -> Any:
    """Read some columns as a whole, unless they unpack to more than the limit."""
    _names_in(path, columns)
    return parquet.read_table(path, columns)
