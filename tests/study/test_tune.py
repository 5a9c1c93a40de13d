"""Tuning of a tiny study, from the grid to the recipe; the law itself is in tests/laws."""

from __future__ import annotations

import dataclasses

import pytest
from support import tiny_spec

from isoclone.base.errors import FitError, SpecError
from isoclone.laws.rates import BestRate
from isoclone.study.tune import _best_batch, tune, tuned_spec
from isoclone.training.recipes import recipe


def test_tuning_gives_a_recipe_and_what_it_gains(tmp_path):
    """One whole pass over a real grid; seconds, since all of it is trained."""
    spec = tiny_spec(budgets_flops=(2e7, 4e7))
    rates, batches = (0.3, 3.0, 30.0), (0.5,)
    found = tune(spec, tmp_path, rates=rates, batches=batches)
    assert {each.batch_size for each in found.best} == {16}
    assert found.recipe["batch_size"] == 16
    assert found.recipe["width_power"] == round(-found.law.width_exponent.value, 3)
    assert [gain.budget_flops for gain in found.gains] == [2e7, 4e7]
    assert found.worth.label == "tuned"
    assert tuned_spec(spec, found).recipe["name"] == "lean-tuned"
    points = sorted(tmp_path.rglob("points/*.json"))
    assert len(points) == 3 * 3 * 2 + 2 * 2
    made = [path.stat().st_mtime_ns for path in points]
    assert tune(spec, tmp_path, rates=rates, batches=batches) == found
    assert [path.stat().st_mtime_ns for path in points] == made


def best(batch: int, loss: float, width: int, rate: float = 1e-3) -> BestRate:
    return BestRate(width, 1e8, 1e4, batch, rate, loss)


def test_the_batch_size_is_that_of_the_lowest_loss_where_a_law_can_be_fitted():
    many = [best(32, 0.5, width) for width in range(1, 6)]
    assert _best_batch([*many, best(16, 0.1, 1)]) == 32  # one best rate makes no law
    assert _best_batch([*many, *(best(16, 0.4, width) for width in range(2, 7))]) == 16
    assert _best_batch([*many, *(best(16, 0.6, width) for width in range(2, 7))]) == 32
    with pytest.raises(FitError, match="more --rates"):
        _best_batch([])


@pytest.mark.parametrize(
    ("changes", "rates", "said"),
    [
        ({"widths": (2, 4)}, (0.5, 1.0, 2.0), "tune needs 3 widths"),
        ({}, (2.0, 1.0, 0.5), "factors of the learning rate, ascending"),
        ({}, (1.0, 2.0), "three or more"),
        ({"expert": "nobody", "recipe": recipe("ppo").to_json()}, (0.5, 1.0, 2.0), "dev losses"),
    ],
)
def test_what_cannot_be_tuned(changes, rates, said, tmp_path):
    with pytest.raises(SpecError, match=said):
        tune(dataclasses.replace(tiny_spec(), **changes), tmp_path, rates=rates)
