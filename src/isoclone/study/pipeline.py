"""Carry out a study: demonstrations, sweep, laws, forecast, its agent, report.

    run
      record            recording.py: the expert plays, frames are expanded, both ends of the score
      sweep             plan.py says what is missing; jobs.py has it trained; again
      try_forecast      trial.py: laws, forecast, the agent it describes, baselines, film
      write_report

Every step looks at the directory first and does what is missing, so that `run` may be stopped
anywhere, by any means, and called again. What only workers do is imported when there is work: torch
takes as long to import as the steps take to find that there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from isoclone.base import distributed
from isoclone.base.errors import ExecutionError, FitError, SpecError, UnknownNameError
from isoclone.base.records import Point, Run
from isoclone.base.store import read_json, sweep_leftovers
from isoclone.report import write_report as write_page
from isoclone.study.driving import driven, phase
from isoclone.study.facts import gather
from isoclone.study.jobs import (
    Job,
    check_made_by,
    declare,
    failures,
    forget_failures,
    train_all,
    write_tables,
)
from isoclone.study.plan import Cell
from isoclone.study.recording import have_references, record
from isoclone.study.session import Session
from isoclone.study.study import Study
from isoclone.study.track import show_run
from isoclone.study.trial import fit_laws, try_forecast


def run(study: Study, session: Session | None = None) -> Study:
    """Carry out a study from demonstrations to report; what is done is not done again.

    Raises:
        StoreError: another process is at work on this study, or the disk is full.
        ExecutionError: recording failed, or every size failed at a budget.
    """
    session = session or Session()
    with driven(study, session), session.executor:
        carry_out(study, session)
    return study


def carry_out(study: Study, session: Session) -> None:
    """Do what `run` does, for a caller that is the study's driver already."""
    study.spec.check()
    sweep_leftovers(study.path)
    if study.spec.imitates:
        record(study, session)
    else:
        have_references(study, None, session)
    for run in study.runs() if session.tracker else ():  # of before an interruption
        show_run(session.tracker, study.folder, run)  # type: ignore[arg-type]
    sweep(study, session)
    try:
        fit_laws(study)
        try_forecast(study, session)
    except FitError as error:
        if said := failures(study):
            raise ExecutionError(f"{error}; {said}") from error
        raise
    finally:  # a study without laws still has a report, which says what is missing
        phase(study, session, "report")
        write_report(study)
        sweep_leftovers(study.path)  # temporary files of workers that died


def sweep(study: Study, session: Session) -> None:
    """Train every size to every budget that the plan asks for."""
    forget_failures(study)
    phase(study, session, "sweep")
    origin = study.origins()
    while not (missing := study.sweep()).complete:
        session.observer.sweep(study, missing)
        jobs = [_job(study, cell, origin) for cell in missing.cells]
        train_all(jobs, "sweep", session)
        write_tables(study)
    write_tables(study)


def _job(study: Study, cell: Cell, origin: Callable[[int], str]) -> Job:
    budget, fingerprint = cell.budget_flops, origin(cell.width)
    return Job(study, study.spec.run_for(cell.width, cell.seed, fingerprint, budget), (budget,))


def train_size(
    study: Study, width: int, flops: float, seed: int = 0, session: Session | None = None
) -> Point:
    """Train one size to one budget and measure it as the sweep would; its role is 'extra'.

    Raises:
        SpecError: the budget is below one batch of that width.
    """
    trained = run_of(study, width, flops, seed, study.origins()(width))
    return _train_alone(study, trained, flops, "extra", session or Session())


def run_of(study: Study, width: int, flops: float, seed: int, fingerprint: str) -> Run:
    """Return the run of one size that reaches a budget, and learns from what has a fingerprint.

    Raises:
        SpecError: the budget is below one batch of that width, or the seed below 0.
    """
    study.spec.replace(
        widths=tuple(sorted({1, 2, 3, width})),
        budgets_flops=(flops,),
        forecast_flops=2 * flops,
        seeds=(seed,),
    )
    return study.spec.run_for(width, seed, fingerprint, flops)


def train_run(
    study: Study, run_id: str, flops: float | None = None, session: Session | None = None
) -> Point:
    """Train a run that has a folder to a budget, by all processes of a torchrun if this is one.

    Args:
        flops: the budget; the first of the study's, the forecast's included, that the run has
            no point at, if None. A point that the sweep waits for joins it.

    Raises:
        UnknownNameError: no such run.
        SpecError: nothing is left for it to do.
    """
    runs = {run.id: run for run in study.runs()}
    if run_id not in runs:
        raise UnknownNameError("run", run_id, list(runs))
    budgets = [*study.spec.budgets_flops, study.spec.forecast_budget]
    left = [b for b in budgets if not study.folder.run(run_id).point(b).exists()]
    if flops is None and not left:
        raise SpecError(f"run {run_id} has a point at every budget; give it another by --flops")
    run, budget = runs[run_id], left[0] if flops is None else flops
    return _train_alone(study, run, budget, _role_of(study, run, budget), session or Session())


def _train_alone(study: Study, run: Run, budget: float, role: str, session: Session) -> Point:
    """Train one run to one budget in this process, or in those of a torchrun together.

    An error on one process of a torchrun ends them all, and the same command goes on.
    """
    from isoclone.study.worker import train_to_budget

    with driven(study, session):
        if distributed.size() == 1:
            train_all([Job(study, run, (budget,))], role, session)
        else:
            check_made_by(study, session)
            if distributed.leads():
                declare(study, run)
            distributed.wait()
            train_to_budget(study.path, run.id, budget, role, session.device)
            distributed.wait()
            if session.tracker and distributed.leads():
                show_run(session.tracker, study.folder, run)
        if distributed.leads():
            write_tables(study)
    return Point.from_json(read_json(study.folder.run(run.id).point(budget)))


def _role_of(study: Study, run: Run, budget: float) -> str:
    """Return the role of a point made by hand: 'sweep' or 'forecast' if the study waits for it."""
    if Cell(run.width, run.seed, budget) in study.sweep().cells:
        return "sweep"
    return "forecast" if budget == study.spec.forecast_budget else "extra"


def write_report(study: Study, tell: Callable[[str], None] | None = None) -> Path:
    """Write `report.html` and return its path.

    Args:
        tell: told each part that is missing, or damaged, in a sentence; the page says so, too.
    """
    study.fetch_demos()
    facts = gather(study)
    path = write_page(study.folder.report, facts)
    if tell:
        for each in facts.missing:
            tell(each)
    if study.remote:
        study.remote.push([path.name])
    return path
