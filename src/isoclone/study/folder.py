"""Every file name and path of a study directory, and the records read from there.

<study>/
  study.json             the specification; its presence makes the directory a study
  study.copy.json        the same once more, should that be lost
  demos/                 demonstrations, unless the study uses some from elsewhere
  recordings/            what a game of its own way of recording keeps besides
  clones/<width>.safetensors   of reinforcement, the weights that runs of a width start from
  clones.json            which agents these were, and what they had cost
  references.json        mean return of random play and of the expert, with SE
  runs/<id>/             one folder for each run:
    run.json               the declared fields
    state.safetensors      where training can go on from
    restarted.json         why training started from the beginning again, if it did
    failure.txt            traceback of the last attempt that failed, if one did
    checkpoints/<budget>.safetensors
    episodes/<budget>.json how each episode went, where the game tells
    seconds/<budget>.json  how long training took
    curve.parquet          loss, learning rate, gradient norm and speed along the training
    points/<budget>.json   written last: without it the point did not happen
    progress.json          for watchers
  points.parquet, .csv   every point, one row each
  laws.json              the fitted laws with intervals
  forecast.json          forecast, the agent trained to test it, and how they compare
  seconds/forecast.json  when the forecast was written, and its digest
  baselines.json         returns of the players that the agent is compared with
  video.mp4              that agent playing
  report.html            everything, on one page
  study.log              who did what, and when: one line each (see `study.journal`)
  trace.jsonl            the stretches of time that this took, one each (see `base.trace`)
  tracking/              what --track wrote: event files of TensorBoard, runs of W&B
  made_by.json           the Python file that the study came from, if it came from one

Each file tells whether it was changed since it was written: JSON by its `seal` (`base.store`), page
and film by their last bytes, weights by a digest inside, the tables of points by each other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from isoclone.base.errors import StoreError
from isoclone.base.records import Point, Run
from isoclone.base.store import read_json, write_json

STUDY_FILE, STUDY_COPY = "study.json", "study.copy.json"
SUITE_FILE = "suite.json"  # of a folder of studies
HEAVY = ("demos", "recordings")  # not fetched from an object store only to look at a study
R = TypeVar("R", Run, Point)
# A file as it was when it was read, and whether it belongs there.
_PARSED: dict[str, tuple[tuple[int, int, int], Run | Point, bool]] = {}


def budget_key(budget_flops: float) -> str:
    """Return a budget as part of a file name: exact, and sorted by eye."""
    short = f"{budget_flops:.6e}"
    return short if float(short) == budget_flops else f"{budget_flops:.16e}"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run; budgets are in FLOPs."""

    path: Path

    @property
    def file(self) -> Path:
        """The run's declared fields."""
        return self.path / "run.json"

    @property
    def state(self) -> Path:
        """The state that training resumes from."""
        return self.path / "state.safetensors"

    @property
    def restarted(self) -> Path:
        """The reason why training started again from the beginning, if it did."""
        return self.path / "restarted.json"

    @property
    def failure(self) -> Path:
        """The traceback of the last attempt that failed, if one did."""
        return self.path / "failure.txt"

    @property
    def curve(self) -> Path:
        """The training curve, up to the last point."""
        return self.path / "curve.parquet"

    @property
    def progress(self) -> Path:
        """The run's progress, for watchers."""
        return self.path / "progress.json"

    def points(self) -> list[Path]:
        """Return the files of all complete points."""
        return [Path(file) for file in self.point_files()]

    def point_files(self) -> list[str]:
        """Return what `points` does as text, of which thousands are sooner made than paths."""
        home = os.path.join(self.path, "points")
        try:
            names = sorted(os.listdir(home))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{home}/{name}" for name in names if fnmatch(name, "*.json") and name[0] != "."]

    def point(self, budget_flops: float) -> Path:
        """Return the path of a point; the file is there only if the point is complete."""
        return self.path / "points" / f"{budget_key(budget_flops)}.json"

    def checkpoint(self, budget_flops: float) -> Path:
        """Return the path of the weights that the point was measured with."""
        return self.path / "checkpoints" / f"{budget_key(budget_flops)}.safetensors"

    def episodes(self, budget_flops: float) -> Path:
        """Return the path of the game's facts about each episode played, for games with any."""
        return self.path / "episodes" / f"{budget_key(budget_flops)}.json"

    def seconds(self, budget_flops: float) -> Path:
        """Return the path of the training time; not in the point, as it differs by machine."""
        return self.path / "seconds" / f"{budget_key(budget_flops)}.json"

    def train_seconds(self, budget_flops: float) -> float | None:
        """Return the seconds of training up to a budget, if they are known.

        Raises:
            StoreError: the file is damaged.
        """
        path = self.seconds(budget_flops)
        if not path.exists():
            return None
        found = read_json(path)  # null after a repair
        if not isinstance(found, float | None):
            raise StoreError(f"{path} is damaged; delete it")
        return found


@dataclass(frozen=True)
class StudyFolder:
    """The files of a study."""

    path: Path

    @property
    def spec(self) -> Path:
        """The specification."""
        return self.path / STUDY_FILE

    @property
    def spec_copy(self) -> Path:
        """The specification once more."""
        return self.path / STUDY_COPY

    def holds_study(self) -> bool:
        """Return whether the directory is a study's."""
        return self.spec.exists() or self.spec_copy.exists()

    def read_spec(self) -> Any:
        """Return what study.json holds, or its copy where that is missing or not as it was written.

        Raises:
            StoreError: both are damaged.
        """
        for path in (self.spec, self.spec_copy):
            with suppress(StoreError):
                return read_json(path, sealed=True)
        # Without a seal and a copy: somebody wrote it by hand.
        return read_json(self.spec, remedy="restore it, or choose another directory")

    def write_spec(self, declared: dict[str, Any]) -> None:
        """Write the specification, twice."""
        for path in (self.spec, self.spec_copy):
            write_json(path, declared)

    @property
    def demos(self) -> Path:
        """The study's own demonstrations."""
        return self.path / "demos"

    def clone(self, width: int) -> Path:
        """Return the path of the weights that runs of a width start from, if from any."""
        return self.path / "clones" / f"{width}.safetensors"

    @property
    def clones(self) -> Path:
        """Where the clones that runs start from came from, by width."""
        return self.path / "clones.json"

    @property
    def references(self) -> Path:
        """Mean return of random play and of the expert."""
        return self.path / "references.json"

    @property
    def points(self) -> Path:
        """The table of points, without its ending: .parquet and .csv."""
        return self.path / "points"

    @property
    def laws(self) -> Path:
        """The fitted laws."""
        return self.path / "laws.json"

    @property
    def forecast(self) -> Path:
        """The forecast, the agent trained to test it, and how they compare."""
        return self.path / "forecast.json"

    @property
    def forecast_seconds(self) -> Path:
        """When the forecast was written down, and its digest."""
        return self.path / "seconds" / "forecast.json"

    @property
    def baselines(self) -> Path:
        """The returns of the players that the forecast agent is compared with."""
        return self.path / "baselines.json"

    @property
    def video(self) -> Path:
        """The forecast agent playing."""
        return self.path / "video.mp4"

    @property
    def report(self) -> Path:
        """Everything, on one page."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """Who did what, and when."""
        return self.path / "study.log"

    @property
    def trace(self) -> Path:
        """The stretches of time that each process worked."""
        return self.path / "trace.jsonl"

    @property
    def tracking(self) -> Path:
        """What TensorBoard or Weights & Biases are shown, if they are."""
        return self.path / "tracking"

    @property
    def made_by(self) -> Path:
        """The Python file that the study came from, by its path; absent if it came from none."""
        return self.path / "made_by.json"

    @property
    def lock(self) -> Path:
        """The lock that a study's driver holds."""
        return self.path / ".driver.lock"

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of one run."""
        return RunFolder(self.path / "runs" / run_id)

    def has_runs(self) -> bool:
        """Return whether a run was ever begun."""
        return any(True for _ in self._folders())

    def read_runs(self) -> list[Run]:
        """Read every run that has a folder.

        Raises:
            StoreError: a file is damaged or lies where it does not belong.
        """
        return [self._read(Run, run.file) for run in self._folders() if run.file.exists()]

    def read_points(self) -> list[Point]:
        """Read every complete point, in no particular order.

        Raises:
            StoreError: a file is damaged or lies where it does not belong.
        """
        return [self._read(Point, path) for run in self._folders() for path in run.point_files()]

    def _folders(self) -> list[RunFolder]:
        home = self.path / "runs"
        names = sorted(os.listdir(home)) if home.is_dir() else []
        return [RunFolder(home / name) for name in names]

    def parsed(self, kind: type[R], path: Path | str) -> tuple[R, bool]:
        """Return the record in a file, and whether a record of its contents belongs there.

        What was read before is not read again unless it changed.

        Raises:
            StoreError: it is missing or no JSON.
            TypeError: it is no such record.
        """
        name = str(path)
        try:
            now = os.stat(name)
        except OSError:
            read_json(Path(name))  # says what is the matter
            raise
        stamp = (now.st_ino, now.st_size, now.st_mtime_ns)
        before = _PARSED.get(name)
        if before is None or before[0] != stamp:
            record = kind.from_json(read_json(Path(name)))
            before = _PARSED[name] = stamp, record, Path(name) in self._places(record)
        return before[1], before[2]  # type: ignore[return-value]

    def _read(self, kind: type[R], path: Path | str) -> R:
        """Read a record from its file, which must be where a record of its contents belongs."""
        try:
            record, at_home = self.parsed(kind, path)
        except TypeError as error:
            raise StoreError(f"{path} is damaged ({error}); delete it to make it again") from error
        if not at_home:
            raise StoreError(f"{path} belongs to another run or budget; delete it to make it again")
        return record

    def _places(self, record: Run | Point) -> list[Path]:
        """Return where a record's file must be; nowhere if it names a checkpoint not its run's."""
        if isinstance(record, Run):
            return [self.run(record.id).file]
        run = self.run(record.run_id)
        own = run.checkpoint(record.budget_flops).relative_to(self.path).as_posix()
        return [run.point(record.budget_flops)] if record.checkpoint in (None, own) else []


def is_there(point: Path, role: str) -> bool:
    """Return whether a point is measured; an 'extra' one does not count as the sweep's."""
    return point.exists() and (role == "extra" or read_json(point)["role"] == role)


def is_suite(path: str | Path) -> bool:
    """Return whether a directory holds a suite of studies, see `study.suite`."""
    return (Path(path) / SUITE_FILE).exists()
