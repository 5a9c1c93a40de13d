"""Effective data: synthetic truth, and a real study of the toy game where it can be trained."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.errors import FitError
from isoclone.laws.datalimited import DataLimitedLaw, effective_samples


def truth(n, d, u, repeats):
    return 0.2 + 8 / n**0.4 + 25 / effective_samples(d, u, repeats) ** 0.35


def grid(repeats, noise=0.003, seed=0):
    rng = np.random.default_rng(seed)
    n, u, epochs = (
        v.ravel()
        for v in np.meshgrid(np.logspace(3, 6, 5), [1e4, 1e5, 1e6], [1.0, 3.0, 10.0, 40.0])
    )
    return n, u * epochs, u, truth(n, u * epochs, u, repeats) * np.exp(rng.normal(0, noise, len(n)))


def test_once_through_is_worth_itself_and_repeats_are_worth_less():
    assert effective_samples(1e6, 1e6, 5) == pytest.approx(1e6)
    assert effective_samples(5e5, 1e6, 5) == pytest.approx(5e5)
    assert 1e6 < effective_samples(1e7, 1e6, 5) < 6e6 * 1.0001
    assert effective_samples(1e12, 1e6, 5) == pytest.approx(6e6)


@pytest.mark.parametrize("repeats", [2.0, 10.0])
def test_the_worth_of_repeats_is_recovered(repeats):
    law = DataLimitedLaw(bootstraps=40).fit(*grid(repeats), sd=0.003)
    assert law.repeats_.low / 1.2 <= repeats <= law.repeats_.high * 1.2
    assert law.repeats_.value == pytest.approx(repeats, rel=0.35)
    assert not law.at_bound_


def test_how_many_demonstrations_must_i_collect():
    law = DataLimitedLaw(bootstraps=10).fit(*grid(5.0, noise=0.0005), sd=0.001)
    wanted = float(truth(1e5, 4 * 3e5, 3e5, 5.0))
    assert law.unique_needed(1e5, wanted, epochs=4) == pytest.approx(3e5, rel=0.15)
    with pytest.raises(FitError, match="no number of samples"):
        law.unique_needed(1e3, 0.1, epochs=1)


def test_without_repeats_nothing_can_be_said():
    n, _, u, y = grid(5.0)
    with pytest.raises(FitError, match="no run repeats"):
        DataLimitedLaw().fit(n, u, u, y)
