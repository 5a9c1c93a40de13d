"""The verb that looks at this machine, and at whether a study fits it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from isoclone.base.errors import IsocloneError


def doctor(
    study: Annotated[str, Positional] = "",
    *,
    out: Path | None = None,
    workers: int | None = None,
    json: bool = False,
) -> None:
    """Look at this machine: what is installed, devices, FLOP/s, memory, disk; and a study's needs.

    One line for each finding: ok, note or problem, what was looked at, how it is, and after ->
    what to do about it. The exit code is 1 if there is a problem.

    For example:

        isoclone doctor
        isoclone doctor breakout --workers 8

    Args:
        study: as for `run`: whether its plan fits this machine; nothing is written.
        out: where the study is or would be.
        workers: how many are to work at once; the number of cores unless said.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDOUT
    from isoclone.cli.output import print_json
    from isoclone.cli.source import planned_study
    from isoclone.study.doctor import PROBLEM, examine

    findings = []
    for finding in examine(planned_study(study, out) if study else None, workers):
        findings.append(finding)
        if not json:
            remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
            text = f"{finding.level:8s} {finding.what}: {finding.found}{remedy}"
            STDOUT.say(text)
    if json:
        print_json(findings)
    problems = sum(finding.level == PROBLEM for finding in findings)
    if problems:
        raise IsocloneError(f"{problems} problem{'s' if problems > 1 else ''} found, see above")


VERBS: dict[str, Callable[..., Any]] = {"doctor": doctor}
