"""All laws of one group of runs, fitted together: `fit(table)` gives a `Fitted`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isoclone.errors import FitError, SpecError
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.isoflop import IsoFlop, fit_isoflops
from isoclone.laws.points import Points
from isoclone.laws.power import PowerLaw
from isoclone.laws.trend import LocalTrend
from isoclone.records import Forecast, Interval, Status, jsonable

Array = np.ndarray

# With few interior optima an exponent is pulled towards an even split of compute. Published
# exponents of N (language models, NetHack, Atari) lie within .3 of it.
PRIOR_EXPONENT, PRIOR_SD = 0.5, 0.25
MIN_LOSS_NOISE = 0.015  # SD of log L between equal runs: .7 to 5 % in published replicates
FAR_DECADES = 1.0
Z95 = 2.2  # a little above 1.96: the spread itself is estimated from few points


def fit(
    table: Mapping[str, Any],
    *,
    expert_return: float | None = None,
    random_return: float | None = None,
    ceiling: float | str | None = "expert",
    seed: int = 0,
) -> Fitted:
    """Fit every law to a table of runs (columns as in `Points.from_table`).

    `ceiling` is the return no forecast may exceed: a number, None for none, or 'expert' for
    `expert_return`. Raises `DataError` on a missing column, `FitError` when no row or only one
    budget is usable.
    """
    if isinstance(ceiling, str):
        if ceiling != "expert":
            raise SpecError(f"ceiling is a number, None or 'expert'; got '{ceiling}'")
        ceiling = expert_return
    return Fitted(Points.from_table(table), expert_return, random_return, ceiling, seed)


class Fitted:
    """The laws of one group of runs, and their forecasts. Made by `fit`."""

    def __init__(
        self,
        points: Points,
        expert_return: float | None,
        random_return: float | None,
        ceiling: float | None,
        seed: int,
    ):
        self.points_, self.ceiling, self.seed = points, ceiling, seed
        self.expert_return, self.random_return = expert_return, random_return
        self.isoflops_ = fit_isoflops(points)
        if len(self.isoflops_) < 2:
            raise FitError(
                f"laws need at least two budgets; the table has one ({points.budgets[0]:.3g} FLOPs)"
            )
        self.flop_rule_ = FlopRule(points.params, points.flops / points.samples)
        self._fit_allocation()
        self._fit_loss()
        self._fit_returns()
        self.status_ = self._status()

    # ---- fitting -------------------------------------------------------------------------------

    def _fit_allocation(self) -> None:
        """N_opt ~ C^a and D_opt ~ C^b through the interior optima (best points when none is)."""
        inner = [c for c in self.isoflops_ if c.interior]
        self.allocation_from_ = "interior optima" if inner else "best sampled sizes (censored)"
        curves = inner or self.isoflops_
        budget = np.array([c.budget for c in curves])
        params = np.array([c.params for c in curves])
        samples = self.flop_rule_.samples(budget, params)
        sd = np.array([c.params_sd_log10 if c.interior else 0.3 for c in curves])
        weights = 1.0 / (np.nan_to_num(sd, nan=0.3) ** 2 + 0.1**2)
        weights = weights / weights.mean()
        law = PowerLaw(PRIOR_EXPONENT, PRIOR_SD)
        self.params_law_ = law.fit(budget, params, weights, noise_sd=0.1)
        law = PowerLaw(PRIOR_EXPONENT, PRIOR_SD)
        self.samples_law_ = law.fit(budget, samples, weights, noise_sd=0.1)

    def _fit_loss(self) -> None:
        x = np.log10([c.budget for c in self.isoflops_])
        y = np.log([min(c.loss, c.best_loss) for c in self.isoflops_])
        relative = [c.best_loss_se / c.best_loss for c in self.isoflops_ if c.best_loss_se]
        noise = float(np.hypot(MIN_LOSS_NOISE, np.median(relative) if relative else 0.02))
        self.loss_noise_ = noise
        self.loss_trend_ = LocalTrend().fit(x, y, noise)
        self.loss_law_ = PowerLaw().fit(10**x, np.exp(y))

    def _fit_returns(self) -> None:
        self.return_trend_, self.return_law_, self.return_scale_ = None, None, None
        rows = [(c.budget, *self._frontier_return(c)) for c in self.isoflops_]
        rows = [row for row in rows if np.isfinite(row[1])]
        self.return_points_ = rows
        if len(rows) < 2:
            return
        x = np.log10([row[0] for row in rows])
        value, se = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
        self.return_scale_ = "log" if (value > 0).all() else "linear"
        if self.return_scale_ == "log":
            y, noise = np.log(value), float(np.median(se / value))
            self.return_law_ = PowerLaw().fit(10**x, value)
        else:
            y, noise = value, float(np.median(se))
        floor = 0.1 if self.return_scale_ == "log" else 0.05 * float(np.ptp(value))
        self.return_trend_ = LocalTrend(memory=0.6, damping=0.5, slope_error=0.5)
        self.return_trend_.fit(x, y, float(np.hypot(noise, floor)))

    def _frontier_return(self, curve: IsoFlop) -> tuple[float, float]:
        """Mean return over the sizes whose loss is within 5 % of the budget's best, and its SE."""
        here = (self.points_.budget == curve.budget) & np.isfinite(self.points_.returns)
        near = here & (self.points_.loss <= 1.05 * curve.best_loss)
        if not near.any():
            near = here & (self.points_.params == curve.best_params)
        if not near.any():
            return np.nan, np.nan
        value, se = self.points_.returns[near], np.nan_to_num(self.points_.returns_se[near])
        spread = float(np.std(value)) if len(value) > 2 else 0.0
        return float(value.mean()), float(np.hypot(np.sqrt(np.mean(se**2)), spread))

    def _status(self) -> list[Status]:
        found = list(self.points_.status)
        censored = [c for c in self.isoflops_ if not c.interior]
        if censored:
            which = ", ".join(f"{c.budget:.3g} ({c.edge} end)" for c in censored[:6])
            found.append(
                Status(
                    "optimum_censored",
                    f"at {len(censored)} of {len(self.isoflops_)} budgets the lowest loss is at "
                    f"the edge of the sampled sizes: {which}; exponents leave these budgets out",
                )
            )
        inner = len(self.isoflops_) - len(censored)
        if inner < 3:
            found.append(
                Status(
                    "few_optima",
                    f"only {inner} budgets have their optimum inside the sampled sizes: the "
                    f"exponents lean on the prior {PRIOR_EXPONENT} +- {PRIOR_SD}",
                )
            )
        if len(self.isoflops_) < 6:
            found.append(
                Status(
                    "few_budgets",
                    f"{len(self.isoflops_)} budgets are too few for a back-test of their own "
                    "(6 or more): intervals use the error rates of published studies",
                )
            )
        if not np.isfinite(self.points_.returns).any():
            found.append(Status("no_returns", "no row has a return: none is forecast"))
        elif self.return_scale_ == "linear":
            found.append(
                Status(
                    "returns_not_positive",
                    "some frontier returns are zero or negative: their trend is taken on the "
                    "linear scale, and no power law is fitted to them",
                )
            )
        return found

    # ---- forecasting ---------------------------------------------------------------------------

    @property
    def last_budget_(self) -> float:
        """The largest budget with evidence, in FLOPs."""
        return self.isoflops_[-1].budget

    def forecast(self, flops: float) -> Forecast:
        """What to train at `flops`, and what loss and return to expect of it.

        Raises `SpecError` unless `flops` is positive and finite.
        """
        if not (np.isfinite(flops) and 0 < flops < 1e40):
            raise SpecError(f"flops must be positive and below 1e40; got {flops!r}")
        curves = self.curves(np.array([flops]))
        one = {name: _interval(curve) for name, curve in curves.items() if name != "flops"}
        beyond = float(max(np.log10(flops / self.last_budget_), 0.0))
        return Forecast(
            flops=float(flops),
            params=one["params"],
            samples=one["samples"],
            dev_loss=one["dev_loss"],
            return_mean=one.get("return_mean"),
            decades_beyond=beyond,
            method=self.method_,
            status=tuple(self.status_ + self._distance_status(flops, beyond)),
        )

    @property
    def method_(self) -> dict[str, Any]:
        """Which methods the forecasts come from."""
        return {
            "allocation": f"power law through {self.allocation_from_}",
            "dev_loss": "damped local trend of log loss",
            "return_mean": self.return_scale_ and f"damped local trend, {self.return_scale_} scale",
            "interval": "trend error",
        }

    def _distance_status(self, flops: float, beyond: float) -> list[Status]:
        if beyond > FAR_DECADES:
            text = f"{beyond:.1f} decades beyond the evidence: treat the interval as a lower bound"
            return [Status("far_extrapolation", text)]
        if flops < self.isoflops_[0].budget:
            return [Status("below_evidence", "the budget is below the smallest one with evidence")]
        return []

    def curves(self, flops: Any) -> dict[str, Any]:
        """{'flops', 'params'|'samples'|'dev_loss'|'return_mean': {'value','low','high'}} on a grid.

        `return_mean` is absent when no returns were measured.
        """
        flops = np.asarray(flops, float)
        x = np.log10(flops)
        params = dict(zip(("value", "low", "high"), self._params(flops), strict=True))
        middle, sd = self.loss_trend_.predict(x), self.loss_trend_.prediction_sd(x)
        out = {
            "flops": flops,
            "params": params,
            "samples": {
                "value": self.flop_rule_.samples(flops, params["value"]),
                "low": self.flop_rule_.samples(flops, params["high"]),
                "high": self.flop_rule_.samples(flops, params["low"]),
            },
            "dev_loss": _band(middle, sd, np.exp),
        }
        if self.return_trend_ is not None:
            out["return_mean"] = self._return_band(x)
        return out

    def _params(self, flops: Array) -> tuple[Array, Array, Array]:
        value = self.params_law_.predict(flops)
        half = Z95 * self.params_law_.prediction_sd(flops)
        return value, value * 10**-half, value * 10**half

    def _return_band(self, x: Array) -> dict[str, Array]:
        assert self.return_trend_ is not None
        scale = np.exp if self.return_scale_ == "log" else np.asarray
        middle, sd = self.return_trend_.predict(x), self.return_trend_.prediction_sd(x)
        band = _band(middle, sd, scale)
        if self.ceiling is not None:
            reached = max(row[1] for row in self.return_points_)
            cap = max(float(self.ceiling), reached)
            band = {name: np.minimum(values, cap) for name, values in band.items()}
        return band

    def isoflop_curves(self) -> list[dict[str, Any]]:
        """For drawing: per budget its points and its parabola."""
        return [
            {"budget_flops": c.budget, "points": c.to_json(), "curve": c.curve()}
            for c in self.isoflops_
        ]

    def to_json(self) -> dict[str, Any]:
        """Every law with its coefficients and intervals, as plain values."""
        return jsonable(
            {
                "points": len(self.points_),
                "dropped": self.points_.dropped,
                "isoflops": [c.to_json() for c in self.isoflops_],
                "laws": {
                    "params": self.params_law_.to_json(),
                    "samples": self.samples_law_.to_json(),
                    "dev_loss": self.loss_law_.to_json(),
                    "return_mean": self.return_law_ and self.return_law_.to_json(),
                },
                "surface": None,
                "method": self.method_,
                "status": [s.to_json() for s in self.status_],
            }
        )


def _band(middle: Array, sd: Array, scale: Any) -> dict[str, Array]:
    """Value, low and high on the natural scale."""
    return {
        "value": scale(middle),
        "low": scale(middle - Z95 * sd),
        "high": scale(middle + Z95 * sd),
    }


def _interval(curve: dict[str, Array]) -> Interval:
    return Interval(*(float(curve[name][0]) for name in ("value", "low", "high")))
