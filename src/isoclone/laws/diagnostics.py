"""Name what makes a fit or a forecast less certain, as `Status` records.

law_failed            a user's law raised an error or gave no forecast: the default law answered
rows_dropped          rows no law can use, counted by reason
plateau               at the first budgets nothing was learned: their rows are left out, and counted
units_suspect         flops / (params x samples) is far from what networks cost
units_mixed           that quotient differs wildly between rows
loss_large            a loss above 50 nats: percent? bits? summed instead of averaged?
optimum_censored      at some budgets the best size is the smallest or largest sampled one
few_optima            fewer than 4 budgets have their optimum inside: exponents lean on a prior
run_luck              seeds differ by as much as sizes do: exponents lean on a prior
few_budgets           fewer than 6: the study's own past errors say little about its intervals
no_surface            too few points for a parametric surface
surface_misfit        its residuals exceed the noise: it is averaged with the isoFLOP optima
floor_at_bound        the fitted E is zero: the data show no floor, forecasts assume none
forms_disagree        the optimum by surface and by isoFLOP optima differ by more than 2x
no_returns            nothing to forecast returns from
repeats_ignored       some runs saw samples again: `fit` counts them as new ones, `needed` does not
loss_no_guide         dev loss hardly predicts the return: no loss forecast tells what comes
returns_not_positive  a log law would be wrong: returns are followed on the linear scale
ceiling_ignored       the ceiling given is not above random play
above_ceiling         some returns are higher than the ceiling given
figures_ignored       figures that cannot be (infinite, a negative error) were taken as missing
far_extrapolation     more than a decade beyond the largest budget with evidence
below_evidence        under the smallest budget
size_not_sampled      the size to train lies outside the sampled sizes
"""

from __future__ import annotations

import numpy as np

from isoclone.base.records import Interval, Status
from isoclone.laws.allocation import EXPONENT_OPTIMA, Allocation
from isoclone.laws.isoflop import IsoFlop
from isoclone.laws.points import Points
from isoclone.laws.return_link import FALLS

Array = np.ndarray

FAR_DECADES = 1.0
REMEDY = {  # by the end at which the lowest loss is
    "low": "smaller sizes (a policy with fewer parameters at width 1) or larger budgets",
    "high": "larger sizes or smaller budgets",
}
DISAGREE = 0.3  # log10 N


def of_optima(curves: list[IsoFlop]) -> list[Status]:
    """Return what is wrong with the isoFLOP optima, and whether the budgets are too few."""
    censored = [c for c in curves if not c.interior]
    found = []
    if censored:
        which = ", ".join(f"{c.budget:.3g} ({c.edge} end)" for c in censored[:6])
        found.append(
            Status(
                "optimum_censored",
                f"at {len(censored)} of {len(curves)} budgets the lowest loss is at the edge of "
                f"the sampled sizes: {which}; exponents leave these budgets out, and "
                f"{' and '.join(REMEDY[edge] for edge in sorted({str(c.edge) for c in censored}))}"
                " would enclose it",
            )
        )
    if len(curves) - len(censored) < EXPONENT_OPTIMA:
        found.append(
            Status(
                "few_optima",
                f"only {len(curves) - len(censored)} budgets have their optimum inside the sampled "
                "sizes: exponents lean on the prior .5 +- .25",
            )
        )
    if len(curves) < 6:
        text = (
            f"{len(curves)} budgets are too few to learn from their own forecasts: intervals rest "
            "on the error rates of published studies"
        )
        found.append(Status("few_budgets", text))
    return found


def of_surface(allocation: Allocation, last_budget: float, loss: Array) -> list[Status]:
    """Return what is wrong with the parametric surface, for points with these losses [n]."""
    surface = allocation.surface_
    if surface is None:
        return [Status("no_surface", "too few points (or sizes) for a parametric surface")]
    found = []
    if not allocation.adequate_:
        text = (
            f"the surface's residuals ({surface.sd_:.3f} in log loss) exceed the noise "
            f"({allocation.noise_:.3f}): it is averaged with the isoFLOP optima"
        )
        found.append(Status("surface_misfit", text))
    floors = np.exp(surface.draws_[:, 0])
    if "E" in surface.at_bound_ or np.quantile(floors, 0.025) < 0.01 * loss.min():
        text = "a floor E of zero cannot be excluded: the data show no lowest loss to count on"
        found.append(Status("floor_at_bound", text))
    at = last_budget * 10
    by_surface = float(surface.optimum(at, allocation.rule_)[0][0])
    by_optima = float(np.log10(allocation.law_.predict(at)))
    if abs(by_surface - by_optima) > DISAGREE:
        text = (
            f"a decade on, the best size is {10**by_surface:.3g} by the surface and "
            f"{10**by_optima:.3g} by the isoFLOP optima"
        )
        found.append(Status("forms_disagree", text))
    return found


def of_returns(returns: Array, random_return: float | None) -> list[Status]:
    """Return whether returns [n] are missing (NaN), or too low for a power law."""
    known = returns[np.isfinite(returns)]
    if not len(known):
        return [Status("no_returns", "no row has a return: none is forecast")]
    low = float(known.min())
    if low <= 0 and (random_return is None or random_return >= low):
        text = "some returns are zero or negative: no power law is fitted where they are, and "
        return [Status("returns_not_positive", text + "their trend may be taken on a linear scale")]
    return []


def of_ceiling(returns: Array, ceiling: float | None, random_return: float | None) -> list[Status]:
    """Return whether the ceiling, the expert's return mostly, cannot be one for returns [n]."""
    known = returns[np.isfinite(returns)]
    if ceiling is None or not len(known):
        return []
    if random_return is not None and ceiling <= random_return:
        text = f"the ceiling {ceiling:g} is not above random play, {random_return:g}: ignored"
        return [Status("ceiling_ignored", text)]
    if known.max() <= ceiling:
        return []
    text = f"a return of {known.max():g} is higher than the ceiling {ceiling:g}"
    return [Status("above_ceiling", f"{text}: the highest return stands in its place")]


def of_luck(allocation: Allocation) -> list[Status]:
    """Return whether what sets runs apart at all budgets hides which size is best."""
    luck = allocation.luck_
    if luck is None or not allocation.prior_ or allocation.interior_ < EXPONENT_OPTIMA:
        return []
    text = (
        f"runs differ by about {100 * luck.sd:.2g} % in loss at all their budgets, which may bend "
        "the isoFLOP curves as much as size does: exponents lean on a prior; more seeds would help"
    )
    return [Status("run_luck", text)]


def of_repeats(points: Points) -> list[Status]:
    """Return whether runs saw samples again, which the surfaces here take for new ones."""
    again = points.samples > 1.01 * points.unique
    if not again.any():
        return []
    text = (
        f"{int(again.sum())} of {len(points)} rows saw samples more than once (up to "
        f"{np.max(points.samples[again] / points.unique[again]):.3g} times): unique_samples is "
        "ignored here; `isoclone laws needed` takes it into account"
    )
    return [Status("repeats_ignored", text)]


def of_link(correlation: Interval | None) -> list[Status]:
    """Return whether dev loss fails to predict the return (rank correlation over all points)."""
    if correlation is None or correlation.high is None or correlation.high < FALLS:
        return []
    text = (
        f"dev loss hardly predicts the return: their rank correlation is {correlation.value:.2f} "
        f"[{correlation.low:.2f}, {correlation.high:.2f}]"
    )
    return [Status("loss_no_guide", text)]


def of_forecast(points: Points, flops: float, params: float, spent: float) -> list[Status]:
    """Return what makes a forecast at `flops` less certain than the fit to these points.

    `params` is the size to train, `spent` the FLOPs that it and its samples really cost.
    """
    found = []
    budgets, sizes = points.budgets, points.params
    beyond = float(np.log10(flops / budgets[-1]))
    if beyond > FAR_DECADES:
        text = f"{beyond:.1f} decades beyond the evidence: errors there were never measured"
        found.append(Status("far_extrapolation", text))
    if flops < budgets[0]:
        text = f"below the smallest budget with evidence, {budgets[0]:.3g} FLOPs"
        found.append(Status("below_evidence", text))
    if abs(np.log10(spent / flops)) > 0.05:
        text = f"that size and sample count cost {spent:.3g} FLOPs, not {flops:.3g}: theirs count"
        found.append(Status("flops_differ", text))
    if not sizes.min() / 1.001 <= params <= sizes.max() * 1.001:
        text = f"{params:.3g} parameters lie outside the sampled sizes, {sizes.min():.3g} to "
        found.append(Status("size_not_sampled", text + f"{sizes.max():.3g}"))
    return found
