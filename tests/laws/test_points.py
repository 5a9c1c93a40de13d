"""Tables made into points: every row is used, or counted with its reason."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import codes, study

import isoclone.laws as laws
from isoclone.base.errors import DataError, FitError
from isoclone.laws.points import Points, clean_table, cluster_budgets, condensed


def test_dropped_rows_are_counted_with_their_reason():
    table = study()
    table["dev_loss"][0] = float("nan")
    table["dev_loss"][1] = -1.0
    table["samples"][2] = "many"
    table["params"][3] = 1e300
    for name in table:
        table[name].append(table[name][10])
    found = laws.fit(table)
    assert sum(found.points_.dropped.values()) == 5
    assert "rows_dropped" in codes(found.status)


def test_failed_runs_are_left_out_and_said():
    table = study()
    table["status"] = ["ok"] * len(table["flops"])
    table["status"][7] = "diverged"
    assert laws.fit(table).points_.dropped == {"status is 'diverged'": 1}


def test_units_off_by_a_million_are_suspected():
    table = study()
    table["samples"] = [d / 1e6 for d in table["samples"]]
    assert "units_suspect" in codes(laws.fit(table).status)


def test_budgets_are_recovered_from_what_was_spent():
    spent = np.array([1.0e10, 1.02e10, 0.99e10, 3.1e10, 3.2e10])
    found = cluster_budgets(spent)
    assert len(np.unique(found)) == 2
    assert found[0] == found[2]


def test_a_clean_table_has_the_usable_rows_and_every_figure():
    table = study(budgets=5)
    rows = len(table["flops"])
    table |= {"status": ["ok"] * rows, "dev_loss_se": [None, *[0.01] * (rows - 1)]}
    table["status"][7], table["dev_loss"][3] = "failed", None
    clean = clean_table(table)
    assert {len(values) for values in clean.values()} == {rows - 2}
    assert np.isnan(clean["dev_loss_se"][0])
    assert np.isnan(clean["return_mean"]).all()
    assert len(np.unique(clean["budget_flops"])) == 5  # recovered from what was spent
    assert list(clean["run_id"][:3]) == table["run_id"][:3]
    again = Points.from_table(clean)
    assert (again.loss == Points.from_table(table).loss).all()
    assert (again.budget == Points.from_table(table).budget).all()


def test_a_clean_table_names_what_is_wrong():
    with pytest.raises(DataError, match="lacks the column params"):
        clean_table({"dev_loss": [1.0]})
    with pytest.raises(FitError, match="no usable row in the table"):
        clean_table({name: [None] for name in study()})
    del (table := study())["run_id"]
    assert len(set(clean_table(table)["run_id"])) == len(table["flops"])  # a run of its own each


def by_return(**changed):
    """A table of runs with returns and without losses."""
    table = study(returns=True)
    del table["dev_loss"]
    return table | changed


@pytest.mark.parametrize("loss", [None, float("nan")])
def test_a_table_without_a_single_loss_is_read_by_its_returns(loss):
    table = by_return()
    table["dev_loss"] = [loss] * len(table["flops"])
    table["return_mean"][3] = None
    points = Points.from_table(table)
    assert points.by_return
    assert len(points) == len(table["flops"]) - 1
    assert points.dropped == {"return_mean is missing or not a finite number": 1}
    assert np.isnan(clean_table(table)["dev_loss"]).all()
    assert not Points.from_table(study(returns=True)).by_return


def test_returns_may_have_any_sign_and_losses_may_not():
    table = by_return()
    table["return_mean"] = [-r for r in table["return_mean"]]
    assert len(Points.from_table(table)) == len(table["flops"])
    table["dev_loss"] = [-1.0] * len(table["flops"])  # there are losses, and all are wrong
    with pytest.raises(FitError, match="dev_loss is not positive"):
        Points.from_table(table)


def test_a_table_with_neither_loss_nor_return_is_refused():
    table = by_return()
    del table["return_mean"]
    with pytest.raises(DataError, match="lacks the column dev_loss or return_mean"):
        Points.from_table(table)


def test_rows_that_are_averaged_keep_what_their_returns_are_known_by():
    rows = study(returns=True, budgets=2, sizes=2)
    four = {name: [v for v in column for _ in range(3)] for name, column in rows.items()}
    four["return_mean"] = [1.0, 2.0, 6.0, *[5.0] * 3, None, 4.0, 8.0, *[None] * 3]
    four["return_se"] = [3.0, 4.0, 12.0, *[None, 1.0, 1.0], 9.0, 0.6, 0.8, *[1.0] * 3]
    four["episodes"] = [10, 20, 30, 4, 4, 4, 7, 5, 5, 1, 1, 1]
    four["run_id"] = range(12)
    found = condensed(Points.from_table(four))
    order = np.lexsort([found.budget, found.params])
    np.testing.assert_allclose(found.returns[order], [3, 5, 6, np.nan])
    np.testing.assert_allclose(found.returns_se[order], [13 / 3, np.nan, 0.5, np.nan])
    np.testing.assert_allclose(found.episodes[order], [60, 12, 10, np.nan])
