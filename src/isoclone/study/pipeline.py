"""Carry out a study: demonstrations, sweep, laws, forecast, its agent, report.

    run
      record            the expert plays, frames are expanded, both ends of the score are measured
      sweep             plan.next_cells says what is missing; train_all has it trained; again
      test_forecast     laws, forecast, the agent it describes, baselines, film
      write_report

Every step looks at the directory first and does what is missing, so that `run` may be stopped
anywhere, by any means, and called again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from isoclone.base import distributed
from isoclone.base.errors import (
    DataError,
    ExecutionError,
    FitError,
    SpecError,
    SpecMismatchError,
    UnknownNameError,
)
from isoclone.base.formatting import plus_minus
from isoclone.base.provenance import made_by, others
from isoclone.base.records import Forecast, Point, Run
from isoclone.base.results import Baseline, Tested, mean_point
from isoclone.base.schema import kinds
from isoclone.base.store import alone, read_json, sweep_leftovers, write_json, write_rows
from isoclone.base.trace import Span, add_spans, this_process
from isoclone.demos import Demonstrations, RecordRequest, record_demonstrations
from isoclone.demos.base import Progress
from isoclone.demos.cache import EXPAND_AGAIN
from isoclone.demos.demonstrations import DONE
from isoclone.evaluation.baselines import action_shares, smallest_of
from isoclone.executors import Files, Outcome, Task
from isoclone.games import is_playable
from isoclone.policies import policy_layout, policy_params, width_for
from isoclone.report import write_report as write_page
from isoclone.study.facts import gather
from isoclone.study.folder import STUDY_FILE, StudyFolder
from isoclone.study.plan import Cell
from isoclone.study.references import measure_references
from isoclone.study.session import Session
from isoclone.study.spec import demos_path
from isoclone.study.study import Study
from isoclone.study.track import show_run
from isoclone.study.worker import (
    film,
    is_there,
    play_baseline,
    train_to_budget,
    train_to_budgets,
)

SAID = 3  # runs that failed whose reasons are in one line


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
        _have_references(study, None, session)
    for run in study.runs() if session.tracker else ():  # of before an interruption
        show_run(session.tracker, study.folder, run)  # type: ignore[arg-type]
    sweep(study, session)
    try:
        fit_laws(study)
        test_forecast(study, session)
    except FitError as error:
        if said := failures(study):
            raise ExecutionError(f"{error}; {said}") from error
        raise
    finally:  # a study without laws still has a report, which says what is missing
        _phase(study, session, "report")
        write_report(study)
        sweep_leftovers(study.path)  # temporary files of workers that died


@contextmanager
def driven(study: Study, session: Session | None = None) -> Iterator[None]:
    """Hold the lock of a study's only driver; it is released however the process ends.

    Raises:
        StoreError: another is at work.
    """
    if not distributed.leads():  # the first process holds the lock for all
        yield
    elif study.remote is None:
        with alone(study.folder.lock, str(study.path)), _told(study, session):
            yield
    else:
        observer = (session or Session()).observer
        with study.remote.driven(lambda said: observer.phase("wait", said)):
            study.remote.pull()
            # Another process may have made another study here in the meantime.
            Study.open(study.path).spec.refuse_other(study.spec, study.place)
            with study.remote.kept(), _told(study, session):
                yield


@contextmanager
def _told(study: Study, session: Session | None) -> Iterator[None]:
    """Write into the study's log how the work of a driver begins and ends."""
    session = session or Session()
    if hasattr(session.executor, "tell"):
        session.executor.tell = lambda said: session.trouble(study, said)
    if hasattr(session.executor, "seen"):
        session.executor.seen = partial(_keep_spans, study)
    made = made_by(session.device, study.spec.recipe["precision"])
    by = f"isoclone {made['isoclone_version']}, torch {made['torch_version']}, {made['device']}"
    pool = f"{session.executor.workers} x {type(session.executor).__name__}"
    with study.journal.told(f"{by}, {pool}"):
        try:
            yield
        finally:
            _end_phase(session)


def _phase(study: Study, session: Session, name: str, detail: str = "") -> None:
    """Say, and write into the study's log, that a phase begins."""
    _end_phase(session)
    session.phase = study.folder.trace, name, time.time()
    session.observer.phase(name, detail)
    study.journal.write(f"{name} {detail}")


def _end_phase(session: Session) -> None:
    """Write the phase under way, if there is one, into the trace of its study."""
    if session.phase is not None:
        (trace, name, begin), workers = session.phase, session.executor.workers
        add_spans(trace, [Span("drive", begin, time.time(), this_process(), name, workers)])
    session.phase = None


def _keep_spans(study: Study, outcome: Outcome) -> None:
    """Write what a worker did into the trace of the study it did it for."""
    home = StudyFolder(outcome.task.files.home) if outcome.task.files else study.folder
    folder = home if home.holds_study() else study.folder
    add_spans(folder.trace, outcome.spans)


# ---------------------------------------------------------------------- demonstrations


def record(study: Study, session: Session) -> Demonstrations:
    """Have the demonstrations recorded and expanded, and both ends of the score measured."""
    have_recorded(study, session)
    demos = study.demos()
    _refuse_others(study, demos)
    if len(demos.dev_episodes) < 2:
        session.trouble(study, "only one dev episode: dev losses have no standard error")
    _phase(study, session, "expand", "frames, once for all runs")
    expand(study, demos, session)
    _have_references(study, demos, session)
    return demos


def _have_references(study: Study, demos: Demonstrations | None, session: Session) -> None:
    """Have both ends of the score measured, unless they are."""
    if not study.folder.references.exists():
        asked = ", the expert asked" if study.spec.records else ""
        _phase(study, session, "references", f"random play{asked}")
        measure_references(study, demos, session)


def have_recorded(study: Study, session: Session) -> None:
    """Have the study's own demonstrations recorded, as far as they are missing or damaged."""
    spec, observer = study.spec, session.observer
    if spec.demos:
        return
    _phase(study, session, "record", f"{spec.expert} plays {spec.game}")
    if not _has_sound_demos(study):
        study.check_trust()
    request, place = request_of(study), study.folder.demos
    record_demonstrations(request, place, session.executor, observer.progress)


def _has_sound_demos(study: Study) -> bool:
    with suppress(DataError):
        study.demos()
        return True
    return False


def _refuse_others(study: Study, demos: Demonstrations) -> None:
    """Raise SpecMismatchError if runs of the study were trained on other demonstrations."""
    others = {run.demos for run in study.runs()} - {demos.fingerprint}
    if others:
        again = "" if study.spec.demos else f", delete {demos.path} to record it again"
        raise SpecMismatchError(
            f"{demos.path} is not what runs of {study.place} were trained on (fingerprint "
            f"{demos.fingerprint}, then {', '.join(sorted(others))}): restore it{again}, or "
            "choose another directory for a new study"
        )


def request_of(study: Study) -> RecordRequest:
    """Return the request to record a study's demonstrations."""
    spec = study.spec
    return RecordRequest(
        game=spec.game,
        expert=spec.expert,
        samples=spec.samples,
        seed=spec.demos_seed,
        dev_fraction=spec.dev_fraction,
        game_options=spec.game_options,
        expert_options=spec.expert_options,
        identity=spec.expert_identity or None,
    )


def expand(study: Study, demos: Demonstrations, session: Session) -> None:
    """Have the frames expanded as the study's policies read them, once for all runs."""
    spec, the_game = study.spec, study.spec.make_game()
    layout = policy_layout(
        spec.policy, spec.widths[0], the_game.frame, the_game.n_actions, **spec.policy_options
    )
    demos.source(spec.recipe["frames"], layout, _told_of_repairs(study, session))


def _told_of_repairs(study: Study, session: Session) -> Progress:
    """Return the observer's progress; it is told in a line if a damaged cache is made again."""
    told: list[str] = []

    def progress(what: str, done: float, total: float) -> None:
        if what == EXPAND_AGAIN and not told:
            told.append(what)
            session.trouble(study, "the cache of frames was damaged: it is made again")
        session.observer.progress(what, done, total)

    return progress


# ---------------------------------------------------------------------- training runs to budgets


@dataclass(frozen=True)
class Job:
    """A run of a study, and the budgets to train it to, ascending."""

    study: Study
    run: Run
    budgets_flops: tuple[float, ...]


def sweep(study: Study, session: Session) -> None:
    """Train every size to every budget that the plan asks for."""
    _forget_failures(study)
    _phase(study, session, "sweep")
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
        _check_made_by(study, session)
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
        study.journal.write(_told_of(point, run))
        session.observer.point(point, study.spec.name if several else "")
    if session.tracker:
        show_run(session.tracker, study.folder, run)


def _told_of(point: Point, run: Run) -> str:
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


def _check_made_by(study: Study, session: Session) -> None:
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
    study, run = job.study, job.run
    declare(study, run)
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
    files = Files(study.path, reads, (name,))
    args = (study.path, run.id, job.budgets_flops, role, device)
    name = f"{run.label} to {job.budgets_flops[-1]:.3g} FLOPs"
    return Task(train_to_budgets, args, key, device != "cpu", files, name=name)


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


def _forget_failures(study: Study) -> None:
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


# ---------------------------------------------------------------------- laws and forecast


def fit_laws(study: Study) -> None:
    """Fit the study's law and write `laws.json`."""
    fitted = study.laws()
    write_json(study.folder.laws, {"law": fitted.name, **fitted.to_json()})


def test_forecast(study: Study, session: Session) -> Tested:
    """Write the forecast, train its agent, compare the two, and film the agent.

    The players that the agent is compared with play on the workers that its training leaves free.
    """
    tested, jobs = _forecast(study), list[Job]()
    if not tested.by_seed or any(p.status == "failed" for p in tested.by_seed):
        jobs = _forecast_jobs(study, tested.forecast, session)
    others = _baseline_tasks(study, tested.forecast)
    played = list(train_beside(jobs, "forecast", session, others))
    if jobs:
        tested = Tested.of(tested.forecast, [_point_of(job) for job in jobs])
        write_json(study.folder.forecast, tested.to_json())
        write_tables(study)
    if played:
        _write_baselines(study, session, played)
    _film(study, tested.point, session)
    return tested


def _forecast(study: Study) -> Tested:
    """Return the content of `forecast.json`; it is written before its agent is trained."""
    if study.folder.forecast.exists():
        return study.tested()
    tested = Tested.of(study.forecast())
    write_json(study.folder.forecast, tested.to_json())
    written = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(study.folder.forecast_seconds, {"written": written})
    return tested


def _film(study: Study, point: Point | None, session: Session) -> None:
    """Have the forecast agent filmed, unless there is a film."""
    if point is None or point.checkpoint is None or study.folder.video.exists():
        return
    if not is_playable(study.spec.make_game()):
        return
    reads = {name: study.path / name for name in (STUDY_FILE, point.checkpoint)}
    files = Files(study.path, reads, (study.folder.video.name,))
    task = Task(film, (study.path, point.checkpoint), files=files)
    for outcome in session.executor.run([task]):
        if outcome.error:
            session.trouble(study, f"no video: {outcome.error}")
        for said in outcome.result or ():
            session.trouble(study, said)


def train_forecast(study: Study, predicted: Forecast, session: Session | None = None) -> Point:
    """Train the agent that a forecast describes, and return its point, the mean over its seeds.

    Raises:
        ExecutionError: the forecast's size costs more than its budget in a single batch.
    """
    session = session or Session()
    jobs = _forecast_jobs(study, predicted, session)
    train_all(jobs, "forecast", session)
    point = mean_point([_point_of(job) for job in jobs])
    assert point is not None
    return point


def _forecast_jobs(study: Study, predicted: Forecast, session: Session) -> list[Job]:
    """Return the jobs of training the agent that a forecast describes, and say that they begin."""
    agents, flops = forecast_runs(study, predicted), predicted.flops
    width = agents[0].width
    cost = study.spec.batch_flops(width)
    if cost > flops:
        raise ExecutionError(
            f"the forecast asks for width {width}, of which one batch costs {cost:.3g} "
            f"FLOPs, more than the budget of {flops:.3g}: the sweep does not pin down the best "
            "size; add sizes or budgets"
        )
    seeds = f", {len(agents)} seeds" if len(agents) > 1 else ""
    _phase(study, session, "forecast", f"training width {width} to {flops:.3g} FLOPs{seeds}")
    return [Job(study, agent, (flops,)) for agent in agents]


def _point_of(job: Job) -> Point:
    """Read the point at a job's last budget."""
    return Point.from_json(read_json(job.study.folder.run(job.run.id).point(job.budgets_flops[-1])))


def forecast_runs(study: Study, predicted: Forecast) -> list[Run]:
    """Return the runs of the agent that a forecast describes, one for each of its seeds."""
    spec, width = study.spec, _forecast_width(study, predicted)
    origin = study.origins()(width)
    return [spec.run_for(width, seed, origin, predicted.flops) for seed in spec.agent_seeds]


def _forecast_width(study: Study, predicted: Forecast) -> int:
    """Return the width nearest to the size that a forecast describes, of those there can be."""
    spec, the_game = study.spec, study.spec.make_game()
    shape = (spec.policy, the_game.frame, the_game.n_actions)
    asked = width_for(predicted.params.value, *shape, **spec.policy_options)
    width = max(asked, min(point.width for point in study.points()))  # smaller ones were not tried
    if spec.clones is not None:  # there is none of any other width
        return min(spec.widths, key=lambda known: abs(math.log(known / asked)))
    return width


def _baseline_tasks(study: Study, predicted: Forecast) -> list[Task]:
    """Return the play of those the forecast agent is compared with.

    'marginal' knows the expert's habits alone, 'smallest' is the sweep's smallest agent, 'clone'
    is what the agent that a forecast describes starts from.
    """
    if study.baselines() or not study.spec.forecast_episodes:
        return []
    if not is_playable(study.spec.make_game()):
        return []
    here = {place.name: place for place in (study.folder.spec, study.folder.forecast)}
    args = list[tuple[str, Any]]()
    if study.spec.imitates:
        shares = [float(share) for share in action_shares(study.demos(verify=False))]
        args.append(("marginal", (study.path, shares, None)))
    small = smallest_of(study.points())
    if small is not None and small.checkpoint is not None:
        here[small.checkpoint] = study.path / small.checkpoint
        args.append(("smallest", (study.path, None, small.checkpoint)))
    if study.spec.clones is not None:
        clone = study.folder.clone(_forecast_width(study, predicted))
        place = clone.relative_to(study.path).as_posix()
        here[place] = clone
        args.append(("clone", (study.path, None, place)))
    files = Files(study.path, here, ())
    return [
        Task(play_baseline, arguments, name, files=files, name=f"play of '{name}'")
        for name, arguments in args
    ]


def _write_baselines(study: Study, session: Session, played: Sequence[Outcome]) -> None:
    rows: dict[str, Baseline] = {}
    small = smallest_of(study.points())
    for outcome in sorted(played, key=lambda outcome: outcome.task.key):
        name, row = outcome.task.key, outcome.result or {"reason": outcome.error}
        if outcome.error:
            session.trouble(study, f"{name} was not measured: {outcome.error}")
        if name == "smallest" and small is not None:
            row |= {"run_id": small.run_id, "params": small.params, "width": small.width}
        rows[name] = Baseline(**row)
    write_json(study.folder.baselines, {name: row.to_json() for name, row in rows.items()})


# ---------------------------------------------------------------------- runs made by hand


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
    with driven(study, session):
        if distributed.size() == 1:
            train_all([Job(study, run, (budget,))], role, session)
        else:
            _check_made_by(study, session)
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


# ---------------------------------------------------------------------- the report


def write_report(study: Study) -> Path:
    """Write `report.html` and return its path."""
    study.fetch_demos()
    path = write_page(study.folder.report, gather(study))
    if study.remote:
        study.remote.push([path.name])
    return path
