"""Nominal budgets say which rows belong together, and no law takes them for compute."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from laws_truth import seeded, study
from rl_truth import rl_study

from isoclone import laws
from isoclone.base.records import Forecast, Interval
from isoclone.laws.tables import read

TABLES = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[3] / "shared")) / "tables"
SHARED = ("porian0", "marin_comma", "misfitting", "muennighoff")


def overshot():
    """A study whose runs spend up to a fifth more than their budget, each another share."""
    table = study(noise=0.01, returns=True, budgets=7, sizes=7)
    rng = np.random.default_rng(0)
    table["budget_flops"] = list(table["flops"])
    more = rng.uniform(1.0, 1.2, len(table["flops"]))
    for name in ("flops", "samples"):
        table[name] = list(np.array(table[name]) * more)
    return table


def shared(name):
    return read(TABLES / f"{name}.csv").columns


TABLES_MADE = {
    "spent as meant": lambda: study(noise=0.01, returns=True),
    "overshot": overshot,
    "of several seeds": lambda: seeded(3, noise=0.02, returns=True, sizes=5, budgets=5),
    "of returns": rl_study,
    **{name: (lambda n=name: shared(n)) for name in SHARED},
}
RELABELLED = {
    "doubled": lambda nominal: 2 * nominal,
    "ranks": lambda nominal: np.unique(nominal, return_inverse=True)[1] + 1.0,
    "reversed": lambda nominal: 1.0 / nominal,
}


def everything(table, ahead):
    """All that a law says: its JSON, a forecast and the curves."""
    fitted = laws.fit(table, random_return=0.0)
    said = fitted.to_json(), fitted.forecast(ahead).to_json(), fitted.curves([ahead]).to_json()
    return json.dumps(said, default=str)


@pytest.mark.parametrize("how", RELABELLED)
@pytest.mark.parametrize("made", TABLES_MADE)
def test_other_names_of_the_same_budgets_change_nothing(made, how):
    if made in SHARED and not TABLES.is_dir():
        pytest.skip(f"{TABLES} is not here")
    table = dict(TABLES_MADE[made]())
    flops = np.asarray(table["flops"], float)
    nominal = np.asarray(table.get("budget_flops", flops), float)
    before = everything({**table, "budget_flops": nominal}, 10 * flops.max())
    after = everything({**table, "budget_flops": RELABELLED[how](nominal)}, 10 * flops.max())
    assert before == after


def test_a_law_of_a_users_own_sees_what_was_spent():
    def fit(table):
        best, last = Interval(1e9, None, None), float(table["budget_flops"].max())
        return SimpleNamespace(
            forecast=lambda flops: Forecast(flops, best, best, Interval(last, None, None), None, 0)
        )

    laws.LAWS.add("last-budget", fit)
    table = overshot()
    said = []
    for nominal in (table["budget_flops"], list(2 * np.array(table["budget_flops"]))):
        fitted = laws.fit_law("last-budget", {**table, "budget_flops": nominal})
        said.append((fitted.forecast(1e22).to_json(), json.dumps(fitted.to_json(), default=str)))
        rows = laws.compare(["last-budget"], {**table, "budget_flops": nominal})
        said[-1] += ([row.to_json() for row in rows],)
    assert said[0] == said[1]


def test_how_far_a_forecast_looks_is_counted_from_what_was_spent():
    table = overshot()
    spent, nominal = np.array(table["flops"]), np.array(table["budget_flops"])
    last = np.median(spent[nominal == nominal.max()])
    table["budget_flops"] = [1e-3 * b for b in table["budget_flops"]]
    assert laws.fit(table).forecast(10 * last).decades_beyond == pytest.approx(1.0)
