"""The verb that compares variants of a study."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from isoclone.base.errors import ExecutionError
from isoclone.cli.flags import CREW, FLAT, Crew


def ablate(
    file: Positional[Path],
    *,
    out: Path | None = None,
    demos: Path | None = None,
    budgets: tuple[float, ...] | None = None,
    seeds: tuple[int, ...] | None = None,
    episodes: int | None = None,
    crew: Annotated[Crew, FLAT] = CREW,
    device: str = "cpu",
    allow_other_version: bool = False,
    json: bool = False,
) -> None:
    """Train variants of a study to the same budgets and set them beside each other on a page.

    It prints the compute multiplier of each variant: how many times its compute the base needs for
    the same dev loss (or return, where agents learn by play), with a 95 % interval over seeds and
    the noise of each point.

    Each variant is a study in a folder of its own under --out, and every verb takes it as one. Run
    the same command again to go on after an interruption; finished work is not done twice.

    For example:

        isoclone ablate mine.py --budgets 1e11 1e12 --seeds 0 1 2

    Args:
        file: a Python file with an `ablation` object; see docs/extending.md.
        out: where to put it; studies-out/<name> unless said.
        demos: use these demonstrations instead of recording some.
        budgets: compute budgets in FLOPs, ascending, of variants that do not name their own.
        seeds: training seeds of each variant.
        episodes: episodes each policy plays at each budget; 0 for none.
        device: cpu, cuda or mps.
        allow_other_version: go on where another version of isoclone or torch, or another kind of
            device, made points; each point says what made it.
        json: print one JSON document instead of the closing lines.
    """
    from isoclone.cli.console import STDOUT, ConsoleObserver, measured_line, show_worths
    from isoclone.cli.output import print_json
    from isoclone.cli.source import OUT, object_in
    from isoclone.demos import demos_in
    from isoclone.study.ablation import Ablation
    from isoclone.study.session import Session
    from isoclone.training.device import check_device

    check_device(device)
    changes: dict[str, Any] = {"budgets_flops": budgets, "seeds": seeds, "episodes": episodes}
    given = {name: value for name, value in changes.items() if value is not None}
    asked = dataclasses.replace(object_in(str(file), "ablation", Ablation), **given)
    out, home = out or OUT / asked.name, demos_in(demos) if demos else None
    pool = crew.gathered()
    with ConsoleObserver() as observer:
        rows = asked.run(out, home, Session(pool, observer, device, allow_other_version))
    page, worths = (out / "ablation.html").resolve().as_posix(), asked.worths(rows)
    if json:
        told = {"name": asked.name, "question": asked.question, "page": page}
        print_json({**told, "rows": rows, "worths": worths})
    else:
        STDOUT.print(asked.question)
        for row in rows:
            STDOUT.say(measured_line(row))
        show_worths(worths)
        STDOUT.say(page)
    failed = [row for row in rows if row.point.status == "failed"]
    if failed:
        said = f"{len(failed)} points failed ({failed[0].label}: {failed[0].point.reason})"
        raise ExecutionError(f"{said}; the same command tries again")


VERBS: dict[str, Callable[..., Any]] = {"ablate": ablate}
