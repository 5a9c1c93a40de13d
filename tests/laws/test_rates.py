"""The law of the best learning rate: known exponents are found again, edges are left out."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.base.errors import FitError
from isoclone.laws.rates import BestRate, fit_rates, vertex


def found(noise: float = 0.0, seed: int = 0) -> list[BestRate]:
    """Return best rates 0.02 width^-0.4 samples^-0.1, with a log-normal error."""
    rng = np.random.default_rng(seed)
    return [
        BestRate(w, 1e8, n, 32, 0.02 * w**-0.4 * n**-0.1 * np.exp(noise * rng.normal()), 0.5)
        for w in (4, 8, 16)
        for n in (1e4, 1e5)
    ]


def test_a_known_law_is_found_again() -> None:
    law = fit_rates(found())
    assert law.scale == pytest.approx(0.02)
    assert law.width_exponent.value == pytest.approx(-0.4)
    assert law.samples_exponent.value == pytest.approx(-0.1)
    assert law.rate(8, 1e5) == pytest.approx(0.02 * 8**-0.4 * 1e5**-0.1)


def test_intervals_hold_the_exponents() -> None:
    laws = [fit_rates(found(0.2, seed)) for seed in range(60)]
    assert 52 <= sum(law.width_exponent.holds(-0.4) for law in laws)  # noqa: SIM300
    assert 52 <= sum(law.samples_exponent.holds(-0.1) for law in laws)  # noqa: SIM300


def test_the_vertex_is_that_of_the_parabola_in_logs() -> None:
    losses = {
        r: float(np.exp(0.3 * np.log(r / 0.003) ** 2 - 0.5)) for r in (1e-3, 2e-3, 4e-3, 8e-3)
    }
    rate, loss = vertex(losses) or (0.0, 0.0)
    assert rate == pytest.approx(0.003)
    assert loss == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("losses", [{1.0: 1.0, 2.0: 2.0, 3.0: 3.0}, {1.0: 1.0}, {}])
def test_a_lowest_loss_at_the_edge_has_no_vertex(losses: dict[float, float]) -> None:
    assert vertex(losses) is None
    assert vertex({**losses, 9.0: np.inf}) is None  # what diverged is no neighbour


def test_too_few_or_all_of_one_kind_are_refused() -> None:
    with pytest.raises(FitError, match="a law needs 4"):
        fit_rates(found()[:3])
    with pytest.raises(FitError, match="do not vary apart"):
        fit_rates(found()[:1] * 5)
