"""Parametric loss surfaces L(N, D), fitted in log space by many Levenberg-Marquardt runs at once.

Every form here is a sum of monomials with positive coefficients,

    L(N, D) = sum_k exp(z_k),   z_k linear in the parameters,

    chinchilla   L = E + A / N^a + B / D^b               (Hoffmann et al. 2022, approach 3)
    coupled      L = E + A / N^a + B N^g / D^b           (data cost grows with size)
    interaction  L = E + A / N^a + B / D^b + G / (N^a D^b)

so that log L is a log-sum-exp and its gradient a softmax. The parameters are E, A, B, G in logs
(hence positive) and the exponents, clipped to a box. Start values come from a grid of exponents
with the linear coefficients projected out (variable projection, Golub & Pereyra 1973).
Residuals are differences of log L, weighted, with Huber's loss beyond `huber` noise SDs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from isoclone.base.errors import FitError
from isoclone.laws.flop_rule import FlopRule
from isoclone.laws.points import Points

Array = np.ndarray

EXPONENTS = (0.02, 3.0)  # the box of a and b
COUPLING = (-1.0, 1.5)  # the box of g
LOG_E_FLOOR = 9.0  # E is at least exp(-9) of the lowest loss: zero for every purpose
TERMS = {"E": 0, "A": 1, "B": 2, "G": 3}


@dataclass(frozen=True)
class Form:
    """A surface's shape: which parameter enters which term, with which regressor.

    `entries` are (parameter, term, regressor) with regressor one of '1', '-n', '-d', 'n'
    (n = log N, d = log D, both centred while fitting).
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    entries: tuple[tuple[int, int, str], ...]

    @property
    def terms(self) -> int:
        """Return how many monomials the sum has."""
        return 1 + max(term for _, term, _ in self.entries)


_BASE = ((0, 0, "1"), (1, 1, "1"), (2, 2, "1"), (3, 1, "-n"), (4, 2, "-d"))
FORMS = {
    "chinchilla": Form(
        "chinchilla", "L = E + A/N^alpha + B/D^beta", ("E", "A", "B", "alpha", "beta"), _BASE
    ),
    "coupled": Form(
        "coupled",
        "L = E + A/N^alpha + B N^gamma/D^beta",
        ("E", "A", "B", "alpha", "beta", "gamma"),
        (*_BASE, (5, 2, "n")),
    ),
    "interaction": Form(
        "interaction",
        "L = E + A/N^alpha + B/D^beta + G/(N^alpha D^beta)",
        ("E", "A", "B", "alpha", "beta", "G"),
        (*_BASE, (5, 3, "1"), (3, 3, "-n"), (4, 3, "-d")),
    ),
}


def _regressors(n: Array, d: Array) -> dict[str, Array]:
    return {"1": np.ones_like(n), "-n": -n, "-d": -d, "n": n}


class LogSumExp:
    """log L and its Jacobian for S parameter vectors at once, at fixed points."""

    def __init__(self, form: Form, n: Array, d: Array):
        self.form, self.size = form, len(n)
        regressors = _regressors(n, d)
        self.columns = [(p, k, regressors[r]) for p, k, r in form.entries]
        design = np.zeros((form.terms, len(n), len(form.parameters)))
        for p, k, column in self.columns:
            design[k, :, p] += column
        self.design = np.ascontiguousarray(design.reshape(-1, len(form.parameters)).T)

    def terms(self, p: Array) -> Array:
        """Return exp(z) [S, K, n]."""
        z = (p @ self.design).reshape(len(p), self.form.terms, self.size)
        return np.exp(np.minimum(z, 300.0, out=z), out=z)

    def value(self, p: Array) -> Array:
        """Return log L [S, n]."""
        return np.log(self.terms(p).sum(1))

    def value_and_jacobian(self, p: Array) -> tuple[Array, Array]:
        """Return log L [S, n] and its derivatives [S, P, n]."""
        terms = self.terms(p)
        total = terms.sum(1)
        terms /= total[:, None, :]
        jacobian = np.zeros((len(p), p.shape[1], self.size))
        for index, k, column in self.columns:
            jacobian[:, index] += terms[:, k] * column
        return np.log(total), jacobian


@dataclass(frozen=True)
class _Problem:
    """What a fit minimises: weighted Huber of log residuals, in a box, with a faint prior."""

    model: LogSumExp
    y: Array  # [n]
    low: Array  # [P]
    high: Array
    prior: Array  # [P] centre
    precision: Array  # [P]
    huber: float

    def cost(self, p: Array, weights: Array, residual: Array) -> Array:
        """Return half the robust sum of squares [S]; weights are 1 / variance."""
        u = np.abs(residual) * np.sqrt(weights)
        robust = np.where(u <= self.huber, 0.5 * u**2, self.huber * (u - 0.5 * self.huber))
        return robust.sum(1) + 0.5 * ((p - self.prior) ** 2 * self.precision).sum(1)


def _lm(problem: _Problem, weights: Array, start: Array, steps: int, tol: float) -> Any:
    """Run Levenberg-Marquardt for S starts and weightings at once; converged ones drop out.

    weights [S, n] (or [1, n]), start [S, P] -> parameters [S, P], cost [S].
    """
    p = np.clip(start, problem.low, problem.high)
    weights = np.broadcast_to(weights, (len(p), weights.shape[1]))
    cost = problem.cost(p, weights, problem.model.value(p) - problem.y)
    damping, active = np.full(len(p), 1e-3), np.arange(len(p))
    for _ in range(steps):
        w, q = weights[active], p[active]
        hessian, gradient = _normal_equations(problem, w, q)
        trial = _step(problem, q, hessian, gradient, damping[active])
        new = problem.cost(trial, w, problem.model.value(trial) - problem.y)
        gain = cost[active] - new
        better = gain > 0
        damping[active] = np.where(better, damping[active] * 0.2, damping[active] * 8.0)
        moved = active[better]
        p[moved], cost[moved] = trial[better], new[better]
        done = better & (gain <= tol * (np.abs(cost[active]) + 1e-9))
        done |= damping[active] > 1e8
        active = active[~done]
        if not len(active):
            break
    return p, cost


def _normal_equations(problem: _Problem, w: Array, p: Array) -> tuple[Array, Array]:
    value, jacobian = problem.model.value_and_jacobian(p)
    residual = value - problem.y
    w = _robust(problem, w, residual)
    weighted = jacobian * w[:, None, :]
    hessian = weighted @ jacobian.transpose(0, 2, 1)
    gradient = (weighted @ residual[:, :, None])[:, :, 0] + (p - problem.prior) * problem.precision
    diagonal = np.arange(p.shape[1])
    hessian[:, diagonal, diagonal] += problem.precision
    return hessian, gradient


def _robust(problem: _Problem, w: Array, residual: Array) -> Array:
    """Return the weights [S, n] that residuals of Huber's loss have in least squares."""
    u = np.abs(residual) * np.sqrt(w)
    return w * np.minimum(1.0, problem.huber / np.maximum(u, 1e-12))


def _step(problem: _Problem, p: Array, hessian: Array, gradient: Array, damping: Array) -> Array:
    """Take one damped step inside the box; parameters pressed against it are held there."""
    pressed = ((p <= problem.low) & (gradient > 0)) | ((p >= problem.high) & (gradient < 0))
    free = ~pressed
    h = hessian * (free[:, :, None] & free[:, None, :])
    diagonal = np.arange(p.shape[1])
    scale = np.maximum(hessian[:, diagonal, diagonal], 1e-10)
    h[:, diagonal, diagonal] += damping[:, None] * scale + pressed * 1.0
    move = np.linalg.solve(h, (gradient * free)[:, :, None])[:, :, 0]
    return np.clip(p - np.clip(move, -2.0, 2.0), problem.low, problem.high)


class Surface:
    """One parametric surface. `form` names it; `huber` is in noise SDs.

    After `fit`: `params_` ({'E', 'A', ...} in natural units), `theta_` (the raw vector, logs for
    coefficients, around `centre_`), `sd_` (SD of log residuals), `at_bound_` (names of the
    parameters that ended at the edge of their box), `cost_`, `points_`.
    """

    def __init__(self, form: str = "chinchilla", huber: float = 2.0, starts: int = 6):
        if form not in FORMS:
            raise FitError(f"unknown surface '{form}'; known: {', '.join(FORMS)}")
        self.form, self.huber, self.starts = form, huber, starts
        self.draws_: Array = np.zeros((0, 0))  # bootstrap parameters, where someone drew them
        self.clusters_ = 0

    def fit(self, params: Any, samples: Any, loss: Any, sd: Any = 0.02) -> Self:
        """Fit to N[n], D[n], loss[n] (nats); `sd` is the noise SD of log loss, scalar or [n].

        Raises `FitError` with fewer points than parameters, or no spread in N or D.
        """
        shape = FORMS[self.form]
        n, d, y = (np.log(np.asarray(v, float)) for v in (params, samples, loss))
        if len(y) < len(shape.parameters) or np.ptp(n) < 1e-6 or np.ptp(d) < 1e-6:
            sizes, counts = len(np.unique(n)), len(np.unique(d))
            raise FitError(
                f"the surface {self.form} needs {len(shape.parameters)} points, of two sizes and "
                f"two sample counts at least; it has {len(y)} points, of {sizes} and {counts}"
            )
        self.centre_ = (float(n.mean()), float(d.mean()))
        model = LogSumExp(shape, n - self.centre_[0], d - self.centre_[1])
        self._problem = _problem(model, y, self.huber)
        self._weights = np.broadcast_to(1.0 / np.asarray(sd, float) ** 2, y.shape)[None, :]
        start = _starts(shape, model, y, self._weights[0], self.starts)
        p, cost = _lm(self._problem, self._weights, start, steps=6, tol=1e-6)
        ahead = np.argsort(cost)[:2]  # the rest would only end in the same or a worse minimum
        p, cost = _lm(self._problem, self._weights, p[ahead], steps=60, tol=1e-6)
        best = int(np.argmin(cost))
        self.theta_, self.cost_ = p[best], float(cost[best])
        residual = model.value(self.theta_[None])[0] - y
        dof = max(len(y) - len(shape.parameters), 1)
        self.sd_ = float(np.sqrt((residual**2).sum() / dof))
        self.at_bound_ = _at_bound(self._problem, self.theta_, shape)
        self.points_ = len(y)
        return self

    def covariance(self) -> Array:
        """Return the covariance [P, P] of `theta_`: inverse curvature times the residuals' spread.

        Parameters pressed against their box are held.
        """
        hessian, _ = _normal_equations(self._problem, self._weights, self.theta_[None])
        scale = self.sd_**2 * float(np.mean(self._weights))
        free = self._free
        out = np.zeros((len(free), len(free)))
        inner = np.linalg.pinv(hessian[0][np.ix_(free, free)], rcond=1e-12)
        out[np.ix_(free, free)] = inner * max(scale, 1e-12)
        return out

    def influence(self) -> Array:
        """Return the derivative [P, n] of `theta_` by each point's log loss, robust weights held.

        Parameters pressed against their box are held.
        """
        value, jacobian = self._problem.model.value_and_jacobian(self.theta_[None])
        hessian, _ = _normal_equations(self._problem, self._weights, self.theta_[None])
        weights = _robust(self._problem, self._weights, value - self._problem.y)
        out, free = np.zeros(jacobian.shape[1:]), self._free
        inner = np.linalg.pinv(hessian[0][np.ix_(free, free)], rcond=1e-12)
        out[free] = inner @ (jacobian[0][free] * weights)
        return out

    @property
    def _free(self) -> Array:
        p, low, high = self.theta_, self._problem.low, self._problem.high
        return ~((p <= low) | (p >= high))

    def refit(self, weights: Array, steps: int = 12, tol: float = 1e-4) -> Array:
        """Refit under S reweightings [S, n] of the points; return parameters [S, P]."""
        start = np.repeat(self.theta_[None], len(weights), axis=0)
        return _lm(self._problem, weights * self._weights, start, steps, tol)[0]

    def reweighted(self, weights: Array) -> tuple[Array, Array]:
        """Return reweighted refits [S, P] and their cost [S], to compare forms on equal draws."""
        theta = self.refit(weights)
        residual = self._problem.model.value(theta) - self._problem.y
        return theta, self._problem.cost(theta, weights * self._weights, residual)

    def log_loss(self, params: Any, samples: Any, theta: Array | None = None) -> Array:
        """Return log L at N[m], D[m]; with theta [S, P] the result is [S, m]."""
        n = np.log(np.asarray(params, float)) - self.centre_[0]
        d = np.log(np.asarray(samples, float)) - self.centre_[1]
        many = self.theta_[None] if theta is None else theta
        value = LogSumExp(FORMS[self.form], np.atleast_1d(n), np.atleast_1d(d)).value(many)
        return value[0] if theta is None else value

    def predict(self, params: Any, samples: Any) -> Array:
        """Return L at N[m], D[m], nats."""
        return np.exp(self.log_loss(params, samples))

    def optimum(
        self, flops: float, rule: FlopRule, theta: Array | None = None
    ) -> tuple[Array, Array]:
        """Return (log10 N, log L) of the lowest loss at C; arrays [S] for theta [S, P]."""
        many = self.theta_[None] if theta is None else theta
        n = np.linspace(0.0, 14.0, 561)
        size = 10.0**n
        with np.errstate(over="ignore"):
            value = self.log_loss(size, rule.samples(flops, size), many)
        best = np.clip(np.argmin(value, axis=1), 1, len(n) - 2)
        row = np.arange(len(many))
        left, middle, right = (value[row, best + k] for k in (-1, 0, 1))
        bend = np.maximum(left - 2 * middle + right, 1e-300)
        shift = np.clip(0.5 * (left - right) / bend, -1, 1)
        return n[best] + shift * (n[1] - n[0]), middle - 0.125 * (left - right) ** 2 / bend

    @property
    def params_(self) -> dict[str, float]:
        """Return coefficients in natural units (N in parameters, D in samples, loss in nats)."""
        return {k: float(v[0]) for k, v in self.natural(self.theta_[None]).items()}

    def natural(self, theta: Array) -> dict[str, Array]:
        """Return the coefficients [S] in natural units for theta [S, P]."""
        names = FORMS[self.form].parameters
        raw = {name: theta[:, i] for i, name in enumerate(names)}
        n0, d0 = self.centre_
        shift = {
            "A": raw["alpha"] * n0,
            "B": raw["beta"] * d0 - raw.get("gamma", 0.0) * n0,
            "G": raw["alpha"] * n0 + raw["beta"] * d0,
        }
        return {
            name: np.exp(np.minimum(value + shift.get(name, 0.0), 700.0))
            if name in TERMS
            else value
            for name, value in raw.items()
        }


def _problem(model: LogSumExp, y: Array, huber: float) -> _Problem:
    names = model.form.parameters
    box = {"E": (y.min() - LOG_E_FLOOR, y.min()), "gamma": COUPLING}
    box |= {"A": (-25.0, 10.0), "B": (-25.0, 10.0), "G": (-25.0, 10.0)}
    limits = np.array([box.get(name, EXPONENTS) for name in names])
    centre = {"alpha": 0.4, "beta": 0.4, "gamma": 0.1}
    prior = np.array([centre.get(name, 0.0) for name in names])
    precision = np.array([1.0 if name in centre else 1e-6 for name in names])
    return _Problem(model, y, limits[:, 0], limits[:, 1], prior, precision, huber)


def _at_bound(problem: _Problem, theta: Array, form: Form) -> list[str]:
    span = 1e-3 * (problem.high - problem.low)
    at = (theta <= problem.low + span) | (theta >= problem.high - span)
    # A loss floor below .5 % of the lowest loss cannot be told from none.
    names = {name for name, hit in zip(form.parameters, at, strict=True) if hit}
    if theta[0] < problem.y.min() - 5.3:
        names.add("E")
    return sorted(names)


_GRID = np.array([(a, b) for a in (0.15, 0.35, 0.6, 1.0) for b in (0.15, 0.35, 0.6, 1.0)])


def _starts(form: Form, model: LogSumExp, y: Array, weights: Array, count: int) -> Array:
    """Return the best of a grid of exponents; E, A and B by weighted least squares."""
    regressors = {r: c for _, _, r in form.entries for c in [_column(model, r)]}
    ones = regressors["1"]
    feature = np.stack(
        [
            np.broadcast_to(ones, (len(_GRID), len(y))),
            np.exp(_GRID[:, :1] * regressors["-n"]),
            np.exp(_GRID[:, 1:] * regressors["-d"]),
        ],
        axis=1,
    )  # [G, 3, n]
    relative = feature * np.exp(-y)  # so that the target is 1 and errors are relative
    w = weights / weights.max()
    gram = (relative * w) @ relative.transpose(0, 2, 1) + 1e-9 * np.eye(3)
    coefficients = np.linalg.solve(gram, (relative * w).sum(2)[:, :, None])[:, :, 0]
    floor = np.exp(y.min()) * np.array([0.02, 0.02, 0.02])
    coefficients = np.maximum(coefficients, floor)
    start = np.zeros((len(_GRID), len(form.parameters)))
    start[:, :3], start[:, 3:5] = np.log(coefficients), _GRID
    if form.name == "interaction":
        start[:, 5] = np.log(floor[0])
    error = ((model.value(start) - y) ** 2 * w).sum(1)
    return start[np.argsort(error)[:count]]


def _column(model: LogSumExp, name: str) -> Array:
    for (_, _, r), (_, _, column) in zip(model.form.entries, model.columns, strict=True):
        if r == name:
            return column
    raise FitError(f"no regressor {name}")


def bootstrap_weights(run: Array, count: int, seed: int) -> Array:
    """Draw a cluster bootstrap by run: how often each row is drawn, [count, n].

    Whole runs are drawn, since checkpoints of one run share its luck. Weights are exponential
    (Bayesian bootstrap, Rubin 1981): smooth, so that no draw loses all but two sizes.
    """
    codes = np.unique(run, return_inverse=True)[1]
    draws = np.random.default_rng(seed).standard_exponential((count, codes.max() + 1))
    draws /= draws.mean(1, keepdims=True)
    return draws[:, codes]


def window(points: Points, decades: float, factor: float) -> Array:
    """Mask of the points within `decades` of the last budget and `factor` of their budget's best.

    Under-trained runs lie far above their budget's best loss and would dominate a fit.
    """
    budgets, group = np.unique(points.budget, return_inverse=True)
    best = np.full(len(budgets), np.inf)
    np.minimum.at(best, group, points.loss)
    recent = np.log10(points.budget) >= np.log10(budgets[-1]) - decades - 1e-6
    return recent & (points.loss <= factor * best[group])
