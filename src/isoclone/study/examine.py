"""Find what is missing or torn in a study.

A study's files are functions of its specification and its demonstrations, with few exceptions, so a
lost one is trained, measured or drawn again, to the same bits. The exceptions are the
specification, the demonstrations, and the time that training took.

Every file carries a digest of what it holds (see `study.folder`), and points are kept three times
(in their own file, in points.parquet and in points.csv), so a changed byte is seen.

What is not checked, and why:

- `state.safetensors` when it is missing: the run starts from its beginning if it goes on.
- `study.log`, `trace.jsonl`, `progress.json`, `restarted.json` and `failure.txt` when missing:
  notes for people.
- `demos/cache`: has checksums of its own, and is made again when they do not fit.
- `.driver.lock`: holds a lock, no data.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from isoclone.agents.digest import verified
from isoclone.base.curves import curve_table
from isoclone.base.errors import CheckpointError, DataError, IsocloneError, SpecError
from isoclone.base.receipts import Receipts, stamp
from isoclone.base.records import Point, Run, stable_id
from isoclone.base.results import Tested
from isoclone.base.seals import has_seal
from isoclone.base.store import SEAL, read_json
from isoclone.demos import Demonstrations, open_demos
from isoclone.demos.demonstrations import DONE, REQUEST
from isoclone.demos.manifest import episode_rows
from isoclone.demos.open import FRAMES
from isoclone.games import is_playable
from isoclone.remote import address_of, remote_of
from isoclone.study.clones import clone_fingerprint
from isoclone.study.folder import RunFolder, StudyFolder
from isoclone.study.plan import next_cells
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study

MISSING, TORN, UNREADABLE, ELSEWHERE = "missing", "torn", "unreadable", "belongs elsewhere"
FOREIGN, FORGED = "foreign", "forged"
RUN, REPAIR = "run", "repair"
ROLES = ("sweep", "forecast", "extra")
OF_A_POINT = ("points", "checkpoints", "episodes")  # lost together, made together
WHEN_NEEDED = ("state.safetensors", "progress.json", "restarted.json")
CURVE = "curve.parquet"
UNJUDGED = (*WHEN_NEEDED, CURVE)  # a study is not judged by them
MAY_CHANGE = "role"  # a forecast's agent becomes an 'extra' point when its forecast falls
SEAL_MARK = f'"{SEAL}": "sha256:'.encode()
T = TypeVar("T")
Key = tuple[str, float]  # a point: its run's id, its budget in FLOPs
Row = dict[str, str]  # a point as in points.csv


@dataclass(frozen=True)
class Harm:
    """What is wrong with one file of a study.

    Attributes:
        path: the file.
        what: 'missing'; 'torn', which is cut short or changed since it was written; 'unreadable',
            which the system does not hand out; 'belongs elsewhere'; or 'foreign', which is whole
            and not what this version of isoclone writes.
        made_again_by: 'run' if a step of `isoclone run STUDY` makes it in any case, 'repair' if
            `run` makes it again before its steps, None if it cannot be made again.
        says: one sentence for people: the file, what is wrong, and what to do.
    """

    path: Path
    what: str
    made_again_by: str | None
    says: str


class Unsound(Exception):
    """A file is not as it should be: the kind of harm, and the rest of a sentence about it."""

    def __init__(self, what: str, why: str):
        super().__init__(what, why)
        self.what, self.why = what, why


# ---------------------------------------------------------------------- the examination


def examine(study: Path) -> list[Harm]:
    """Return everything that is missing or torn in a study's directory; nothing is written.

    Demonstrations and checkpoints are hashed, so the time it takes grows with their size. Files of
    later steps of an unfinished study do not count as missing.

    Raises:
        SpecError: there is no study, or its specification is refused.
    """
    folder = StudyFolder(study)
    if not folder.holds_study():
        raise SpecError(f"{study} holds no study (no {folder.spec.name})")
    found = _Findings(folder)
    if not _check_spec(folder, found):
        return found.harms
    spec = StudySpec.from_json(folder.read_spec()["spec"], costs=False)
    return _Examination(folder, spec, found).harms()


def _check_spec(folder: StudyFolder, found: _Findings) -> bool:
    """Compare the specification with its copy; return whether one of the two is sound."""
    sound = [path for path in (folder.spec, folder.spec_copy) if _is_whole_spec(path)]
    if not sound:
        found.check(folder.spec, _spec_file, None, "restore it from a copy")
        return False
    if folder.spec_copy.exists() or _is_sealed(folder.spec):  # one written by hand has no copy
        for path in (folder.spec, folder.spec_copy):
            found.check(path, _same_as(sound[0]), REPAIR)
    found.seen |= {folder.spec, folder.spec_copy}
    return True


class _Findings:
    """Harms as they are found, and every file that was looked at."""

    def __init__(self, folder: StudyFolder):
        self.folder, self.harms, self.seen = folder, list[Harm](), set[Path]()

    def check(
        self, path: Path, read: Callable[[Path], T], by: str | None, remedy: str = ""
    ) -> T | None:
        """Read a file; return what is in it, or note the harm and return None."""
        self.seen.add(path)
        try:
            return read_whole(path, read)
        except Unsound as unsound:
            if unsound.what == FOREIGN:
                by, remedy = None, "update isoclone, or delete it to have it made again"
            self.add(path, unsound.what, unsound.why, by, remedy)
            return None

    def add(self, path: Path, what: str, why: str, by: str | None, remedy: str = "") -> None:
        """Note a harm, unless the file has one already."""
        if any(harm.path == path for harm in self.harms):
            return
        home = self.folder.path
        name = path.relative_to(home) if path.is_relative_to(home) else path
        if by:
            remedy = f"`isoclone run {home}` makes it again{remedy}"
        self.harms.append(Harm(path, what, by, f"{name} {why}; {remedy}"))


def read_whole(path: Path, read: Callable[[Path], T]) -> T:
    """Read a file. Raises Unsound."""
    try:
        if os.stat(path).st_size == 0:
            raise Unsound(TORN, "is empty")
        if path.suffix == ".json" and read is not read_json and SEAL_MARK not in path.read_bytes():
            raise Unsound(TORN, "is damaged")
        return read(path)
    except Unsound:
        raise
    except (IsocloneError, OSError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise _unsound(path, error) from error


def _unsound(path: Path, failed: Exception) -> Unsound:
    """Return why a file could not be read: its contents, unless the system refuses them."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except FileNotFoundError:
        return Unsound(MISSING, "is missing")
    except OSError as error:
        return Unsound(UNREADABLE, f"cannot be read ({error.strerror})")
    if not isinstance(failed, CheckpointError | DataError) and _is_sealed(path):
        return Unsound(FOREIGN, "is whole, and not what this version writes")
    return Unsound(TORN, "is damaged")


class _Examination:
    """One look at a study whose specification is sound."""

    def __init__(self, folder: StudyFolder, spec: StudySpec, found: _Findings):
        self.folder, self.study, self.found = folder, Study(folder.path, spec), found
        self.points: dict[Key, Point] = {}  # the sound ones
        self.tables: dict[Path, dict[Key, Row]] = {}  # the whole ones

    @cached_property
    def games_tell(self) -> bool:
        """Whether the game tells of its episodes."""
        return any((self.folder.path / "runs").glob("*/episodes/*.json"))

    def harms(self) -> list[Harm]:
        """Return all that is found."""
        for path in sorted((self.folder.path / "runs").glob("*")):
            self._run(self.folder.run(path.name))
        self._tables()
        self._results()
        self._demos()
        self._rest()
        return self.found.harms

    # -------------------------------------------------------------- runs

    def _run(self, run: RunFolder) -> None:
        check = self.found.check
        measured = any(name[0] != "." for kind in OF_A_POINT for name in _names(run.path / kind))
        if measured or run.file.exists():
            check(run.file, lambda path: _run_in(path, run), REPAIR)
        trained = run.curve.exists()
        home = run.path / "points"
        for path in (home / name for name in _names(home) if name.endswith(".json")):
            point = check(path, self._point_in, REPAIR)
            if point is not None:
                self.points[point.run_id, point.budget_flops] = point
                self._beside(run, point)
                trained |= point.samples > 0
        if trained:
            check(run.curve, curve_table, REPAIR)
        weights = run.path / "checkpoints"  # of a point that is being measured, too: not complete
        self.found.seen |= {weights / name for name in _names(weights)}
        for path in (run.state, run.progress, run.restarted):
            if path.exists():
                read: Callable[[Path], Any] = verified if path == run.state else read_json
                check(path, read, REPAIR, " when it is needed" if path == run.state else "")
        self.found.seen.add(run.failure)

    def _point_in(self, path: Path) -> Point:
        point, at_home = self.folder.parsed(Point, path)
        if not at_home:
            raise Unsound(ELSEWHERE, "belongs to another run or budget")
        if point.role not in ROLES:
            raise ValueError
        return point

    def _beside(self, run: RunFolder, point: Point) -> None:
        """Check the other files that belong to a point."""
        if point.checkpoint is None:
            return
        budget = point.budget_flops
        self.found.check(run.checkpoint(budget), lambda path: _weights_of(path, point), REPAIR)
        remedy = f"the time of that training is lost; `isoclone run {self.folder.path}` notes that"
        self.found.check(run.seconds(budget), _seconds, None, remedy)
        if point.episodes and self.games_tell:
            self.found.check(run.episodes(budget), _list, REPAIR)

    # -------------------------------------------------------------- tables

    def _tables(self) -> None:
        """Compare the points with their two tables, and say which of the three is wrong."""
        for suffix in (".parquet", ".csv"):
            path = self.folder.points.with_suffix(suffix)
            if path.exists() or self._concluded():
                rows = self.found.check(path, read_points, RUN)
                if rows is not None:
                    self.tables[path] = rows
        known: dict[Key, list[Row]] = {}
        for rows in self.tables.values():
            for key, row in rows.items():
                if row["status"] != "failed":  # those are tried again
                    known.setdefault(key, []).append(row)
        for key, told in known.items():
            self._compare(key, told)
        wanted = known.keys() | (self.points.keys() if self._concluded() else set())
        for path, rows in self.tables.items():
            pairs = [(self.points[key], row) for key, row in rows.items() if key in self.points]
            if wanted - rows.keys():
                self.found.add(path, TORN, "lacks points", RUN)
            elif any(differing(point, row) for point, row in pairs):
                self.found.add(path, TORN, "has other figures than the points", RUN)

    def _compare(self, key: Key, rows: list[Row]) -> None:
        """Note a point that the tables have, and whose file is missing or has other figures."""
        path = self.folder.run(key[0]).point(key[1])
        if not path.exists():
            self.found.add(path, MISSING, "is missing", REPAIR)
        elif key in self.points and not any(_agree(self.points[key], row) for row in rows):
            self.found.add(path, TORN, "has other figures than the tables of points", REPAIR)
            del self.points[key]

    # -------------------------------------------------------------- what follows from the points

    def _concluded(self) -> bool:
        """Return whether the study has come to its forecast's test, and the sweep is over."""
        folder = self.folder
        tested = any(point.role == "forecast" for point in self.points.values())
        return tested or any(p.exists() for p in (folder.forecast, folder.video, folder.baselines))

    def _results(self) -> None:
        folder, study, check = self.folder, self.study, self.found.check
        over = self._concluded()
        lost = any(harm.path.parent.name == "points" for harm in self.found.harms)
        if over and not lost:
            self._unknown_points()
        if folder.references.exists() or self.points:
            by = REPAIR if folder.references.exists() else RUN
            check(folder.references, lambda path: study.references(), by)
        if over or folder.laws.exists():
            check(folder.laws, _table, RUN)
        tested: Tested | None = None
        if over:
            by = REPAIR if folder.forecast.exists() else RUN
            tested = check(folder.forecast, lambda path: study.tested(), by)
        agent = tested.point if tested is not None else None  # None until it is trained
        for point in tested.by_seed if tested is not None else ():
            self._tested(point)
        played = study.spec.forecast_episodes and is_playable(study.spec.make_game())
        if folder.baselines.exists() or (agent and played):
            by = REPAIR if folder.baselines.exists() else RUN
            check(folder.baselines, lambda path: study.baselines(), by)
        filmed = agent and agent.checkpoint and is_playable(study.spec.make_game())
        if folder.video.exists() or filmed:
            check(folder.video, _film, REPAIR if folder.video.exists() else RUN)
        if folder.report.exists() or agent:
            check(folder.report, _page, RUN)

    def _unknown_points(self) -> None:
        """Note points that are in no table, but that the sweep must have measured."""
        points = [point for point in self.points.values() if point.role == "sweep"]
        learned_from = {run.width: run.demos for run in self._sound_runs()}
        for cell in next_cells(self.study.spec, points).cells if learned_from else ():
            known = learned_from.get(cell.width, min(learned_from.values()))
            declared = (cell.width, cell.seed, known, cell.budget_flops)
            run = self.folder.run(self.study.spec.run_for(*declared).id)
            self.found.add(run.point(cell.budget_flops), MISSING, "is missing", RUN)

    def _sound_runs(self) -> Iterable[Run]:
        bad = {harm.path for harm in self.found.harms}
        paths = (self.folder.path / "runs").glob("*/run.json")
        return (Run.from_json(read_json(path)) for path in paths if path not in bad)

    def _tested(self, point: Point) -> None:
        """Compare the point in forecast.json with the point's own file."""
        key = point.run_id, point.budget_flops
        own = self.folder.run(key[0]).point(key[1])
        if key in self.points and not _agree(point, row_of(self.points[key])):
            why = "has other figures than its agent's point"
            self.found.add(self.folder.forecast, TORN, why, REPAIR)
        elif not own.exists():
            self.found.add(own, MISSING, "is missing", REPAIR)

    # -------------------------------------------------------------- demonstrations

    def _clones(self) -> None:
        """Note weights that runs start from and that are lost or changed."""
        if self.study.spec.clones is None:
            return
        remedy = "restore it from a copy"
        if self.found.check(self.folder.clones, _table, None, remedy) is None:
            return  # nothing else tells what they were
        for width in self.study.spec.widths:
            read = partial(_same_clone, self.folder.path, width)
            self.found.check(self.folder.clone(width), read, None, remedy)

    def _demos(self) -> None:
        spec, home = self.study.spec, self.folder.demos
        if not spec.imitates:
            self._clones()
            return
        away = Path(spec.demos) if spec.demos and address_of(spec.demos) is None else None
        place = home if home.exists() or away is None else away
        if not (place / DONE).exists() and (not self.points or remote_of(self.folder.path)):
            return  # not recorded yet, or in the object store alone
        demos = self._sound_demos(place)
        if demos is not None:
            self._same_demos(place / DONE, demos.fingerprint)
        if place != home:
            return
        self.found.seen |= set(home.glob("episodes/*"))
        if spec.demos:
            return
        self.found.check(home / REQUEST, _table, REPAIR)
        self.found.seen |= {home / "episodes.parquet", home / "episodes.csv"}
        if demos is not None and _are_frames(place):
            wanted = [_texts(row) for row in episode_rows(demos.episodes, demos.dev_episodes)]
            for suffix in (".parquet", ".csv"):
                path = home / f"episodes{suffix}"
                self.found.check(path, lambda p: _rows_in(p) == wanted or _refuse(), REPAIR)

    def _sound_demos(self, place: Path) -> Demonstrations | None:
        """Note what is wrong with the demonstrations; return them if that is nothing."""
        done, remedy = place / DONE, "restore it from a copy"
        by = None if self.study.spec.demos else REPAIR
        read = _table if by else read_json  # a kind of somebody's own has no seal
        if self.found.check(done, read, by, "" if by else remedy) is None:
            return None
        paths: list[Path] = []
        try:
            demos = open_demos(place, verify=False)
            paths = [demos.episode_path(info.index) for info in demos.episodes]
            sound = [self.found.check(path, Path.stat, by, "" if by else remedy) for path in paths]
            return open_demos(place) if all(sound) else None
        except DataError as error:
            named = next((path for path in paths if f"{path} " in str(error)), done)
            self.found.add(named, TORN, "is not as it was recorded", by, "" if by else remedy)
            return None

    def _same_demos(self, done: Path, fingerprint: str) -> None:
        """Note demonstrations other than those that the runs were trained on."""
        trained_on = {point.run_id for point in self.points.values()}
        others: set[str] = set()
        for run_id in trained_on:
            with suppress(IsocloneError, OSError, TypeError):
                others |= {self.folder.parsed(Run, self.folder.run(run_id).file)[0].demos}
        if others - {fingerprint}:
            why = "holds other demonstrations than the runs were trained on"
            again = "" if self.study.spec.demos else f", or delete {done.parent} to record it again"
            self.found.add(done, FORGED, why, None, f"restore it from a copy{again}")

    def _rest(self) -> None:
        """Note files of no known kind that are empty, and JSON that is none."""
        seen = {str(path) for path in self.found.seen}
        for path in sorted(Path(name) for name in _files(self.folder.path) if name not in seen):
            if not path.is_file():
                continue
            read = read_json if path.suffix == ".json" else Path.stat
            self.found.check(path, read, None, "restore it from a copy, or delete it")


# ---------------------------------------------------------------------- what files must hold


def _spec_file(path: Path) -> Any:
    found = read_json(path)
    return found["spec"] if isinstance(found["format"], int) else _refuse()


def _is_whole_spec(path: Path) -> bool:
    with suppress(IsocloneError, OSError, KeyError, TypeError, ValueError):
        _spec_file(path)
        return True
    return False


def _is_sealed(path: Path) -> bool:
    with suppress(IsocloneError, ValueError):
        read_json(path, sealed=True)
        return True
    return False


def _same_as(other: Path) -> Callable[[Path], bool]:
    def read(path: Path) -> bool:
        if read_json(path) != read_json(other):
            raise Unsound(TORN, f"differs from {other.name}")
        return True

    return read


def _refuse() -> Any:
    raise ValueError


def _run_in(path: Path, folder: RunFolder) -> Run:
    run = Run.from_json(read_json(path))
    if run.id != folder.path.name:
        raise Unsound(ELSEWHERE, f"declares another run ({run.id})")
    return run


_WEIGHTS: Receipts[tuple[str, int]] = Receipts()  # run and samples of those found whole


def _weights_of(path: Path, point: Point) -> bool:
    before = stamp(path)
    told = _WEIGHTS.of(path, before)
    if told is None:
        about = verified(path)
        told = stable_id(about["run"]), about["samples"]
        _WEIGHTS.keep(path, before, told)
    if told != (point.run_id, point.samples):
        raise Unsound(ELSEWHERE, "belongs to another run or budget")
    return True


def _seconds(path: Path) -> bool:
    return isinstance(read_json(path), float | None) or _refuse()


def _list(path: Path) -> list[Any]:
    found = read_json(path)
    return found if isinstance(found, list) else _refuse()


def _same_clone(study: Path, width: int, path: Path) -> str:
    """Return the fingerprint of the weights that runs of a width start from, if they are those."""
    return clone_fingerprint(study, width) if path.exists() else _refuse()


def _table(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) and found else _refuse()


def _page(path: Path) -> bool:
    return has_seal(path) or _refuse()


def _film(path: Path) -> bool:
    """Follow an mp4's boxes: each tells its length, and together they must be the file."""
    boxes, size = [], path.stat().st_size
    with open(path, "rb") as file:
        while file.tell() < size:
            start, head = file.tell(), file.read(8)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            if length < 8 or start + length > size:
                raise ValueError
            boxes.append(head[4:])
            file.seek(start + length)
    whole = boxes[0] == b"ftyp" and {b"moov", b"mdat"} <= set(boxes)
    return (whole and has_seal(path)) or _refuse()


def _rows_in(path: Path) -> list[Row]:
    """Read a table, each value as it is written in CSV."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return [_texts(row) for row in pq.ParquetFile(path).read().to_pylist()]
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError
    return rows


def read_points(path: Path) -> dict[Key, Row]:
    """Read a table of points.

    Raises:
        ValueError, KeyError, OSError: it is damaged.
    """
    rows = _rows_in(path)
    found = {(row["run_id"], float(row["budget_flops"])): row for row in rows}
    return found if len(found) == len(rows) else _refuse()


def _texts(row: Mapping[str, Any]) -> Row:
    return {name: "" if value is None else str(value) for name, value in row.items()}


@lru_cache(maxsize=10_000)
def row_of(point: Point) -> Row:
    """Return a point as a row of text, as in points.csv."""
    return _texts(point.to_json())


def differing(point: Point, row: Row) -> list[str]:
    """Return the columns in which a point differs from a row; an older table may have fewer."""
    mine = row_of(point)
    return [name for name in mine if name in row and mine[name] != row[name]]


def _agree(point: Point, row: Row) -> bool:
    """Return whether a point and a row are of the same measurement; its role may have changed."""
    return set(differing(point, row)) <= {MAY_CHANGE}


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none if it is not there."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _files(home: Path) -> Iterator[str]:
    """Yield the files below a directory, as text; hidden ones and caches aside."""
    for folder, folders, names in os.walk(home):
        folders[:] = [name for name in folders if _is_told_of(name)]
        yield from (f"{folder}/{name}" for name in names if _is_told_of(name))


def _is_told_of(name: str) -> bool:
    return name != "cache" and name[0] != "."


def _are_frames(demos: Path) -> bool:
    """Return whether demonstrations are episodes of frames, as isoclone itself records them."""
    return read_json(demos / DONE).get("kind", FRAMES) == FRAMES
