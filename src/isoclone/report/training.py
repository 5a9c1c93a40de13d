"""Training curves by size: losses, gradient norms and speeds along the runs."""

from __future__ import annotations

import statistics
from typing import Any

from markupsafe import escape

from isoclone.base.curves import CurveRow
from isoclone.report.facts import Facts, TrainingFacts
from isoclone.report.figures import (
    QUANTITIES,
    STEPS,
    SYMBOLS,
    layout_of,
    linear_axis,
    log_axis,
    place_of,
    whole,
)
from isoclone.report.sections import Figure, Section
from isoclone.report.templating import fill
from isoclone.report.words import number

RETURN = "return_mean"  # of the training curve of a run that learns by playing


def training(facts: Facts) -> Section | None:
    """Return every run's training curve, coloured by size; None if no run has one."""
    if not facts.training:
        return None
    first = {"returns": _returns(facts)} if facts.by_return else {"losses": _losses(facts)}
    drawn = {name: chart for name, chart in first.items() if chart["data"]}
    drawn["gradients"] = _gradients(facts)
    told = ["last return"] if facts.by_return else ["last training loss", "last dev loss"]
    html = fill(
        "training",
        facts=facts,
        heads=["width", "N", "runs", f"most {facts.samples_word}", *told, "speed"],
        rows=_speeds(facts),
        runs=len(facts.training),
        drawn=drawn,
    )
    return Section("How training went", html=html, figures=drawn)


def _losses(facts: Facts) -> Figure:
    """Draw training loss (lines) and dev loss (symbols) against samples."""
    traces = []
    for run, colour, told in _coloured(facts):
        known = [row for row in run.rows if row.train_loss is not None]
        texts = [f"{told}<br>{_said(row)}" for row in known]
        line = {"color": colour, "width": 1.5}
        traces.append(_trace(run, known, "train_loss", texts, facts) | {"line": line})
    for run, colour, told in _coloured(facts):
        known = [row for row in run.rows if row.dev_loss is not None]
        texts = [f"{told}<br>{_said(row)}" for row in known]
        dots = _trace(run, known, "dev_loss", texts, facts) | {"showlegend": False}
        symbol = SYMBOLS[_sizes(facts).index(run.params) % len(SYMBOLS)]
        marker = {"color": colour, "size": 8, "symbol": symbol}
        marker["line"] = {"color": "@card", "width": 1}
        traces.append({**dots, "mode": "markers", "marker": marker})
    layout = layout_of(log_axis(QUANTITIES["samples"]), log_axis("loss (nats per action)"))
    layout["legend"]["title"] = {"text": "parameters N", "side": "top", "font": {"size": 13}}
    return {"data": traces, "layout": layout}


def _returns(facts: Facts) -> Figure:
    """Draw the mean return of the episodes of training against environment steps."""
    traces = []
    for run, colour, told in _coloured(facts):
        known = [row for row in run.rows if getattr(row, RETURN, None) is not None]
        texts = [
            f"{told}<br>return {number(getattr(row, RETURN))} after {whole(row.samples)} steps"
            for row in known
        ]
        line = {"color": colour, "width": 1.5}
        if known:
            traces.append(_trace(run, known, RETURN, texts, facts) | {"line": line})
    layout = layout_of(log_axis(STEPS), linear_axis("return while learning"))
    layout["legend"]["title"] = {"text": "parameters N", "side": "top", "font": {"size": 13}}
    return {"data": traces, "layout": layout}


def _gradients(facts: Facts) -> Figure:
    """Draw the gradient's norm against samples."""
    traces = []
    for run, colour, told in _coloured(facts):
        known = [row for row in run.rows if row.gradient_norm]
        texts = [f"{told}<br>gradient norm {number(row.gradient_norm)}" for row in known]
        line = {"color": colour, "width": 1.2}
        traces.append(_trace(run, known, "gradient_norm", texts, facts) | {"line": line})
    title = STEPS if facts.by_return else QUANTITIES["samples"]
    layout = layout_of(log_axis(title), log_axis("norm of the gradient"))
    layout["showlegend"] = False
    return {"data": traces, "layout": layout}


def _coloured(facts: Facts) -> list[tuple[TrainingFacts, str, str]]:
    """Return each run with the colour of its size, and what hovering says of it first."""
    sizes = _sizes(facts)
    return [
        (
            run,
            place_of(sizes.index(run.params), len(sizes)),
            f"<b>run {escape(run.run_id)}</b> · width {run.width} · N {whole(run.params)}"
            f" · seed {run.seed}{' · the forecast agent' if run.role == 'forecast' else ''}",
        )
        for run in facts.training
    ]


def _sizes(facts: Facts) -> list[int]:
    return sorted({run.params for run in facts.training})


def _trace(
    run: TrainingFacts, rows: list[CurveRow], key: str, texts: list[str], facts: Facts
) -> dict[str, Any]:
    first = next(r for r in facts.training if r.params == run.params)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [row.samples for row in rows],
        "y": [getattr(row, key) for row in rows],
        "hovertext": texts,
        "hoverinfo": "text",
        "name": number(run.params),
        "legendgroup": str(run.params),
        "showlegend": run is first,
    }


def _said(row: CurveRow) -> str:
    """Return what hovering over a row says of it."""
    loss = row.train_loss if row.dev_loss is None else row.dev_loss
    which = "training loss" if row.dev_loss is None else "dev loss"
    text = f"{which} {number(loss)} nats after {whole(row.samples)} samples"
    if row.learning_rate is not None:
        text += f"<br>learning rate {number(row.learning_rate)}"
    return text


def _speeds(facts: Facts) -> list[list[Any]]:
    """Return for each size: width, N, runs, samples seen, the last losses, the median speed.

    Of runs without losses, the last return while learning.
    """
    rows = []
    for params in _sizes(facts):
        runs = [run for run in facts.training if run.params == params]
        speeds = [r.samples_per_s for run in runs for r in run.rows if r.samples_per_s]
        longest = max(runs, key=lambda run: run.rows[-1].samples)
        rows.append(
            [
                runs[0].width,
                whole(params),
                len(runs),
                whole(longest.rows[-1].samples),
                *[_last(longest.rows, key) for key in _told(facts)],
                f"{number(statistics.median(speeds))}/s" if speeds else None,
            ]
        )
    return rows


def _told(facts: Facts) -> tuple[str, ...]:
    return (RETURN,) if facts.by_return else ("train_loss", "dev_loss")


def _last(rows: tuple[CurveRow, ...], key: str) -> float | None:
    values = [getattr(row, key, None) for row in rows]
    return next((value for value in reversed(values) if value is not None), None)
