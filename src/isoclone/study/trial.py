"""Put a study's forecast to the test: write it down, train its agent, compare, and film."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from isoclone.base.errors import ExecutionError
from isoclone.base.records import Forecast, Point, Run, stable_id
from isoclone.base.results import Baseline, Tested, mean_point
from isoclone.base.store import read_json, write_json
from isoclone.evaluation.baselines import action_shares, smallest_of
from isoclone.executors import Files, Outcome, Task
from isoclone.games import is_playable
from isoclone.policies import width_for
from isoclone.study.driving import phase
from isoclone.study.folder import STUDY_FILE
from isoclone.study.jobs import Job, train_all, train_beside, write_tables
from isoclone.study.session import Session
from isoclone.study.study import Study


def fit_laws(study: Study) -> None:
    """Fit the study's law and write `laws.json`."""
    fitted = study.laws()
    write_json(study.folder.laws, {"law": fitted.name, **fitted.to_json()})


def try_forecast(study: Study, session: Session) -> Tested:
    """Write the forecast, train its agent, compare the two, and film the agent.

    The players that the agent is compared with play on the workers that its training leaves free.
    """
    tested, jobs = _forecast(study), list[Job]()
    if not tested.by_seed or any(p.status == "failed" for p in tested.by_seed):
        jobs = _forecast_jobs(study, tested.forecast, session)
    others = _baseline_tasks(study, tested.forecast)
    played = list(train_beside(jobs, "forecast", session, others))
    if jobs:
        tested = tested.beside([point_of(job) for job in jobs])
        write_json(study.folder.forecast, tested.to_json())
        write_tables(study)
    if played:
        _write_baselines(study, session, played)
    _film(study, tested.point, session)
    return tested


def _forecast(study: Study) -> Tested:
    """Return the content of `forecast.json`; it is written before its agent is trained.

    One that was lost is made again, for as many episodes as its agent has played. If the agent is
    measured already, it is a test only where it is the same to the digit as the one before.
    """
    folder = study.folder
    if folder.forecast.exists():
        return study.tested()
    predicted = study.forecast()
    if known := _known_agents(study, predicted):
        predicted = study.forecast(episodes=min(p.episodes for p in known))
    digest = stable_id(predicted.to_json(), 64)
    if not known:
        written = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder.forecast_seconds, {"written": written, "sha256": digest})
    tested = Tested.of(predicted, after_agent=study.noted().get("sha256") != digest)
    write_json(folder.forecast, tested.to_json())
    return tested


def _film(study: Study, point: Point | None, session: Session) -> None:
    """Have the forecast agent filmed, unless there is a film."""
    if point is None or point.checkpoint is None or study.folder.video.exists():
        return
    if not is_playable(study.spec.make_game()):
        return
    from isoclone.study.worker import film

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
    point = mean_point([point_of(job) for job in jobs])
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
    phase(study, session, "forecast", f"training width {width} to {flops:.3g} FLOPs{seeds}")
    return [Job(study, agent, (flops,)) for agent in agents]


def _known_agents(study: Study, predicted: Forecast) -> list[Point]:
    """Return the points that are measured already of the agent that a forecast describes."""
    asked = {run.id for run in forecast_runs(study, predicted)}
    there = (p for p in study.points(None) if p.run_id in asked and p.status == "ok")
    return [p for p in there if p.budget_flops == predicted.flops]


def point_of(job: Job) -> Point:
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
    from isoclone.study.worker import play_baseline

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
