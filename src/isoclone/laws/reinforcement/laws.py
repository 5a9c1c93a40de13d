"""The laws of return: of runs that have no dev loss, as those of reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy import special

from isoclone.base.errors import FitError, SpecError
from isoclone.base.records import Forecast, Interval, Status, jsonable
from isoclone.laws import diagnostics
from isoclone.laws.base import DEFAULT_LAW, Band, Curves, Exponents, check_agents, check_settings
from isoclone.laws.by_return import saturating
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.frontier.ensemble import quantile
from isoclone.laws.points import Points
from isoclone.laws.power import PowerLaw
from isoclone.laws.reinforcement import diagnostics as of_return
from isoclone.laws.reinforcement.allocation import PRIOR_EXPONENT, PRIOR_SD, ReturnAllocation
from isoclone.laws.reinforcement.cells import Cells, cells_of
from isoclone.laws.reinforcement.intrinsic import Intrinsic, fit_intrinsic
from isoclone.laws.reinforcement.optima import DRAWS, Optima, ReturnIsoFlop, fit_optima
from isoclone.laws.reinforcement.saturation import learned, saturated
from isoclone.laws.reinforcement.scale import ReturnScale
from isoclone.laws.reinforcement.trend import continued, half_width, settings_of
from isoclone.laws.sharpness import excluded

Array = np.ndarray
LEVEL = 0.95
GROUPS = 24  # of runs that are left out in turn, at most
FEW = 2  # draws, where only the middle is asked for
LEAST_BEND = -0.05  # of z by log10 N: flatter curves do not say what another size would score


class ReturnLaws:
    """The laws of return of one group of runs.

    Settings: `expert_return`, the ceiling that no forecast exceeds, and `random_return`, in the
    game's score; None where not known. After `fit`: `points_`, `scale_`, `cells_`, `optima_`,
    `allocation_`, `series_`, `status`.
    """

    name = DEFAULT_LAW
    status: tuple[Status, ...]

    def __init__(
        self,
        *,
        expert_return: float | None = None,
        random_return: float | None = None,
        seed: int = 0,
    ):
        check_settings(seed, expert_return=expert_return, random_return=random_return)
        self.expert_return, self.random_return, self.seed = expert_return, random_return, seed

    def fit(self, table: Mapping[str, Any] | Points) -> Self:
        """Fit every law to a table of runs (columns as in `Points.from_table`).

        Raises `DataError` on a missing column, `FitError` when no row with a return is left, or
        only one budget, or when all returns are equal.
        """
        points = table if isinstance(table, Points) else Points.from_table(table)
        points = points.keep(np.isfinite(points.returns))
        if not len(points):
            raise FitError("no row has a return: laws of return need return_mean")
        if len(points.budgets) < 2:
            raise FitError(
                f"laws need at least two budgets; the table has one ({points.budgets[0]:.3g} FLOPs)"
            )
        if np.ptp(points.returns) == 0:
            raise FitError(
                f"all {len(points)} returns are equal ({points.returns[0]:g}): they tell nothing "
                "of size or compute"
            )
        self.points_ = points
        self.scale_ = ReturnScale.of(points.returns, self._floor, self._ceiling)
        self.cells_, self.optima_, self.allocation_ = self._allocated(points, DRAWS)
        others = [self._allocated(part, FEW)[2].exponent_ for part in _without_each(points)]
        self.allocation_.without_each(np.array(others))
        self.saturated_ = saturated(self.optima_.curves, self.scale_)
        self.learned_ = learned(self.cells_, self.scale_.back(self.optima_.z))
        self.series_ = continued(
            self.optima_.x,
            self.optima_.z,
            self.optima_.noise,
            settings_of(self.scale_, float(self.scale_.back(self.optima_.z)[-1])),
        )
        self.rule_ = FlopRule(points.params, points.flops / points.samples)
        self.status = (*points.status, *of_return.of_fit(self))
        return self

    def _allocated(self, points: Points, draws: int) -> tuple[Cells, Optima, ReturnAllocation]:
        """Return the cells, optima and law of the best size of some points."""
        cells = cells_of(points, self.scale_)
        optima = fit_optima(cells, self.scale_, self.seed, draws)
        telling = learned(cells, self.scale_.back(optima.z))
        telling &= ~saturated(optima.curves, self.scale_)
        return cells, optima, ReturnAllocation().fit(optima, telling)

    @property
    def _floor(self) -> float | None:
        return self.random_return

    @property
    def _ceiling(self) -> float | None:
        """Return the ceiling; none where it is not above random play."""
        given, floor = self.expert_return, self.random_return
        return None if given is None or (floor is not None and given <= floor) else given

    @property
    def last_budget_(self) -> float:
        """Return the largest budget with evidence, in FLOPs."""
        return float(self.points_.budgets[-1])

    # ---- asking --------------------------------------------------------------------------------

    def returns(self, flops: Any, interval: float = LEVEL) -> tuple[Array, Array, Array]:
        """Return (return, low, high) of one further agent of the best size at C [m]."""
        x, noise = np.log10(np.atleast_1d(np.asarray(flops, float))), self.optima_.noise
        half = half_width(self.series_, x, interval, noise)
        return self._back(self.series_.predict(x), half, noise)

    def _back(self, z: Array, half: Array, noise: Array) -> tuple[Array, Array, Array]:
        """Return returns of z [m] and of the ends of its interval; the low end can be missed.

        It lies below a ceiling by at least how much what will be measured differs by chance.
        """
        low = z - half
        if self.scale_.ceiling is not None:
            top = float(self.scale_.forward(np.array(self.scale_.ceiling)))
            low = np.minimum(low, top - quantile(LEVEL) * noise[-1])
        return self.scale_.back(z), self.scale_.back(low), self.scale_.back(z + half)

    def forecast(
        self,
        flops: float,
        params: float | None = None,
        samples: float | None = None,
        agents: int = 1,
        episodes: int | None = None,
    ) -> Forecast:
        """Forecast what to train at `flops`, and what return to expect of it.

        The interval is that of the mean of so many `agents`, trained with different seeds; how
        many `episodes` each plays is not in it, but as a part of the spread between runs. With
        `params` (and `samples`, else what the FLOPs allow) the return of that size.
        Raises `SpecError` unless the numbers are positive and finite, `FitError` where no curve
        says what another size than the best would score.
        """
        for name, given in (("flops", flops), ("params", params), ("samples", samples)):
            if given is not None and not 0 < given < 1e40:
                raise SpecError(f"{name} must be positive and below 1e40; got {given!r}")
        check_agents(agents, episodes)
        flops = float(flops)
        n, d = self._split(flops)
        own = params is not None or samples is not None
        x, less = np.log10([flops]), 0.0
        spent = flops
        if own:
            size = n.value if params is None else float(params)
            steps = float(self.rule_.samples(flops, size)) if samples is None else float(samples)
            spent = float(self.rule_.per_sample(size)) * steps
            x = np.log10([spent])
            less = self._shortfall(spent, size)
            n, d = Interval(size, size, size), Interval(steps, steps, steps)
        noise = self.optima_.noise_of_mean(agents)
        half = np.hypot(half_width(self.series_, x, LEVEL, noise), less)
        value, low, high = self._back(self.series_.predict(x) - less, half, noise)
        back = Interval(float(value[0]), float(low[0]), float(high[0]))
        found = diagnostics.of_forecast(self.points_, flops, n.value, spent)
        ends = self.random_return, self._ceiling
        return Forecast(
            flops=flops,
            params=n,
            samples=d,
            dev_loss=None,
            return_mean=back,
            decades_beyond=float(max(np.log10(spent / self.last_budget_), 0.0)),
            method=jsonable(self.method_),
            status=(*self.status, *found),
            excludes=excluded(self.points_, flops, None, back, *ends),
            agents=agents,
        )

    def _split(self, flops: float) -> tuple[Interval, Interval]:
        """Return the best size and its samples at C, with intervals."""
        value, low, high = (float(v[0]) for v in self.allocation_.interval(np.array([flops])))
        value, low, high = np.clip([value, low, high], 1.0, 1e30).tolist()
        d = self.rule_.samples(flops, [value, high, low])
        return Interval(value, low, high), Interval(d[0], min(d), max(d))

    def _shortfall(self, flops: float, params: float) -> float:
        """Return by how much another size than the best falls short at C, on the scale."""
        bends = [
            float(bend)
            for curve, bend in zip(self.optima_.curves, self.optima_.bend, strict=True)
            if curve.interior and bend < LEAST_BEND
        ]
        if not bends:
            raise FitError(
                "no curve of return against size has its best size inside: what another size "
                "would score is unknown; leave out --params and --samples"
            )
        best = float(np.log10(self.allocation_.interval(np.array([flops]))[0][0]))
        return -0.5 * float(np.median(bends[-3:])) * (float(np.log10(params)) - best) ** 2

    @property
    def method_(self) -> dict[str, Any]:
        """Return which methods the forecasts come from."""
        return {
            "allocation": "optima by return",
            "scale": f"{self.scale_.kind}: {self.scale_.formula}",
            "interval": "conformal",
            "return_mean": self.series_.to_json(),
        }

    # ---- for drawing and for JSON --------------------------------------------------------------

    def curves(self, flops: Any) -> Curves:
        """Return N, D and return on a grid of FLOPs [m], with 95 % intervals."""
        flops = np.asarray(flops, float)
        value, low, high = (np.clip(v, 1.0, 1e30) for v in self.allocation_.interval(flops))
        d = np.array([self.rule_.samples(flops, n) for n in (value, high, low)])
        return Curves(
            flops=flops,
            params=Band(value, low, high),
            samples=Band(d[0], d.min(0), d.max(0)),
            return_mean=Band(*self.returns(flops)),
        )

    def isoflop_curves(self) -> list[ReturnIsoFlop]:
        """Return the curve of return against size of each budget, budgets ascending."""
        return self.optima_.curves

    def exponents(self) -> dict[str, Exponents]:
        """Return the exponents of N_opt and D_opt against C, by each way of fitting them.

        `isoflop_optima` is the line through the optima by return, `isoflop_optima_plain` the same
        without a prior where it leans on one; `intrinsic` the law of intrinsic
        performance (Hilton et al. 2023), absent where too few cells have one.
        """
        a = self.allocation_
        roads = {"isoflop_optima": a.exponent(), "isoflop_optima_plain": a.plain_}
        out = {
            road: Exponents(found, a.samples_exponent(self.rule_, self.last_budget_, found))
            for road, found in roads.items()
            if found is not None
        }
        if self.intrinsic_ is not None:
            out["intrinsic"] = self.intrinsic_.exponents()
        return out

    @cached_property
    def intrinsic_(self) -> Intrinsic | None:
        """Return the law of intrinsic performance, None where too few cells have one."""
        n = np.log(self.cells_.sizes)
        if len(n) < 2:
            return None
        rise = float(np.polyfit(n, np.log(self.rule_.per_sample(self.cells_.sizes)), 1)[0])
        return fit_intrinsic(self.cells_, self.optima_, ~self.saturated_, rise)

    def to_json(self) -> dict[str, Any]:
        """Return every law with its coefficients and intervals, as plain values."""
        flops = 10**self.optima_.x
        best = self.scale_.back(self.optima_.z)
        exponents = {road: e.to_json() for road, e in self.exponents().items()}
        a, prior = self.allocation_, {"exponent": PRIOR_EXPONENT, "sd": PRIOR_SD}
        level = a.level_ - a.exponent_ * a.x_ref_
        return jsonable(
            {
                "measure": "return_mean",
                "points": len(self.points_),
                "dropped": self.points_.dropped,
                "budgets": self.points_.budgets,
                "scale": {"kind": self.scale_.kind, "formula": self.scale_.formula},
                "isoflops": [c.to_json() for c in self.optima_.curves],
                "laws": {
                    "params": {
                        "formula": "y = 10^log10_factor * x^exponent",
                        "exponent": exponents["isoflop_optima"]["params"],
                        "log10_factor": level,
                        "points": a.used_,
                        "prior": prior if a.prior_ else None,
                        "plain": exponents.get("isoflop_optima_plain"),
                    },
                    "samples": {"exponent": exponents["isoflop_optima"]["samples"]},
                    "return_mean": self._return_law(flops, best),
                    "return_saturating": saturating(flops, None, best),
                    "intrinsic": None if self.intrinsic_ is None else self.intrinsic_.to_json(),
                },
                "exponents": exponents,
                "frontier": {"flops": flops, "return_mean": best, "saturated": self.saturated_},
                "method": self.method_,
                "status": [s.to_json() for s in self.status],
            }
        )

    def _return_law(self, flops: Array, best: Array) -> dict[str, Any] | None:
        """Return the power law R = a C^k of the budgets below the ceiling; None where it is none.

        Its interval counts the runs' luck, drawn anew, if that says more than the line's scatter.
        """
        use = ~self.saturated_
        if use.sum() < 3 or (best[use] <= 0).any():
            return None
        law = PowerLaw().fit(flops[use], best[use])
        plain = law.exponent_interval()
        drawn = self.scale_.back(self.optima_.z_draws[:, use])
        if (drawn <= 0).any() or plain.low is None:
            return {**law.to_json(), "to_flops": float(flops[use][-1])}
        dx = np.log10(flops[use]) - np.log10(flops[use]).mean()
        slopes = np.log10(drawn) @ dx / (dx**2).sum()
        t = float(special.stdtrit(self.allocation_.dof_, 0.5 + LEVEL / 2))
        half = max(plain.value - plain.low, t * float(np.std(slopes)))
        k = Interval(plain.value, plain.value - half, plain.value + half)
        return {**law.to_json(), "exponent": k.to_json(), "to_flops": float(flops[use][-1])}


def _without_each(points: Points) -> list[Points]:
    """Return the points without one run in turn; without one size, where there is one run of each.

    Of more than `GROUPS` runs, several are left out together. Parts that nothing could be fitted to
    are left out.
    """
    runs, code = np.unique(points.run, return_inverse=True)
    sizes = np.unique(points.params)
    if len(runs) <= len(sizes) or _alone(points):
        code = np.unique(points.params, return_inverse=True)[1]
    group = code.reshape(-1) % GROUPS
    parts = [points.keep(group != one) for one in np.unique(group)]
    return [p for p in parts if len(p) and len(p.budgets) > 1 and np.ptp(p.returns) > 0]


def _alone(points: Points) -> bool:
    """Return whether every run was measured at one budget only."""
    pairs = np.unique(np.column_stack([points.run, points.budget]), axis=0)
    return len(pairs) == len(np.unique(points.run))
