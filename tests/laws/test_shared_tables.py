"""Forecasts on studies by others, which lie beside the checkout where they do at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from isoclone import laws
from isoclone.laws.tables import read

TABLES = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[3] / "shared")) / "tables"
pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason=f"{TABLES} is not here")


def columns(name):
    """One table as arrays, its text as objects."""
    table = read(TABLES / f"{name}.csv").columns
    return {k: np.asarray(v, dtype=object if k == "run_id" else float) for k, v in table.items()}


def within(table, low=0.0, high=np.inf):
    keep = (table["flops"] >= low) & (table["flops"] <= high)
    return {k: v[keep] for k, v in table.items()}


@pytest.mark.parametrize("name", ["porian0", "porian1", "porian2", "misfitting"])
def test_a_decade_ahead_the_loss_is_inside_a_narrow_interval(name):
    table = columns(name)
    last = table["flops"].max()
    target = within(table, last / 1.05)
    best = int(np.argmin(target["dev_loss"]))
    said = laws.fit(within(table, high=last / 9)).forecast(target["flops"][best]).dev_loss
    assert said.holds(target["dev_loss"][best])
    assert said.value == pytest.approx(target["dev_loss"][best], rel=0.04)
    assert np.log(said.high / said.low) < 0.16


@pytest.mark.parametrize("name", ["porian1", "misfitting", "marin_comma"])
def test_leaving_out_the_oldest_rows_moves_no_forecast_by_half_its_half_width(name):
    table = columns(name)
    flops = np.unique(table.get("budget_flops", table["flops"]))
    recent = within(table, 1.2 * flops[len(flops) // 4 - 1])  # without the oldest quarter
    ahead = [3 * table["flops"].max(), 10 * table["flops"].max()]
    middle, low, high = laws.fit(table).frontier(ahead)
    moved = np.log(laws.fit(recent).frontier(ahead)[0] / middle)
    assert (np.abs(moved) < 0.25 * np.log(high / low)).all()


@pytest.mark.parametrize(
    ("name", "a"), [("porian0", 0.834), ("porian1", 0.701), ("porian2", 0.604)]
)
def test_published_exponents_lie_in_narrow_intervals(name, a):
    found = laws.fit(columns(name)).exponents()["isoflop_optima"].params
    assert found.holds(a)
    assert found.high - found.low < 0.09


def test_the_published_fit_of_chinchilla_is_repeated():
    fitted = laws.fit(columns("chinchilla245"))
    surface = fitted.to_json()["surface"]
    assert surface["window"] == {
        "points": 240, "of": 245, "outliers": 5, "decades": None, "loss_within": None
    }  # fmt: skip
    published = {"E": 1.82, "A": 482, "B": 2085, "alpha": 0.348, "beta": 0.366}
    for name, value in published.items():
        interval = surface["coefficients"][name]
        assert interval["low"] <= value <= interval["high"], name
    assert fitted.exponents()["surface_6nd"].params.holds(0.51)
