"""A law of a user's own on runs without losses: returns are all that it must forecast."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import codes
from rl_truth import rl_study

from isoclone import laws
from isoclone.base.errors import FitError
from isoclone.base.records import Forecast, Interval


class Flat:
    """The highest return so far, at the middle size."""

    def __init__(self, table, back=True):
        assert np.isnan(table["dev_loss"]).all()
        self.size, self.best = np.median(table["params"]), max(table["return_mean"])
        self.back = back

    def forecast(self, flops):
        n, r = Interval(self.size, None, None), Interval(self.best, 0.0, None)
        d = Interval(flops / 6 / self.size, None, None)
        return Forecast(flops, n, d, None, r if self.back else None, 0.0)


@pytest.fixture
def added():
    names = {"flat": Flat, "silent": lambda table: Flat(table, back=False)}
    for name, law in names.items():
        laws.LAWS.add(name, law)
    yield
    for name in names:
        laws.LAWS.remove(name)


def test_a_law_that_forecasts_returns_alone_is_taken(added):
    table = rl_study()
    found = laws.fit_law("flat", table, random_return=0.0)
    assert found.name == "flat"
    assert found.forecast(1e11).return_mean.value == pytest.approx(max(table["return_mean"]))
    assert "return_mean" in found.forecast(1e11).excludes
    curves = found.curves(np.logspace(8, 11, 4))
    assert curves.dev_loss is None
    assert len(curves.return_mean.value) == 4
    assert found.isoflop_curves()[0].key == "return_mean"
    assert found.to_json()["isoflops"]


def test_a_law_without_a_return_is_replaced_and_said(added):
    said = laws.fit_law("silent", rl_study(), random_return=0.0).forecast(1e11)
    assert "law_failed" in codes(said.status)
    assert said.return_mean.low < said.return_mean.high


def test_comparisons_of_laws_need_losses(added):
    with pytest.raises(FitError, match="comparison of laws by past forecasts needs dev_loss"):
        laws.compare(["flat"], rl_study())
