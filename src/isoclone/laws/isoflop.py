"""IsoFLOP curves: at one budget, the loss against the model size, and where it is lowest.

Paper's way: log10 L = p0 + p1 n + p2 n^2 with n = log10 N, over all sizes of the budget, vertex
n* = -p1 / (2 p2) (Tuyls et al. 2023; approach 2 of Hoffmann et al. 2022, arXiv 2203.15556).
Local way: the same parabola over the sizes around the best one only. Under-trained large models
bend the curve far from a parabola, and would otherwise move the vertex of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from isoclone.base.records import jsonable
from isoclone.laws.points import Points

Array = np.ndarray
LOCAL_SIZES = 5


@dataclass(frozen=True)
class IsoFlop:
    """One budget's curve. Logs are natural for losses, base 10 for sizes.

    `interior` says that the curve turns upwards on both sides of its minimum inside the sampled
    sizes; where it does not, the optimum is only known to lie at or beyond the end named by
    `edge` ('low' or 'high'), `params` is the best sampled size, and exponents leave it out.
    """

    budget: float
    params: float
    samples: float
    loss: float
    params_sd_log10: float
    interior: bool
    edge: str | None
    coefficients: tuple[float, float, float] | None  # of log L in (log10 N - log10 params_ref)
    params_ref: float
    sizes: tuple[float, ...]
    losses: tuple[float, ...]
    used: tuple[bool, ...]
    best_params: float
    best_samples: float
    best_loss: float
    best_loss_se: float | None
    residual_sd: float | None  # of log L about the parabola, None without points to spare
    residual_dof: int  # how many points to spare
    key: ClassVar[str] = "dev_loss"

    @property
    def value(self) -> float:
        """Return the loss at the best size."""
        return self.loss

    @property
    def vertex_params(self) -> float | None:
        """Return the size where the parabola turns; None if it bends downwards."""
        if self.coefficients is None or self.coefficients[2] <= 0:
            return None
        shift = -self.coefficients[1] / (2 * self.coefficients[2])
        return self.params_ref * 10.0**shift if abs(shift) < 12 else None

    @property
    def vertex_loss(self) -> float | None:
        """Return the parabola's lowest loss."""
        if self.vertex_params is None or self.coefficients is None:
            return None
        c = self.coefficients
        return float(np.exp(c[0] - c[1] ** 2 / (4 * c[2])))

    @property
    def curvature(self) -> float | None:
        """Return the second derivative of log L by log10 N."""
        return None if self.coefficients is None else 2 * self.coefficients[2]

    def gradient(self) -> dict[float, tuple[float, float]]:
        """Return {N: derivatives of log10 `params` and of `curvature` by its mean log loss}.

        Empty where the optimum lies at an edge.
        """
        if not self.interior or self.coefficients is None:
            return {}
        sizes, (_, c1, c2) = np.array(self.sizes)[np.array(self.used)], self.coefficients
        dn = np.log10(sizes / self.params_ref)
        weights = np.linalg.pinv(np.column_stack([np.ones_like(dn), dn, dn**2]))
        moved = -weights[1] / (2 * c2) + weights[2] * c1 / (2 * c2**2)
        bent = 2 * weights[2]
        return {
            s: (m, k) for s, m, k in zip(*(v.tolist() for v in (sizes, moved, bent)), strict=True)
        }

    def curve(self, count: int = 60) -> dict[str, Array]:
        """Return the fitted parabola over the sizes it was fitted to, for drawing."""
        inside = [s for s, u in zip(self.sizes, self.used, strict=True) if u]
        if self.coefficients is None or not inside:
            return {"params": np.array([]), "dev_loss": np.array([])}
        n = np.linspace(np.log10(min(inside)), np.log10(max(inside)), count)
        c, dn = self.coefficients, n - np.log10(self.params_ref)
        return {"params": 10.0**n, "dev_loss": np.exp(c[0] + c[1] * dn + c[2] * dn**2)}

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values, with the curvature."""
        return {**jsonable(self), "curvature": self.curvature}


def fit_isoflops(points: Points, local: bool = True) -> list[IsoFlop]:
    """Fit one `IsoFlop` per budget, budgets ascending. `local=False` is the paper's way."""
    return [_fit_one(points.keep(points.budget == b), float(b), local) for b in points.budgets]


def scatter(curves: list[IsoFlop]) -> float | None:
    """Return the SD of log loss about the curves: the median over budgets, corrected.

    The median of a chi-squared variable lies below its mean; the quotient undoes that. None when
    no budget has points to spare.
    """
    found = [
        c.residual_sd / np.sqrt(special.chdtri(c.residual_dof, 0.5) / c.residual_dof)
        for c in curves
        if c.residual_sd is not None and c.residual_dof > 0
    ]
    return float(np.median(found)) if found else None


def shared_curvature(curves: list[IsoFlop]) -> dict[str, Any] | None:
    """Refit the interior curves with one common curvature, as a diagnostic.

    {'curvature', 'residual_sd', 'residual_sd_free', 'params': {budget: N}}. If the shared fit's
    residuals are much larger than the free ones, the curves differ in width and one quadratic
    surface cannot hold them all; if not, its optima are the steadier ones. None with fewer than
    two interior curves.
    """
    inner = [c for c in curves if c.interior]
    if len(inner) < 2:
        return None
    blocks, target = [], []
    for index, c in enumerate(inner):
        used = np.array(c.used)
        n = np.log10(np.array(c.sizes)[used] / c.params_ref)
        rows = np.zeros((len(n), 2 * len(inner) + 1))
        rows[:, 2 * index], rows[:, 2 * index + 1], rows[:, -1] = 1.0, n, n**2
        blocks.append(rows)
        target.append(np.log(np.array(c.losses)[used]))
    design, y = np.vstack(blocks), np.concatenate(target)
    coef = np.linalg.lstsq(design, y, rcond=None)[0]
    if coef[-1] <= 0:
        return None
    slopes = coef[1:-1:2]
    best = {
        f"{c.budget:.6g}": float(c.params_ref * 10 ** (-slope / (2 * coef[-1])))
        for c, slope in zip(inner, slopes, strict=True)
    }
    dof = max(len(y) - design.shape[1], 1)
    return {
        "curvature": float(2 * coef[-1]),
        "residual_sd": float(np.sqrt(((design @ coef - y) ** 2).sum() / dof)),
        "residual_sd_free": scatter(inner),
        "params": best,
    }


def _by_size(points: Points) -> tuple[Array, Array, Array, Array]:
    """Return sizes ascending, with mean log loss, mean log samples, and relative loss SE."""
    sizes, group = np.unique(points.params, return_inverse=True)
    count = np.bincount(group)
    loss = np.bincount(group, np.log(points.loss)) / count
    samples = np.bincount(group, np.log(points.samples)) / count
    relative = np.nan_to_num(points.loss_se / points.loss)
    se = np.sqrt(np.bincount(group, relative**2)) / count
    return sizes, loss, samples, se


def _by_row(points: Points) -> tuple[Array, Array, Array, Array]:
    """Return every run as a point of its own, as the paper has it."""
    order = np.argsort(points.params, kind="stable")
    loss, samples = np.log(points.loss[order]), np.log(points.samples[order])
    return points.params[order], loss, samples, np.zeros(len(order))


def _fit_one(points: Points, budget: float, local: bool) -> IsoFlop:
    sizes, loss, samples, se = _by_size(points) if local else _by_row(points)
    n = np.log10(sizes)
    best = int(np.argmin(loss))
    used = _window(n, loss, best) if local else np.ones(len(n), dtype=bool)
    fitted = _parabola(n[used], loss[used], se[used], n[best])
    at_end = best in (0, len(n) - 1)
    vertex, level, sd, interior = n[best], loss[best], np.nan, False
    if fitted is not None and fitted[0][2] > 0:
        c = fitted[0]
        turn = n[best] - c[1] / (2 * c[2])
        inside = n[used].min() <= turn <= n[used].max()
        if inside and (not local or not at_end):
            vertex, level, sd = turn, c[0] - c[1] ** 2 / (4 * c[2]), fitted[1]
            interior = True
    edge = None
    if not interior:
        edge = "low" if best < len(n) / 2 else "high"
    own = int(np.argmin(points.loss))
    own_se = points.loss_se[own]
    return IsoFlop(
        budget=budget,
        params=float(10**vertex),
        samples=float(np.exp(np.interp(vertex, n, samples))),
        loss=float(np.exp(level)),
        params_sd_log10=float(sd),
        interior=interior,
        edge=edge,
        coefficients=None if fitted is None else tuple(float(v) for v in fitted[0]),  # type: ignore[arg-type]
        params_ref=float(sizes[best]),
        sizes=tuple(sizes.tolist()),
        losses=tuple(np.exp(loss).tolist()),
        used=tuple(bool(u) for u in used),
        best_params=float(points.params[own]),
        best_samples=float(points.samples[own]),
        best_loss=float(points.loss[own]),
        best_loss_se=float(own_se) if np.isfinite(own_se) else None,
        residual_sd=None if fitted is None else fitted[2],
        residual_dof=max(int(used.sum()) - 3, 0),
    )


def _window(n: Array, loss: Array, best: int) -> Array:
    """Return a mask of the `LOCAL_SIZES` sizes nearest the best; wild losses left out."""
    order = np.argsort(np.abs(np.arange(len(n)) - best), kind="stable")
    used = np.zeros(len(n), dtype=bool)
    used[order[:LOCAL_SIZES]] = True
    steep = used & (loss > loss[best] + 0.4)  # e^.4 = 1.5 times the best loss
    if used.sum() - steep.sum() >= 4:
        used &= ~steep
    return used


def _parabola(
    n: Array, loss: Array, se: Array, ref: float
) -> tuple[Array, float, float | None] | None:
    """Return coefficients of log L around `ref`, SD of the vertex (log10 N), residual SD."""
    if len(np.unique(n)) < 3:
        return None
    dn = n - ref
    design = np.column_stack([np.ones_like(dn), dn, dn**2])
    c = np.linalg.lstsq(design, loss, rcond=None)[0]
    dof = len(n) - 3
    rss = float(((design @ c - loss) ** 2).sum())
    noise = max(rss / dof if dof else 0.0, float(np.mean(se**2)), 0.01**2)
    covariance = noise * np.linalg.pinv(design.T @ design)
    gradient = np.array([0.0, -1 / (2 * c[2]), c[1] / (2 * c[2] ** 2)]) if c[2] else np.zeros(3)
    scatter = float(np.sqrt(rss / dof)) if dof else None
    return c, float(np.sqrt(gradient @ covariance @ gradient)), scatter
