"""Verbs on tables of runs: the group `laws`, and `published`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tyro.conf import Positional

from isoclone.base.errors import DataError, FitError, SpecError, UnknownNameError
from isoclone.cli.output import note, print_json

if TYPE_CHECKING:
    from isoclone.laws import FittedLaw, ReturnLaws, ScalingLaws
    from isoclone.laws.devices import Device
    from isoclone.laws.frontier.backtest import BacktestRow

T = TypeVar("T")
Columns = dict[str, Any]


def fit(
    runs: Positional[Path],
    *,
    law: str = "isoclone",
    group: str | None = None,
    expert_return: float | None = None,
    random_return: float | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Fit a law to a table of runs (CSV or Parquet), each group by itself.

    For example:

        isoclone laws fit RUNS.csv
        isoclone laws fit wandb://ENTITY/PROJECT

    Args:
        runs: a table, a runs table exported by W&B or TensorBoard (CSV), or wandb://ENTITY/PROJECT;
            columns params, samples, flops, dev_loss [, run_id, group, dev_loss_se, return_mean,
            return_se, budget_flops, seed, status]. In a table without dev_loss, as of reinforcement
            learning (samples are environment steps), the laws are of return_mean.
        law: a law's name, or package.module:function; the built-in one unless said.
        group: only this group.
        expert_return: the expert's score; no return is forecast above it.
        random_return: the random policy's score.
        seed: of the bootstrap.
        json: print one JSON document.
    """
    from isoclone.cli import show_laws as show

    groups, notices = _tables(runs, group)
    found = _fitted(runs, groups, _law(law, expert_return, random_return, seed))
    body = {name: _outcome(laws, lambda fitted: fitted.to_json()) for name, laws in found.items()}
    if json:
        print_json({"groups": body, "notices": notices})
        return
    for name, told in body.items():
        show.show_laws(name, told)


def forecast(
    runs: Positional[Path],
    *,
    flops: float,
    law: str = "isoclone",
    params: float | None = None,
    samples: float | None = None,
    group: str | None = None,
    expert_return: float | None = None,
    random_return: float | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Forecast what to train at so many FLOPs, and what loss and return to expect of it.

    Args:
        runs: a table of runs, as for `laws fit`; without dev_loss, the return alone is forecast.
        flops: the compute to forecast for, in the table's own FLOP convention.
        law: a law's name, or package.module:function; the built-in one unless said.
        params: this size instead of the best one; with the built-in law only.
        samples: this many samples instead of what the FLOPs allow; with the built-in law only.
        group: only this group; needed where the table has several and `--json` should be flat.
        expert_return: the expert's score; no return is forecast above it.
        random_return: the random policy's score.
        seed: of the bootstrap.
        json: print one JSON document.
    """
    from isoclone.cli import show_laws as show
    from isoclone.laws import DEFAULT_LAW

    given = (expert_return, random_return, seed)
    own_run = params is not None or samples is not None
    if own_run and law != DEFAULT_LAW:
        raise SpecError(f"--params and --samples need the built-in law, not --law {law}")
    groups, notices = _tables(runs, group)
    out: dict[str, dict[str, Any]] = {}
    if own_run:
        fitted_by_name: dict[str, Any] = _fitted(runs, groups, _default_law(*given))
        for name, laws in fitted_by_name.items():
            out[name] = _outcome(laws, lambda f: f.forecast(flops, params, samples).to_json())
    else:
        for name, fitted in _fitted(runs, groups, _law(law, *given)).items():
            out[name] = _outcome(fitted, lambda f: f.forecast(flops).to_json())
    body = next(iter(out.values())) if len(out) == 1 else {"groups": out, "notices": notices}
    if json:
        print_json(body)
        return
    for name, row in out.items():
        show.show_forecast(name, row)


def backtest(
    runs: Positional[Path],
    *,
    law: str | None = None,
    group: str | None = None,
    expert_return: float | None = None,
    random_return: float | None = None,
    cap: Literal["expert", "highest", "none"] = "expert",
    min_train: int = 6,
    json: bool = False,
) -> None:
    """Measure how good such forecasts would have been, by method and horizon.

    Args:
        runs: a table of runs, as for `laws fit`.
        law: a law's name, or package.module:function; its forecasts of the dev loss are shown
            beside the built-in law's, both refitted at every budget.
        group: only this group.
        expert_return: the expert's score; all methods are capped at it.
        random_return: the random policy's score.
        cap: 'highest' caps every method, the paper's too, at each group's highest return: a
            stand-in where the expert's score is not known, and a peek at the end of the data.
        min_train: budgets to train on, at least.
        json: print one JSON document.
    """
    from isoclone.cli import show_laws as show
    from isoclone.laws.frontier.backtest import summary

    groups, notices = _tables(runs, group)
    _trust(law)
    rows, chosen, skipped, compared = [], {}, {}, []
    for name, columns in groups.items():
        ceiling = None if cap == "none" else expert_return
        try:
            found, weights = _backtest_one(name, columns, random_return, ceiling, cap, min_train)
            if law is not None:
                compared += _compared(name, columns, law, expert_return, random_return, min_train)
        except DataError as error:
            skipped[name] = str(error)
            continue
        rows += found
        chosen[name] = weights
        if not found:
            skipped[name] = (
                f"too few budgets: a forecast needs {min_train} before it (see --min-train)"
            )
    status = [
        {"code": "not_backtested", "message": f"{name or runs}: {why}"}
        for name, why in skipped.items()
    ]
    totals = summary(rows)
    if json:
        body = {"rows": rows, "chosen": chosen, "summary": totals, "status": status}
        body |= {"laws": compared} if law is not None else {}
        print_json({**body, "notices": notices})
        return
    show.show_backtest([row.to_json() for row in totals], status, compared)


def plan(
    runs: Positional[Path],
    *,
    target_return: float | None = None,
    target_loss: float | None = None,
    group: str | None = None,
    expert_return: float | None = None,
    random_return: float | None = None,
    device: str = "cpu-core",
    utilisation: float | None = None,
    price_per_hour: float | None = None,
    sharpen_flops: float | None = None,
    most_runs: int = 8,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Plan for a target return or loss: compute, size, samples, hours, money, and the next runs.

    Args:
        runs: a table of runs, as for `laws fit`.
        target_return: the mean return wanted.
        target_loss: the dev loss wanted, in nats.
        group: only this group; needed where the table has several.
        expert_return: the expert's score; no return is forecast above it.
        random_return: the random policy's score.
        device: cpu-core, rtx-4090, a100 or h100.
        utilisation: share of the device's peak that training reaches, your own figure.
        price_per_hour: dollars per hour, your own figure.
        sharpen_flops: budget for runs that sharpen the forecast; a tenth of the target's FLOPs
            unless said.
        most_runs: how many such runs are proposed at most.
        seed: of the bootstrap.
        json: print one JSON document.
    """
    from isoclone.cli import show_laws as show
    from isoclone.laws.design import next_runs
    from isoclone.laws.devices import device as find_device
    from isoclone.laws.inverse import flops_for

    if most_runs < 0:
        raise SpecError(f"--most-runs must not be negative, not {most_runs}")
    chosen = find_device(device, utilisation, price_per_hour)
    columns, notices = _one_table(runs, group)
    laws = _fitted(runs, {"": columns}, _default_law(expert_return, random_return, seed))[""]
    assert not isinstance(laws, FitError)
    flops = flops_for(laws, target_loss, target_return)
    body: dict[str, Any] = {"target": {"loss": target_loss, "return": target_return}}
    body |= {"flops": asdict(flops), "forecast": laws.forecast(flops.value).to_json()}
    body["device"] = _costs(chosen, asdict(flops))
    try:
        budget = flops.value / 10 if sharpen_flops is None else sharpen_flops
        body["next_runs"] = asdict(next_runs(laws, flops.value, budget, most_runs))
    except FitError as error:
        body["next_runs"] = None
        notices.append(str(error))
    body["notices"] = notices
    if json:
        print_json(body)
        return
    show.show_plan(body)


def recount(
    runs: Positional[Path],
    *,
    to: Literal["exact", "3x-forward", "6nd", "tuyls2023-atari"],
    policy: Literal["cnn"] = "cnn",
    n_actions: int | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Count the same points by another FLOP convention, and compare the exponents.

    Args:
        runs: a table of runs; sizes must be parameter counts of the policy.
        to: the FLOP convention to count by.
        policy: the network the sizes belong to.
        n_actions: its number of actions; recovered from the sizes unless given.
        out: write the recounted table here (.csv or .parquet).
        json: print one JSON document.
    """
    from isoclone.cli import show_laws as show
    from isoclone.published.recount import recount_table

    tables, notices = _tables(runs, None)
    results = {}
    columns: dict[str, list[Any]] = {}
    for name, table in tables.items():
        try:
            result = recount_table(table, to, n_actions)
        except DataError as error:
            if len(tables) == 1:
                raise
            notices.append(f"{name}: left out: {error}")
            note(notices[-1])
            continue
        for column, values in result.pop("table").items():
            columns.setdefault(column, []).extend(values)
        results[name] = result
    if not results:
        raise DataError(f"{runs}: no group could be recounted")
    if out is not None:
        _write_table(out, columns)
        notices.append(f"wrote {len(next(iter(columns.values())))} rows to {out}")
    if json:
        print_json({"policy": policy, "to": to, "groups": results, "notices": notices})
        return
    show.show_recount(results, to)


def published(
    study: Positional[Literal["tuyls2023"]],
    folder: Positional[Path],
    *,
    out: Path | None = None,
    cap: Literal["highest", "none"] = "highest",
    json: bool = False,
) -> None:
    """Read a published study's released runs: tables, laws, back-test, beside its own figures.

    Args:
        study: which study.
        folder: the authors' data folder, whole or in part.
        out: write points.csv, return_seeds.csv, agents.csv, ablations.csv and report.html here.
        cap: cap returns in the back-test at each game's highest return, or not.
        json: print one JSON document.
    """
    from isoclone.cli import show_laws as show
    from isoclone.published import report, tuyls2023

    found = tuyls2023.read(folder)
    body = report.build(found, cap == "highest")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("points", "return_seeds", "agents", "ablations"):
            _write_table(out / f"{name}.csv", getattr(found, name))
        (out / "report.html").write_text(report.page(body), encoding="utf-8")
        body["notices"].append(f"wrote the tables and report.html to {out}")
    for notice in body["notices"]:
        note(notice)
    if json:
        print_json(body)
        return
    show.show_published(body)


def needed(
    runs: Positional[Path],
    *,
    flops: float,
    target_loss: float | None = None,
    within: float = 0.01,
    group: str | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Tell how many demonstrations to collect, so that so many FLOPs are well spent.

    Args:
        runs: a table of runs, as for `laws fit`, with the column unique_samples; some runs must
            have seen their samples more than once.
        flops: the compute to train with, in the table's own FLOP convention.
        target_loss: the dev loss to reach, in nats.
        within: without a target loss, how far above the loss on unlimited demonstrations the loss
            may lie: .01 is 1 %.
        group: only this group; needed where the table has several.
        seed: of the bootstrap.
        json: print one JSON document.
    """
    from isoclone.cli import show_laws as show
    from isoclone.laws.datalimited import fit_points
    from isoclone.laws.frontier.evidence import Evidence
    from isoclone.laws.points import Points

    columns, notices = _one_table(runs, group)
    with _naming(runs):
        if "unique_samples" not in columns:
            raise DataError("lacks the column unique_samples: how many different samples a run saw")
        points = Points.from_table(columns)
        law = fit_points(points, seed=seed)
    found = law.demos_needed(flops, Evidence(points).rule, target_loss, within)
    body = found.to_json()
    body["status"] = [s.to_json() for s in points.status] + body["status"]
    if json:
        print_json({**body, "notices": notices})
        return
    show.show_demos_needed(body)


def saved(
    with_it: Positional[Path],
    without: Positional[Path],
    *,
    by: Literal["return_mean", "dev_loss"] | None = None,
    at: float | None = None,
    json: bool = False,
) -> None:
    """Tell how much compute one group of runs saves over another, to the same return or dev loss.

    For example, what it saves to begin with clones, their own training left out:

        isoclone laws saved studies-out/from-clones studies-out/from-nothing

    Args:
        with_it: a study, or a table of its runs.
        without: another one, of the same game.
        by: the figure to compare by; returns, where both have some, unless said.
        at: the return or dev loss to compare at; the best that both come to unless said.
        json: print one JSON document.
    """
    from isoclone.base.formatting import interval_text
    from isoclone.cli.console import STDOUT
    from isoclone.cli.output import print_json
    from isoclone.laws.saved import WORDS, flops_saved
    from isoclone.laws.tables import one_group

    tables = [one_group(p / "points.csv" if p.is_dir() else p) for p in (with_it, without)]
    found = flops_saved(tables[0], tables[1], at, by)
    if json:
        print_json(found)
        return
    STDOUT.say(
        f"{WORDS[found.measure]} {found.level:.4g}: {found.flops_with:.3g} FLOPs with, "
        f"{found.flops_without:.3g} without: {interval_text(found.ratio)} of the compute"
    )
    for status in found.status:
        note(status.message)


VERBS: dict[str, Callable[..., Any]] = {
    "laws fit": fit,
    "laws forecast": forecast,
    "laws backtest": backtest,
    "laws plan": plan,
    "laws recount": recount,
    "laws needed": needed,
    "laws saved": saved,
    "published": published,
}


# ---- reading and fitting -----------------------------------------------------------------------


def _tables(runs: Path, group: str | None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the groups of a table and its notices, which also go to stderr."""
    from isoclone.laws import tables
    from isoclone.remote.wandb_runs import is_project, project_columns

    if is_project(runs):
        table = tables.from_columns(project_columns(runs), str(runs))
    else:
        table = tables.read(runs)
    for notice in table.notices:
        note(notice)
    groups = table.groups()
    if group is not None:
        if group not in groups:
            raise UnknownNameError("group", group, [g or "(none)" for g in groups])
        groups = {group: groups[group]}
    return groups, list(table.notices)


def _one_table(runs: Path, group: str | None) -> tuple[Columns, list[str]]:
    """Return the only group of a table and its notices; raise SpecError if there are several."""
    groups, notices = _tables(runs, group)
    if len(groups) != 1:
        raise SpecError(f"the table has several groups; pick one with --group: {', '.join(groups)}")
    return next(iter(groups.values())), notices


def _default_law(
    expert_return: float | None, random_return: float | None, seed: int
) -> Callable[[Columns], ScalingLaws | ReturnLaws]:
    """Return the built-in law with these settings, to be called with a table."""
    from isoclone.laws import fit as fit_default

    return partial(fit_default, expert_return=expert_return, random_return=random_return, seed=seed)


def _law(
    name: str, expert_return: float | None, random_return: float | None, seed: int
) -> Callable[[Columns], FittedLaw]:
    """Return the law of a name with these settings, to be called with a table."""
    from isoclone.laws import fit_law

    _trust(name)
    scores = {"expert_return": expert_return, "random_return": random_return}
    return lambda columns: fit_law(name, columns, **scores, seed=seed)


def _trust(law: str | None) -> None:
    """Allow the module of a law that is given as package.module:function: the user typed it."""
    from isoclone.base.registry import is_reference, trust_modules

    if law is not None and is_reference(law):
        trust_modules([law.partition(":")[0]])


@contextmanager
def _naming(runs: Path) -> Iterator[None]:
    """Have an error in the block say which table it is about."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"{runs}: {error}") from error


def _fitted(
    runs: Path, groups: dict[str, Columns], law: Callable[[Columns], T]
) -> dict[str, T | FitError]:
    """Return fitted laws by group; a group that cannot be fitted is its `FitError`.

    Raises:
        DataError: no group can be fitted, or a row has a figure that cannot be.
    """
    found: dict[str, T | FitError] = {}
    with _naming(runs):
        for name, columns in groups.items():
            try:
                found[name] = law(columns)
            except FitError as error:
                found[name] = error
        errors = {name: f for name, f in found.items() if isinstance(f, FitError)}
        if len(errors) == len(found):
            raise next(iter(errors.values()))
    for name, why in errors.items():
        note(f"{name or 'runs without a group'}: {why}")
    return found


def _outcome(laws: T | FitError, ask: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """Return what fitted laws answer, or a status that says why a group was not fitted."""
    if isinstance(laws, FitError):
        return {"status": [{"code": "not_fitted", "message": str(laws)}]}
    return ask(laws)


def _compared(
    group: str,
    columns: Columns,
    law: str,
    expert_return: float | None,
    random_return: float | None,
    min_train: int,
) -> list[dict[str, Any]]:
    """Return the past forecasts of a law beside the built-in one's, as rows of one group."""
    from isoclone.laws import compare

    scores = {"expert_return": expert_return, "random_return": random_return}
    rows = compare([law], columns, **scores, min_train=min_train)
    return [{"group": group, **row.to_json()} for row in rows]


def _backtest_one(
    name: str,
    columns: dict[str, Any],
    floor: float | None,
    ceiling: float | None,
    cap: str,
    min_train: int,
) -> tuple[list[BacktestRow], dict[str, Any]]:
    """Return the back-test's rows of one group, and the weights of its forecasters."""
    import numpy as np

    from isoclone.laws.frontier.backtest import backtest as run
    from isoclone.laws.frontier.backtest import chosen
    from isoclone.laws.frontier.evidence import Evidence
    from isoclone.laws.frontier.replay import replay
    from isoclone.laws.points import Points

    points = Points.from_table(columns)
    points.need_losses("a back-test")
    if len(points.budgets) < 3:
        count = "one budget" if len(points.budgets) == 1 else "two budgets"
        raise FitError(f"only {count}: a back-test needs at least three")
    if cap == "highest" and np.isfinite(points.returns).any():
        ceiling = float(np.nanmax(points.returns))
    played = replay(Evidence(points), floor, ceiling, best=True)
    return run(played, name, ceiling, min_train), chosen(played)


def _costs(device: Device, flops: dict[str, float | None]) -> dict[str, Any]:
    """Return the hours and dollars of a number of FLOPs and of its interval's ends."""
    out: dict[str, Any] = {"name": device.name, "utilisation": device.utilisation}
    out["flops_per_second"] = device.peak_flops * device.utilisation
    out["hours"] = {k: None if v is None else device.hours(v) for k, v in flops.items()}
    out["dollars"] = {k: None if v is None else device.cost(v) for k, v in flops.items()}
    return out


def _write_table(path: Path, columns: dict[str, Any]) -> None:
    """Write columns as CSV or Parquet, by the path's ending."""
    import pyarrow
    from pyarrow import csv, parquet

    table = pyarrow.table({name: pyarrow.array(list(v)) for name, v in columns.items()})
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        raise SpecError(f"{path}: tables are written as .csv or .parquet")
