"""A law read backwards: from the loss or return wanted to the compute that reaches it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoclone.base.errors import FitError, SpecError
from isoclone.laws.reinforcement.laws import ReturnLaws
from isoclone.laws.scaling import ScalingLaws

Array = np.ndarray
REACH_DECADES = 6.0  # how far beyond the evidence is looked
STEPS = 400


@dataclass(frozen=True)
class FlopsNeeded:
    """FLOPs at which the forecast reaches a target, and each end of its interval does.

    `low` is where the hopeful end reaches it, `high` where the cautious end does; None where it
    does not within six decades beyond the evidence.
    """

    value: float
    low: float | None
    high: float | None


def flops_for(
    laws: ScalingLaws | ReturnLaws, loss: float | None = None, mean_return: float | None = None
) -> FlopsNeeded:
    """Return the FLOPs at which the forecast, and each end of its interval, reach a target.

    Raises `SpecError` unless exactly one finite target is given; `FitError` when even the forecast
    itself does not get there, or no returns were measured.
    """
    if (loss is None) == (mean_return is None):
        raise SpecError("give exactly one target: a loss or a return")
    if mean_return is not None and not np.isfinite(mean_return):
        raise SpecError(f"the target return must be a finite number; got {mean_return!r}")
    first, last = (np.log10(b) for b in (laws.points_.budgets[0], laws.last_budget_))
    flops = np.logspace(first, last + REACH_DECADES, STEPS)
    if loss is not None:
        return _from_loss(laws, flops, loss)
    band = laws.returns(flops)
    if band is None or mean_return is None:
        raise FitError("the table has no returns along the frontier: no return can be targeted")
    middle, low, high = band
    crossing = [_first(flops, v >= mean_return) for v in (middle, high, low)]
    best = float(np.max(middle))
    return _answer(crossing, f"a return of {mean_return:g}", f"{best:.4g}", laws)


def _from_loss(laws: ScalingLaws | ReturnLaws, flops: Array, loss: float) -> FlopsNeeded:
    if isinstance(laws, ReturnLaws):
        raise FitError("a target loss needs dev_loss; the table has returns only: give a return")
    if not (np.isfinite(loss) and loss > 0):
        raise SpecError(f"the target loss must be positive; got {loss!r}")
    middle, low, high = laws.frontier(flops)
    crossing = [_first(flops, v <= loss) for v in (middle, low, high)]
    return _answer(crossing, f"a loss of {loss:g}", f"{float(middle.min()):.4g}", laws)


def _first(flops: Array, reached: Array) -> float | None:
    """Return the first C from which on the target stays reached."""
    if not reached[-1]:
        return None
    missed = np.flatnonzero(~reached)
    return float(flops[0] if not len(missed) else flops[missed[-1] + 1])


def _answer(
    crossing: list[float | None], what: str, best: str, laws: ScalingLaws | ReturnLaws
) -> FlopsNeeded:
    value, low, high = crossing
    if value is None:
        raise FitError(
            f"{what} is not reached within {REACH_DECADES:g} decades beyond the evidence "
            f"({laws.last_budget_:.3g} FLOPs); the forecast levels off at {best}"
        )
    return FlopsNeeded(value, low, high)
