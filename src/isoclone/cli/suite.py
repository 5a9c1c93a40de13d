"""What `run`, `plan`, `status` and `report` do with a suite: several studies in one folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclone.base.errors import ExecutionError, SpecError
from isoclone.cli.flags import CHANGES, Changes, Crew

if TYPE_CHECKING:
    from isoclone.report.compared import Compared
    from isoclone.study.suite import Suite, SuiteFolder


def means_suite(source: str) -> bool:
    """Return whether a suite is meant: by its folder, or by a Python file with a `suite` object."""
    from isoclone.cli.source import sets
    from isoclone.study.folder import is_suite

    return sets(source, "suite") if source.endswith(".py") else is_suite(source)


def asked_for(source: str, changes: Changes) -> Suite:
    """Return the suite of a Python file, each study with what is to be changed.

    `--demos DIRECTORY` holds demonstrations in folders named after the studies; a study without
    such a folder records its own.

    Raises:
        SpecError: no study has a folder there, or a change does not fit one of them.
    """
    from isoclone.cli.source import object_in
    from isoclone.study.suite import Suite

    suite = object_in(source, "suite", Suite)
    for spec in suite.studies:
        spec.trust()
    folder = changes.demos
    if folder is not None and not any((folder / spec.name).is_dir() for spec in suite.studies):
        names = ", ".join(spec.name for spec in suite.studies)
        raise SpecError(f"--demos {folder}: it has no folder named after a study ({names})")
    if changes == CHANGES:
        return suite
    changed = []
    for spec in suite.studies:
        own = changes
        if folder is not None:
            mine = folder / spec.name
            own = dataclasses.replace(changes, demos=mine if mine.is_dir() else None)
        changed.append(own.applied_to(spec, own=True))
    return dataclasses.replace(suite, studies=tuple(changed))


def folder_of(source: str, out: Path | None, changes: Changes, device: str) -> SuiteFolder:
    """Return the suite's folder; it is made if a Python file is given.

    Raises:
        SpecError: a folder is given, and something is to be changed about it.
    """
    from isoclone.base.store import write_json
    from isoclone.cli.source import OUT
    from isoclone.study.suite import SuiteFolder

    if not source.endswith(".py"):
        if changes != CHANGES or out is not None:
            raise SpecError(f"{source} is a suite already: it is resumed as it is")
        return SuiteFolder.open(source)
    suite = asked_for(source, changes)
    made = suite.create(out or OUT / suite.name, device)
    for study in made.studies:
        write_json(study.folder.made_by, {"file": str(Path(source).resolve())})
    return made


def run_suite(
    source: str,
    out: Path | None,
    changes: Changes,
    crew: Crew,
    device: str,
    allow_other_version: bool,
    json: bool,
) -> list[Compared]:
    """Carry out every study of a suite and print how they compare.

    Raises:
        ExecutionError: a study ended by an error; the others were carried out.
    """
    from isoclone.cli.console import STDERR, STDOUT, ConsoleObserver
    from isoclone.study.session import Session
    from isoclone.study.suite import PAGE
    from isoclone.training.device import check_device

    check_device(device)
    made = folder_of(source, out, changes, device)
    STDERR.say(f"{made.name}: {len(made.names)} studies in {made.path}")
    with ConsoleObserver() as observer:

        def session_of(study: Any) -> Session:
            observer.phase("study", study.spec.name)
            return Session(crew.gathered(), observer, device, allow_other_version)

        rows = made.run(session_of)
    _show(made, rows, json)
    if not json:
        STDOUT.say(str(made.path / PAGE))
    if bad := [row for row in rows if row.reason is not None]:
        said = "; ".join(f"{row.name}: {row.reason}" for row in bad)
        raise ExecutionError(f"{len(bad)} of {len(rows)} studies ended by an error ({said})")
    return rows


def plan_suite(source: str, out: Path | None, changes: Changes, workers: int, json: bool) -> None:
    """Print the plan of every study of a suite, and the time of all."""
    from isoclone.base.formatting import duration
    from isoclone.cli.console import STDOUT, show_plan
    from isoclone.cli.output import print_json
    from isoclone.cli.source import OUT
    from isoclone.study.study import Study
    from isoclone.study.suite import SuiteFolder, total_seconds

    if source.endswith(".py"):
        suite = asked_for(source, changes)
        place, name = out or OUT / suite.name, suite.name
        studies = [Study(place / spec.name, spec) for spec in suite.studies]
    else:
        there = SuiteFolder.open(source)
        name, studies = there.name, there.studies
    plans = [study.plan(workers) for study in studies]
    if json:
        print_json({"name": name, "total_s": total_seconds(plans), "studies": plans})
        return
    for plan in plans:
        show_plan(plan, STDOUT)
    STDOUT.say(f"{name}: {len(plans)} studies, in all about {duration(total_seconds(plans))}")


def status_suite(source: Path, json: bool) -> None:
    """Print how far each study of a suite is, and where its law fails."""
    from isoclone.study.suite import SuiteFolder

    made = SuiteFolder.open(source)
    _show(made, made.rows(), json)


def report_suite(source: Path, json: bool) -> None:
    """Write the reports of a suite's studies that have points, and its page, anew."""
    from isoclone.cli.console import STDOUT
    from isoclone.cli.output import print_json
    from isoclone.study import pipeline
    from isoclone.study.suite import SuiteFolder

    made = SuiteFolder.open(source)
    for study in made.studies:
        if study.points(None):
            pipeline.write_report(study)
    path = made.write()
    print_json({"report": path.resolve().as_posix()}) if json else STDOUT.say(str(path))


def _show(made: SuiteFolder, rows: list[Compared], json: bool) -> None:
    from isoclone.base.formatting import interval_text
    from isoclone.base.records import jsonable
    from isoclone.cli.console import STDOUT
    from isoclone.cli.output import print_json
    from isoclone.cli.screen import table

    if json:
        told = {"name": made.name, "question": made.question}
        place = made.path.resolve().as_posix()
        print_json({**told, "path": place, "studies": jsonable(rows)})
        return
    shown = table(("study", "how far", "the law", "N ~ C^", "loss ~ C^", "share"), others="left")
    for row in rows:
        found = [row.exponents.get(key) for key in ("params", "dev_loss")]
        cells = ["-" if i is None else interval_text(jsonable(i), ".2f") for i in found]
        share = "-" if row.share is None else f"{100 * row.share:.0f} %"
        shown.add_row(row.name, row.phase, row.verdict, *cells, share)
    STDOUT.print(shown)
    for row in rows:
        for failing in row.failings:
            STDOUT.say(f"{row.name}: ", (failing.code, "yellow"), f": {failing.message}")
        if row.reason is not None:
            STDOUT.say(f"{row.name}: ", ("failed", "red"), f": {row.reason}")
