"""Choose sizes and budgets from a few short trainings: a pure function of what they measured.

The size that is best grows with compute, about as C^0.25 in width. The curves of a tiny grid, loss
against FLOPs for each width, say where it is now and from which budget on anything is learned. The
time that a study may take says how far up the budgets can go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.base.records import Record

LEARNED = 0.5  # share of what can be learned by which the budgets begin
FLAT = 0.02  # a loss that falls by less of that over a factor of 4 in FLOPs is at its floor
BEYOND_FLOOR = 10.0  # budgets end at so many times the FLOPs that reach the floor
SPREAD = (8.0, 30.0)  # largest over smallest budget
BUDGETS = 6  # enough for the law of the frontier to learn from its own forecasts
GROWTH = (0.0, 0.25, 0.4)  # of the best width with FLOPs: least, usual, most
ROOM = (2.0, 2.2)  # sizes reach so far below the smallest and above the largest best width
STEP = (1.35, 1.8)  # between sizes: least, most
SIZES = (5, 8)
FORECAST = 10 / 3
LONGER = 4.0  # a curve is drawn on so far beyond its last point


@dataclass(frozen=True)
class Curve(Record):
    """One width of the tiny grid: dev loss in nats after so many FLOPs, and seconds a sample."""

    width: int
    params: int
    flops_per_sample: float
    seconds_per_sample: float
    flops: tuple[float, ...] | list[float]
    losses: tuple[float, ...] | list[float]

    def loss_at(self, flops: float) -> float:
        """Return the loss after so many FLOPs; NaN where the curve does not tell."""
        x, y = np.log(self.flops), np.log(np.maximum.accumulate(self.losses[::-1])[::-1])
        at = math.log(flops)
        if at < x[0] or at > x[-1] + math.log(LONGER):
            return math.nan
        if at <= x[-1] or len(x) < 2:
            return float(np.exp(np.interp(at, x, y)))
        slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
        return float(np.exp(y[-1] + slope * (at - x[-1])))


@dataclass(frozen=True)
class Frontier:
    """The best width and its loss at FLOPs where the curves tell: arrays of one length."""

    flops: np.ndarray
    widths: np.ndarray
    losses: np.ndarray
    guess: float  # the loss of who knows the expert's habits alone, in nats

    @property
    def floor(self) -> float:
        """The lowest loss seen."""
        return float(self.losses.min())

    def learned_from(self) -> float:
        """Return the FLOPs from which on half of what can be learned is learned."""
        wanted = self.guess - LEARNED * (self.guess - self.floor)
        return float(self.flops[np.argmax(self.losses <= wanted)])

    def floor_from(self) -> float | None:
        """Return the FLOPs that reach the floor; None while the loss still falls."""
        range_ = max(self.guess - self.floor, 1e-12)
        before = np.interp(np.log(self.flops[-1] / 4), np.log(self.flops), self.losses)
        if before - self.losses[-1] > FLAT * range_:
            return None
        return float(self.flops[np.argmax(self.losses <= self.floor + 1.5 * FLAT * range_)])

    def best_width(self, flops: float) -> float:
        """Return the best width at so many FLOPs, by a power law through those seen."""
        x, y = np.log(self.flops), np.log(self.widths)
        slope = GROWTH[1]
        if x[-1] - x[0] > math.log(4):
            slope = float(np.clip(np.polyfit(x, y, 1)[0], GROWTH[0], GROWTH[2]))
        return float(np.exp(y.mean() + slope * (math.log(flops) - x.mean())))


def frontier(curves: Sequence[Curve], guess: float) -> Frontier:
    """Return the lower edge of the curves, where at least three of them tell.

    Where the next smaller width tells nothing any more, the best one is not known.
    """
    low, high = min(c.flops[0] for c in curves), max(c.flops[-1] for c in curves)
    ordered, rows = sorted(curves, key=lambda c: c.width), []
    for flops in np.geomspace(low, high, 60):
        losses = np.array([c.loss_at(flops) for c in ordered])
        known = np.flatnonzero(np.isfinite(losses))
        if len(known) < min(3, len(ordered)):
            continue
        best = int(known[np.argmin(losses[known])])
        if best == 0 or best - 1 in known:
            rows.append((flops, ordered[best].width, losses[best]))
    if not rows:  # trainings that were too short to meet
        rows = [(c.flops[-1], c.width, c.losses[-1]) for c in ordered[:1]]
    columns = np.array(rows, float).T
    return Frontier(columns[0], columns[1], columns[2], guess)


@dataclass(frozen=True)
class Grid:
    """Sizes and budgets of a sweep."""

    widths: tuple[int, ...]
    budgets_flops: tuple[float, ...]


def grid_up_to(seen: Frontier, largest: float, batch_flops: Callable[[int], float]) -> Grid:
    """Return the sizes and budgets of a sweep whose largest budget is given.

    Args:
        batch_flops: what one batch of a width costs; a size that the smallest budget cannot pay
            for is left out.
    """
    smallest = min(max(seen.learned_from(), largest / SPREAD[1]), largest / SPREAD[0])
    budgets = tuple(_rounded(b) for b in np.geomspace(smallest, largest, BUDGETS))
    low = seen.best_width(budgets[0]) / ROOM[0]
    high = seen.best_width(FORECAST * budgets[-1]) * ROOM[1]
    widths = [w for w in _ladder(low, high) if batch_flops(w) <= budgets[0]]
    return Grid(tuple(widths), budgets)


def _ladder(low: float, high: float) -> list[int]:
    """Return whole widths from `low` to `high`, at about equal ratios."""
    low = max(1.0, low)
    high = max(high, low * 4)
    steps = math.log(high / low)
    count = min(max(math.ceil(steps / math.log(STEP[1])) + 1, SIZES[0]), SIZES[1])
    if steps / (count - 1) < math.log(STEP[0]):
        count = max(SIZES[0], int(steps / math.log(STEP[0])) + 1)
    wanted = np.geomspace(low, high, count)
    widths: list[int] = []
    for width in wanted:
        widths.append(max(round(width), widths[-1] + 1 if widths else 1))
    return widths


def _rounded(value: float) -> float:
    return float(f"{value:.1e}")


def largest_affordable(
    seen: Frontier,
    batch_flops: Callable[[int], float],
    share: Callable[[Grid], float],
) -> Grid:
    """Return the grid with the largest budgets that are done in time.

    Args:
        batch_flops: what one batch of a width costs.
        share: the time that a grid takes, as a share of what it may take.


    Budgets beyond the floor of the loss tell nothing, so they end a decade after it. If even the
    smallest budgets take too long, it is those.
    """
    at_floor, start = seen.floor_from(), seen.learned_from()
    top = min(start * 1e4, BEYOND_FLOOR * at_floor if at_floor else math.inf)
    smallest = start * SPREAD[0]
    chosen = None
    for largest in np.geomspace(max(top, smallest), smallest, 40):
        chosen = grid_up_to(seen, float(largest), batch_flops)
        if len(chosen.widths) >= SIZES[0] - 2 and share(chosen) <= 1:
            break
    assert chosen is not None  # there are forty to try
    return chosen


def told(calibration: dict[str, Any], budgets_flops: Sequence[float]) -> str:
    """Return a calibration as a line for people; '' if there was none."""
    if not calibration:
        return ""
    best = ""
    if "curves" in calibration:  # of cloning; how returns will rise is not known before
        curves = [Curve.from_json(row) for row in calibration["curves"]]
        seen = frontier(curves, calibration["guess_loss"])
        ends = (min(budgets_flops), max(budgets_flops))
        at = " and ".join(f"{seen.best_width(b):.2g} at {b:.2g} FLOPs" for b in ends)
        best = f"the best width is about {at}; "
    speed, workers = calibration["speed"], calibration["workers"]
    rate = speed["rollout_steps_per_s"]  # None where there is nothing to play
    plays = f", rollouts make {rate:,.0f} steps/s" if rate else ""
    return (
        f"sizes and budgets by a calibration of {calibration['seconds']:.0f} s, for "
        f"{calibration['minutes']:g} min on {workers} workers: {best}"
        f"a training sample takes {1e6 * speed['base_s']:.0f} us{plays}"
    )
