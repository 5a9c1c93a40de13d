"""Name what makes the laws of return less certain, as `Status` records.

one_seed              one run for each size: how much seeds differ is not known
no_random_reference   no random return: returns are followed as they are
not_above_random      no run returns more than random play
ceiling_ignored       the ceiling given is not above random play
above_ceiling         some returns are higher than the ceiling given
saturated             returns at the ceiling (or levelled off): a power of C means nothing there
not_rising            the best return does not rise with compute
optimum_censored      at some budgets the best size is the smallest or largest sampled one
optimum_flat          at some budgets the return hardly depends on the size
few_optima            too few budgets have their optimum inside: exponents lean on a prior
few_budgets           fewer than 6: the study's own past errors say little about its intervals
returns_not_positive  no power law of the return is fitted where some are zero or negative
no_intrinsic          too few cells have an intrinsic performance
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from isoclone.base.records import Status
from isoclone.laws import diagnostics
from isoclone.laws.points import Points
from isoclone.laws.reinforcement.allocation import OPTIMA, ReturnAllocation
from isoclone.laws.reinforcement.cells import Cells
from isoclone.laws.reinforcement.intrinsic import Intrinsic
from isoclone.laws.reinforcement.optima import Optima
from isoclone.laws.reinforcement.scale import ReturnScale

FEW_BUDGETS = 6


class Fitted(Protocol):
    """What is looked at of fitted laws of return."""

    expert_return: float | None
    random_return: float | None
    points_: Points
    scale_: ReturnScale
    cells_: Cells
    optima_: Optima
    allocation_: ReturnAllocation
    saturated_: np.ndarray

    @property
    def intrinsic_(self) -> Intrinsic | None:
        """Return the law of intrinsic performance."""
        ...


def of_fit(laws: Fitted) -> list[Status]:
    """Return what is wrong with fitted laws of return."""
    return [*_of_table(laws), *_of_ceiling(laws), *_of_optima(laws), *_of_budgets(laws)]


def _of_table(laws: Fitted) -> list[Status]:
    found, returns = [], laws.points_.returns
    if laws.cells_.count.max() < 2:
        text = (
            "one run for each size and budget: how much seeds differ is not known, and intervals "
            "take the scatter about the curves for it; train several seeds"
        )
        found.append(Status("one_seed", text))
    if laws.random_return is None:
        text = (
            "no random return is given: returns are followed as they are, from no floor; measure "
            "random play, or give --random-return"
        )
        found.append(Status("no_random_reference", text))
    elif returns.max() <= laws.random_return:
        text = (
            f"no run returns more than random play, {laws.random_return:g}: the lowest return is "
            "the floor in its place"
        )
        found.append(Status("not_above_random", text))
    low = float(laws.scale_.back(laws.optima_.z).min())  # of the best returns, which a law is of
    if low <= 0 and (laws.random_return is None or laws.random_return >= low):
        text = "some best returns are zero or negative: no power law of the return is fitted"
        found.append(Status("returns_not_positive", text))
    return found


def _of_ceiling(laws: Fitted) -> list[Status]:
    given, floor = laws.expert_return, laws.random_return
    found = diagnostics.of_ceiling(laws.points_.returns, given, floor)
    at = laws.saturated_
    if at.any():
        known = laws.scale_.ceiling
        what = f"the ceiling {known:g}" if known is not None else "the highest of all"
        budgets = laws.cells_.budgets[at]
        where = "at every budget" if at.all() else f"from {budgets[0]:.3g} FLOPs on"
        text = (
            f"{where} several sizes score within 2 % of {what}: a power of C means nothing there, "
            "and which size is best cannot be told; exponents leave these budgets out"
        )
        found.append(Status("saturated", text))
    z = laws.optima_.z
    if z[-1] - z[0] <= laws.optima_.noise[-1] and not at.any():
        text = "the best return does not rise with compute by more than runs differ"
        found.append(Status("not_rising", text))
    return found


def _of_optima(laws: Fitted) -> list[Status]:
    found, curves = [], laws.optima_.curves
    edge = [c for c in curves if c.edge in ("low", "high")]
    if edge:
        which = ", ".join(f"{c.budget:.3g} ({c.edge} end)" for c in edge[:6])
        text = (
            f"at {len(edge)} of {len(curves)} budgets the highest return is at the edge of the "
            f"sampled sizes: {which}; exponents leave these budgets out"
        )
        found.append(Status("optimum_censored", text))
    flat = [c for c in curves if c.edge == "flat"]
    if flat:
        which = ", ".join(f"{c.budget:.3g}" for c in flat[:6])
        text = f"the return hardly depends on the size, for how much runs differ, at {which} FLOPs"
        found.append(Status("optimum_flat", text))
    if laws.allocation_.prior_:
        text = (
            f"{laws.allocation_.used_} budgets tell the best size, and {OPTIMA} are needed: "
            "exponents lean on the prior .5 +- .25"
        )
        found.append(Status("few_optima", text))
    if laws.intrinsic_ is None:
        text = "too few sizes and budgets have returns between the first and the last best one"
        found.append(Status("no_intrinsic", f"{text}: no law of intrinsic performance"))
    return found


def _of_budgets(laws: Fitted) -> list[Status]:
    count = len(np.unique(laws.cells_.budgets))
    if count >= FEW_BUDGETS:
        return []
    text = (
        f"{count} budgets are too few to learn from their own forecasts: intervals rest on the "
        "error rates of published studies"
    )
    return [Status("few_budgets", text)]
