"""Power laws on points whose law is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from isoclone.base.errors import FitError
from isoclone.laws.power import OffsetPowerLaw, PowerLaw


def test_exact_power_law():
    x = np.logspace(1, 4, 7)
    law = PowerLaw().fit(x, 3 * x**0.5)
    assert law.exponent_ == pytest.approx(0.5)
    assert law.predict(1e6) == pytest.approx(3e3)


def test_t_interval_is_that_of_ordinary_least_squares():
    rng = np.random.default_rng(3)
    x = np.logspace(1, 4, 8)
    y = 2 * x**0.7 * 10 ** rng.normal(0, 0.05, 8)
    law, reference = PowerLaw().fit(x, y), stats.linregress(np.log10(x), np.log10(y))
    half = stats.t.ppf(0.975, 6) * reference.stderr
    interval = law.exponent_interval()
    assert interval.value == pytest.approx(reference.slope)
    assert interval.high - interval.value == pytest.approx(half)


def test_shared_errors_widen_the_interval_by_what_they_tilt():
    x, tilt = np.logspace(1, 4, 8), 0.05
    y = 2 * x**0.7 * 10 ** np.random.default_rng(3).normal(0, 0.001, 8)
    gradient = np.log10(x)[:, None]  # one error that tilts the line, and leaves no residual
    law = PowerLaw().fit(x, y).share(gradient, np.array([[tilt**2]]), np.ones(1))
    interval = law.exponent_interval()
    assert interval.high - interval.value == pytest.approx(stats.norm.ppf(0.975) * tilt, rel=0.01)
    far = law.prediction_sd(1e6, new_observation=False)
    assert far == pytest.approx(tilt * 6, rel=0.01)


def test_shared_errors_make_a_prior_count_for_more():
    x = np.logspace(1, 4, 8)
    law = PowerLaw(0.5, 0.1).fit(x, x**0.9, noise_sd=1e-4)
    assert law.exponent_ == pytest.approx(0.9, abs=1e-4)
    law.share(np.log10(x)[:, None], np.array([[0.1**2]]), np.ones(1))
    assert law.exponent_ == pytest.approx(0.7, abs=1e-4)  # both know it to .1
    interval = law.exponent_interval()
    half = stats.t.ppf(0.975, 6 * 2**2) * 0.1 / np.sqrt(2)  # half of the variance has 6 dof
    assert interval.high - interval.value == pytest.approx(half, rel=0.01)


def test_prediction_interval_holds_about_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    x = np.logspace(1, 3, 8)
    for _ in range(400):
        noise = rng.normal(0, 0.1, 9)
        law = PowerLaw().fit(x, x**0.4 * 10 ** noise[:8])
        _, low, high = law.predict(1e4, interval=0.95)
        held += low <= 1e4**0.4 * 10 ** noise[8] <= high
    assert 0.91 < held / 400 < 0.985


def test_offset_law_finds_the_offset():
    x = np.logspace(0, 4, 12)
    law = OffsetPowerLaw().fit(x, 5 * x**-0.5 + 0.3)
    assert law.offset_ == pytest.approx(0.3, abs=0.02)
    assert law.exponent_ == pytest.approx(-0.5, abs=0.02)
    rising = OffsetPowerLaw(rising=True).fit(x, 10 - 5 * x**-0.5)
    assert rising.offset_ == pytest.approx(10, abs=0.2)


def test_one_point_is_no_law():
    with pytest.raises(FitError):
        PowerLaw().fit([1.0], [2.0])


def test_a_line_through_two_points_has_no_interval():
    law = PowerLaw().fit([1e9, 1e10], [2.0, 1.0]).to_json()
    assert (law["points"], law["exponent"]["low"], law["exponent"]["high"]) == (2, None, None)
    assert PowerLaw().fit([1, 10, 100], [3.0, 2.0, 1.0]).to_json()["points"] == 3
