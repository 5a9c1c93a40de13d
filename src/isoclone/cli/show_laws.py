"""Print what the verbs on tables of runs found.

Light on purpose: a table is answered without loading torch.
"""

from __future__ import annotations

from typing import Any

from isoclone.base.formatting import interval_text
from isoclone.base.results import SAYS_SOMETHING
from isoclone.cli.screen import STDOUT, styled
from isoclone.cli.screen import table as _table
from isoclone.laws.words import forecast_text, laws_text, window_text


def _number(value: float | None, spec: str = ".3g") -> str:
    return "-" if value is None else f"{value:{spec}}"


def _interval(row: dict[str, Any] | None, spec: str = ".3g") -> str:
    return interval_text(row, spec)


def _forecast_of(row: dict[str, Any], key: str) -> str:
    """Return one quantity of a forecast with its interval."""
    return interval_text(row[key], excludes=row["excludes"].get(key))


def _show_status(status: list[dict[str, str]]) -> None:
    for row in status:
        STDOUT.say("  ", (row["code"], "yellow"), f": {row['message']}")


ROADS = {
    "isoflop_optima": "isoFLOP optima, least squares",
    "isoflop_optima_plain": "least squares alone",
    "best_return": "best-scoring sizes",
    "surface_6nd": "surface (6ND)",
    "forecasts": "a decade of its forecasts",
    "intrinsic": "intrinsic performance",
}
BY_RETURN = {"isoflop_optima": "optima by return"}
WITH_PRIOR = {"isoflop_optima": "isoFLOP optima, with a prior"}


def samples_word(by_return: bool) -> str:
    """Return what samples are: of runs without losses, steps in an environment."""
    return "environment steps" if by_return else "samples"


def show_laws(name: str, body: dict[str, Any]) -> None:
    """Print one group's exponents by each way of fitting them, its surface and its status."""
    STDOUT.print(styled((name or "all runs", "bold")))
    if "exponents" in body:
        by_road = body["exponents"]
        prior = (body["laws"].get("params") or {}).get("prior")
        by_return = BY_RETURN if body.get("measure") == "return_mean" else {}
        roads = ROADS | by_return | (WITH_PRIOR if prior else {})
        table = _table(["exponent against C", *(roads.get(road, road) for road in by_road)])
        for key, label in (("params", "N_opt"), ("samples", "D_opt")):
            table.add_row(label, *(_interval(road[key]) for road in by_road.values()))
        for key, label in (("dev_loss", "best dev loss"), ("return_mean", "return")):
            if body["laws"].get(key):
                table.add_row(label, _interval(body["laws"][key]["exponent"]))
        STDOUT.print(table)
        for line in laws_text(body["laws"]):
            STDOUT.say(f"  {line}")
    if body.get("surface"):
        terms = body["surface"]["coefficients"].items()
        text = ", ".join(f"{k} {_interval(v)}" for k, v in terms)
        STDOUT.say(f"  {body['surface']['formula']}: {text}")
        STDOUT.say(f"  fitted to {window_text(body['surface']['window'])}")
    _show_status(body["status"])


def show_forecast(name: str, row: dict[str, Any]) -> None:
    """Print one group's forecast."""
    if "flops" in row:
        STDOUT.print(styled((name or "forecast", "bold"), f" at {row['flops']:.3g} FLOPs"))
        table = _table(["", "value [95 % interval]", "excludes"])
        for key, label in _quantities(row).items():
            table.add_row(label, _forecast_of(row, key), _excludes(row, key))
        STDOUT.print(table)
        for line in forecast_text(row):
            STDOUT.say(f"  {line}")
    _show_status(row["status"])


def _quantities(row: dict[str, Any]) -> dict[str, str]:
    """Return the quantities of a forecast with their labels; no loss where none is forecast."""
    by_return = row["dev_loss"] is None
    losses = {} if by_return else {"dev_loss": "dev loss, nats"}
    start = {"params": "parameters", "samples": samples_word(by_return)}
    return {**start, **losses, "return_mean": "mean return"}


def _excludes(row: dict[str, Any], key: str) -> str:
    """Return which share of what could come an interval excludes; 'says nothing' below a tenth."""
    share = row["excludes"].get(key)
    if share is None:
        return ""
    return f"{100 * share:.0f} %" if share >= SAYS_SOMETHING else "says nothing"


def show_demos_needed(body: dict[str, Any]) -> None:
    """Print how many unique samples to collect, and what fewer would reach."""
    many = _interval(body["unique_samples"])
    told = f" unique samples to collect for {body['flops']:.3g} FLOPs"
    STDOUT.print(styled((many, "bold"), told))
    reached = f"dev loss {body['dev_loss']:.4g}, and {body['dev_loss_unlimited']:.4g} without limit"
    worth = f"repeats are worth at most {_interval(body['repeats'])} times once through"
    STDOUT.say(f"{reached}; {worth}")
    table = _table(["unique samples", "parameters", "epochs", "dev loss, nats"])
    for row in body["curve"]:
        keys = ("unique_samples", "params", "epochs", "dev_loss")
        table.add_row(*(_number(row[key]) for key in keys))
    STDOUT.print(table)
    _show_status(body["status"])


def show_backtest(
    totals: list[dict[str, Any]],
    status: list[dict[str, str]],
    laws: list[dict[str, Any]] | None = None,
) -> None:
    """Print errors and coverage by method and horizon, and by law where laws were compared."""
    names = ["target", "ahead", "method", "groups", "RMSE / paper's", "95 % held", "log width"]
    table = _table(names)
    for r in totals:
        figures = (r["rmse_ratio_to_paper"], r["coverage"], r["mean_log_width"])
        head = (r["target"], str(r["horizon"]), r["method"], str(r["groups"]))
        table.add_row(*head, *(_number(v) for v in figures))
    STDOUT.print(table)
    if laws:
        _show_comparison(laws)
    _show_status(status)


def _show_comparison(laws: list[dict[str, Any]]) -> None:
    titles = ["law", "group", "ahead", "decades", "forecasts", "RMS log error", "95 % held"]
    table = _table(titles)
    for r in laws:
        head = (r["law"], r["group"], str(r["horizon"]))
        figures = (_number(r[key]) for key in ("rms_log_error", "coverage"))
        table.add_row(*head, _number(r["horizon_decades"]), str(r["forecasts"]), *figures)
    STDOUT.print(table)
    reasons = [row["reason"] for row in laws if row["reason"]]
    _show_status(list({reason["message"]: reason for reason in reasons}.values()))


def show_recount(results: dict[str, Any], to: str) -> None:
    """Print the exponents under both FLOP conventions."""
    table = _table(["group", "exponent of", "as given", f"as {to}", "change"])
    for name, result in results.items():
        for key, row in result["exponents"].items():
            change = f"{row['change']:+.3f}"
            figures = (_interval(row["before"]), _interval(row["after"]), change)
            table.add_row(name, key, *figures)
    STDOUT.print(table)


def show_published(body: dict[str, Any]) -> None:
    """Print a published study's exponents and back-test beside its authors'."""
    from isoclone.published.report import agent_cells, window_text

    table = _table(["game", "exponent", "published", "paper's way here", "isoclone", "exact FLOPs"])
    for row in body["exponents"]:
        head = (row["group"], row["of"], _number(row["published"]), _interval(row["paper_way"]))
        ours = (_interval(row["fitted"]), _interval(row["exact_flops"]))
        table.add_row(*head, *ours)
    STDOUT.print(table)
    for over in dict.fromkeys(map(window_text, body["exponents"])):
        games = dict.fromkeys(r["group"] for r in body["exponents"] if window_text(r) == over)
        STDOUT.say(f"  paper's way, {', '.join(games)}: {over}")
    if body["agents"]:
        agents = _table(
            ["authors' agent", "FLOPs", "loss", "forecast", "return", "games", "forecast"]
        )
        for row in body["agents"]:
            agents.add_row(*agent_cells(row))
        STDOUT.print(agents)
    show_backtest([r for r in body["backtest"] if r["method"] in _SHOWN], body["status"])


_SHOWN = ("default", "paper", "persistence", "last-slope")


def show_plan(body: dict[str, Any]) -> None:
    """Print what a target takes, and the runs that would sharpen the forecast most."""
    forecast_row, device = body["forecast"], body["device"]
    table = _table(["", "value [95 % interval]"])
    table.add_row("FLOPs", _interval(body["flops"]))
    for key, label in _quantities(forecast_row).items():
        table.add_row(label, _forecast_of(forecast_row, key))
    table.add_row(f"hours on {device['name']}", _interval(device["hours"]))
    table.add_row("dollars", _interval(device["dollars"]))
    STDOUT.print(table)
    if body["next_runs"]:
        runs = _table(["next run", "N", "D", "FLOPs", "SD of log loss then"])
        for number, run in enumerate(body["next_runs"]["runs"], start=1):
            keys = ("params", "samples", "flops", "loss_sd_after")
            runs.add_row(str(number), *(_number(run[key]) for key in keys))
        STDOUT.print(runs)
    _show_status(forecast_row["status"])
