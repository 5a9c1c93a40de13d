"""Kriging: the parametric part, what it misses, and what small models know of larger ones."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import CHINCHILLA, loss, study

from isoclone.base.errors import FitError
from isoclone.laws.frontier import kriging
from isoclone.laws.frontier.kriging import Kriging, above_best
from isoclone.laws.points import Points
from isoclone.laws.surface import Surface


def bent(n, d):
    """A loss with a bend that no surface has: a skill is learnt near 8e8 samples."""
    step = 1 - 0.4 / (1 + np.exp(-5 * np.log10(d / 8e8)))
    return (0.1 + 3e2 / n**0.5 + 3e4 / d**0.55) * step


def runs(truth, last=17.0, seed=0):
    """Every size at every budget from 1e15 on, with 1 % of noise, C = 6 N D."""
    n, c = np.meshgrid(np.geomspace(3e5, 1e8, 9), 10 ** np.arange(15.0, last + 0.01, 0.34))
    n, c = n.ravel(), c.ravel()
    d = c / 6 / n
    y = truth(n, d) * np.exp(np.random.default_rng(seed).normal(0, 0.01, len(n)))
    return Points.from_table({"flops": c, "params": n, "samples": d, "dev_loss": y})


def test_a_textbook_surface_is_followed():
    fitted = Kriging().fit(Points.from_table(study(noise=0.003)))
    n, d = np.array([1e9, 3e9]), np.array([3e10, 5e10])
    assert np.exp(fitted.log_loss(n, d)) == pytest.approx(loss(CHINCHILLA, n, d), rel=0.02)


def test_a_bend_that_small_models_have_seen_is_foreseen_for_larger_ones():
    points = runs(bent)
    n = np.geomspace(8e6, 4e7, 8)
    d = 10**17.3 / 6 / n
    surface = Surface("interaction").fit(points.params, points.samples, points.loss, 0.02)

    def rms(said):
        return np.sqrt(np.mean((said - np.log(bent(n, d))) ** 2))

    ours = rms(Kriging().fit(points).log_loss(n, d))
    assert ours < 0.06
    assert ours < 0.6 * rms(surface.log_loss(n, d))


def test_the_gradient_is_that_of_the_cost():
    fitted = Kriging().fit(runs(bent, last=16.0))
    at = fitted.theta_ + 0.1
    _, gradient = fitted._cost(at)
    step = 1e-5 * np.eye(len(at))
    numeric = [(fitted._cost(at + s)[0] - fitted._cost(at - s)[0]) / 2e-5 for s in step]
    assert gradient == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_many_points_are_thinned_to_those_near_the_best(monkeypatch):
    monkeypatch.setattr(kriging, "MOST", 30)
    points = runs(bent)
    fitted = Kriging().fit(points)
    assert len(fitted._residual) == 30
    limit = np.sort(above_best(points))[30]
    assert (fitted._variance <= kriging.NOISE_FLOOR**2 + (kriging.FAR * limit) ** 2).all()


def test_one_size_cannot_be_kriged():
    points = runs(bent)
    with pytest.raises(FitError, match="sizes"):
        Kriging().fit(points.keep(points.params == points.params[0]))
