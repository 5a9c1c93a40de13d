"""Charts as plain data for plotly.js.

A colour is written as a role, '@name' or '@name/0.2' (with opacity), and '@seq0.4' is a place on
the sequential scale of the budgets; the page's script turns roles into the colours of its theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from markupsafe import escape

from isoclone.base.formatting import plural
from isoclone.base.records import Forecast, Point
from isoclone.base.results import ERROR_OF
from isoclone.laws import Band, IsoFlopCurve
from isoclone.report.facts import Facts
from isoclone.report.measured import Along, Measured
from isoclone.report.sections import Figure
from isoclone.report.words import bounds_of, number, power, whole, with_error

Trace = dict[str, Any]

FONT = "system-ui, sans-serif"
SYMBOLS = ("circle", "square", "triangle-up", "pentagon", "triangle-down", "hexagon")
STAR = {
    "symbol": "star",
    "size": 17,
    "color": "@star",
    "line": {"color": "@ink", "width": 1.3},
}
MANY = 400  # points, from which on hovering over one says less
FAR_ABOVE = 10  # times the best return: a higher expert's line would flatten the chart
STEPS = "environment steps D"
QUANTITIES = {
    "params": "parameters N",
    "samples": "training samples D",
    "dev_loss": "dev loss (nats per action)",
    "return_mean": "mean return per episode",
}


# ---------------------------------------------------------------------- the charts


def isoflop(facts: Facts) -> Figure:
    """Draw dev loss against parameters, one curve for each budget, its optimum marked.

    Of runs without losses, the return.
    """
    key = facts.measure
    traces: list[Trace] = []
    for place, budget in enumerate(facts.budgets):
        here = [p for p in facts.measured if p.budget_flops == budget]
        if not here:
            continue
        colour, group = place_of(place, len(facts.budgets)), f"b{place}"
        fitted = _fitted_at(facts, here)
        traces.append(_curve(fitted, here, key, colour, group))
        points = _points(here, [p.params for p in here], [getattr(p, key) for p in here], facts)
        points["marker"] = {"color": colour, "size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]}
        points["error_y"] = _errors([getattr(p, ERROR_OF[key]) for p in here], colour)
        traces.append({**points, "name": f"{power(budget)}", "legendgroup": group})
        if fitted:
            traces.append(_optimum(fitted, colour, group))
    traces += _star(facts, "params", key)
    y = linear_axis(QUANTITIES[key]) if facts.by_return else log_axis(QUANTITIES[key])
    layout = layout_of(log_axis("parameters N"), y)
    layout["legend"]["title"] = {"text": "budget C, FLOPs", "side": "top", "font": {"size": 13}}
    if facts.by_return:
        _references(facts, layout)
    return {"data": traces, "layout": layout}


def frontier(facts: Facts, key: str) -> Figure:
    """Draw one quantity along the frontier against compute, with its law, band and forecast."""
    traces = _band(facts, key)
    if key in ("dev_loss", "return_mean"):
        traces.append(_background(facts, key))
        traces.append(_best(facts, key))
    else:
        traces += _optima(facts, key)
    if facts.forecast and getattr(facts.forecast, key) is not None:
        traces.append(_forecast(facts.forecast, key))
    traces += _star(facts, "flops", key)
    title = STEPS if key == "samples" and facts.by_return else QUANTITIES[key]
    y = linear_axis(title) if key == "return_mean" else log_axis(title)
    if key in ("params", "samples"):
        y["dtick"] = _ticks(traces)
    layout = layout_of(log_axis("compute C (FLOPs)"), y)
    layout["showlegend"] = False
    if key == "return_mean":
        _references(facts, layout)
    return {"data": traces, "layout": layout}


def return_against_loss(facts: Facts) -> Figure:
    """Draw mean return against dev loss, every policy that was played."""
    traces: list[Trace] = []
    for place, budget in enumerate(facts.budgets):
        here = [p for p in facts.measured if p.budget_flops == budget and p.return_mean is not None]
        if not here:
            continue
        colour = place_of(place, len(facts.budgets))
        points = _points(here, [p.dev_loss for p in here], [p.return_mean for p in here], facts)
        points["marker"] = {"color": colour, "size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]}
        points["error_x"] = _errors([p.dev_loss_se for p in here], f"{colour}/0.5")
        points["error_y"] = _errors([p.return_se for p in here], f"{colour}/0.5")
        traces.append({**points, "name": power(budget)})
    traces += _star(facts, "dev_loss", "return_mean")
    layout = layout_of(linear_axis(QUANTITIES["dev_loss"]), linear_axis(QUANTITIES["return_mean"]))
    layout["showlegend"] = False  # as in the isoFLOP chart
    _references(facts, layout)
    return {"data": traces, "layout": layout}


def by_variant(rows: Sequence[Measured], key: str) -> Figure:
    """Draw dev loss or return of named variants, one series for each budget."""
    traces = []
    budgets = sorted({m.point.budget_flops for m in rows})
    for place, budget in enumerate(budgets):
        here = [m for m in rows if m.point.budget_flops == budget]
        here = [m for m in here if getattr(m.point, key) is not None]
        points, colour = [m.point for m in here], place_of(place, len(budgets))
        trace = _points(points, [m.label for m in here], [getattr(p, key) for p in points])
        spread = [p.dev_loss_se if key == "dev_loss" else p.return_se for p in points]
        trace["mode"], trace["line"] = "lines+markers", {"color": f"{colour}/0.5", "width": 1}
        trace["marker"] = {"color": colour, "size": 9, "symbol": SYMBOLS[place % len(SYMBOLS)]}
        traces.append({**trace, "error_y": _errors(spread, f"{colour}/0.6"), "name": power(budget)})
    labels = list(dict.fromkeys(m.label for m in rows))
    x = {**_axis(""), "type": "category", "categoryarray": labels, "categoryorder": "array"}
    layout = layout_of(x, linear_axis(QUANTITIES[key]))
    layout["legend"]["title"] = {"text": "budget C, FLOPs", "side": "top", "font": {"size": 13}}
    return {"data": traces, "layout": layout}


def along(rows: Sequence[Measured], by: Along, key: str) -> Figure:
    """Draw dev loss or return of variants along a number that they differ by.

    Lines go through means over seeds; bars are one SD over seeds.
    """
    traces, names = [], list(dict.fromkeys(line for line, _ in by.places.values()))
    for place, name in enumerate(names):
        colour, found = place_of(place, len(names)), dict[float, list[float]]()
        for m in rows:
            line, x = by.places.get(m.label, (None, 0.0))
            value = getattr(m.point, key)
            if line == name and value is not None:
                found.setdefault(x, []).append(value)
        xs = sorted(found)
        trace = _line(xs, [mean(found[x]) for x in xs], {"color": colour, "width": 2})
        spread = [stdev(found[x]) if len(found[x]) > 1 else None for x in xs]
        marker = {"color": colour, "size": 9, "symbol": SYMBOLS[place % len(SYMBOLS)]}
        shown = {"mode": "lines+markers", "marker": marker, "name": escape(name)}
        told = {"hoverinfo": "x+y+name", "showlegend": True}
        traces.append({**trace, **shown, **told, "error_y": _errors(spread, f"{colour}/0.6")})
    layout = layout_of(log_axis(by.axis), linear_axis(QUANTITIES[key]))
    ticks = sorted({x for _, x in by.places.values()})
    layout["xaxis"] |= {"tickvals": ticks, "ticktext": [f"{x:,.4g}" for x in ticks]}
    return {"data": traces, "layout": layout}


def by_game(marks: Sequence[tuple[str, float, float | None, float | None]], title: str) -> Figure:
    """Draw one figure of several games, with its interval: (game, value, low, high) each."""
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [value for _, value, _, _ in marks],
        "y": [name for name, _, _, _ in marks],
        "hoverinfo": "x+y",
        "marker": {"color": "@law", "size": 10},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0.0 if high is None else high - value for _, value, _, high in marks],
            "arrayminus": [0.0 if low is None else value - low for _, value, low, _ in marks],
            "color": "@law/0.6",
        },
    }
    names = [name for name, _, _, _ in reversed(marks)]
    y = {**_axis(""), "type": "category", "categoryarray": names, "categoryorder": "array"}
    layout = layout_of(linear_axis(title), {**y, "automargin": True})
    layout["showlegend"] = False
    return {"data": [trace], "layout": layout}


def against_cost(rows: Sequence[Measured], cost: str, key: str = "dev_loss") -> Figure:
    """Draw dev loss or return of each variant against its cost: 'flops', or 'train_seconds'."""
    labels = list(dict.fromkeys(m.label for m in rows))
    traces = []
    for place, label in enumerate(labels):
        here = [m for m in rows if m.label == label and getattr(m.point, key) is not None]
        here = sorted((m for m in here if m.cost(cost)), key=lambda m: (m.point.seed, m.cost(cost)))
        colour = place_of(place, len(labels))
        for seed in dict.fromkeys(m.point.seed for m in here):
            own = [m for m in here if m.point.seed == seed]
            points = [m.point for m in own]
            trace = _points(points, [m.cost(cost) for m in own], [getattr(p, key) for p in points])
            trace["mode"], trace["line"] = "lines+markers", {"color": colour, "width": 2}
            trace["marker"] = {"color": colour, "size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]}
            told = {"name": escape(label), "legendgroup": label, "showlegend": own[0] is here[0]}
            traces.append({**trace, **told})
    titles = {"flops": "compute C (FLOPs)", "train_seconds": "seconds of training"}
    y = log_axis(QUANTITIES[key]) if key == "dev_loss" else linear_axis(QUANTITIES[key])
    layout = layout_of(log_axis(titles[cost]), y)
    if cost == "flops":
        layout["xaxis"]["dtick"] = "D2"  # ticks at 1, 2, 5: more labels would overlap
    return {"data": traces, "layout": layout}


# ---------------------------------------------------------------------- traces


def describe(point: Point) -> str:
    """Return what hovering over a point says."""
    steps = f"D {whole(point.samples)} samples · {point.epochs:.2f} epochs"
    if point.dev_loss is None:
        steps = f"D {whole(point.samples)} environment steps"
    lines = [
        f"<b>run {escape(point.run_id)}</b> · {escape(point.policy)} · seed {point.seed}",
        f"width {point.width} · N {whole(point.params)} parameters",
        steps,
        f"C {power(point.flops, 4)} FLOPs (budget {power(point.budget_flops)})",
    ]
    if point.dev_loss is not None:
        lines.append(f"dev loss {with_error(point.dev_loss, point.dev_loss_se)} nats")
    if point.return_mean is not None:
        played = f"return {with_error(point.return_mean, point.return_se)}"
        lines.append(f"{played} over {plural(point.episodes, 'episode')}")
    if point.checkpoint:
        lines.append(f"<i>{escape(point.checkpoint)}</i>")
    return "<br>".join(lines)


def brief(point: Point) -> str:
    """Return what hovering over a point says where there are many: the rest is in the table."""
    told = f"{with_error(point.dev_loss, point.dev_loss_se)} nats"
    if point.dev_loss is None:
        told = f"return {with_error(point.return_mean, point.return_se)}"
    return f"{escape(point.run_id)} · width {point.width} · seed {point.seed} · {told}"


def _points(points: list[Point], x: list[Any], y: list[Any], facts: Facts | None = None) -> Trace:
    many = facts is not None and len(facts.measured) > MANY
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "hovertext": [brief(p) if many else describe(p) for p in points],
        "hoverinfo": "text",
    }


def _fitted_at(facts: Facts, here: list[Point]) -> IsoFlopCurve | None:
    """Return the isoFLOP fit of the points of a budget, or None."""
    spent = [p.flops for p in here]
    return next((c for c in facts.isoflops if spent and min(spent) <= c.budget <= max(spent)), None)


def _curve(
    fitted: IsoFlopCurve | None, here: list[Point], key: str, colour: str, group: str
) -> Trace:
    """Return the parabola; without one, the points joined by a thin dotted line."""
    curve: dict[str, Any] = fitted.curve() if fitted else {"params": [], key: []}
    line: dict[str, Any] = {"color": colour, "width": 2}
    x, y = list(curve["params"]), list(curve[key])
    if not x:
        ordered = sorted(here, key=lambda p: p.params)
        x, y = [p.params for p in ordered], [getattr(p, key) for p in ordered]
        line = {"color": f"{colour}/0.6", "width": 1, "dash": "dot"}
    return _line(x, y, line) | {"legendgroup": group}


def _optimum(best: IsoFlopCurve, colour: str, group: str) -> Trace:
    """Return the best point of a parabola, hollow where it is no optimum."""
    text = f"<b>optimum at {power(best.budget)} FLOPs</b><br>N {number(best.params)}"
    if best.interior and math.isfinite(best.params_sd_log10):
        text += f" (± {best.params_sd_log10:.2f} decades)"
    value = number(best.value)
    text += f"<br>return {value}" if best.key == "return_mean" else f"<br>dev loss {value} nats"
    if not best.interior:
        text += f"<br>{_why_no_optimum(best)}"
    marker = {
        "symbol": "diamond" if best.interior else "diamond-open",
        "size": 15,
        "color": colour,
        "line": {
            "color": "@card" if best.interior else colour,
            "width": 1.5 if best.interior else 2.5,
        },
    }
    return _one(best.params, best.value, marker, text) | {"legendgroup": group}


def _why_no_optimum(curve: IsoFlopCurve) -> str:
    """Return what a hollow diamond means."""
    if curve.edge == "flat":
        return "the return hardly depends on the size here"
    return f"at the {escape(curve.edge)} end of the sampled sizes:<br>only a bound"


def _band(facts: Facts, key: str) -> list[Trace]:
    """Return the law with its band: solid inside the evidence, dashed beyond it."""
    law: Band | None = getattr(facts.curves, key, None)
    if facts.curves is None or law is None:
        return []
    x, value = list(facts.curves.flops), list(law.value)
    around = [*law.high, *reversed(law.low)]
    filled = _line([*x, *reversed(x)], around, {"width": 0, "color": "@law"})
    filled |= {"fill": "toself", "fillcolor": "@law/0.15"}
    last = facts.budgets[-1]
    inside = sum(c <= last for c in x)
    known = _line(x[:inside], value[:inside], {"color": "@law", "width": 2})
    beyond = {"color": "@law", "width": 2, "dash": "dash"}
    start = max(inside - 1, 0)
    return [filled, known, _line(x[start:], value[start:], beyond)]


def _background(facts: Facts, key: str) -> Trace:
    """Return all points off the frontier, faint."""
    best = {id(p) for p in facts.best}
    here = [p for p in facts.measured if id(p) not in best and getattr(p, key) is not None]
    trace = _points(here, [p.flops for p in here], [getattr(p, key) for p in here], facts)
    return {**trace, "marker": {"color": "@muted/0.45", "size": 5}}


def _best(facts: Facts, key: str) -> Trace:
    """Return the best point at each budget."""
    best = [p for p in facts.best if getattr(p, key) is not None]
    trace = _points(best, [p.flops for p in best], [getattr(p, key) for p in best], facts)
    spread = [p.dev_loss_se if key == "dev_loss" else p.return_se for p in best]
    trace["error_y"] = _errors(spread, "@law")
    return {**trace, "marker": {"color": "@law", "size": 9}}


def _optima(facts: Facts, key: str) -> list[Trace]:
    """Return the isoFLOP optima, those at an edge hollow and left out of the law."""
    traces = []
    for interior in (True, False):
        chosen = [c for c in facts.isoflops if c.interior == interior]
        if not chosen:
            continue
        value = [getattr(c, key) for c in chosen]
        scale = facts.flops_rise if key == "samples" else 1.0
        known = [c.params_sd_log10 if math.isfinite(c.params_sd_log10) else 0.0 for c in chosen]
        spread = [scale * sd * interior for sd in known]
        note = "" if interior else "<br>at the edge of the sampled sizes:<br>only a bound"
        name = "N" if key == "params" else "D"
        text = [
            f"<b>optimum at {power(c.budget)} FLOPs</b><br>{name} {number(v)}{note}"
            for c, v in zip(chosen, value, strict=True)
        ]
        up = [v * (10**s - 1) for v, s in zip(value, spread, strict=True)]
        down = [v * (1 - 10**-s) for v, s in zip(value, spread, strict=True)]
        symbol = "diamond" if interior else "diamond-open"
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [c.budget for c in chosen],
                "y": value,
                "marker": {
                    "color": "@law",
                    "size": 11,
                    "symbol": symbol,
                    "line": {"color": "@law", "width": 0 if interior else 2},
                },
                "error_y": {
                    **_errors(up, "@law"),
                    "symmetric": False,
                    "arrayminus": down,
                    "visible": interior,
                },
                "hovertext": text,
                "hoverinfo": "text",
            }
        )
    return traces


def _forecast(predicted: Forecast, key: str) -> Trace:
    """Return the forecast of a quantity with its interval."""
    flops, interval = predicted.flops, getattr(predicted, key)
    text = (
        f"<b>forecast at {power(flops)} FLOPs</b><br>{QUANTITIES[key]}: {number(interval.value)}"
        f"<br>{100 * interval.level:.0f} % {bounds_of(predicted, key)}"
    )
    marker = {"symbol": "line-ew-open", "size": 16, "color": "@forecast", "line": {"width": 3}}
    trace = _one(flops, interval.value, marker, text)
    if interval.low is not None and interval.high is not None:
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [interval.high - interval.value],
            "arrayminus": [interval.value - interval.low],
            "color": "@forecast",
            "thickness": 2.5,
            "width": 7,
        }
    return trace


def _star(facts: Facts, x: str, y: str) -> list[Trace]:
    """Return the forecast agent, measured; nothing where a figure of it is missing."""
    agent = facts.agent
    if agent is None or getattr(agent, x) is None or getattr(agent, y) is None:
        return []
    text = f"<b>the forecast agent</b><br>{describe(agent)}"
    trace = _one(getattr(agent, x), getattr(agent, y), dict(STAR), text)
    error = getattr(agent, ERROR_OF[y]) if y in ERROR_OF else None
    if error:
        trace["error_y"] = _errors([error], "@ink")
    return [trace | {"name": "forecast agent", "showlegend": True}]


def _one(x: float, y: float, marker: dict[str, Any], text: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x],
        "y": [y],
        "marker": marker,
        "hovertext": [text],
        "hoverinfo": "text",
        "showlegend": False,
    }


def _line(x: list[Any], y: list[Any], line: dict[str, Any]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": line,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _errors(values: Sequence[float | None], colour: str) -> dict[str, Any]:
    array = [v or 0 for v in values]
    return {"type": "data", "array": array, "color": colour, "thickness": 1.2, "width": 3}


# ---------------------------------------------------------------------- layout


def place_of(place: int, count: int) -> str:
    """Return a place on the sequential scale of colours; a single one has the middle."""
    return f"@seq{place / (count - 1) if count > 1 else 0.5:.3f}"


def layout_of(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    """Return a chart's layout around its two axes, in the style of the page."""
    return {
        "autosize": True,
        "font": {"family": FONT, "size": 13, "color": "@ink"},
        "paper_bgcolor": "@clear",
        "plot_bgcolor": "@clear",
        "margin": {"l": 64, "r": 14, "t": 14, "b": 52},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "@card",
            "bordercolor": "@line",
            "font": {"family": FONT, "color": "@ink", "size": 12},
            "align": "left",
        },
        "modebar": {"bgcolor": "@clear", "color": "@muted", "activecolor": "@ink"},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "xanchor": "left"},
        "xaxis": x,
        "yaxis": y,
    }


def styled(figure: Figure) -> Figure:
    """Return a user's chart in the style of the page, except where it has its own."""
    given = figure.get("layout", {})
    layout = layout_of(_axis(""), _axis(""))
    axes = {name: {**layout[name], **given.get(name, {})} for name in ("xaxis", "yaxis")}
    return {**figure, "layout": {**layout, **given, **axes}}


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 8},
        "gridcolor": "@grid",
        "linecolor": "@line",
        "tickcolor": "@line",
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "automargin": True,
    }


def log_axis(title: str) -> dict[str, Any]:
    """Return a logarithmic axis of powers of ten."""
    return {**_axis(title), "type": "log", "exponentformat": "power"}


def _ticks(traces: list[Trace]) -> str | int:
    """Return the tick spacing of a small chart's log axis at which labels do not overlap."""
    known = [v for trace in traces for v in trace["y"] if v and v > 0]
    decades = math.log10(max(known) / min(known)) if known else 1.0
    return "D2" if decades < 2.5 else math.ceil(decades / 8)  # 1, 2, 5; else powers of ten


def linear_axis(title: str) -> dict[str, Any]:
    """Return a linear axis."""
    return {**_axis(title), "type": "linear"}


def _references(facts: Facts, layout: dict[str, Any]) -> None:
    """Add random play and the expert as horizontal lines with labels.

    If the expert's line is so high that it would flatten the chart, only its label is drawn.
    """
    layout["shapes"], layout["annotations"] = [], []
    highest = max((p.return_mean or 0.0 for p in facts.measured), default=0.0)
    for who in ("random", "expert"):
        mean = facts.score(who)
        if mean is None or not math.isfinite(mean):
            continue
        if who == "expert" and mean > FAR_ABOVE * highest > 0:
            text = f"expert {number(mean)}, far above"
            layout["annotations"].append({**_label(text), "yref": "paper", "y": 1})
            continue
        layout["shapes"].append(
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": mean,
                "y1": mean,
                "line": {"color": "@muted", "width": 1.2, "dash": "dot"},
            }
        )
        layout["annotations"].append({**_label(f"{who} {number(mean)}"), "y": mean})


def _label(text: str) -> dict[str, Any]:
    """Return a note at the left edge, just below a height."""
    return {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "yanchor": "top",
        "showarrow": False,
        "text": text,
        "font": {"color": "@muted", "size": 12},
    }
