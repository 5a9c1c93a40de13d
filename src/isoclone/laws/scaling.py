"""The default law: all scaling laws of one group of runs, fitted together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from isoclone.base.errors import FitError, SpecError
from isoclone.base.records import Forecast, Interval, Status, jsonable
from isoclone.laws import diagnostics
from isoclone.laws.allocation import PRIOR_EXPONENT, PRIOR_SD, Allocation, plain_law
from isoclone.laws.base import DEFAULT_LAW, Band, Curves, Exponents, check_agents, check_settings
from isoclone.laws.by_return import exponents_by_return, saturating
from isoclone.laws.frontier.backtest import BacktestRow, backtest, chosen
from isoclone.laws.frontier.ensemble import DOF, quantile
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.frontier.replay import Replay, link_growth, replay
from isoclone.laws.isoflop import IsoFlop, shared_curvature
from isoclone.laws.luck import half_width_with
from isoclone.laws.points import Points
from isoclone.laws.power import PowerLaw
from isoclone.laws.published_way import published_way
from isoclone.laws.return_link import ReturnLink, rank_correlation
from isoclone.laws.sharpness import excluded
from isoclone.laws.surface import FORMS, Surface

Array = np.ndarray
LEVEL = 0.95
ORIGINS = 12  # of past forecasts, the last ones, that an interval learns from
_PRIOR = {"exponent": PRIOR_EXPONENT, "sd": PRIOR_SD}


@dataclass(frozen=True)
class Split:
    """How to split compute: the size and the samples to train, with intervals."""

    params: Interval
    samples: Interval


class ScalingLaws:
    """The laws of one group of runs.

    Settings: `expert_return` and `random_return` in the game's score; `ceiling` the return that no
    forecast may exceed (a number, None, or 'expert' for `expert_return`); `bootstraps` draws.
    After `fit`: `points_`, `isoflops_`, `allocation_`, `replay_`, `loss_law_`, `status`.
    """

    name = DEFAULT_LAW
    status: tuple[Status, ...]

    def __init__(
        self,
        *,
        expert_return: float | None = None,
        random_return: float | None = None,
        ceiling: float | str | None = "expert",
        bootstraps: int = 200,
        seed: int = 0,
    ):
        if isinstance(ceiling, str) and ceiling != "expert":
            raise SpecError(f"ceiling is a number, None or 'expert'; got '{ceiling}'")
        check_settings(seed, expert_return=expert_return, random_return=random_return)
        self.expert_return, self.random_return = expert_return, random_return
        self.ceiling, self.bootstraps, self.seed = ceiling, bootstraps, seed

    # ---- fitting -------------------------------------------------------------------------------

    def fit(self, table: Mapping[str, Any] | Points) -> Self:
        """Fit every law to a table of runs (columns as in `Points.from_table`).

        Raises `DataError` on a missing column, `FitError` when no row or only one budget is left.
        """
        points = table if isinstance(table, Points) else Points.from_table(table)
        if len(points.budgets) < 2:
            raise FitError(
                f"laws need at least two budgets; the table has one ({points.budgets[0]:.3g} FLOPs)"
            )
        points.need_losses("the law of losses")
        self.points_, self.evidence_ = points, Evidence(points)
        self.isoflops_ = self.evidence_.isoflops
        self.allocation_ = Allocation(self.bootstraps, self.seed).fit(self.evidence_)
        self.loss_law_ = PowerLaw().fit(10**self.evidence_.x, np.exp(self.evidence_.y))
        self.status = (*points.status, *self._diagnosed())
        return self

    def _diagnosed(self) -> list[Status]:
        return [
            *diagnostics.of_optima(self.isoflops_),
            *diagnostics.of_luck(self.allocation_),
            *diagnostics.of_repeats(self.points_),
            *diagnostics.of_surface(self.allocation_, self.last_budget_, self.points_.loss),
            *diagnostics.of_returns(self.points_.returns, self.random_return),
            *diagnostics.of_ceiling(self.points_.returns, self.given_ceiling_, self.random_return),
            *diagnostics.of_link(rank_correlation(self.points_)),
        ]

    @cached_property
    def replay_(self) -> Replay:
        """Return the forecasters, fitted at every budget in turn, and their combination."""
        scores = self.random_return, self.ceiling_
        return replay(self.evidence_, *scores, baselines=False, origins=ORIGINS)

    @cached_property
    def backtest_(self) -> list[BacktestRow]:
        """Return the rows of the back-test of this group (see `backtest`)."""
        played = replay(self.evidence_, self.random_return, self.ceiling_, best=True)
        return backtest(played, "", self.ceiling_)

    @property
    def ceiling_(self) -> float | None:
        """Return the score that no forecast exceeds; None where it is not above random play."""
        given, floor = self.given_ceiling_, self.random_return
        return None if given is None or (floor is not None and given <= floor) else given

    @property
    def given_ceiling_(self) -> float | None:
        """Return the ceiling as it was given, whether it can be one or not."""
        return self.expert_return if self.ceiling == "expert" else self.ceiling  # type: ignore[return-value]

    @property
    def last_budget_(self) -> float:
        """Return the largest budget with evidence, in FLOPs."""
        return float(self.points_.budgets[-1])

    # ---- asking --------------------------------------------------------------------------------

    def predict(self, X: Any, interval: float | None = None) -> Any:
        """Predict the loss in nats at rows (N, D) of X [m, 2].

        It is the frontier's loss times the surface's excess.

        With `interval`, (loss, low, high). Raises `FitError` where no surface could be fitted.
        """
        table = np.atleast_2d(np.asarray(X, float))
        n, d = table[:, 0], table[:, 1]
        flops = self.evidence_.rule.per_sample(n) * d
        surface = self._surface()
        best = np.array([surface.optimum(c, self.evidence_.rule)[1][0] for c in flops])
        excess = np.maximum(surface.log_loss(n, d) - best, 0.0)
        x = np.log10(flops)
        middle = self.replay_.loss.predict(x) + excess
        if interval is None:
            return np.exp(middle)
        half = np.hypot(self.replay_.loss.half_width(x, interval), 2 * surface.sd_)
        return np.exp(middle), np.exp(middle - half), np.exp(middle + half)

    def _surface(self) -> Surface:
        if self.allocation_.surface_ is None:
            raise FitError("too few points for a surface: the loss off the frontier is unknown")
        return self.allocation_.surface_

    def optimal_allocation(self, flops: float, interval: float = LEVEL) -> Split:
        """Return the size and the samples to train at C, with intervals at that level."""
        flops = _check_flops(flops)
        value, low, high = (float(v[0]) for v in self.allocation_.interval(flops, interval))
        value, low, high = np.clip([value, low, high], 1.0, 1e30).tolist()
        samples = self.evidence_.rule.samples(flops, [value, high, low])
        # In a table of mixed units more parameters need not mean fewer samples.
        return Split(
            Interval(value, low, high, interval),
            Interval(samples[0], min(samples), max(samples), interval),
        )

    def frontier(
        self, flops: Any, interval: float = LEVEL, agents: int = 1
    ) -> tuple[Array, Array, Array]:
        """Return (loss, low, high) of the best run at C [m], nats.

        The interval is that of the mean of so many further agents, which differ in their seed
        alone: their own noise is added to that of the frontier, with one seed the luck of runs.
        """
        flops = np.atleast_1d(np.asarray(flops, float))
        x = np.log10(flops)
        middle, half = self.replay_.loss.predict(x), self.replay_.loss.half_width(x, interval)
        half = np.hypot(half, 2 * self.evidence_.noise_of_mean(agents))
        luck = self.evidence_.unseen_luck
        if luck is not None:
            size = np.clip(self.allocation_.interval(flops)[0], 1.0, 1e30)
            half = half_width_with(luck, size, half, DOF, interval, agents)
        return np.exp(middle), np.exp(middle - half), np.exp(np.minimum(middle + half, 700))

    def returns(
        self, flops: Any, interval: float = LEVEL, agents: int = 1, episodes: int | None = None
    ) -> tuple[Array, Array, Array] | None:
        """Return (return, low, high) of a run near the frontier at C [m]; None without returns.

        With a ceiling, the interval is that of the mean of so many further agents, each of which
        plays so many episodes (None: as many as a point); without one it is that of one agent.
        """
        series, measured = self.replay_.returns, self.replay_.series
        if series is None or measured is None:
            return None
        x = np.log10(np.atleast_1d(np.asarray(flops, float)))
        middle, half = series.predict(x), series.half_width(x, interval)
        link = self._link
        beyond = x > measured.x[-1]
        if link is not None:
            log_loss, sd = self._log_loss(x[beyond])
            middle[beyond] = 0.5 * (middle[beyond] + link.back(link.at(log_loss)))
        cap = np.inf if measured.top is None else measured.top
        low, high = middle - half, np.minimum(middle + half, cap)
        if measured.base is not None:
            low = np.maximum(low, measured.base)
        middle = np.minimum(middle, cap)
        if link is not None and link.ceiling is not None:  # the interval is the link's
            stretch = quantile(interval) * self.replay_.link_stretch(len(measured.x))
            far = link_growth(x[beyond] - measured.x[-1])
            z, sd = link.forward(middle[beyond]), link.sd(log_loss, sd, agents, episodes)
            reach = stretch * far * sd
            low[beyond] = np.clip(link.back(z - reach), link.floor, cap)
            high[beyond] = np.clip(link.back(z + reach), link.floor, cap)
        return middle, np.minimum(low, middle), np.maximum(high, middle)

    def _link_beyond(self, flops: float) -> ReturnLink | None:
        """Return the link if the return's interval at C is the link's: beyond, with a ceiling."""
        link, measured = self._link, self.replay_.series
        if link is None or link.ceiling is None or measured is None:
            return None
        return link if np.log10(flops) > measured.x[-1] else None

    def _counts_episodes(self, flops: float) -> bool:
        """Whether the return's interval at C depends on how many episodes the agents play."""
        link = self._link_beyond(flops)
        return link is not None and link.knows_episodes

    def _log_loss(self, x: Array) -> tuple[Array, Array]:
        """Return the forecast log loss and its SD at log10 C [m]."""
        series = self.replay_.loss
        return series.predict(x), series.half_width(x) / quantile(LEVEL)

    def return_by_loss(
        self, flops: float, agents: int = 1, episodes: int | None = None
    ) -> dict[str, Any] | None:
        """Return how dev loss foretells return; None without a link.

        `rank_correlation` of the two over all points, with its interval; of the variance of the
        return forecast at C, `share_of_loss` comes from not knowing the loss and
        `share_of_episodes` from the agents' episodes; the rest comes from the link. There are no
        shares where the return's interval is not the link's, as without a ceiling.
        """
        link = self._link
        if link is None:
            return None
        told: dict[str, Any] = {"rank_correlation": rank_correlation(self.points_)}
        if self._link_beyond(flops) is not None:
            shares = link.shares(*self._log_loss(np.log10([flops])), agents, episodes)
            told |= {f"share_of_{name}": float(share[0]) for name, share in shares.items()}
        return told

    @property
    def _link(self) -> ReturnLink | None:
        """Return the link of return and loss at the last budget; None with too few returns."""
        measured = self.replay_.series
        return None if measured is None else self.replay_.links.get(len(measured.x))

    def forecast(
        self,
        flops: float,
        params: float | None = None,
        samples: float | None = None,
        agents: int = 1,
        episodes: int | None = None,
    ) -> Forecast:
        """Forecast what to train at `flops`, and what loss and return to expect of it.

        The intervals are those of the mean of so many `agents`, trained with different seeds, each
        of which plays so many `episodes` (None: as many as a point near the best loss). With
        `params` (and `samples`, else what the FLOPs allow) the loss is that of this very run, one
        agent; its return is None, since returns are only followed along the frontier.
        Raises `SpecError` unless the numbers are positive and finite.
        """
        flops = _check_flops(flops)
        check_agents(agents, episodes)
        best = self.optimal_allocation(flops)
        own = params is not None or samples is not None
        agents = 1 if own else agents
        loss = self.frontier(flops, agents=agents)
        back = None if own else self.returns(flops, agents=agents, episodes=episodes)
        if own:
            best = self._given(flops, params, samples, best)
            row = [[best.params.value, best.samples.value]]
            loss = self.predict(row, interval=LEVEL)
        spent = float(self.evidence_.rule.per_sample(best.params.value)) * best.samples.value
        beyond = float(max(np.log10((spent if own else flops) / self.last_budget_), 0.0))
        found = diagnostics.of_forecast(self.points_, flops, best.params.value, spent)
        dev_loss = Interval(*(float(v[0]) for v in loss))
        return_mean = None if back is None else Interval(*(float(v[0]) for v in back))
        return Forecast(
            flops=float(flops),
            params=best.params,
            samples=best.samples,
            dev_loss=dev_loss,
            return_mean=return_mean,
            decades_beyond=beyond,
            method=jsonable(
                {
                    **self.method_,
                    "loss_exponent": self.loss_exponent(flops),
                    "return_by_loss": None if own else self.return_by_loss(flops, agents, episodes),
                }
            ),
            status=(*self.status, *found),
            excludes=excluded(
                self.points_, flops, dev_loss, return_mean, self.random_return, self.ceiling_
            ),
            agents=agents,
            episodes=episodes if back and self._counts_episodes(flops) else None,
        )

    def _given(
        self, flops: float, params: float | None, samples: float | None, best: Split
    ) -> Split:
        for name, value in (("params", params), ("samples", samples)):
            if value is not None and not 0 < value < 1e30:
                raise SpecError(f"{name} must be positive and below 1e30; got {value!r}")
        n = best.params.value if params is None else float(params)
        d = float(self.evidence_.rule.samples(flops, n)) if samples is None else float(samples)
        return Split(Interval(n, n, n), Interval(d, d, d))

    @property
    def method_(self) -> dict[str, Any]:
        """Return which methods the forecasts come from, with the forecasters' weights."""
        a = self.allocation_
        road = (
            "surface" if a.adequate_ else "surface and isoFLOP optima" if a.surface_ else "optima"
        )
        return {"allocation": road, "interval": "conformal", **chosen(self.replay_)}

    # ---- for drawing and for JSON --------------------------------------------------------------

    def curves(self, flops: Any) -> Curves:
        """Return N, D, dev loss and return on a grid of FLOPs [m], with 95 % intervals."""
        flops = np.asarray(flops, float)
        value, low, high = (np.clip(v, 1.0, 1e30) for v in self.allocation_.interval(flops))
        rule = self.evidence_.rule
        back = self.returns(flops)
        return Curves(
            flops=flops,
            params=Band(value, low, high),
            samples=Band(*(rule.samples(flops, n) for n in (value, high, low))),
            dev_loss=Band(*self.frontier(flops)),
            return_mean=None if back is None else Band(*back),
        )

    def isoflop_curves(self) -> list[IsoFlop]:
        """Return the isoFLOP curve of each budget, budgets ascending."""
        return self.isoflops_

    def exponents(self) -> dict[str, Exponents]:
        """Return the exponents of N_opt and D_opt against C, by each way of fitting them.

        `isoflop_optima` is the least-squares line through the optima inside the sampled sizes, with
        an interval that holds the luck of runs too (see `luck`; with fewer than 4 optima, or where
        that luck hides them, pulled to a prior of .5 +- .25; then `isoflop_optima_plain` is the
        line alone, absent with fewer than 2 optima); `surface_6nd`
        the parametric surface at C = 6ND, absent where none could be fitted; `best_return` a line
        through the best-scoring sizes, absent with fewer than 4 budgets that were played.
        """
        plain = plain_law(self.isoflops_) if self.allocation_.prior_ else None
        out = {"isoflop_optima": self._exponents_of(self.allocation_.exponent_law_)}
        if plain is not None:
            out["isoflop_optima_plain"] = self._exponents_of(plain)
        by_return = exponents_by_return(self.points_)
        if by_return is not None:
            out["best_return"] = by_return
        surface = self.allocation_.surface_
        if surface is not None:
            draws = _surface_exponent(surface, surface.draws_)
            low, high = (float(q) for q in np.quantile(draws, [0.025, 0.975]))
            value = float(_surface_exponent(surface, surface.theta_[None])[0])
            params, samples = Interval(value, low, high), Interval(1 - value, 1 - high, 1 - low)
            out["surface_6nd"] = Exponents(params, samples)
        return out

    def _exponents_of(self, law: PowerLaw) -> Exponents:
        """Return a law's exponent of N, and that of D, 1 - a (d log f / d log N), f per sample."""
        n = law.predict(self.last_budget_) * np.array([0.8, 1.25])
        per_sample = self.evidence_.rule.per_sample(n)
        rise = float(np.diff(np.log(per_sample))[0] / np.diff(np.log(n))[0])
        a = law.exponent_interval()
        assert a.low is not None
        assert a.high is not None
        return Exponents(a, Interval(1 - rise * a.value, 1 - rise * a.high, 1 - rise * a.low))

    def loss_exponent(self, flops: float) -> float:
        """Return d log L / d log C of the forecast loss at C: the exponent there."""
        at = np.log10(max(flops, 1.001 * 10 ** self.evidence_.x[-1])) + np.array([0.0, 0.05])
        return float(np.diff(self.replay_.loss.predict(at))[0] / (0.05 * np.log(10)))

    def local_exponents(self) -> dict[str, Any]:
        """Return the loss's exponents at the last budget and a decade on, and whether it bends.

        It bends where the exponent at the last budget differs from that of the straight line
        through all budgets by more than a tenth.
        """
        last = float(10 ** self.evidence_.x[-1])
        here, line = self.loss_exponent(last), self.loss_law_.exponent_
        return {
            "at_last_budget": here,
            "a_decade_on": self.loss_exponent(10 * last),
            "bends": bool(abs(here - line) > 0.1 * abs(line)),
        }

    def to_json(self) -> dict[str, Any]:
        """Return every law with its coefficients and intervals, as plain values."""
        measured, luck = self.replay_.series, self.allocation_.luck_
        back = None
        if measured is not None and (measured.value > 0).all() and len(measured.x) > 2:
            back = PowerLaw().fit(10**measured.x, measured.value).to_json()
        saturated = None
        if measured is not None:
            saturated = saturating(10**measured.x, measured.log_loss, measured.value)
        exponents = {road: e.to_json() for road, e in self.exponents().items()}
        return jsonable(
            {
                "points": len(self.points_),
                "dropped": self.points_.dropped,
                "budgets": self.points_.budgets,
                "noise_sd_log_loss": self.evidence_.noise,
                "run_luck_sd_log_loss": None if luck is None else luck.sd,
                "isoflops": [c.to_json() for c in self.isoflops_],
                "laws": {
                    "params": {
                        **self.allocation_.exponent_law_.to_json(),
                        "prior": _PRIOR if self.allocation_.prior_ else None,
                        "plain": exponents.get("isoflop_optima_plain"),
                    },
                    "samples": {"exponent": exponents["isoflop_optima"]["samples"]},
                    "dev_loss": {**self.loss_law_.to_json(), "local": self.local_exponents()},
                    "return_mean": back,
                    "return_saturating": saturated,
                },
                "exponents": exponents,
                "return_by_loss": {"rank_correlation": rank_correlation(self.points_)},
                "shared_curvature": shared_curvature(self.isoflops_),
                "surface": _surface_json(self.allocation_, len(self.points_)),
                "paper": published_way(self.points_),
                "method": self.method_,
                "status": [s.to_json() for s in self.status],
            }
        )


def _check_flops(flops: float) -> float:
    """Return the number as a float, a whole number of any length too."""
    if not 0 < flops < 1e40:
        raise SpecError(f"flops must be positive and below 1e40; got {flops!r}")
    return float(flops)


def _surface_exponent(surface: Surface, theta: Array) -> Array:
    names = FORMS[surface.form].parameters
    alpha, beta = theta[:, names.index("alpha")], theta[:, names.index("beta")]
    return beta / (alpha + beta)


def _surface_json(allocation: Allocation, count: int) -> Any:
    """Return the surface and the window that it was fitted in, of `count` points."""
    surface, window = allocation.surface_, allocation.window_
    if surface is None or window is None:
        return None
    drawn = surface.natural(surface.draws_)
    coefficients = {
        name: Interval(value, *(float(q) for q in np.quantile(drawn[name], [0.025, 0.975])))
        for name, value in surface.params_.items()
    }
    return {
        "form": surface.form,
        "formula": FORMS[surface.form].formula,
        "coefficients": {name: i.to_json() for name, i in coefficients.items()},
        "residual_sd": surface.sd_,
        "points": surface.points_,
        "at_bound": surface.at_bound_,
        "window": {
            "points": surface.points_,
            "of": count,
            "outliers": allocation.outliers_,
            "decades": window[0] if window[0] < 99 else None,
            "loss_within": window[1] if window[1] < 99 else None,
        },
    }
