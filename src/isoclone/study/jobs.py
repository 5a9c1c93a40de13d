"""Have runs trained to budgets, spread over an executor, and keep account of their points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from isoclone.base.errors import SpecMismatchError
from isoclone.base.formatting import plus_minus
from isoclone.base.provenance import made_by, others
from isoclone.base.records import Point, Run
from isoclone.base.schema import kinds
from isoclone.base.store import read_json, write_json, write_rows
from isoclone.demos.demonstrations import DONE
from isoclone.executors import Files, Outcome, Task
from isoclone.policies import policy_params
from isoclone.study.folder import STUDY_FILE, is_there
from isoclone.study.session import Session
from isoclone.study.spec import demos_path
from isoclone.study.study import Study
from isoclone.study.track import show_run

SAID = 3  # runs that failed whose reasons are in one line


@dataclass(frozen=True)
class Job:
    """A run of a study, and the budgets to train it to, ascending."""

    study: Study
    run: Run
    budgets_flops: tuple[float, ...]


def train_all(jobs: Sequence[Job], role: str, session: Session) -> None:
    """Train runs, of one study or several, to their budgets, spread over the executor.

    A run that keeps failing gets a row that says why, at each budget it did not reach.
    """
    for _ in train_beside(jobs, role, session, ()):
        raise AssertionError("no other task was given")


def train_beside(
    jobs: Sequence[Job], role: str, session: Session, beside: Iterable[Task]
) -> Iterator[Outcome]:
    """Do what `train_all` does, and other tasks with the workers that are left.

    Args:
        beside: their keys are texts.

    Yields:
        The outcomes of the other tasks.
    """
    for study in {job.study.path: job.study for job in jobs}.values():
        check_made_by(study, session)
    tasks = (_begun(job, role, session, key) for key, job in enumerate(jobs))
    several = len({job.study.path for job in jobs}) > 1
    for outcome in session.executor.run(chain(tasks, beside)):
        if outcome.task.key in range(len(jobs)):
            _trained(jobs[outcome.task.key], role, session, outcome, several)
        else:
            yield outcome


def _trained(job: Job, role: str, session: Session, outcome: Outcome, several: bool) -> None:
    """Take note of the points of a job that has ended; write failed ones where it failed."""
    study, run = job.study, job.run
    for budget in job.budgets_flops:
        path = study.folder.run(run.id).point(budget)
        if outcome.error and not is_there(path, role):
            _write_failure(job, budget, role, outcome.error)
            session.observer.trouble(f"{run.label} at {budget:.3g} FLOPs: {outcome.error}")
        point = Point.from_json(read_json(path))
        study.journal.write(_line_of(point, run))
        session.observer.point(point, study.spec.name if several else "")
    if session.tracker:
        show_run(session.tracker, study.folder, run)


def _line_of(point: Point, run: Run) -> str:
    """Return a point as a line of the log."""
    head = f"{run.label} at {point.budget_flops:.3g} FLOPs: {point.status}"
    if point.status != "ok":
        return f"{head}: {point.reason}"
    for what, mean, se, digits in (
        ("loss", point.dev_loss, point.dev_loss_se, 3),
        ("return", point.return_mean, point.return_se, 1),
    ):
        if mean is not None:
            head += f", {what} {plus_minus(mean, se, digits)}"
    return head


def _begun(job: Job, role: str, session: Session, key: Any) -> Task:
    """Return the task of a job, which is about to be begun, and say so in the study's log."""
    task = _task(job, role, session.device, key)
    job.study.journal.write(f"{task.name}: begun")
    return task


def check_made_by(study: Study, session: Session) -> None:
    """Refuse to add points to those that were made by other means, unless that is allowed.

    Raises:
        SpecMismatchError: by another version of isoclone or torch, or on another kind of device.
    """
    if study.path in session.checked:
        return
    now = made_by(session.device, study.spec.recipe["precision"])
    said = "; ".join(others(study.points(None), now))
    if said and not session.allow_other_version:
        raise SpecMismatchError(
            f"{study.place}: {said}; go on with what made them, or mix them by "
            "--allow-other-version: table, status and report then say which is whose"
        )
    if said:
        session.trouble(study, said)
    session.checked.add(study.path)


def _task(job: Job, role: str, device: str, key: Any) -> Task:
    """Return the work of training a run to its budgets, with the files it reads and writes."""
    from isoclone.study.worker import train_to_budgets

    study, run = job.study, job.run
    declare(study, run)
    files = Files(study.path, _reads(study, run, role), (f"runs/{run.id}",))
    args = (study.path, run.id, job.budgets_flops, role, device)
    name = f"{run.label} to {job.budgets_flops[-1]:.3g} FLOPs"
    return Task(train_to_budgets, args, key, device != "cpu", files, name=name)


def costs_task(study: Study, run: Run, device: str, key: Any) -> Task:
    """Return the work of measuring what a run costs beside FLOPs."""
    from isoclone.study.costs import measure_costs

    files = Files(study.path, _reads(study, run, "extra"))
    args = (study.path, run.id, device)
    return Task(measure_costs, args, key, device != "cpu", files, name=f"costs of {run.label}")


def _reads(study: Study, run: Run, role: str) -> dict[str, Path]:
    """Return the files that the training of a run reads, by their names in the study."""
    demos, name = demos_path(study.path, study.spec), f"runs/{run.id}"
    reads = {STUDY_FILE: study.folder.spec, name: study.folder.run(run.id).path}
    parts = (DONE, "episodes", "games")
    reads |= {f"demos/{part}": demos / part for part in parts if (demos / part).exists()}
    clone = study.folder.clone(run.width)
    if clone.exists():
        reads[clone.relative_to(study.path).as_posix()] = clone
    if not study.spec.imitates:  # a run that falls back to random play has collapsed
        reads[study.folder.references.name] = study.folder.references
    if role == "forecast" and study.folder.forecast.exists():  # says how many episodes to play
        reads[study.folder.forecast.name] = study.folder.forecast
    return reads


def declare(study: Study, run: Run) -> None:
    """Make the run's folder, with its declared fields in it, unless it is there."""
    path = study.folder.run(run.id).file
    if not path.exists():
        write_json(path, run.to_json())


def _write_failure(job: Job, budget: float, role: str, reason: str) -> None:
    run, the_game = job.run, job.study.spec.make_game()
    params = policy_params(
        run.policy, run.width, the_game.frame, the_game.n_actions, **run.policy_options
    )
    folder = job.study.folder.run(run.id)
    if folder.failure.exists():
        reason += f" (traceback in {folder.failure.relative_to(job.study.path)})"
    point = Point.of_run(run, budget, params, role, status="failed", reason=reason)
    write_json(folder.point(budget), point.to_json())


def failures(study: Study) -> str | None:
    """Return one line on the points that failed, with each run's reason; None if none did."""
    failed = [point for point in study.points(None) if point.status == "failed"]
    if not failed:
        return None
    first = {point.run_id: point for point in reversed(failed)}  # of each run
    told = [
        f"width {p.width} seed {p.seed} at {p.budget_flops:.3g} FLOPs: {p.reason}"
        for p in reversed(first.values())
    ]
    more = f"; and {len(told) - SAID} more runs: isoclone status" if len(told) > SAID else ""
    points = f"{len(failed)} point{'s' if len(failed) > 1 else ''} failed"
    return f"{points} ({'; '.join(told[:SAID])}{more}); the same command tries again"


def forget_failures(study: Study) -> None:
    """Forget failed points, so that they are tried again.

    A forecast made without them is deleted; the point of its agent becomes an 'extra' one.
    """
    failed = [p for p in study.points(None) if p.status == "failed"]
    if any(p.role == "sweep" for p in failed):
        for p in study.points("forecast"):
            path = study.folder.run(p.run_id).point(p.budget_flops)
            write_json(path, {**p.to_json(), "role": "extra"})
        study.folder.forecast.unlink(missing_ok=True)
    for p in failed:
        study.folder.run(p.run_id).point(p.budget_flops).unlink(missing_ok=True)


def write_tables(study: Study) -> None:
    """Write every point into points.parquet and points.csv."""
    write_rows(study.folder.points, [p.to_json() for p in study.points(None)], kinds(Point))
