"""How to split compute: the loss-optimal size and sample count at C, with an interval.

Two roads lead to N_opt(C). A surface fitted to all runs gives it at any C, exactly if its form is
right; a power law through the isoFLOP optima assumes less and knows less. The surface is believed
alone where its residuals are no larger than the noise and it is sure of its optimum; otherwise both
are averaged (in log N, by precision) and their disagreement enters the interval.

The surface's window is the widest one whose residuals are within `ADEQUATE` of the noise; where
none is, the one with the smallest residuals. Over all points the fit is robust (Huber from half an
SD on, and what lies more than `OUTLIER` robust SDs off is left out, and counted), as in Besiroglu
et al. 2024 (arXiv 2404.10102), whose fit it repeats. Its spread is the larger of the delta method
(points independent), the delta method with the luck of runs (`luck`) and the cluster bootstrap by
run, with Student's t for the few points or runs there are; half of what a rival form (`coupled`)
says differently is added in quadrature.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import special

from isoclone.base.errors import FitError
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.isoflop import IsoFlop, scatter
from isoclone.laws.luck import Luck
from isoclone.laws.points import Points
from isoclone.laws.power import PowerLaw
from isoclone.laws.surface import Surface, bootstrap_weights, window

Array = np.ndarray

ADEQUATE = 1.5  # residual SD over noise SD
OUTLIER, ROBUST = 6.0, 0.5  # SDs: left out; from where on residuals count linearly
MOST_OUTLIERS = 0.05  # of the points: more are no outliers but another law
EXPONENT_OPTIMA = 4  # interior optima that suffice for an exponent without a prior
CURVED = 2.0  # SDs of luck: a mean curvature below that may be nothing but luck
EXPONENT_SD = 0.005  # log10 N, of an optimum about their line, at the least
WINDOWS = ((99.0, 99.0), (99.0, 2.5), (3.0, 1.6), (2.0, 1.6), (1.5, 1.35))
BOOTSTRAPS = 200
KNOWN_SD = 0.25  # log10 N: a surface surer than this of its optimum can stand alone
INFLATION = 1.15  # the noise, and with it the weights and the window, is an estimate too (that of
# luck is not: its own uncertainty is in its variance)
FLOOR_SD = 0.01  # log10 N: a grid of sizes is never finer
OPTIMUM_SD = 0.1  # log10 N, of a single isoFLOP optimum about the power law, at the least

# With few interior optima an exponent is pulled towards an even split of compute. Published
# exponents of N (of language models and of games) lie within .3 of it.
PRIOR_EXPONENT, PRIOR_SD = 0.5, 0.25


class Allocation:
    """N_opt(C) from the evidence.

    After `fit`: `surface_` (or None), `adequate_`, `window_`, `outliers_` (points left out of the
    surface as outliers), `law_` (through the optima, with a prior, for blending), `exponent_law_`
    (plain least squares where the optima suffice; `prior_` says whether they do not), `luck_`,
    `interior_` (how many budgets have their optimum inside the sampled sizes).
    """

    def __init__(self, bootstraps: int = BOOTSTRAPS, seed: int = 0):
        self.bootstraps, self.seed = bootstraps, seed

    def fit(self, evidence: Evidence) -> Self:
        """Fit both roads; the surface is None where there are too few points."""
        self.rule_ = evidence.rule
        self._sizes = np.log10([evidence.sizes[0], evidence.sizes[-1]])
        self._budgets = 10.0 ** np.array([evidence.x[0], evidence.x[-1]])
        self.luck_ = evidence.luck
        seen = evidence.points, evidence.isoflops, self.luck_
        self.law_, self.interior_ = optima_law(*seen)
        self.exponent_law_ = exponent_law(*seen) or self.law_
        self.prior_ = self.exponent_law_ is self.law_
        self.noise_ = max(scatter(evidence.isoflops) or 0.02, 0.003)
        self.surface_, self.window_ = self._choose(evidence)
        self.adequate_ = self.surface_ is not None and self.surface_.sd_ <= ADEQUATE * self.noise_
        return self

    def _choose(self, evidence: Evidence) -> tuple[Surface | None, tuple[float, float] | None]:
        """Return the surface of the widest adequate window, else of the best; set its rival too."""
        best: tuple[Surface | None, tuple[float, float] | None] = (None, None)
        self.rival_: Surface | None = None
        self.outliers_, near = 0, evidence.points
        for spec in WINDOWS:
            mask, huber = window(evidence.points, *spec), 2.0
            outliers = 0
            if spec == WINDOWS[0]:
                sound, huber = self._sound(evidence.points), ROBUST
                mask, outliers = sound, int((~sound).sum())
            used = evidence.points.keep(mask)
            surface = self._fit("chinchilla", used, huber) if len(used) >= 9 else None
            if surface is None:
                continue
            adequate = surface.sd_ <= ADEQUATE * self.noise_
            if adequate or best[0] is None or surface.sd_ < 0.9 * best[0].sd_:
                best, self.rival_ = (surface, spec), self._fit("coupled", used, huber)
                near, self.outliers_ = used, outliers
            if adequate:
                break
        if best[0] is not None and best[1] is not None:
            weights = bootstrap_weights(near.run, self.bootstraps, self.seed)
            best[0].draws_ = best[0].refit(weights)
            best[0].clusters_ = len(np.unique(near.run))
            self._used = near
        return best

    def _sound(self, points: Points) -> Array:
        """Return a mask without the few points that a robust surface misses by far."""
        surface = self._fit("chinchilla", points, ROBUST)
        if surface is None:
            return np.ones(len(points), dtype=bool)
        off = np.abs(np.log(points.loss) - surface.log_loss(points.params, points.samples))
        sound = off <= OUTLIER * max(float(np.median(off)) / 0.6745, EXPONENT_SD)
        few = (~sound).sum() <= MOST_OUTLIERS * len(points)
        return sound if few else np.ones(len(points), dtype=bool)

    def _fit(self, form: str, near: Points, huber: float) -> Surface | None:
        columns = near.params, near.samples, near.loss
        try:
            return Surface(form, huber, starts=4).fit(*columns, self.noise_)
        except FitError:
            return None

    def log_params(self, flops: Any) -> tuple[Array, Array, Array]:
        """Return log10 N_opt, its SD, and degrees of freedom, at C [m]."""
        flops = np.atleast_1d(np.asarray(flops, float))
        law = np.log10(self.law_.predict(flops))
        law_sd = self.law_.prediction_sd(flops, new_observation=self.interior_ < 3)
        law_dof = np.full(len(flops), float(max(self.law_.dof_, 3)))
        if self.surface_ is None:
            return law, law_sd, law_dof
        at = [self._surface_at(c) for c in flops]
        value, sd = np.array([a[0] for a in at]), np.array([a[1] for a in at])
        dof = np.full(len(flops), float(self._dof()))
        mean, both = _blend(value, sd, law, np.maximum(law_sd, 0.5 * OPTIMUM_SD))
        alone = self.adequate_ & (sd <= KNOWN_SD)
        middle = np.where(alone, value, mean)
        spread = np.where(alone, np.maximum(INFLATION * sd, FLOOR_SD), both)
        return self._sane(flops, middle), spread, np.where(alone, dof, np.minimum(dof, 10.0))

    def _sane(self, flops: Array, log_params: Array) -> Array:
        """Clip to a decade around the sampled sizes, and one more per decade of compute beyond."""
        beyond = np.maximum(np.log10(flops / self._budgets[1]), 0.0)
        below = np.maximum(np.log10(self._budgets[0] / flops), 0.0)
        low, high = self._sizes[0] - 1.0 - below, self._sizes[1] + 1.0 + beyond
        return np.clip(log_params, low, high)

    def _surface_at(self, flops: float) -> tuple[float, float]:
        surface = self.surface_
        assert surface is not None
        value = float(surface.optimum(flops, self.rule_)[0][0])
        drawn = surface.optimum(flops, self.rule_, surface.draws_)[0]
        low, high = np.quantile(drawn, [0.16, 0.84])
        few = special.stdtrit(max(surface.clusters_ - 1, 2), 0.975) / special.stdtrit(
            self._dof(), 0.975
        )
        own, shared = self._delta_sd(flops)
        spread = max(0.5 * float(high - low) * float(few), own, shared / INFLATION)
        rival = self.rival_.optimum(flops, self.rule_)[0][0] if self.rival_ else value
        return value, float(np.hypot(spread, 0.5 * (rival - value)))

    def _delta_sd(self, flops: float) -> tuple[float, float]:
        """Return SDs of log10 N_opt by the delta method: by the points' noise, by runs' luck.

        Gradients are central differences.
        """
        surface = self.surface_
        assert surface is not None
        step = 1e-2
        moved = surface.theta_ + step * np.vstack([np.eye(len(surface.theta_))] * 2)
        half = len(surface.theta_)
        moved[half:] -= 2 * step * np.eye(half)
        at = surface.optimum(flops, self.rule_, moved)[0]
        gradient = (at[:half] - at[half:]) / (2 * step)
        own = float(np.sqrt(max(gradient @ surface.covariance() @ gradient, 0.0)))
        if self.luck_ is None:
            return own, 0.0
        _, first, run = np.unique(self._used.run, return_index=True, return_inverse=True)
        by_run = np.bincount(run.reshape(-1), gradient @ surface.influence())
        variance = self.luck_.mean_variance(self._used.params[first])
        return own, float(np.sqrt(variance @ by_run**2))

    def _dof(self) -> int:
        surface = self.surface_
        assert surface is not None
        return max(surface.points_ - len(surface.theta_), 3)

    def interval(self, flops: Any, level: float = 0.95) -> tuple[Array, Array, Array]:
        """Return N_opt, low, high at C [m]."""
        middle, sd, dof = self.log_params(flops)
        half = special.stdtrit(dof, 0.5 + level / 2) * sd
        return 10**middle, 10 ** (middle - half), 10 ** (middle + half)


def _blend(a: Array, a_sd: Array, b: Array, b_sd: Array) -> tuple[Array, Array]:
    """Return the precision-weighted mean of two opinions, and an SD that holds their difference."""
    wa, wb = 1.0 / np.maximum(a_sd, 1e-6) ** 2, 1.0 / np.maximum(b_sd, 1e-6) ** 2
    share = wa / (wa + wb)
    between = np.sqrt(share * (1 - share)) * np.abs(a - b)
    within = np.sqrt(share * a_sd**2 + (1 - share) * b_sd**2)
    return share * a + (1 - share) * b, np.hypot(within, between)


def plain_law(isoflops: list[IsoFlop]) -> PowerLaw | None:
    """Fit N_opt ~ C^a to the interior optima by least squares alone; None with fewer than two."""
    inner = [c for c in isoflops if c.interior]
    if len(inner) < 2:
        return None
    budget, params = [c.budget for c in inner], [c.params for c in inner]
    return PowerLaw().fit(budget, params, noise_sd=EXPONENT_SD)


def exponent_law(points: Points, isoflops: list[IsoFlop], luck: Luck | None) -> PowerLaw | None:
    """Fit N_opt ~ C^a to the interior optima by plain least squares; None where they are no guide.

    That is with too few of them, or where the luck of runs may bend the curves as much as their
    size does. The interval adds that luck, which moves the optima of all budgets together, to the
    scatter of the optima about the line.
    """
    inner, law = [c for c in isoflops if c.interior], plain_law(isoflops)
    if law is None or len(inner) < EXPONENT_OPTIMA or luck is None:
        return law if len(inner) >= EXPONENT_OPTIMA else None
    moved, bent, variance = _moved_by_runs(points, inner, luck)
    bent_sd = np.sqrt(luck.chance @ variance @ bent.mean(0) ** 2)
    if np.mean([c.curvature for c in inner if c.curvature is not None]) < CURVED * bent_sd:
        return None
    return law.share(moved, variance, luck.chance)


def _moved_by_runs(points: Points, curves: list[IsoFlop], luck: Luck) -> tuple[Array, Array, Array]:
    """Return how each run's log loss moves the curves' log10 N_opt, and curvature [curves, runs].

    Last, the variance of that log loss [g, runs].
    """
    runs, first, code = np.unique(points.run, return_index=True, return_inverse=True)
    out = np.zeros((2, len(curves), len(runs)))
    for number, curve in enumerate(curves):
        here = points.budget == curve.budget
        for size, slopes in curve.gradient().items():
            own = code.reshape(-1)[here & (points.params == size)]
            for which in (0, 1):
                np.add.at(out[which, number], own, slopes[which] / len(own))
    return out[0], out[1], luck.variance(points.params[first])


def optima_law(points: Points, isoflops: list[IsoFlop], luck: Luck | None) -> tuple[PowerLaw, int]:
    """Fit N_opt ~ C^a to the interior optima (to the best sizes where there is none)."""
    inner = [c for c in isoflops if c.interior]
    curves = inner or isoflops
    sd = np.array([c.params_sd_log10 if c.interior else 0.3 for c in curves])
    weights = 1.0 / (np.nan_to_num(sd, nan=0.3) ** 2 + OPTIMUM_SD**2)
    law = PowerLaw(PRIOR_EXPONENT, PRIOR_SD)
    budget, params = [c.budget for c in curves], [c.params for c in curves]
    law.fit(budget, params, weights / weights.mean(), noise_sd=OPTIMUM_SD)
    if luck is not None:
        moved, _, variance = _moved_by_runs(points, curves, luck)
        law.share(moved, variance, luck.chance)
    return law, len(inner)
