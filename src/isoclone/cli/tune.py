"""The verb that tunes a study's learning rate and batch size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional

from isoclone.cli.flags import CHANGES, CREW, FLAT, Changes, Crew

if TYPE_CHECKING:
    from isoclone.study.tune import Tuned


def tune(
    source: Positional[str],
    *,
    out: Path | None = None,
    rates: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0),
    batches: tuple[float, ...] = (0.5, 1.0, 2.0),
    changes: Annotated[Changes, FLAT] = CHANGES,
    crew: Annotated[Crew, FLAT] = CREW,
    device: str = "cpu",
    allow_other_version: bool = False,
    json: bool = False,
) -> None:
    """Find a study's learning rate and batch size: a grid at three sizes, and a law.

    The smallest, middle and largest width are trained to every budget at each rate and batch size.
    The best rates give a power law of width and samples, and with it the recipe, which is then
    trained beside the old one on seeds of its own, at the last two budgets. Run it again to go on.

    For example:

        isoclone tune toy --widths 4 8 16 --budgets 3e7 6e7 1.2e8 --seeds 0 1 2
        isoclone run tuned-out/toy/study.py

    Args:
        source: a ready-made study, a game, a Python file, or a study's directory.
        out: where to put it; tuned-out/<name> unless said.
        rates: factors of the recipe's learning rate to try, ascending.
        batches: factors of the recipe's batch size to try.
        device: cpu, cuda or mps.
        allow_other_version: go on where another version of isoclone or torch, or another kind of
            device, made points; each point says what made it.
        json: print one JSON document.
    """
    from isoclone.cli.console import ConsoleObserver
    from isoclone.cli.output import print_json, print_plain
    from isoclone.cli.source import planned_study, write_python
    from isoclone.study.session import Session
    from isoclone.study.tune import tune as do_tune
    from isoclone.study.tune import tuned_spec
    from isoclone.training.device import check_device

    check_device(device)
    spec = planned_study(source, None, changes, crew.workers or 1).spec
    out = out or Path("tuned-out") / spec.name
    with ConsoleObserver() as observer:
        session = Session(crew.gathered(), observer, device, allow_other_version)
        found = do_tune(spec, out, session, rates, batches)
    file = out / "study.py"
    file.unlink(missing_ok=True)
    write_python(file, tuned_spec(spec, found))
    if json:
        print_json(found)
        return
    _show(found)
    print_plain(f"use it with: isoclone run {file}")


def _show(found: Tuned) -> None:
    from isoclone.base.formatting import interval_text, si
    from isoclone.cli.console import STDOUT, show_worths
    from isoclone.cli.screen import table

    shown = table(("width", "budget", "D", "batch size", "best rate", "dev loss"), first="right")
    for each in found.best:
        shown.add_row(
            str(each.width),
            si(each.budget_flops),
            si(each.samples),
            str(each.batch_size),
            f"{each.learning_rate:.3g}",
            f"{each.dev_loss:.4f}",
        )
    STDOUT.print(shown)
    law, recipe = found.law, found.recipe
    STDOUT.say(f"best rate ~ width^{interval_text(law.width_exponent, '.2f')}")
    STDOUT.say(f"          x D^{interval_text(law.samples_exponent, '.2f')}")
    STDOUT.say(
        f"recipe: learning_rate {recipe['learning_rate']:g} at width {recipe['width_base']}, "
        f"width_power {recipe['width_power']:g}, batch_size {recipe['batch_size']}"
    )
    for gain in found.gains:
        STDOUT.say(
            f"at {gain.budget_flops:.3g} FLOPs, width {gain.width}: dev loss {gain.before:.4f} as "
            f"it is, {gain.after:.4f} tuned"
        )
    show_worths([found.worth])
    for status in (*found.status, *law.status):
        STDOUT.say(f"{status.code}: {status.message}")


VERBS: dict[str, Callable[..., Any]] = {"tune": tune}
