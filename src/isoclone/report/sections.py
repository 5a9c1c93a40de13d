"""The parts of the page, each from the facts alone; everything that came from data is escaped."""

from __future__ import annotations

import base64
import json
import math
import platform
import shlex
from importlib import metadata
from typing import Any

from isoclone import plan
from isoclone.builtins import builtin
from isoclone.errors import IsocloneError
from isoclone.records import Interval, Point
from isoclone.report.facts import DemosFacts, Facts
from isoclone.report.words import (
    MISSING,
    bounds,
    esc,
    number,
    percent,
    plural,
    power,
    whole,
    with_error,
)

PACKAGES = ("isoclone", "torch", "numpy", "scipy", "ale-py", "gymnasium")
CONVENTIONS = {
    "exact": "forward and backward pass (twice the forward) of every matrix multiply and "
    "convolution, each convolution at its output resolution",
    "6nd": "six times parameters times samples",
    "tuyls2023-atari": "forward and backward pass with each convolution at its input resolution, "
    "as in Tuyls et al. 2023 for Atari",
}
ROADS = {
    "isoflop_optima": "a line through the isoFLOP optima",
    "surface_6nd": "the parametric surface, at C = 6ND",
}
LAWS = (
    ("params", "N<sub>opt</sub>", "size: parameters of the best policy"),
    ("samples", "D<sub>opt</sub>", "data: training samples of the best policy"),
    ("dev_loss", "L", "dev loss along the frontier, nats per action"),
    ("return_mean", "R", "mean return along the frontier"),
)


# ---------------------------------------------------------------------- small pieces


def table(head: list[str], rows: list[list[str]], kind: str = "") -> str:
    """A table; a cell that starts with '<td' or '<th' is taken as it is."""
    top = "".join(f"<th scope=col>{h}</th>" for h in head)
    body = "".join(
        "<tr>"
        + "".join(c if c.startswith(("<td", "<th")) else f"<td>{c}</td>" for c in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex=0><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def chart(name: str, label: str, kind: str = "") -> str:
    """The place of a chart; the label is what a screen reader says."""
    return f'<div class="chart {kind}" id="{name}" role="img" aria-label="{esc(label)}"></div>'


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page with a heading that can be linked to."""
    return f'<section id="{name}"><h2>{title}</h2>{"".join(parts)}</section>'


def code(text: Any) -> str:
    """Escaped text in the code font."""
    return f"<code>{esc(text)}</code>"


def note(text: str) -> str:
    """A caption: HTML, already escaped."""
    return f'<p class="note">{text}</p>'


def _holds(answer: bool | None) -> str:
    if answer is None:
        return MISSING
    mark, word = ("✓", "inside") if answer else ("✕", "outside")
    return f'<span class="{"yes" if answer else "no"}">{mark} {word}</span>'


# ---------------------------------------------------------------------- headline


def headline(facts: Facts) -> str:
    """Game, expert, and the answer in one sentence, with its tiles."""
    spec = facts.spec
    missing = "".join(f"<li>{esc(text)}</li>" for text in facts.missing)
    notice = f'<div class="notice"><b>What is missing</b><ul>{missing}</ul></div>'
    return (
        f'<header><p class="eyebrow">isoclone study · {esc(spec.name)}</p>'
        f"<h1>Imitating the {esc(spec.expert)} expert in {esc(spec.game)}</h1>"
        f'<p class="lead">{_answer(facts)}</p>'
        f'<div class="tiles">{"".join(_tiles(facts))}</div>{notice if missing else ""}</header>'
    )


def _answer(facts: Facts) -> str:
    predicted = facts.forecast
    if predicted is None:
        return _best_so_far(facts)
    times = predicted.flops / max(facts.budgets)
    width = f" (width {facts.agent.width})" if facts.agent else ""
    expected = f"expect a dev loss of <b>{number(predicted.dev_loss.value)}</b> nats "
    expected += bounds(predicted.dev_loss.low, predicted.dev_loss.high)
    if predicted.return_mean:
        high = bounds(predicted.return_mean.low, predicted.return_mean.high)
        expected += f" and a return of <b>{number(predicted.return_mean.value)}</b> {high}"
    return (
        f"With <b>{power(predicted.flops)} FLOPs</b>, {times:.1f} times the largest swept budget, "
        f"train <b>{number(predicted.params.value)} parameters</b>{width} on "
        f"<b>{number(predicted.samples.value)} samples</b>: {expected}. {_verdict(facts)}"
    )


def _best_so_far(facts: Facts) -> str:
    best = min(facts.measured, key=lambda p: p.dev_loss or 0.0, default=None)
    if best is None:
        return "No policy has been measured yet."
    played = ""
    if best.return_mean is not None:
        played = f" and a return of <b>{with_error(best.return_mean, best.return_se)}</b>"
    return (
        f"No forecast yet. The best of {plural(len(facts.points), 'point')} so far has "
        f"<b>{number(best.params)} parameters</b> (width {best.width}) after "
        f"<b>{number(best.samples)} samples</b>, {power(best.flops)} FLOPs: a dev loss of "
        f"<b>{with_error(best.dev_loss, best.dev_loss_se)}</b> nats{played}."
    )


def _verdict(facts: Facts) -> str:
    agent = facts.agent
    if agent is None:
        return "The agent that tests this has not been trained yet."
    if agent.dev_loss is None:
        return f"The agent trained to test this has no figures: {esc(agent.reason)}."
    told = f"a dev loss of <b>{with_error(agent.dev_loss, agent.dev_loss_se)}</b>"
    if agent.return_mean is not None:
        told += f" and a return of <b>{with_error(agent.return_mean, agent.return_se)}</b>"
    return f"Trained to test this, the agent reached {told}{_held_words(facts)}."


def _held_words(facts: Facts) -> str:
    """Which of the measured figures lie in their intervals, as the end of a sentence."""
    held = {key: answer for key, answer in _held(facts).items() if answer is not None}
    if not held:
        return ""
    if len(held) == 1:
        return ": inside the interval" if all(held.values()) else ": outside the interval"
    if all(held.values()):
        return ": both inside their intervals"
    if not any(held.values()):
        return ": both outside their intervals"
    inside, outside = ("loss", "return") if held["dev_loss"] else ("return", "loss")
    return f": the {inside} inside its interval, the {outside} outside"


def _held(facts: Facts) -> dict[str, bool | None]:
    held = facts.tested.holds if facts.tested else {}
    return {key: held.get(key) for key in ("dev_loss", "return_mean")}


def _tiles(facts: Facts) -> list[str]:
    tiles = []
    for key, symbol, label in (
        ("params", "N<sub>opt</sub>", "best size grows as"),
        ("samples", "D<sub>opt</sub>", "its samples grow as"),
    ):
        k = _exponent(facts.laws or {}, key)
        if k:
            value = f"{symbol} ∝ C<sup>{_decimals(k['value'])}</sup>"
            tiles.append(_tile(label, value, f"95 % {_exponents(k)}"))
    predicted, agent = facts.forecast, facts.agent
    if predicted:
        held = _held(facts)
        loss = (
            agent and agent.dev_loss is not None and with_error(agent.dev_loss, agent.dev_loss_se)
        )
        tiles.append(_against("dev loss, nats", predicted.dev_loss, loss or None, held["dev_loss"]))
        if predicted.return_mean:
            played = agent and agent.return_mean is not None
            text = with_error(agent.return_mean, agent.return_se) if agent and played else None
            tiles.append(
                _against("return", predicted.return_mean, text, held["return_mean"], _scale(facts))
            )
    return tiles


def _tile(label: str, value: str, below: str, kind: str = "") -> str:
    return (
        f'<div class="tile {kind}"><span class="label">{label}</span>'
        f'<span class="value">{value}</span><span class="below">{below}</span></div>'
    )


def _against(
    label: str, interval: Interval, measured: str | None, holds: bool | None, extra: str = ""
) -> str:
    """A forecast and its measurement in one tile."""
    low_high = bounds(interval.low, interval.high)
    forecast = f"forecast {number(interval.value)} {low_high}"
    if measured is None:
        return _tile(
            f"{label}, forecast", number(interval.value), f"95 % {low_high}{extra}", "wide"
        )
    below = f"{forecast}<br>{_holds(holds)}{extra}"
    return _tile(f"{label}, measured", measured, below, "wide")


def _scale(facts: Facts) -> str:
    """Random play, forecast, measurement and expert on one little ruler."""
    low, high = facts.score("random"), facts.score("expert")
    predicted = facts.forecast and facts.forecast.return_mean
    if low is None or high is None or not predicted or not (high > low):
        return ""
    agent = facts.agent.return_mean if facts.agent else None
    ends = [low, high, predicted.low, predicted.high, agent]
    known = [v for v in ends if v is not None]
    first, last = min(known), max(known)

    def at(value: float) -> float:
        return 4 + 92 * (value - first) / (last - first)

    left = at(first if predicted.low is None else predicted.low)
    right = at(last if predicted.high is None else predicted.high)
    marks = f'<i class="range" style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
    marks += "".join(f'<i class="tick" style="left:{at(v):.1f}%"></i>' for v in (low, high))
    said, middle = f"random {number(low)}, expert {number(high)}", ""
    if agent is not None:
        marks += f'<b style="left:{at(agent):.1f}%">★</b>'
        share = (agent - low) / (high - low)
        said += f"; the agent is {percent(share)} of the way from one to the other"
        middle = f"<b>{percent(share)}</b>"
    words = f"<span>random {number(low)}</span>{middle}<span>expert {number(high)}</span>"
    return (
        f'<span class="ruler" role="img" aria-label="{said}">{marks}</span>'
        f'<span class="ends">{words}</span>'
    )


def _exponent(laws: dict[str, Any], key: str) -> dict[str, Any] | None:
    """A law's exponent with its interval: of the law itself, else through the isoFLOP optima."""
    law = (laws.get("laws") or {}).get(key)
    if law:
        return law["exponent"]
    return ((laws.get("exponents") or {}).get("isoflop_optima") or {}).get(key)


def _decimals(value: float | None, digits: int = 2) -> str:
    return MISSING if value is None else f"{value:.{digits}f}".replace("-", "−")


def _exponents(interval: dict[str, Any]) -> str:
    """An exponent's interval, two decimals."""
    return f"[{_decimals(interval.get('low'))}, {_decimals(interval.get('high'))}]"


# ---------------------------------------------------------------------- charts


def isoflop(facts: Facts) -> str:
    """IsoFLOP curves."""
    if not facts.measured:
        return section("isoflop", "How big a model", note("No point has a dev loss yet."))
    edge = [c for c in facts.isoflops if not c["points"].get("interior", True)]
    said = "One curve for each compute budget: dev loss on held-out episodes against model size."
    if facts.isoflops:
        said += (
            " A filled diamond is a curve's optimum; the line is the parabola it was read from, "
            "drawn over the sizes it was fitted to."
        )
    if edge:
        where = ", ".join(power(c["budget_flops"]) for c in edge)
        said += (
            f" A <b>hollow</b> diamond ({where} FLOPs) lies at the edge of the sampled sizes: "
            "it is only a bound, and the exponents leave it out."
        )
    if facts.agent and facts.agent.dev_loss is not None:
        said += " The star is the forecast agent."
    said += " Bars are standard errors over episodes. Hover for the run behind a point."
    label = f"Dev loss against parameters at {len(facts.budgets)} compute budgets"
    return section(
        "isoflop",
        "How big a model: isoFLOP curves",
        chart("chart-isoflop", label, "tall"),
        note(said),
    )


def frontier(facts: Facts) -> str:
    """N, D, dev loss and return against compute, and return against dev loss."""
    if not facts.measured:
        return ""
    names = {
        "params": "Best size against compute",
        "samples": "Samples at the best size",
        "dev_loss": "Dev loss",
        "return_mean": "Mean return",
    }
    boxes = []
    for key in facts.frontiers:
        title = names[key]
        label = f"{title} against compute, with law, 95 % band and forecast"
        boxes.append(
            f"<figure><figcaption>{title}</figcaption>{chart(f'chart-{key}', label)}</figure>"
        )
    said = (
        "Line: what the laws say, dashed beyond the largest swept budget; shade: its 95 % band. "
        "Bar with a dash: the forecast and its interval. Star: the agent that was trained to "
        "test it (its size and samples were chosen by the forecast, its loss and return measured). "
        "Diamonds are isoFLOP optima, large dots the run with the lowest dev loss at a budget, "
        "faint dots all others."
    )
    if facts.curves is None:
        said = (
            "No law could be fitted, so the points stand alone: large dots for the run with the "
            "lowest dev loss at a budget, faint dots for all others."
        )
    if not boxes:
        said = "One budget makes no frontier: sweep at least two."
    parts = [f'<div class="grid">{"".join(boxes)}</div>', note(said)]
    if facts.has_returns:
        parts.append("<h3>Does a lower dev loss mean a better player?</h3>")
        parts.append(
            chart("chart-return-loss", "Mean return against dev loss, every policy played", "mid")
        )
        parts.append(note(_correlation(facts)))
    return section("frontier", "What compute buys", *parts)


def _correlation(facts: Facts) -> str:
    pairs = [(p.dev_loss, p.return_mean) for p in facts.measured if p.return_mean is not None]
    said = (
        "Every policy of the sweep, colours and shapes as in the isoFLOP chart; bars are standard "
        "errors over episodes."
    )
    if len(pairs) < 4:
        return said
    ranks = [_ranks([float(v or 0.0) for v in column]) for column in zip(*pairs, strict=True)]
    middle = (len(pairs) - 1) / 2
    spread = math.prod(math.sqrt(sum((r - middle) ** 2 for r in column)) for column in ranks)
    both = sum((a - middle) * (b - middle) for a, b in zip(*ranks, strict=True))
    if not spread:
        return said
    rho = f"{both / spread:.2f}".replace("-", "−")
    return f"{said} Rank correlation {rho} over {len(pairs)} policies (−1: never out of order)."


def _ranks(values: list[float]) -> list[float]:
    """Ranks from 0, ties sharing their mean."""
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) - 1) / 2 for v in values]


# ---------------------------------------------------------------------- forecast


def forecast(facts: Facts) -> str:
    """The forecast against its measurement."""
    predicted, agent = facts.forecast, facts.agent
    if predicted is None:
        return section("forecast", "The forecast", note("There is no forecast yet."))
    held = _held(facts)
    names = {
        "params": "parameters N",
        "samples": "training samples D",
        "dev_loss": "dev loss, nats",
        "return_mean": "return",
    }
    rows = []
    for key, name in names.items():
        interval = getattr(predicted, key)
        if interval is None:
            rows.append([name, MISSING, MISSING, MISSING, "not forecast"])
            continue
        chosen = key in ("params", "samples")
        value = number(interval.value)
        measured = _measured(agent, key)
        verdict = "chosen, not tested" if chosen else _holds(held[key])
        rows.append([name, value, bounds(interval.low, interval.high), measured, verdict])
    head = ["quantity", "forecast", "95 % interval", "trained / measured ± SE", "holds?"]
    beyond = predicted.decades_beyond
    far = (
        f"The forecast is for {power(predicted.flops)} FLOPs, {beyond:.2f} decades beyond the "
        f"largest budget with evidence (a factor of {number(10**beyond)})."
        if beyond > 0
        else f"The forecast is for {power(predicted.flops)} FLOPs, inside the evidence."
    )
    parts = [table(head, rows, "figures"), f"<p>{far} {_who(agent)}</p>", _status(predicted.status)]
    if predicted.method:
        told = "; ".join(
            f"{esc(_name(k))}: {esc(_flat(v))}" for k, v in sorted(predicted.method.items())
        )
        parts.append(note(f"Method: {told}."))
    body = f"<div>{''.join(parts)}</div>{video(facts)}"
    return section("forecast", "The forecast, put to the test", f'<div class="split">{body}</div>')


def _measured(agent: Point | None, key: str) -> str:
    if agent is None:
        return "not trained yet"
    if key in ("params", "samples"):
        return whole(getattr(agent, key))
    error = agent.dev_loss_se if key == "dev_loss" else agent.return_se
    return with_error(getattr(agent, key), error)


def _who(agent: Point | None) -> str:
    if agent is None:
        return "Nobody has been trained to test it yet."
    played = f", {plural(agent.episodes, 'episode')} played" if agent.episodes else ""
    return f"Tested by run {code(agent.run_id)} (seed {agent.seed}{played})."


def _name(key: str) -> str:
    return str(key).replace("_", " ")


def _status(status: Any) -> str:
    """Status messages as a list, each with its code."""
    items = []
    for entry in status:
        told = entry if isinstance(entry, dict) else entry.to_json()
        text = str(told.get("message", ""))
        text = text[:1].upper() + text[1:]
        items.append(f"<li>{esc(text)}. <small>{esc(_name(told.get('code', '')))}</small></li>")
    return f'<ul class="status">{"".join(items)}</ul>' if items else ""


def video(facts: Facts) -> str:
    """The forecast agent at play."""
    if facts.video is None:
        return ""
    data = base64.b64encode(facts.video).decode()
    agent = facts.agent
    said = "The agent at play: the middle one of five episodes, by return."
    if agent:
        said = (
            f"The forecast agent at play (the middle one of five episodes, by return): width "
            f"{agent.width}, {whole(agent.params)} parameters, {whole(agent.samples)} samples. "
            f"{code(agent.checkpoint or '')}"
        )
    return (
        '<figure class="video"><video controls loop muted playsinline preload="auto" '
        f'src="data:video/mp4;base64,{data}"></video><figcaption>{said}</figcaption></figure>'
    )


# ---------------------------------------------------------------------- the plan


def savings(facts: Facts) -> str:
    """What the adaptive plan saved, decision by decision."""
    found = facts.savings
    spent, full = found["spent_flops"], found["grid_flops"]
    saved = found["saved_share"]
    told = (
        f"The sweep spent <b>{power(spent)} FLOPs</b> on {found['points']} points. A plain grid "
        f"over the same {len(facts.sweep.widths)} sizes would have spent {power(full)} FLOPs on "
        f"{found['grid_points']}"
    )
    told += f": <b>{percent(saved)} saved</b>." if saved >= 0.005 else ": nothing was saved."
    if not facts.sweep.complete:
        told += " The sweep is not finished, so part of this is simply still to come."
    parts = [f"<p>{told}</p>", _heatmap(facts)]
    if found["decisions"]:
        rows = [
            [
                power(d["budget_flops"]),
                str(int(d["width"])),
                f'<td><span class="tag {esc(d["what"])}">{esc(d["what"])}</span></td>',
                f'<td class="why">{esc(d["why"])}</td>',
            ]
            for d in found["decisions"]
        ]
        parts.append("<h3>Every decision, with its reason</h3>")
        parts.append(table(["budget, FLOPs", "width", "decision", "why"], rows))
    parts.append(_rules(facts))
    return section("plan", "What the plan saved", *parts)


def _rules(facts: Facts) -> str:
    if not facts.spec.adaptive:
        return note("The plan was a plain grid (adaptive = false): every size at every budget.")
    return (
        "<details><summary>The rules</summary><p>Budgets are walked from small to large; each rule "
        "looks at the size with the lowest dev loss (mean over seeds) at a budget.</p><ul>"
        f"<li><b>Stopped.</b> A size {plan.HOPELESS_STEPS} or more steps below the best, and worse "
        f"than it by more than {plan.HOPELESS_SES:g} times their combined standard error, is "
        "trained no further: the best size grows with compute.</li>"
        f"<li><b>Waits.</b> A size {plan.WAITING_STEPS} or more steps above the best of the budget "
        "before is left for later. It joins when the best has come nearer, and then costs what it "
        "would have cost anyway.</li>"
        "<li><b>Added.</b> If the best is the largest (smallest) size there is, one beyond it is "
        f"added, by the ratio of the last two sizes, at most {facts.spec.extend} on either side."
        "</li></ul></details>"
    )


def _heatmap(facts: Facts) -> str:
    """Sizes by budgets: each cell's dev loss, shaded by how near its budget's best it is."""
    decided = {(d["width"], d["budget_flops"]): d["what"] for d in facts.savings["decisions"]}
    params = {p.width: p.params for p in facts.points}
    added = {d["width"] for d in facts.savings["decisions"] if d["what"] == "added"}
    rows = []
    for width in reversed(facts.sweep.widths):
        size = f"<br><small>N {number(params.get(width))}</small>" if width in params else ""
        mark = " <small>added</small>" if width in added else ""
        cells = [f"<th scope=row>width {width}{mark}{size}</th>"]
        for budget in facts.budgets:
            cells.append(_cell(facts, width, budget, decided.get((width, budget), "")))
        rows.append(cells)
    head = ["", *(power(b) for b in facts.budgets)]
    said = (
        "Dev loss of each size (rows) at each budget (columns, FLOPs), mean over seeds. The "
        "stronger a cell's shade, the nearer it is to its budget's best, which is framed. "
        "■ stopped after this "
        "budget, … waits, + added here, ✕ diverged or failed, · not trained."
    )
    return table(head, rows, "heat") + note(said)


def _cell(facts: Facts, width: int, budget: float, decision: str) -> str:
    here = [p for p in facts.points if p.width == width and p.budget_flops == budget]
    mark = {"stopped": " ■", "added": " +", "waits": ""}.get(decision, "")
    if not here:
        return f'<td class="none">{"… waits" if decision == "waits" else "·"}</td>'
    loss = plan.mean_loss(here)
    if not math.isfinite(loss):
        return f'<td class="bad">✕{mark}</td>'
    losses = _losses(facts, budget)
    best = min(losses)
    near = math.exp(-math.log(loss / best) / 0.12) if loss > 0 and best > 0 else 1.0
    kind = ' class="best"' if loss == best else ""
    runs = esc("run " + ", ".join(p.run_id for p in here))
    return f'<td{kind} title="{runs}" style="--near:{100 * near:.0f}%">{number(loss)}{mark}</td>'


def _losses(facts: Facts, budget: float) -> list[float]:
    """Mean dev loss of every size that has one at a budget."""
    found = []
    for width in facts.sweep.widths:
        here = [p for p in facts.points if p.width == width and p.budget_flops == budget]
        if here and math.isfinite(loss := plan.mean_loss(here)):
            found.append(loss)
    return found


# ---------------------------------------------------------------------- laws


def laws(facts: Facts) -> str:
    """Every law with its formula, coefficients and intervals."""
    found = facts.laws
    if not found:
        return section("laws", "The laws", note("No law could be fitted."))
    rows = [_law(found, *law) for law in LAWS]
    head = ["law", "formula", "exponent, 95 %", "scatter, decades", "points"]
    parts = [table(head, rows), _roads(found), _surface(found.get("surface"))]
    parts += [_status(found.get("status") or []), _dropped(found.get("dropped"))]
    rest = {k: v for k, v in found.items() if k not in ("status", "dropped")}
    parts.append(_raw("Everything that was fitted (laws.json)", rest))
    return section("laws", "The laws", *parts)


def _law(found: dict[str, Any], key: str, symbol: str, what: str) -> list[str]:
    """One law as a row; a law known by its exponent alone has no factor."""
    k = _exponent(found, key)
    if k is None:
        return [what, "not fitted", MISSING, MISSING, MISSING]
    law = (found.get("laws") or {}).get(key) or {}
    raised = f"C<sup>{_decimals(k['value'], 3)}</sup>"
    factor = law.get("log10_factor")
    formula = (
        f"{symbol} ∝ {raised}" if factor is None else f"{symbol} = {number(10**factor)} · {raised}"
    )
    scatter = _decimals(law.get("residual_sd_log10"), 3)
    return [what, formula, _exponents(k), scatter, str(law.get("points", MISSING))]


def _roads(found: dict[str, Any]) -> str:
    """The exponents as each way of fitting them has it, for comparison."""
    roads = dict(found.get("exponents") or {})
    published = (found.get("paper") or {}).get("parabola") or {}
    if published:
        roads["published way: parabolas over all sizes"] = {
            key: (published.get(key) or {}).get("exponent") for key in ("params", "samples")
        }
    rows = []
    for road, pair in roads.items():
        cells = [(pair or {}).get(key) for key in ("params", "samples")]
        told = [f"{_decimals(k['value'])} {_exponents(k)}" if k else MISSING for k in cells]
        rows.append([esc(ROADS.get(road, _name(road))), *told])
    if not rows:
        return ""
    head = ["exponents by", "N<sub>opt</sub> against C", "D<sub>opt</sub> against C"]
    return "<h3>The same exponents by other roads</h3>" + table(head, rows)


def _surface(surface: dict[str, Any] | None) -> str:
    """The parametric surface, whatever form it has."""
    if not surface:
        return note("No parametric surface L(N, D) was fitted.")
    found = dict(surface)
    formula = esc(found.pop("formula", "L(N, D)"))
    rows = [
        [f"<i>{esc(name)}</i>", esc(_flat(value))]
        for name, value in dict(found.pop("coefficients", None) or {}).items()
    ]
    told = "; ".join(f"{esc(_name(k))}: {esc(_flat(v))}" for k, v in sorted(found.items()))
    return (
        f"<h3>Parametric surface: <code>{formula}</code></h3>"
        + (table(["coefficient", "value, 95 %"], rows) if rows else "")
        + note(told)
    )


def _flat(value: Any) -> str:
    """A nested value in one line of text."""
    if isinstance(value, dict):
        if {"value", "low", "high"} <= set(value):
            return f"{_short(value['value'])} [{_short(value['low'])}, {_short(value['high'])}]"
        told = (
            f"{_name(k)} ({_flat(v)})" if _nested(v) else f"{_name(k)} {_flat(v)}"
            for k, v in value.items()
        )
        return ", ".join(told) or "none"
    if isinstance(value, list):
        return ", ".join(_flat(v) for v in value) or "none"
    return _short(value)


def _nested(value: Any) -> bool:
    return isinstance(value, dict) and not {"value", "low", "high"} <= set(value)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return MISSING if value is None else str(value)


def _dropped(dropped: Any) -> str:
    if not dropped:
        return ""
    return f"<p>Left out of the fits: {esc(_flat(dropped))}.</p>"


def _raw(title: str, value: Any) -> str:
    text = json.dumps(value, indent=2, sort_keys=True)
    return f"<details><summary>{title}</summary><pre>{esc(text)}</pre></details>"


# ---------------------------------------------------------------------- points


def points(facts: Facts) -> str:
    """Every point, one row each, sortable."""
    everyone = [*facts.points, *([facts.agent] if facts.agent else [])]
    if not everyone:
        return ""
    headings = [
        "run",
        "budget C",
        "spent C",
        "width",
        "N",
        "D",
        "epochs",
        "dev loss",
        "accuracy",
        "return",
        "seed",
        "status",
        "checkpoint or reason",
    ]
    head = "".join(
        f'<th scope=col aria-sort="none"><button type=button>{h}</button></th>' for h in headings
    )
    body = "".join(_row(p) for p in everyone)
    said = (
        f"{plural(len(everyone), 'point')}; click a heading to sort. The same table is in "
        f"{code(facts.folder + '/points.csv')} and {code('points.parquet')}; run "
        f"<i>r</i> is the folder {code(facts.folder + '/runs/')}<i>r</i>."
    )
    return section(
        "points",
        "Every point",
        '<div class="scroll long" tabindex=0><table class="sortable">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        note(said),
    )


def _row(p: Point) -> str:
    cells: list[tuple[Any, str]] = [
        (p.budget_flops, power(p.budget_flops)),
        (p.flops, power(p.flops, 4)),
        (p.width, str(p.width)),
        (p.params, whole(p.params)),
        (p.samples, whole(p.samples)),
        (p.epochs, f"{p.epochs:.2f}"),
        (p.dev_loss, with_error(p.dev_loss, p.dev_loss_se)),
        (p.dev_accuracy, MISSING if p.dev_accuracy is None else percent(p.dev_accuracy, 1)),
        (p.return_mean, with_error(p.return_mean, p.return_se)),
        (p.seed, str(p.seed)),
    ]
    figures = "".join(f'<td data-v="{"" if v is None else v}">{text}</td>' for v, text in cells)
    state = p.status if p.status != "ok" else "forecast" if p.role == "forecast" else "ok"
    kind = ' class="lost"' if p.status != "ok" else ' class="agent"' if p.role == "forecast" else ""
    why = esc(p.reason or "no reason given") if p.status != "ok" else code(p.checkpoint or MISSING)
    return f"<tr{kind}><td>{code(p.run_id)}</td>{figures}<td>{esc(state)}</td><td>{why}</td></tr>"


# ---------------------------------------------------------------------- reproduce


def reproduce(facts: Facts) -> str:
    """Commands, specification, demonstrations, versions: what it takes to do it again."""
    spec = facts.spec
    convention = CONVENTIONS.get(spec.flop_convention, "")
    parts = [f"<pre>{_commands(facts)}</pre>", _demos(facts.demos, facts)]
    parts.append(
        f"<p><b>FLOPs</b> follow the convention {code(spec.flop_convention)}: {convention}. "
        "Biases, activations and the optimiser are not counted. Every point carries N and D, so "
        "that any other convention can be worked out.</p>"
    )
    seeds = ", ".join(str(s) for s in spec.seeds)
    parts.append(
        f"<p><b>Seeds:</b> {seeds} for training, {spec.demos_seed} for the demonstrations. "
        f"<b>Evaluation:</b> about {whole(spec.dev_samples)} dev samples; "
        f"{plural(spec.episodes, 'episode')} for each point's return and {spec.forecast_episodes} "
        f"for the forecast agent's, actions chosen by {code(spec.sampling)}.</p>"
    )
    recipe = [
        [code(k), esc(_short(v) if not isinstance(v, list) else _flat(v))]
        for k, v in spec.recipe.items()
    ]
    parts.append(
        f"<details><summary>Training recipe {code(spec.recipe.get('name', ''))}</summary>"
        f"{table(['field', 'value'], recipe)}</details>"
    )
    parts.append(_raw("Specification (study.json)", spec.to_json()))
    versions = " · ".join(f"{name} {esc(_version(name))}" for name in PACKAGES)
    parts.append(note(f"Page written with {versions} · Python {platform.python_version()}."))
    return section("reproduce", "Do it again", *parts)


def _commands(facts: Facts) -> str:
    spec, folder = facts.spec, shlex.quote(facts.folder)
    again = shlex.quote(f"{facts.folder}-again")
    lines = []
    if _is_builtin(facts):
        command = f"isoclone run {shlex.quote(spec.name)} --out {again}"
        lines += ["# the whole study, from the start", command, ""]
    lines += [
        "# the very same specification, in a new folder",
        f"mkdir {again} && cp {folder}/study.json {again}/",
        f"isoclone run {again}",
        "",
        "# go on with this folder; what is done is not done again",
        f"isoclone run {folder}",
    ]
    return esc("\n".join(lines))


def _is_builtin(facts: Facts) -> bool:
    """Whether the study is one that comes with isoclone, the settled precision aside."""
    try:
        known = builtin(facts.spec.name)
    except IsocloneError:
        return False
    settled = {**known.recipe, "precision": facts.spec.recipe.get("precision")}
    return not known.replace(recipe=settled).difference(facts.spec)


def _demos(found: DemosFacts | None, facts: Facts) -> str:
    if found is None:
        return "<p><b>Demonstrations:</b> not there.</p>"
    ends = ", ".join(f"{count} {kind}" for kind, count in found.ends.items())
    where = facts.spec.demos or f"{facts.folder}/demos"
    return (
        f"<p><b>Demonstrations:</b> expert {code(found.expert)} scores "
        f"{with_error(found.mean, found.se)} over "
        f"{plural(sum(found.episodes.values()), 'episode')} ({esc(ends)}). Split by episode: "
        f"{found.episodes['train']} to train on ({whole(found.samples['train'])} samples), "
        f"{found.episodes['dev']} held out ({whole(found.samples['dev'])} samples). "
        f"Fingerprint {code(found.fingerprint)}, in {code(where)}.</p>"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
