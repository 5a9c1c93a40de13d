"""Verbs on tables of runs: fit, forecast, backtest, recount, published; and the plan of a table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from isoclone.base.errors import DataError, FitError, SpecError, UnknownNameError


def fit(
    runs: Positional[Path],
    *,
    group: str | None = None,
    expert_return: float | None = None,
    random_return: float | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Fit every law to a table of runs (CSV or Parquet), each group by itself.

    Args:
        runs: columns params, samples, flops, dev_loss [, run_id, group, dev_loss_se, return_mean,
            return_se, budget_flops, status].
        group: only this group.
        expert_return: the expert's score; no return is forecast above it.
        random_return: the random policy's score.
        seed: of the bootstrap.
        json: print one JSON document.
    """
    found, notices = _fit_groups(runs, group, expert_return, random_return, seed)
    body = {name: _outcome(laws, lambda fitted: fitted.to_json()) for name, laws in found.items()}
    if json:
        _print_json({"groups": body, "notices": notices})
        return
    for name, laws in found.items():
        _show_laws(name, laws, body[name])


def forecast(
    runs: Positional[Path],
    *,
    flops: float,
    params: float | None = None,
    samples: float | None = None,
    group: str | None = None,
    expert_return: float | None = None,
    random_return: float | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """What to train at so many FLOPs, and what loss and return to expect of it.

    Args:
        runs: a table of runs, as for `fit`.
        flops: the compute to forecast for, in the table's own FLOP convention.
        params: this size instead of the best one.
        samples: this many samples instead of what the FLOPs allow.
        group: only this group; needed where the table has several and `--json` should be flat.
        expert_return: the expert's score; no return is forecast above it.
        random_return: the random policy's score.
        seed: of the bootstrap.
        json: print one JSON document.
    """
    found, notices = _fit_groups(runs, group, expert_return, random_return, seed)
    out = {}
    for name, laws in found.items():
        out[name] = _outcome(laws, lambda fitted: fitted.forecast(flops, params, samples).to_json())
    if len(out) == 1:
        only = next(iter(found.values()))
        if isinstance(only, FitError):
            raise only
        body: dict[str, Any] = next(iter(out.values()))
    else:
        body = {"groups": out, "notices": notices}
    if json:
        _print_json(body)
        return
    for name, row in out.items():
        _show_forecast(name, row)


def backtest(
    runs: Positional[Path],
    *,
    group: str | None = None,
    expert_return: float | None = None,
    random_return: float | None = None,
    cap: Literal["expert", "highest", "none"] = "expert",
    min_train: int = 6,
    json: bool = False,
) -> None:
    """How good such forecasts would have been, method by method and horizon by horizon.

    Args:
        runs: a table of runs, as for `fit`.
        group: only this group.
        expert_return: the expert's score; all methods are capped at it.
        random_return: the random policy's score.
        cap: 'highest' caps every method, the paper's too, at each group's highest return: a
            stand-in where the expert's score is not known, and a peek at the end of the data.
        min_train: budgets to train on, at least.
        json: print one JSON document.
    """
    from isoclone.laws.frontier.backtest import summary

    tables, notices = _tables(runs, group)
    rows, chosen, skipped = [], {}, {}
    for name, columns in tables.items():
        ceiling = None if cap == "none" else expert_return
        try:
            found, weights = _backtest_one(name, columns, random_return, ceiling, cap, min_train)
        except DataError as error:
            skipped[name] = str(error)
            continue
        rows += found
        chosen[name] = weights
        if not found:
            skipped[name] = f"too few budgets: a forecast needs {min_train} before it"
    status = [
        {"code": "not_backtested", "message": f"{name or runs}: {why}"}
        for name, why in skipped.items()
    ]
    totals = summary(rows)
    if json:
        body = {"rows": rows, "chosen": chosen, "summary": totals, "status": status}
        _print_json({**body, "notices": notices})
        return
    _show_backtest(totals, status)


def recount(
    runs: Positional[Path],
    *,
    to: Literal["exact", "6nd", "tuyls2023-atari"],
    policy: Literal["cnn"] = "cnn",
    n_actions: int | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """The same points under another FLOP convention, and what that does to the exponents.

    Args:
        runs: a table of runs; sizes must be parameter counts of the policy.
        to: the FLOP convention to count by.
        policy: the network the sizes belong to.
        n_actions: its number of actions; recovered from the sizes unless given.
        out: write the recounted table here (.csv or .parquet).
        json: print one JSON document.
    """
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
            print(f"note: {notices[-1]}", file=sys.stderr)
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
        _print_json({"policy": policy, "to": to, "groups": results, "notices": notices})
        return
    _show_recount(results, to)


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
        out: write points.csv, return_seeds.csv, ablations.csv and report.html here.
        cap: cap returns in the back-test at each game's highest return, or not.
        json: print one JSON document.
    """
    from isoclone.published import report, tuyls2023

    found = tuyls2023.read(folder)
    body = report.build(found, cap == "highest")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("points", "return_seeds", "ablations"):
            _write_table(out / f"{name}.csv", getattr(found, name))
        (out / "report.html").write_text(report.page(body), encoding="utf-8")
        body["notices"].append(f"wrote the tables and report.html to {out}")
    for notice in body["notices"]:
        print(f"note: {notice}", file=sys.stderr)
    if json:
        _print_json(body)
        return
    _show_published(body)


def plan_from_table(
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
    seed: int = 0,
    json: bool = False,
) -> None:
    """From a target return or loss to compute, size, samples, hours and money; and the next runs.

    Args:
        runs: a table of runs, as for `fit`.
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
        seed: of the bootstrap.
        json: print one JSON document.
    """
    from isoclone.laws.design import next_runs
    from isoclone.laws.devices import device as find_device
    from isoclone.laws.inverse import flops_for

    chosen = find_device(device, utilisation, price_per_hour)
    found, notices = _fit_groups(runs, group, expert_return, random_return, seed)
    if len(found) != 1:
        raise SpecError(f"the table has several groups; pick one with --group: {', '.join(found)}")
    laws = next(iter(found.values()))
    if isinstance(laws, FitError):
        raise laws
    flops = flops_for(laws, target_loss, target_return)
    assert flops["value"] is not None
    body: dict[str, Any] = {"target": {"loss": target_loss, "return": target_return}}
    body |= {"flops": flops, "forecast": laws.forecast(flops["value"]).to_json()}
    body["device"] = _costs(chosen, flops)
    try:
        budget = sharpen_flops or flops["value"] / 10
        body["next_runs"] = next_runs(laws, flops["value"], budget)
    except FitError as error:
        body["next_runs"] = None
        notices.append(str(error))
    body["notices"] = notices
    if json:
        _print_json(body)
        return
    _show_plan(body)


def demos_needed(
    runs: Positional[Path],
    *,
    flops: float,
    target_loss: float | None = None,
    within: float = 0.01,
    group: str | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """How many demonstrations to collect, so that so many FLOPs are well spent.

    Args:
        runs: a table of runs, as for `fit`, with the column unique_samples; some runs must have
            seen their samples more than once.
        flops: the compute to train with, in the table's own FLOP convention.
        target_loss: the dev loss to reach, in nats.
        within: without a target loss, how far above the loss on unlimited demonstrations the loss
            may lie: .01 is 1 %.
        group: only this group; needed where the table has several.
        seed: of the bootstrap.
        json: print one JSON document.
    """
    from isoclone.laws.datalimited import fit_points
    from isoclone.laws.frontier.evidence import Evidence
    from isoclone.laws.points import Points

    tables, notices = _tables(runs, group)
    if len(tables) != 1:
        raise SpecError(f"the table has several groups; pick one with --group: {', '.join(tables)}")
    columns = next(iter(tables.values()))
    if "unique_samples" not in columns:
        raise DataError(
            f"{runs}: lacks the column unique_samples: how many different samples a run saw"
        )
    points = Points.from_table(columns)
    law = fit_points(points, seed=seed)
    needed = law.demos_needed(flops, Evidence(points).rule, target_loss, within)
    body = needed.to_json()
    body["status"] = [s.to_json() for s in points.status] + body["status"]
    if json:
        _print_json({**body, "notices": notices})
        return
    _show_demos_needed(body)


VERBS: dict[str, Callable[..., Any]] = {
    "laws fit": fit,
    "laws forecast": forecast,
    "laws backtest": backtest,
    "laws plan": plan_from_table,
    "laws recount": recount,
    "laws needed": demos_needed,
    "published": published,
}


# ---- reading ---------------------------------------------------------------------------------


def _tables(runs: Path, group: str | None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The groups of a table and its notices, which also go to stderr."""
    from isoclone.laws import tables

    table = tables.read(runs)
    for notice in table.notices:
        print(f"note: {notice}", file=sys.stderr)
    groups = table.groups()
    if group is not None:
        if group not in groups:
            raise UnknownNameError("group", group, [g or "(none)" for g in groups])
        groups = {group: groups[group]}
    return groups, list(table.notices)


def _fit_groups(
    runs: Path,
    group: str | None,
    expert_return: float | None,
    random_return: float | None,
    seed: int,
) -> tuple[dict[str, Any], list[str]]:
    """Fitted laws by group; a group that cannot be fitted is its `FitError`.

    Raises that error where no group can be fitted.
    """
    from isoclone.laws import ScalingLaws

    groups, notices = _tables(runs, group)
    found: dict[str, Any] = {}
    for name, columns in groups.items():
        laws = ScalingLaws(expert_return=expert_return, random_return=random_return, seed=seed)
        try:
            found[name] = laws.fit(columns)
        except FitError as error:
            found[name] = error
    errors = {name: f for name, f in found.items() if isinstance(f, FitError)}
    if len(errors) == len(found):
        raise FitError(f"{runs}: {next(iter(errors.values()))}")
    for name, why in errors.items():
        print(f"note: {name or 'runs without a group'}: {why}", file=sys.stderr)
    return found, notices


def _outcome(laws: Any, ask: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The answer of fitted laws; for a group that could not be fitted, a status that says why."""
    if isinstance(laws, FitError):
        return {"status": [{"code": "not_fitted", "message": str(laws)}]}
    return ask(laws)


def _backtest_one(
    name: str,
    columns: dict[str, Any],
    floor: float | None,
    ceiling: float | None,
    cap: str,
    min_train: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    import numpy as np

    from isoclone.laws.frontier.backtest import backtest as run
    from isoclone.laws.frontier.backtest import chosen
    from isoclone.laws.frontier.evidence import Evidence
    from isoclone.laws.frontier.replay import replay
    from isoclone.laws.points import Points

    points = Points.from_table(columns)
    if len(points.budgets) < 3:
        count = "one budget" if len(points.budgets) == 1 else "two budgets"
        raise FitError(f"only {count}: a back-test needs at least three")
    if cap == "highest" and np.isfinite(points.returns).any():
        ceiling = float(np.nanmax(points.returns))
    played = replay(Evidence(points), floor, ceiling, best=True)
    return run(played, name, ceiling, min_train), chosen(played)


def _costs(device: Any, flops: dict[str, float | None]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": device.name, "utilisation": device.utilisation}
    out["flops_per_second"] = device.peak_flops * device.utilisation
    out["hours"] = {k: None if v is None else device.hours(v) for k, v in flops.items()}
    out["dollars"] = {k: None if v is None else device.cost(v) for k, v in flops.items()}
    return out


def _write_table(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow
    from pyarrow import csv, parquet

    table = pyarrow.table({name: pyarrow.array(list(v)) for name, v in columns.items()})
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        raise SpecError(f"{path}: tables are written as .csv or .parquet")


# ---- printing --------------------------------------------------------------------------------


def _print_json(body: Any) -> None:
    import json

    from isoclone.base.records import jsonable

    sys.stdout.write(json.dumps(jsonable(body), indent=2, allow_nan=False) + "\n")


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _table(titles: list[str]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for position, title in enumerate(titles):
        table.add_column(title, justify="left" if position == 0 else "right")
    return table


def _number(value: float | None, spec: str = ".3g") -> str:
    return "-" if value is None else f"{value:{spec}}"


def _interval(row: dict[str, Any] | None, spec: str = ".3g") -> str:
    if row is None:
        return "-"
    return f"{row['value']:{spec}} [{_number(row['low'], spec)}, {_number(row['high'], spec)}]"


def _text(words: str) -> str:
    """Words that came from data, never taken for markup."""
    from rich.markup import escape

    return escape(words)


def _show_status(console: Any, status: list[dict[str, str]]) -> None:
    for row in status:
        line = f"  [yellow]{_text(row['code'])}[/yellow]: {_text(row['message'])}"
        console.print(line, soft_wrap=True)


def _show_laws(name: str, laws: Any, body: dict[str, Any]) -> None:
    console = _console()
    console.print(f"[bold]{_text(name or 'all runs')}[/bold]")
    if not isinstance(laws, FitError):
        table = _table(["exponent against C", "isoFLOP optima", "surface (6ND)"])
        surface = body["exponents"].get("surface_6nd", {})
        for key, label in (("params", "N_opt"), ("samples", "D_opt")):
            first = _interval(body["exponents"]["isoflop_optima"][key])
            table.add_row(label, first, _interval(surface.get(key)))
        for key, label in (("dev_loss", "best dev loss"), ("return_mean", "return")):
            if body["laws"][key]:
                table.add_row(label, _interval(body["laws"][key]["exponent"]), "")
        console.print(table)
        if body["surface"]:
            terms = body["surface"]["coefficients"].items()
            text = ", ".join(f"{k} {_interval(v)}" for k, v in terms)
            console.print(f"  {body['surface']['formula']}: {text}", soft_wrap=True)
    _show_status(console, body["status"])


def _show_forecast(name: str, row: dict[str, Any]) -> None:
    console = _console()
    if "flops" in row:
        console.print(f"[bold]{_text(name or 'forecast')}[/bold] at {row['flops']:.3g} FLOPs")
        table = _table(["", "value [95 % interval]"])
        labels = ("parameters", "samples", "dev loss, nats", "mean return")
        for key, label in zip(
            ("params", "samples", "dev_loss", "return_mean"), labels, strict=True
        ):
            table.add_row(label, _interval(row[key]))
        console.print(table)
    _show_status(console, row["status"])


def _show_demos_needed(body: dict[str, Any]) -> None:
    console = _console()
    many = _interval(body["unique_samples"])
    console.print(f"[bold]{many}[/bold] unique samples to collect for {body['flops']:.3g} FLOPs")
    reached = f"dev loss {body['dev_loss']:.4g}, and {body['dev_loss_unlimited']:.4g} without limit"
    worth = f"repeats are worth at most {_interval(body['repeats'])} times once through"
    console.print(f"{reached}; {worth}", soft_wrap=True)
    table = _table(["unique samples", "parameters", "epochs", "dev loss, nats"])
    for row in body["curve"]:
        keys = ("unique_samples", "params", "epochs", "dev_loss")
        table.add_row(*(_number(row[key]) for key in keys))
    console.print(table)
    _show_status(console, body["status"])


def _show_backtest(totals: list[dict[str, Any]], status: list[dict[str, str]]) -> None:
    console = _console()
    names = ["target", "ahead", "method", "groups", "RMSE / paper's", "95 % held", "log width"]
    table = _table(names)
    for r in totals:
        figures = (r["rmse_ratio_to_paper"], r["coverage"], r["mean_log_width"])
        head = (r["target"], str(r["horizon"]), r["method"], str(r["groups"]))
        table.add_row(*head, *(_number(v) for v in figures))
    console.print(table)
    _show_status(console, status)


def _show_recount(results: dict[str, Any], to: str) -> None:
    table = _table(["group", "exponent of", "as given", f"as {to}", "change"])
    for name, result in results.items():
        for key, row in result["exponents"].items():
            change = f"{row['change']:+.3f}"
            figures = (_interval(row["before"]), _interval(row["after"]), change)
            table.add_row(_text(name), key, *figures)
    _console().print(table)


def _show_published(body: dict[str, Any]) -> None:
    from isoclone.published.report import window_text

    console = _console()
    table = _table(["game", "exponent", "published", "paper's way here", "isoclone", "exact FLOPs"])
    for row in body["exponents"]:
        head = (row["group"], row["of"], _number(row["published"]), _interval(row["paper_way"]))
        ours = (_interval(row["fitted"]), _interval(row["exact_flops"]))
        table.add_row(*head, *ours)
    console.print(table)
    for over in dict.fromkeys(map(window_text, body["exponents"])):
        games = dict.fromkeys(r["group"] for r in body["exponents"] if window_text(r) == over)
        console.print(f"  paper's way, {', '.join(games)}: {over}", soft_wrap=True)
    _show_backtest([r for r in body["backtest"] if r["method"] in _SHOWN], body["status"])


_SHOWN = ("default", "paper", "persistence", "last-slope")


def _show_plan(body: dict[str, Any]) -> None:
    console = _console()
    forecast_row, device = body["forecast"], body["device"]
    table = _table(["", "value [95 % interval]"])
    table.add_row("FLOPs", _interval(body["flops"]))
    for key, label in (("params", "parameters"), ("samples", "samples")):
        table.add_row(label, _interval(forecast_row[key]))
    for key, label in (("dev_loss", "dev loss, nats"), ("return_mean", "mean return")):
        table.add_row(label, _interval(forecast_row[key]))
    table.add_row(f"hours on {device['name']}", _interval(device["hours"]))
    table.add_row("dollars", _interval(device["dollars"]))
    console.print(table)
    if body["next_runs"]:
        runs = _table(["next run", "N", "D", "FLOPs", "SD of log loss then"])
        for number, run in enumerate(body["next_runs"]["runs"], start=1):
            figures = (run.params, run.samples, run.flops, run.loss_sd_after)
            runs.add_row(str(number), *(_number(v) for v in figures))
        console.print(runs)
    _show_status(console, forecast_row["status"])
