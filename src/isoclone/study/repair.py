"""Make again what is missing or torn in a study and can be made again.

What is wrong is found by `study.examine`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from isoclone.base.errors import CheckpointError, DataError
from isoclone.base.records import Point, Run
from isoclone.base.store import read_json, sweep_leftovers, write_json
from isoclone.demos.demonstrations import REQUEST
from isoclone.demos.manifest import restore_request, write_episode_table
from isoclone.study import pipeline
from isoclone.study.driving import driven
from isoclone.study.examine import (
    CURVE,
    MISSING,
    OF_A_POINT,
    REPAIR,
    ROLES,
    RUN,
    UNREADABLE,
    WHEN_NEEDED,
    Harm,
    Key,
    Row,
    Unsound,
    differing,
    examine,
    read_points,
    read_whole,
    row_of,
)
from isoclone.study.jobs import Job, declare, train_all, write_tables
from isoclone.study.plan import grid
from isoclone.study.recording import have_recorded, request_of
from isoclone.study.session import Session
from isoclone.study.study import Study
from isoclone.study.trial import forecast_runs

EPISODE_TABLE = "episodes"  # .csv and .parquet


@dataclass(frozen=True)
class Repaired:
    """The result for one harm: whether it is gone, and one sentence for people."""

    harm: Harm
    made: bool
    says: str


def run(study: Study, session: Session | None = None) -> Study:
    """Carry out a study from demonstrations to report; what is done is not done again.

    Files that are missing or torn are made again first, to the same bits, and that is said.

    Raises:
        StoreError: another process is at work on this study, or the disk is full.
        ExecutionError: recording failed, or every size failed at a budget.
        DataError: demonstrations are damaged that somebody else has to restore.
    """
    session = session or Session()
    with driven(study, session), session.executor:
        sweep_leftovers(study.path)
        study.fetch_demos()
        work = _Repair(study, session, examine(study.path))
        if not work.blocked():
            for harm in work.harms:
                if harm.made_again_by != RUN or harm.what != MISSING:  # that is merely not done yet
                    session.trouble(study, harm.says)
            work.mend()
        pipeline.carry_out(study, session)
    return study


def repair(study: Study, session: Session | None = None) -> list[Repaired]:
    """Do what `run` does, and say of each file that was missing or torn what became of it.

    Torn files are deleted, and lost points are trained and measured again, each for itself, before
    laws are fitted to them. If demonstrations are damaged that `run` cannot have played again,
    nothing is touched. A lost forecast is not replaced by another, see `keeps_its_forecast`.

    Returns:
        The result for each harm that `examine` finds; an empty list if the study is sound.

    Raises:
        StoreError: another process is at work on this study, or the disk is full.
        ExecutionError: as `pipeline.run`.
    """
    session = session or Session()
    with driven(study, session), session.executor:
        sweep_leftovers(study.path)
        study.fetch_demos()
        work = _Repair(study, session, examine(study.path))
        if work.blocked():
            return [Repaired(harm, False, harm.says) for harm in work.harms]
        work.mend()
        if work.keeps_its_forecast():
            pipeline.carry_out(study, session)
        else:
            write_tables(study)
        return work.outcome()


class _Repair:
    """One repair of a study, whose harms are known."""

    def __init__(self, study: Study, session: Session, harms: list[Harm]):
        self.study, self.session, self.harms = study, session, harms
        self.lost = {key: h for h in harms if h.made_again_by and (key := self._key_of(h.path))}
        self.before = {key: row for key in self.lost if (row := self._before(key))}
        self.refused: dict[Path, str] = {}  # file -> why it is not repaired

    def blocked(self) -> bool:
        """Return whether demonstrations from elsewhere, which all comes from, are damaged."""
        if not self.study.spec.demos or all(harm.made_again_by for harm in self.harms):
            return False
        try:
            self.study.demos()
        except DataError:
            return True
        return False

    def mend(self) -> None:
        """Delete what is torn, and have lost points trained and measured again."""
        self._mend_spec()
        self._mend_demos()
        runs = self._runs()
        for harm in self.harms:
            if harm.made_again_by == REPAIR and harm.what != UNREADABLE:
                if not self._is_mended(harm.path):
                    harm.path.unlink(missing_ok=True)
            elif harm.path.parent.name == "seconds":
                write_json(harm.path, None)  # unless training is repeated
        for run_id, budget in self.lost:
            folder = self.study.folder.run(run_id)
            for path in (folder.point(budget), folder.checkpoint(budget), folder.episodes(budget)):
                path.unlink(missing_ok=True)
        for run in runs.values():
            declare(self.study, run)
        for role in ROLES:
            self._train(role, runs)

    def _train(self, role: str, runs: dict[str, Run]) -> None:
        budgets: dict[str, list[float]] = {}
        for run_id, budget in sorted(self.lost):
            if self.before.get((run_id, budget), {}).get("role") == role and run_id in runs:
                budgets.setdefault(run_id, []).append(budget)
        if budgets:
            self.session.observer.phase("repair", f"{role} points that are lost are made again")
            jobs = [Job(self.study, runs[i], tuple(b)) for i, b in budgets.items()]
            train_all(jobs, role, self.session)

    def _is_mended(self, path: Path) -> bool:
        """Return whether a file is among those that are mended otherwise than by deleting them."""
        folder = self.study.folder
        return path in (folder.spec, folder.spec_copy) or path.is_relative_to(folder.demos)

    def _mend_spec(self) -> None:
        folder = self.study.folder
        if {folder.spec, folder.spec_copy} & {harm.path for harm in self.harms}:
            folder.write_spec(folder.read_spec())

    def _mend_demos(self) -> None:
        """Have the expert play lost episodes again, and write the tables that follow from them."""
        home = self.study.folder.demos
        lost = [h.path for h in self.harms if h.path.is_relative_to(home) and h.made_again_by]
        if not lost:
            return
        if not restore_request(home) and (home / "episodes").exists():
            write_json(home / REQUEST, request_of(self.study).declared())
        have_recorded(self.study, self.session)
        if {path.stem for path in lost if path.parent == home} & {EPISODE_TABLE}:
            demos = self.study.demos()
            write_episode_table(home, demos.episodes, demos.dev_episodes)

    # -------------------------------------------------------------- lost runs and points

    def _key_of(self, path: Path) -> Key | None:
        """Return the point that a file belongs to, None if to none; a curve to its run's last."""
        if path.name == CURVE:
            budgets = [float(p.stem) for p in path.parent.glob("points/*.json")]
            return (path.parent.name, max(budgets)) if budgets else None
        if path.parent.name not in OF_A_POINT or path.parents[2] != self.study.path / "runs":
            return None
        with suppress(ValueError):  # not a file of ours
            return path.parents[1].name, float(path.stem)
        return None

    def _before(self, key: Key) -> Row | None:
        """Return the row of a lost point, from the first file that still has it."""
        folder = self.study.folder
        path = folder.run(key[0]).point(key[1])
        bad = {harm.path for harm in self.harms}
        if path not in bad:
            return row_of(Point.from_json(read_json(path)))
        for suffix in (".parquet", ".csv"):
            with suppress(Unsound):
                rows = read_whole(folder.points.with_suffix(suffix), read_points)
                if key in rows:
                    return rows[key]
        if folder.forecast not in bad and folder.forecast.exists():
            for point in self.study.tested().by_seed:
                if (point.run_id, point.budget_flops) == key:
                    return row_of(point)
        return None

    def _runs(self) -> dict[str, Run]:
        """Return the runs that are declared, and those whose declaration is lost but known."""
        bad = {harm.path for harm in self.harms}
        found: dict[str, Run] = {}
        for path in sorted((self.study.path / "runs").glob("*")):
            folder = self.study.folder.run(path.name)
            if folder.file not in bad:
                if folder.file.exists():
                    found[path.name] = Run.from_json(read_json(folder.file))
                continue
            run = self._run_called(path.name)
            if run is not None:
                found[path.name] = run
        return found

    def _run_called(self, run_id: str) -> Run | None:
        """Return the run of an id; the id is a hash of its fields, so no other run can have it."""
        from isoclone.agents.checkpoint import load_tensors

        spec, origin = self.study.spec, self.study.origins()
        folder = self.study.folder.run(run_id).path
        for path in (*folder.glob("checkpoints/*.safetensors"), *folder.glob("*.safetensors")):
            with suppress(CheckpointError, TypeError, KeyError):
                run = Run.from_json(load_tensors(path)[1]["run"])
                if run.id == run_id:
                    return run
        told = {(int(r["width"]), int(r["seed"]), b) for (_, b), r in self.before.items()}
        told |= {(cell.width, cell.seed, cell.budget_flops) for cell in grid(spec)}
        runs = (spec.run_for(width, seed, origin(width), b) for width, seed, b in sorted(told))
        return next((run for run in runs if run.id == run_id), None)

    # -------------------------------------------------------------- the forecast

    def keeps_its_forecast(self) -> bool:
        """Return whether the study's agent was trained on the forecast that its points give.

        Laws change from version to version. A forecast that is lost is made again only if the agent
        that was trained to test it is the one it asks for; another agent would test another
        forecast. The agent's point in a sound forecast is brought up to date.
        """
        folder, study = self.study.folder, self.study
        agents = {(p.run_id, p.budget_flops) for p in study.points("forecast")}
        if folder.forecast.exists():
            tested = study.tested()
            keys = [(point.run_id, point.budget_flops) for point in tested.by_seed]
            if self.lost.keys() & set(keys) and agents.issuperset(keys):
                points = [Point.from_json(read_json(folder.run(i).point(b))) for i, b in keys]
                write_json(folder.forecast, tested.beside(points).to_json())
            return True
        if not agents:
            return True
        predicted = study.forecast()
        asked = {(run.id, predicted.flops) for run in forecast_runs(study, predicted)}
        if not asked & agents:
            self.refused[folder.forecast] = (
                f"the laws of isoclone {version('isoclone')} forecast another agent than the one "
                "that was trained; to have a new forecast tested, run the study without --repair"
            )
        return bool(asked & agents)

    # -------------------------------------------------------------- results

    def outcome(self) -> list[Repaired]:
        """Examine the study again, and return the result for each harm."""
        left = {harm.path for harm in examine(self.study.path)}
        return [self._became(harm, harm.path not in left) for harm in self.harms]

    def _became(self, harm: Harm, made: bool) -> Repaired:
        name = harm.path
        if name.is_relative_to(self.study.path):
            name = name.relative_to(self.study.path)
        if harm.path in self.refused:
            return Repaired(harm, False, f"{name} was not made again: {self.refused[harm.path]}")
        if harm.path.parent.name == "seconds" and read_json(harm.path) is None:
            return Repaired(harm, False, f"{name} now says that the time is not known")
        if not made:
            return Repaired(harm, False, harm.says)
        if harm.path.name in WHEN_NEEDED and not harm.path.exists():
            return Repaired(harm, True, f"{name} was deleted; it is made again when it is needed")
        if not harm.path.exists():
            told = "no other file holds its contents"
            return Repaired(harm, False, f"{name} was not made again: {told}")
        if harm.path == self.study.folder.forecast and self.study.tested().after_agent:
            told = "it is not a test, for its agent was measured before"
            return Repaired(harm, True, f"{name} was made again; {told}")
        key = self._key_of(harm.path)
        if key is None or key not in self.before:
            return Repaired(harm, True, f"{name} was made again")
        point = Point.from_json(read_json(self.study.folder.run(key[0]).point(key[1])))
        changed = differing(point, self.before[key])
        how = f"; its point differs in {', '.join(changed)}" if changed else ", to the same point"
        return Repaired(harm, True, f"{name} was made again{how}")
