"""Verbs that make, run and look at studies."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from isoclone.base.errors import ExecutionError, SpecError, StoreError, UnknownNameError
from isoclone.cli.flags import CHANGES, CREW, FLAT, Changes, Crew
from isoclone.cli.source import planned_study, study_of
from isoclone.cli.suite import means_suite, plan_suite, report_suite, run_suite, status_suite


def run(
    study: Positional[str] = "",
    *,
    out: Path | None = None,
    changes: Annotated[Changes, FLAT] = CHANGES,
    crew: Annotated[Crew, FLAT] = CREW,
    device: str = "cpu",
    track: tuple[str, ...] = (),
    repair: bool = False,
    require_forecast: bool = False,
    allow_other_version: bool = False,
    json: bool = False,
) -> None:
    """Carry out a study, of cloning or of play: sweep, laws, forecast, agent, report.

    Run the same command again to go on after an interruption; finished work is not done twice.

    For example:

        isoclone run toy                            # a whole study in a minute
        isoclone run breakout --workers 2
        isoclone run gym/CartPole-v1 --expert ppo.zip --trust     # sizes by a calibration
        isoclone run gym/LunarLander-v3 --demos demos/lunar
        isoclone run --demos demos/door             # imported, without an environment
        isoclone run atari/Pong --samples 20000     # look-ahead plays; the plan says the cost
        isoclone run studies-out/breakout           # go on with it
        isoclone run studies/atari8.py              # a suite: one study a game, one page
        isoclone run studies-out/breakout --repair  # and say of lost files what became of them

    Args:
        study: the name of a ready-made study (`isoclone games` lists them), atari/<Name>, any other
            game with --expert or --demos, a Python file with a `study` or a `suite` object, or the
            directory of either to resume; with --demos alone, the game of the demonstrations.
        out: where to put it; studies-out/<name> unless said.
        device: cpu, cuda or mps.
        track: show curves and points in tensorboard or wandb, or both; after each point.
        require_forecast: fail (exit status 1) unless every figure that was forecast and measured
            lies inside its interval, and the interval excludes something; of a suite, unless the
            law holds in every study.
        allow_other_version: go on where another version of isoclone or torch, or another kind of
            device, made points; each point says what made it.
        repair: say of each file that was missing or torn what became of it, and never put another
            forecast in the place of a lost one. Lost files are made again with and without it.
        json: print one JSON document instead of the closing table.
    """
    from isoclone.base.records import jsonable
    from isoclone.base.store import read_json
    from isoclone.cli.console import ConsoleObserver, show_plan, show_result
    from isoclone.cli.output import print_json
    from isoclone.study.jobs import failures
    from isoclone.study.repair import run as carry_out
    from isoclone.study.session import Session
    from isoclone.study.track import tracking

    if means_suite(study):
        _refuse_for_suite({"--track": track, "--repair": repair})
        rows = run_suite(study, out, changes, crew, device, allow_other_version, json)
        if require_forecast:
            _require_laws(rows)
        return
    pool = crew.gathered()
    the_study = study_of(study, out, changes, device, pool.workers)
    plan = the_study.plan(pool.workers)
    show_plan(plan)
    shown = tracking(track, the_study.folder, the_study.spec.name)
    with ConsoleObserver(plan) as observer, shown as tracker:
        session = Session(pool, observer, device, allow_other_version, tracker)
        if repair:
            _repair(the_study, session)
        else:
            carry_out(the_study, session)
    laws, tested = read_json(the_study.folder.laws), the_study.tested().to_json()
    if json:
        print_json(
            {
                "path": the_study.path.resolve().as_posix(),
                "place": the_study.place,
                "points": len(the_study.points()),
                "laws": laws,
                **tested,
                "references": jsonable(the_study.references()),
                "baselines": jsonable(the_study.baselines()),
                "savings": the_study.savings().to_json(),
            }
        )
    else:
        show_result(the_study, laws, tested)
    for point in tested["by_seed"]:
        if point["status"] == "failed":
            raise ExecutionError(f"the forecast agent failed: {point['reason']}")
    if failed := failures(the_study):
        raise ExecutionError(failed)
    _refuse_harm(the_study)
    if require_forecast:
        _require_forecast(tested["verdicts"])


def _refuse_for_suite(flags: dict[str, Any]) -> None:
    """Raise SpecError if a flag was given that a suite does not have."""
    if given := [flag for flag, value in flags.items() if value]:
        raise SpecError(f"{given[0]} is for one study, not for a suite: give it a study's folder")


def _require_laws(rows: Any) -> None:
    """Raise ExecutionError unless the law holds in every study of a suite."""
    bad = [f"{row.name} {row.verdict}" for row in rows if row.verdict != "holds"]
    if bad:
        raise ExecutionError(f"the law does not hold everywhere: {', '.join(bad)}")


def _require_forecast(verdicts: dict[str, str | None]) -> None:
    """Raise ExecutionError unless all that was tested is inside, and could have been outside."""
    told = {name: word for name, word in verdicts.items() if word is not None}
    bad = [f"{name} {word}" for name, word in told.items() if word != "inside"]
    if bad or not told:
        raise ExecutionError(f"the forecast did not hold: {', '.join(bad) or 'nothing was tested'}")


def _repair(the_study: Any, session: Any) -> None:
    """Make again what can be made again, and say what became of each file."""
    from isoclone.cli.console import STDERR
    from isoclone.study.repair import repair

    for repaired in repair(the_study, session):
        STDERR.say(repaired.says)


def _refuse_harm(the_study: Any) -> None:
    """Raise ExecutionError if something that a study is judged by is missing or torn.

    What is only a help for going on, as a training state, is said and no more.
    """
    from isoclone.cli.console import STDERR
    from isoclone.study.examine import UNJUDGED, examine

    harms = examine(the_study.path)
    grave = [harm for harm in harms if harm.path.name not in UNJUDGED]
    for harm in harms:
        if harm not in grave:
            STDERR.say(f"note: {harm.says}")
    if grave:
        more = f" (and {len(grave) - 1} more files: isoclone status)" if len(grave) > 1 else ""
        raise ExecutionError(f"{grave[0].says}{more}")


def plan(
    study: Positional[str] = "",
    *,
    out: Path | None = None,
    changes: Annotated[Changes, FLAT] = CHANGES,
    workers: int | None = None,
    save: Path | None = None,
    json: bool = False,
) -> None:
    """Show what a study would run: sizes, budgets, FLOPs, and the time expected on this machine.

    Nothing is written but what --save asks for. `isoclone laws plan` plans from a table of runs.

    For example:

        isoclone plan breakout
        isoclone plan gym/CartPole-v1 --demos demos/cart --save cart.py    # edit it, then run it

    Args:
        study: as for `run`.
        out: where the study is or would be.
        workers: how many at once; the number of cores unless said.
        save: write the study as a Python file.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDERR, STDOUT, show_plan
    from isoclone.cli.output import print_json
    from isoclone.cli.source import write_python
    from isoclone.executors import check_workers

    count = check_workers(workers)
    if means_suite(study):
        _refuse_for_suite({"--save": save})
        plan_suite(study, out, changes, count, json)
        return
    the_study = planned_study(study, out, changes, count)
    planned = the_study.plan(count)
    print_json(planned) if json else show_plan(planned, STDOUT)
    if save is not None:
        write_python(save, the_study.spec)
        STDERR.say(f"wrote {save}: edit it, then isoclone run {save}")


def status(
    study: Positional[Path],
    *,
    how: str | None = None,
    json: bool = False,
) -> None:
    """Show how far a study is: points, FLOPs, what runs just now, what failed.

    For example:

        isoclone status studies-out/breakout
        isoclone status studies-out/breakout --how 7482a432cf44

    Args:
        study: a study's directory, or a suite's.
        how: a run's id: show the command that measures each of its points.
        json: print one JSON document.
    """
    from isoclone.base.provenance import mixtures
    from isoclone.base.records import jsonable
    from isoclone.cli.console import STDOUT, point_line, read_progress
    from isoclone.cli.output import print_json
    from isoclone.cli.screen import joined
    from isoclone.study.examine import examine
    from isoclone.study.study import Study

    if means_suite(str(study)):
        _refuse_for_suite({"--how": how})
        status_suite(study, json)
        return
    the_study = Study.open(study)
    if how is not None:
        _show_how(the_study, how, json)
        return
    here = the_study.path
    running = [row for row in read_progress(here) if row["live"]]
    harms = [] if running else examine(here)  # what is being written is neither whole nor torn
    points = _readable(the_study, harms)
    of_sweep = [point for point in points if point.role == "sweep"]
    sweep = the_study.sweep(of_sweep)
    state = {
        "path": here.resolve().as_posix(),
        "place": the_study.place,
        "demos": (here / "demos" / "demonstrations.json").exists() or bool(the_study.spec.demos),
        "points": len(points),
        "sweep_complete": sweep.complete,
        "next": [vars(cell) for cell in sweep.cells],
        "running": running,
        "troubled": [p.to_json() for p in points if p.status != "ok"],
        "laws": (here / "laws.json").exists(),
        "forecast_tested": (here / "forecast.json").exists() and bool(the_study.tested().by_seed),
        "report": (here / "report.html").exists(),
        "mixtures": mixtures(points),
        "harms": jsonable(harms),
        **{k: v for k, v in the_study.savings(of_sweep).to_json().items() if k != "decisions"},
    }
    if json:
        print_json(state)
        return
    if points:
        STDOUT.say(joined(map(point_line, points)))
    for name in ("demos", "sweep_complete", "laws", "forecast_tested", "report"):
        STDOUT.print(f"{name.replace('_', ' ')}: {'yes' if state[name] else 'no'}")
    for said in [*state["mixtures"], *(harm.says for harm in harms)]:
        STDOUT.say(f"note: {said}")
    for row in state["running"]:
        STDOUT.say(f"running: {row['label']} to {row['budget_flops']:.3g} FLOPs, {row['phase']}")
    for cell in sweep.cells:
        STDOUT.say(f"next: width {cell.width} seed {cell.seed} to {cell.budget_flops:.3g} FLOPs")


def _readable(study: Any, harms: list[Any]) -> Any:
    """Return a study's points; if one is torn, say of every file what is wrong, not of it alone."""
    try:
        return study.points(None)
    except StoreError as error:
        raise StoreError("; ".join(harm.says for harm in harms) or str(error)) from error


def _show_how(study: Any, run_id: str, json: bool) -> None:
    """Print the command that measures each point of a run.

    Raises:
        UnknownNameError: the study has no such run.
    """
    from isoclone.cli.console import print_plain
    from isoclone.cli.output import print_json

    runs = [run.id for run in study.runs()]
    if run_id not in runs:
        raise UnknownNameError("run", run_id, runs)
    rows = [_how(study, point) for point in study.points(None) if point.run_id == run_id]
    if json:
        print_json({"run_id": run_id, "points": rows})
        return
    for row in rows:
        print_plain(f"{row['command']}  # {row['role']}")


def _how(study: Any, point: Any) -> dict[str, Any]:
    """Return the command that measures a point again: its file goes, and `train` makes it."""
    file = study.folder.run(point.run_id).point(point.budget_flops).as_posix()
    train = f"isoclone train {shlex.quote(study.place)} --run-id {point.run_id}"
    return {
        "budget_flops": point.budget_flops,
        "role": point.role,
        "file": file,
        "command": f"rm {shlex.quote(file)} && {train} --flops {point.budget_flops!r}",
    }


def report(study: Positional[Path], *, json: bool = False) -> None:
    """Write a study's report anew.

    For example:

        isoclone report studies-out/breakout

    Args:
        study: a study's directory, or a suite's.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDERR, STDOUT
    from isoclone.cli.output import print_json
    from isoclone.study import pipeline
    from isoclone.study.study import Study

    if means_suite(str(study)):
        report_suite(study, json)
        return
    missing: list[str] = []
    path = pipeline.write_report(Study.open(study), missing.append)
    if json:
        print_json({"report": path.resolve().as_posix(), "missing": missing})
        return
    for each in missing:
        STDERR.say(each)
    STDOUT.say(str(path))


VERBS: dict[str, Callable[..., Any]] = {
    "run": run,
    "plan": plan,
    "status": status,
    "report": report,
}
