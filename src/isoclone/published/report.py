"""Laws fitted to a published study's runs, beside the numbers that its authors reported."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.base.formatting import interval_text
from isoclone.laws import ScalingLaws
from isoclone.laws.frontier.backtest import BacktestRow, backtest, chosen, summary
from isoclone.laws.frontier.replay import replay
from isoclone.laws.points import Points
from isoclone.laws.published_way import published_way
from isoclone.laws.tables import from_columns
from isoclone.published.recount import try_exponents
from isoclone.published.tuyls2023 import Family, Tuyls2023


def build(found: Tuyls2023, cap_returns: bool) -> dict[str, Any]:
    """Fit laws, exponents, recount and back-test of every game; return plain values.

    Games that cannot be fitted are in `status`. `agents` are those that the authors trained beyond
    the sweep, each beside the forecast from the sweep alone. `cap_returns` caps every back-tested
    method at the game's highest return, since the expert's score is not known.
    """
    body: dict[str, Any] = {"exponents": [], "groups": {}, "status": [], "chosen": {}}
    body["agents"] = []
    body["notices"] = list(found.notices)
    rows: list[BacktestRow] = []
    for name, table in from_columns(found.points).groups().items():
        try:
            group, tested, laws = _group(name, table, found.families[name], cap_returns)
        except DataError as error:
            reasons = set(table.get("reason", [])) - {None}
            why = f": {reasons.pop()}" if len(reasons) == 1 else ""
            body["status"].append({"code": "not_fitted", "message": f"{name}: {error}{why}"})
            continue
        body["groups"][name], body["chosen"][name] = group, group.pop("chosen")
        body["exponents"] += _exponent_rows(name, group, found.families[name])
        body["agents"] += _agents(name, laws, found)
        rows += tested
    atari = [r for r in rows if found.families[r.group].cnn]
    body["rows"] = [row.to_json() for row in rows]
    body["backtest"] = [row.to_json() for row in summary(rows)]
    body["backtest_atari"] = [row.to_json() for row in summary(atari)]
    return body


def _group(
    name: str, table: dict[str, Any], family: Family, cap_returns: bool
) -> tuple[dict[str, Any], list[BacktestRow], ScalingLaws]:
    points = Points.from_table(table)
    known = points.returns[np.isfinite(points.returns)]
    cap = float(known.max()) if cap_returns and len(known) else None
    laws = ScalingLaws(ceiling=cap).fit(points)
    played = replay(laws.evidence_, None, cap, best=True)
    group = {
        "laws": laws.to_json(),
        "paper_way": published_way(points, family.from_flops),
        "recount": try_exponents(table, "exact") if family.cnn else None,
        "chosen": chosen(played),
        "curves": laws.curves(_grid(laws)).to_json(),
    }
    return group, backtest(played, name, cap), laws


def _agents(name: str, laws: ScalingLaws, found: Tuyls2023) -> list[dict[str, Any]]:
    """Return a row for each agent beyond the sweep: what was measured, and what was forecast."""
    rows = []
    for table in (found.points, found.agents):
        for i, role in enumerate(table["role"]):
            if role != "forecast" or table["group"][i] != name:
                continue
            row = {column: table[column][i] for column in _MEASURED}
            row["flops"] = float(row["flops"] or row["budget_flops"])
            expected = laws.forecast(row["flops"])
            assert expected.dev_loss is not None  # the law is of losses
            row["forecast_dev_loss"] = expected.dev_loss.to_json()
            row["forecast_return"] = expected.return_mean and expected.return_mean.to_json()
            rows.append({"group": name, **row})
    return rows


_MEASURED = ("run_id", "budget_flops", "flops", "dev_loss", "return_mean", "return_se", "episodes")


def _grid(laws: ScalingLaws) -> np.ndarray:
    return np.geomspace(laws.points_.budgets[0], laws.last_budget_ * 10, 40)


def _exponent_rows(name: str, group: dict[str, Any], family: Family) -> list[dict[str, Any]]:
    """Return a row for N and one for D: what was published, and the paper's way on these files.

    Where the paper draws parabolas it does not say over which budgets and runs. Here `window`
    says it, and `all_runs` is what the same budgets give without the cut in loss.
    """
    rows, way = [], group["paper_way"]
    fitted, recount = group["laws"]["exponents"]["isoflop_optima"], group["recount"]
    for key, label in (("params", "N"), ("samples", "D")):
        law = way["parabola_near" if family.parabolas else "best_point"][key]
        every = way["parabola"][key] if family.parabolas else None
        rows.append(
            {
                "group": name,
                "of": label,
                "published": family.exponents.get(name, {}).get(key),
                "paper_way": law and law["exponent"],
                "window": {k: way[k] for k in ("from_flops", "to_flops")}
                | {"loss_within": way["loss_within"] if family.parabolas else 1.0},
                "all_runs": every and every["exponent"],
                "fitted": fitted[key],
                "exact_flops": recount and recount[key]["after"],
                "change": recount and recount[key]["change_interval"],
            }
        )
    return rows


def window_text(row: dict[str, Any]) -> str:
    """Return the window of a row in words."""
    window = row["window"]
    within = window["loss_within"]
    runs = "best run" if within == 1 else f"parabola, runs within {within:g}x"
    return f"{window['from_flops']:.0e} to {window['to_flops']:.0e}, {runs}".replace("e+", "e")


# ---- the page --------------------------------------------------------------------------------

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;
border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}.note{color:#666}"""


def page(body: dict[str, Any]) -> str:
    """Return one self-contained HTML page, which opens without a network."""
    parts = ["<h1>Tuyls et al. 2023, read again</h1>", _notes(body)]
    parts += ["<h2>Exponents against compute</h2>", _exponent_table(body["exponents"])]
    if body["agents"]:
        parts += ["<h2>The authors' forecast agents</h2>", _agent_table(body["agents"])]
    parts += ["<h2>How good would the forecasts have been?</h2>", _backtest_table(body["backtest"])]
    parts += ["<h2>Frontiers and forecasts</h2>", _figures(body["groups"])]
    head = f"<meta charset='utf-8'><title>tuyls2023</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _notes(body: dict[str, Any]) -> str:
    lines = body["notices"] + [s["message"] for s in body["status"]]
    return "".join(f"<p class='note'>{html.escape(line)}</p>" for line in lines)


def _html_table(titles: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(t)}</th>" for t in titles)
    lines = ("".join(f"<td>{html.escape(c)}</td>" for c in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _span(row: dict[str, Any] | None) -> str:
    return interval_text(row or None, ".2f")


def _exponent_table(rows: list[dict[str, Any]]) -> str:
    titles = ["game", "of", "published", "paper's way here", "over", "isoclone", "exact FLOPs"]
    titles.append("change")
    lines = []
    for r in rows:
        published = "-" if r["published"] is None else f"{r['published']:.2f}"
        spans = [_span(r[k]) for k in ("fitted", "exact_flops", "change")]
        lines.append(
            [r["group"], r["of"], published, _span(r["paper_way"]), window_text(r), *spans]
        )
    return _html_table(titles, lines)


def _agent_table(rows: list[dict[str, Any]]) -> str:
    titles = ["agent", "FLOPs", "dev loss", "forecast", "return", "episodes", "forecast"]
    return _html_table(titles, [agent_cells(row) for row in rows])


def agent_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of one agent: measured beside forecast, loss and return."""
    mean, se, count = row["return_mean"], row["return_se"], row["episodes"]
    loss = "-" if row["dev_loss"] is None else f"{row['dev_loss']:.4g}"
    returned = "-" if mean is None else f"{mean:,.1f}" + ("" if se is None else f" ± {se:,.1f}")
    expected = [row["forecast_dev_loss"], row["forecast_return"]]
    spans = [interval_text(e, ".4g") for e in expected]
    name = f"{row['group']} {row['run_id']}"
    return [name, f"{row['flops']:.3g}", loss, spans[0], returned, f"{int(count or 0)}", spans[1]]


def _backtest_table(rows: list[dict[str, Any]]) -> str:
    titles = ["target", "budgets ahead", "method", "RMSE / paper's", "95 % held", "log width"]
    keys = ("rmse_ratio_to_paper", "coverage", "mean_log_width")
    lines = []
    for r in rows:
        figures = ["-" if r[k] is None else f"{r[k]:.3f}" for k in keys]
        lines.append([r["target"], str(r["horizon"]), r["method"], *figures])
    return _html_table(titles, lines)


def _figures(groups: dict[str, Any]) -> str:
    import plotly.graph_objects as go

    parts = []
    for number, (name, group) in enumerate(groups.items()):
        figure = go.Figure()
        curve, flops = group["curves"]["dev_loss"], group["curves"]["flops"]
        band = {"mode": "lines", "line": {"width": 0}, "showlegend": False}
        figure.add_scatter(x=flops, y=curve["high"], **band)
        figure.add_scatter(x=flops, y=curve["low"], fill="tonexty", **band)
        figure.add_scatter(x=flops, y=curve["value"], mode="lines", name="frontier, 95 %")
        isoflops = group["laws"]["isoflops"]
        best = [c["best_loss"] for c in isoflops]
        figure.add_scatter(
            x=[c["budget"] for c in isoflops], y=best, mode="markers", name="best run"
        )
        figure.update_xaxes(type="log", exponentformat="power", title="FLOPs")
        figure.update_yaxes(type="log", title="dev loss, nats")
        figure.update_layout(title=name, height=380, template="plotly_white")
        parts.append(figure.to_html(full_html=False, include_plotlyjs=number == 0))
    return "".join(parts)
