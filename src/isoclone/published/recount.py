"""Count the FLOPs of published points by another convention, and compare the exponents.

N and D of a point do not depend on how FLOPs are counted; C does, and with it which points share a
budget. So C is recomputed from N and D, and the isoFLOP curves are made again: along each size's
own learning curve, the loss at the new budgets is interpolated in log-log (a constant-rate run
passes through every compute on its way).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isoclone.base.errors import DataError, FitError
from isoclone.base.records import Interval
from isoclone.laws import ScalingLaws
from isoclone.laws.points import Points
from isoclone.policies.flops import cnn_flops_per_sample
from isoclone.published.atari import recover_widths

Array = np.ndarray
PER_DECADE = 3  # new budgets per decade of FLOPs


def recount_table(table: dict[str, Any], to: str, n_actions: int | None = None) -> dict[str, Any]:
    """Return {'table', 'n_actions', 'unknown_sizes', 'ratio', 'exponents'} of one group.

    `table` is the input with `flops` recounted (missing for sizes that are not the CNN's) and no
    nominal budget; `ratio` is {size: new FLOPs / old}.

    Raises:
        DataError: no size is the CNN's.
    """
    points = Points.from_table(table)
    sizes = {int(n) for n in np.unique(points.params)}
    widths, actions = recover_widths(sizes, n_actions)
    if not widths:
        raise DataError("no size in the table is a parameter count of the CNN: it has other layers")
    rate = {n: cnn_flops_per_sample(w, actions, to) for n, w in widths.items()}
    known = points.keep(np.isin(points.params, list(widths)))
    flops = known.samples * np.array([rate[int(n)] for n in known.params])
    before, after = _exponents(known), _exponents(on_new_budgets(known, flops))
    return {
        "table": _rewritten(table, rate),
        "n_actions": actions,
        "unknown_sizes": sorted(sizes - set(widths)),
        "ratio": _ratios(known, flops),
        "exponents": {k: _change(before[k], after[k]) for k in before},
    }


def on_new_budgets(points: Points, flops: Array) -> Points:
    """Interpolate the points' learning curves at common budgets of the new count."""
    low, high = np.log10(flops.min()), np.log10(flops.max())
    budgets = np.arange(np.ceil(low * PER_DECADE), np.floor(high * PER_DECADE) + 1) / PER_DECADE
    rows: list[tuple[float, ...]] = []
    for code, size in enumerate(np.unique(points.params)):
        here = points.params == size
        rows += _along(code, float(size), np.log10(flops[here]), points.keep(here), budgets)
    columns = np.array(rows).T
    names = ("run", "budget", "flops", "params", "samples", "loss", "returns")
    found = dict(zip(names, columns, strict=True))
    missing = np.full(len(rows), np.nan)
    found["run"] = found["run"].astype(int)
    found |= dict.fromkeys(("loss_se", "returns_se", "unique", "episodes"), missing)
    return Points(**found, cell=np.arange(len(missing)))


def _along(
    code: int, size: float, x: Array, points: Points, budgets: Array
) -> list[tuple[float, ...]]:
    """Interpolate one size's curve at the budgets between its ends; it is never extrapolated."""
    order = np.argsort(x, kind="stable")
    x = x[order]
    inside = budgets[(budgets >= x[0] - 1e-9) & (budgets <= x[-1] + 1e-9)]
    if len(x) < 2:
        return []
    loss = np.exp(np.interp(inside, x, np.log(points.loss[order])))
    samples = np.exp(np.interp(inside, x, np.log(points.samples[order])))
    back = np.interp(inside, x, points.returns[order])
    columns = (np.full(len(inside), code), 10**inside, 10**inside, np.full(len(inside), size))
    return list(zip(*columns, samples, loss, back, strict=True))


def _exponents(points: Points) -> dict[str, Interval]:
    laws = ScalingLaws(bootstraps=50).fit(points)
    found = laws.exponents()["isoflop_optima"]
    return {"params": found.params, "samples": found.samples}


def _change(before: Interval, after: Interval) -> dict[str, Any]:
    """Return both exponents, and their difference with an interval.

    The interval takes the two as independent, which makes it too wide.
    """
    change = after.value - before.value
    half = float(np.hypot(before.value - (before.low or 0), after.value - (after.low or 0)))
    return {
        "before": before.to_json(),
        "after": after.to_json(),
        "change": change,
        "change_interval": Interval(change, change - half, change + half).to_json(),
    }


def _ratios(points: Points, flops: Array) -> dict[str, float]:
    ratio = flops / points.flops
    return {
        f"{size:.0f}": float(np.median(ratio[points.params == size]))
        for size in np.unique(points.params)
    }


def _rewritten(table: dict[str, Any], rate: dict[int, float]) -> dict[str, list[Any]]:
    """Return the table with flops = f(N) D, and no nominal budgets."""
    out = {name: list(values) for name, values in table.items() if name != "budget_flops"}
    flops: list[float | None] = []
    for size, samples in zip(table["params"], table["samples"], strict=True):
        try:
            flops.append(rate[int(float(size))] * float(samples))
        except (KeyError, TypeError, ValueError, OverflowError):
            flops.append(None)
    return {**out, "flops": flops}


def try_exponents(table: dict[str, Any], to: str) -> dict[str, Any] | None:
    """Return the exponents of `recount_table`, None where it fails."""
    try:
        return recount_table(table, to)["exponents"]
    except (DataError, FitError):
        return None
