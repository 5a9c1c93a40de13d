"""IsoFLOP curves by return: at one budget, the return against the model size, and where it is best.

On the scale z of the returns (see `scale`), z = c0 + c1 n + c2 n^2 with n = log10 N, over the sizes
around the best one, each weighted by 1 / variance of its mean; vertex n* = -c1 / (2 c2). Returns
are noisy, and one budget's bend is often hardly known: it is drawn towards the mean bend of all
budgets, as far as these agree (a random-effects mean, DerSimonian & Laird 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isoclone.base.records import jsonable
from isoclone.laws.reinforcement.cells import NEAR, Cells
from isoclone.laws.reinforcement.scale import ReturnScale

Array = np.ndarray
AROUND = 7  # sizes a parabola is fitted to
DRAWS = 400
UNSURE = 0.6  # decades: an optimum whose SD is larger is called flat
OUTSIDE = 0.3  # decades beyond the sampled sizes, to which drawn optima are held


@dataclass(frozen=True)
class ReturnIsoFlop:
    """One budget's curve of returns. Sizes in log10, z on the scale of the returns.

    `edge` is 'low' or 'high' where the best size is the smallest or the largest one of the budget,
    'flat' where the return hardly depends on the size; then `params` is the best sampled size, and
    exponents leave the budget out.
    """

    key: ClassVar[str] = "return_mean"
    budget: float
    params: float
    samples: float
    value: float  # the return at the optimum, of the curve
    params_sd_log10: float
    interior: bool
    edge: str | None
    coefficients: tuple[float, float, float] | None  # of z in (log10 N - log10 params_ref)
    params_ref: float
    sizes: tuple[float, ...]
    returns: tuple[float, ...]
    returns_se: tuple[float, ...]
    used: tuple[bool, ...]
    runs: tuple[int, ...]  # how many each mean is of
    scale: ReturnScale

    def curve(self, count: int = 60) -> dict[str, Array]:
        """Return the fitted parabola over the sizes it was fitted to, for drawing."""
        inside = [s for s, u in zip(self.sizes, self.used, strict=True) if u]
        if self.coefficients is None or not inside:
            return {"params": np.array([]), self.key: np.array([])}
        n = np.linspace(np.log10(min(inside)), np.log10(max(inside)), count)
        c, dn = self.coefficients, n - np.log10(self.params_ref)
        return {"params": 10.0**n, self.key: self.scale.back(c[0] + c[1] * dn + c[2] * dn**2)}

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {**jsonable(self), "measure": self.key}


@dataclass(frozen=True)
class Optima:
    """The best size and its z at each budget [b], with draws [d, b] of both.

    `noise` [b] is the SD of z of one further run, `run_var` [b] the part of its variance that is
    the run's own: its luck and that of its episodes. `bend` [b] is the second derivative of z by
    log10 N.
    """

    curves: list[ReturnIsoFlop]
    n: Array
    z: Array
    n_draws: Array
    z_draws: Array
    noise: Array
    run_var: Array
    bend: Array
    dof: int

    @property
    def x(self) -> Array:
        """Return log10 of the budgets [b]."""
        return np.log10([c.budget for c in self.curves])

    def noise_of_mean(self, agents: int) -> Array:
        """Return the SD of the mean z of so many further runs [b]."""
        return np.sqrt(self.noise**2 - self.run_var * (1 - 1 / agents))


@dataclass(frozen=True)
class _Window:
    """The sizes of a budget that its parabola is fitted to, and the matrices of that fit."""

    rows: Array  # of the cells' sizes
    n: Array  # around the best size
    ref: float
    solve: Array  # [3, k], coefficients from z
    line: Array  # [2, k], c0 and c1 from z - c2 n^2
    bend_var: float


def fit_optima(cells: Cells, scale: ReturnScale, seed: int = 0, draws: int = DRAWS) -> Optima:
    """Fit one curve to each budget, and draw every run's luck anew `draws` times."""
    mean_var = cells.var / np.maximum(cells.count, 1)
    misfit = _misfit(cells, mean_var)
    var = mean_var + misfit
    windows = [_window(cells, var, b) for b in range(len(cells.budgets))]
    z = np.where(cells.known, cells.mean, 0.0)
    centre = _fitted(windows, z, _coefficients(windows, z[None]))
    dof = cells.dof if cells.dof >= 2 else max(len(cells.sizes) - 2, 1)
    rng = np.random.default_rng(seed)
    drawn = centre + _luck(cells, misfit, _rest(windows, z - centre), draws, rng)
    own = _coefficients(windows, z[None])
    new = _coefficients(windows, drawn)
    n, best = _vertices(windows, cells, own)
    n_draws, best_draws = _vertices(windows, cells, new)
    run_var = np.array([cells.var[w.rows, b].mean() for b, w in enumerate(windows)])
    noise = np.sqrt(run_var + misfit)
    curves = [
        _curve(cells, scale, windows[b], b, own[0, b], n[0, b], best[0, b], n_draws[:, b], var)
        for b in range(len(windows))
    ]
    return Optima(curves, n[0], best[0], n_draws, best_draws, noise, run_var, 2 * own[0, :, 2], dof)


def _window(cells: Cells, var: Array, b: int) -> _Window:
    rows = np.flatnonzero(cells.known[:, b])
    best = int(np.argmax(cells.mean[rows, b]))
    order = np.argsort(np.abs(np.arange(len(rows)) - best), kind="stable")
    rows = np.sort(rows[order[:AROUND]])
    ref = float(cells.n[rows].mean())
    n = cells.n[rows] - ref
    weight = 1.0 / var[rows, b]
    line = _solver(np.stack([np.ones_like(n), n], 1), weight) if len(rows) > 1 else None
    if line is None:
        line = np.stack([np.full(len(rows), 1 / len(rows)), np.zeros(len(rows))])
    if len(rows) < 3:
        return _Window(rows, n, ref, np.vstack([line, np.zeros(len(rows))]), line, np.inf)
    solve = _solver(np.stack([np.ones_like(n), n, n**2], 1), weight)
    return _Window(rows, n, ref, solve, line, float((solve[2] ** 2 * var[rows, b]).sum()))


def _solver(design: Array, weight: Array) -> Array:
    """Return the matrix that turns values into weighted least-squares coefficients."""
    root = np.sqrt(weight)
    return np.linalg.pinv(design * root[:, None]) * root


def _coefficients(windows: list[_Window], z: Array) -> Array:
    """Return c0, c1, c2 of each budget [d, b, 3] for means z [d, s, b], bends drawn together."""
    bend = np.stack([z[:, w.rows, b] @ w.solve[2] for b, w in enumerate(windows)], 1)
    bend = _shrunk(bend, np.array([w.bend_var for w in windows]))
    out = np.zeros((len(z), len(windows), 3))
    for b, w in enumerate(windows):
        rest = z[:, w.rows, b] - bend[:, b, None] * w.n**2
        out[:, b, :2] = rest @ w.line.T
        out[:, b, 2] = bend[:, b]
    return out


def _shrunk(bend: Array, var: Array) -> Array:
    """Return bends [d, b] drawn towards their random-effects mean; unknown ones become it."""
    known = np.isfinite(var)
    if known.sum() < 2:
        return np.where(known, bend, 0.0)
    value, var = bend[:, known], var[known]
    weight = 1.0 / var
    mean = value @ weight / weight.sum()
    excess = ((value - mean[:, None]) ** 2) @ weight - (known.sum() - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    between = np.maximum(excess / scale, 0.0)[:, None]
    weight = 1.0 / (var + between)
    mean = ((value * weight).sum(1) / weight.sum(1))[:, None]
    share = between / (between + var)
    out = np.broadcast_to(mean, bend.shape).copy()
    out[:, known] = mean + share * (value - mean)
    return out


def _fitted(windows: list[_Window], z: Array, coefficients: Array) -> Array:
    """Return the means [s, b] with the fitted curve in place of those it was fitted to."""
    out = z.copy()
    for b, w in enumerate(windows):
        c = coefficients[0, b]
        out[w.rows, b] = c[0] + c[1] * w.n + c[2] * w.n**2
    return out


def _rest(windows: list[_Window], rest: Array) -> Array:
    """Return residuals [s, b], NaN where no curve was fitted."""
    out = np.full(rest.shape, np.nan)
    for b, w in enumerate(windows):
        out[w.rows, b] = rest[w.rows, b]
    return out


def _misfit(cells: Cells, mean_var: Array) -> Array:
    """Return the variance [b] of cells' means about the curves, beyond what runs' spread makes."""
    square, free, expected = (np.zeros(len(cells.budgets)) for _ in range(3))
    for b in range(len(cells.budgets)):
        w = _window(cells, np.ones_like(mean_var), b)
        spare = len(w.rows) - 3
        if spare < 1:
            continue
        z = cells.mean[w.rows, b]
        c = w.solve @ z
        square[b] = ((z - c[0] - c[1] * w.n - c[2] * w.n**2) ** 2).sum()
        free[b] = spare
        expected[b] = spare * (mean_var[w.rows, b].mean() if cells.dof else 0.0)
    near = np.exp(-np.abs(cells.x[:, None] - cells.x) / NEAR)
    total = near @ free
    beyond = np.divide(near @ (square - expected), total, out=np.zeros_like(total), where=total > 0)
    return np.maximum(beyond, 1e-10)


def _luck(cells: Cells, misfit: Array, rest: Array, draws: int, rng: np.random.Generator) -> Array:
    """Return drawn errors of the cells' means [d, s, b]: whole runs, and whole sizes' misfits."""
    shape = (draws, *cells.mean.shape)
    out = np.zeros(shape)
    if len(cells.luck):
        most = int(cells.count.max())
        chosen = rng.integers(len(cells.luck), size=(draws, len(cells.sizes), most))
        luck = _filled(cells.luck, rng)[chosen]  # [d, s, k, b]
        taken = np.arange(most)[None, :, None] < cells.count[:, None, :]
        total = (luck * taken).sum(2)
        out += total / np.maximum(cells.count, 1) * np.sqrt(cells.var)
    unit = rest[np.isfinite(rest).any(1)]
    size = np.sqrt(np.nanmean(unit**2, axis=0, keepdims=True))
    unit = _filled(unit / np.maximum(size, 1e-9), rng)
    out += unit[rng.integers(len(unit), size=shape[:2])] * np.sqrt(misfit)
    return out


def _filled(rows: Array, rng: np.random.Generator) -> Array:
    """Return rows [r, b] with gaps filled by another row's value of that budget, or noise."""
    out = rows.copy()
    for b in range(rows.shape[1]):
        gaps = ~np.isfinite(rows[:, b])
        there = rows[~gaps, b]
        if gaps.any():
            count = int(gaps.sum())
            out[gaps, b] = rng.choice(there, count) if len(there) else rng.normal(size=count)
    return out


def _vertices(windows: list[_Window], cells: Cells, c: Array) -> tuple[Array, Array]:
    """Return the best log10 N and its z [d, b] of coefficients [d, b, 3]."""
    n, z = np.empty(c.shape[:2]), np.empty(c.shape[:2])
    for b, w in enumerate(windows):
        low, high = w.n.min() - OUTSIDE, w.n.max() + OUTSIDE
        c0, c1, c2 = c[:, b].T
        with np.errstate(divide="ignore", invalid="ignore"):
            turn = np.where(c2 < 0, -c1 / (2 * c2), np.where(c1 > 0, high, low))
        turn = np.clip(np.nan_to_num(turn), low, high)
        at = np.clip(turn, w.n.min(), w.n.max())
        n[:, b], z[:, b] = turn + w.ref, c0 + c1 * at + c2 * at**2
    return n, z


def _curve(
    cells: Cells,
    scale: ReturnScale,
    w: _Window,
    b: int,
    c: Array,
    n: float,
    z: float,
    n_draws: Array,
    var: Array,
) -> ReturnIsoFlop:
    rows = np.flatnonzero(cells.known[:, b])
    low, high = cells.n[rows[0]], cells.n[rows[-1]]
    sd = float(np.std(n_draws))
    inside = bool(len(w.rows) >= 3 and c[2] < 0 and low < n < high)
    interior = inside and sd < UNSURE
    sampled = cells.n[w.rows]
    fitted = c[0] + c[1] * w.n + c[2] * w.n**2
    best = float(sampled[int(np.argmax(fitted))])
    at = n if interior else best
    edge = None
    if not interior:
        edge = "flat" if inside else "low" if best - low < high - best else "high"
    returns = scale.back(cells.mean[rows, b])
    se = np.sqrt(var[rows, b])
    spread = 0.5 * (scale.back(cells.mean[rows, b] + se) - scale.back(cells.mean[rows, b] - se))
    log_d = np.interp(at, cells.n[rows], cells.log_samples[rows, b])
    return ReturnIsoFlop(
        budget=float(cells.budgets[b]),
        params=float(10**at),
        samples=float(np.exp(log_d)),
        value=float(scale.back(np.array(z))),
        params_sd_log10=sd if interior else float("nan"),
        interior=interior,
        edge=edge,
        coefficients=tuple(float(v) for v in c) if len(w.rows) >= 3 else None,  # type: ignore[arg-type]
        params_ref=float(10**w.ref),
        sizes=tuple(cells.sizes[rows].tolist()),
        returns=tuple(returns.tolist()),
        returns_se=tuple(spread.tolist()),
        used=tuple(bool(r in w.rows) for r in rows),
        runs=tuple(int(k) for k in cells.count[rows, b]),
        scale=scale,
    )
