"""What is known at one moment of a study."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import study

from isoclone.laws.frontier.evidence import MIN_NOISE, Evidence
from isoclone.laws.points import Points


def test_the_evidence_until_a_budget_is_that_of_the_rows_until_it():
    whole = Evidence(Points.from_table(study(noise=0.01, budgets=8)))
    early = whole.until(5)
    assert len(early.x) == 5
    assert early.points.budget.max() == whole.points.budgets[4]
    assert (early.best == whole.best[:5]).all()


def test_the_frontier_is_the_lowest_loss_unless_its_luck_is_known():
    table = study(noise=0.01, budgets=6)
    plain = Evidence(Points.from_table(table))
    assert (plain.y == plain.best).all()
    table["dev_loss_se"] = [0.01 * loss for loss in table["dev_loss"]]
    stated = Evidence(Points.from_table(table))
    assert stated.noise > plain.noise >= MIN_NOISE
    assert np.mean(stated.y - stated.best) > 0  # the lowest of several noisy losses is too low


def rows_of(table, keep):
    pairs = {name: zip(values, keep, strict=True) for name, values in table.items()}
    return {name: [value for value, kept in pair if kept] for name, pair in pairs.items()}


def test_a_budget_without_a_curve_is_no_frontier_among_budgets_that_have_one():
    table = study(budgets=8)
    budgets, middle = sorted(set(table["flops"])), sorted(set(table["params"]))[4]
    bare = (budgets[2], budgets[4], budgets[7])
    seen = zip(table["flops"], table["params"], strict=True)
    whole = Evidence(Points.from_table(table))
    found = Evidence(
        Points.from_table(rows_of(table, [c not in bare or n == middle for c, n in seen]))
    )
    assert len(whole.budgets) == 8
    assert found.x == pytest.approx(np.log10(budgets)[[0, 1, 3, 5, 6, 7]])  # 7: beyond all curves
    assert found.until(3).x == pytest.approx(found.x[:3])


def test_with_few_curves_every_budget_may_count():
    table = study(budgets=6)
    budgets, sizes = sorted(set(table["flops"])), sorted(set(table["params"]))
    keep = [
        c > budgets[1] or n == sizes[2]
        for c, n in zip(table["flops"], table["params"], strict=True)
    ]
    assert len(Evidence(Points.from_table(rows_of(table, keep))).budgets) == 6


def test_the_rule_is_that_of_the_points():
    evidence = Evidence(Points.from_table(study()))
    assert evidence.rule.per_sample(1e8) == pytest.approx(6e8)


def test_compute_is_what_was_spent_and_not_what_was_meant():
    table = study(budgets=6)
    nominal = dict(table, budget_flops=[float(f"{c:.1g}") for c in table["flops"]])
    evidence = Evidence(Points.from_table(nominal))
    assert evidence.x == pytest.approx(np.log10(sorted(set(table["flops"]))))
    assert evidence.budgets.tolist() == sorted(set(table["flops"]))


def test_a_budget_that_reached_no_more_than_a_smaller_one_is_not_on_the_frontier():
    table = study(budgets=6)
    worse = sorted(set(table["flops"]))[3]
    table["dev_loss"] = [
        loss * (1.5 if c == worse else 1.0)
        for loss, c in zip(table["dev_loss"], table["flops"], strict=True)
    ]
    evidence = Evidence(Points.from_table(table))
    assert worse not in evidence.budgets
    assert len(evidence.x) == 5
    assert worse in evidence.points.budget  # its runs are still evidence for the surfaces
    assert worse in evidence.until(4).points.budget


def of_seeds(seeds: int, spread: float) -> dict[str, list[float]]:
    """A study whose runs differ between seeds, as tiny networks do."""
    rng, table = np.random.default_rng(0), study(budgets=6)
    rows = {name: list(np.repeat(column, seeds)) for name, column in table.items()}
    rows.pop("run_id", None)
    rows["dev_loss"] = list(rows["dev_loss"] * np.exp(rng.normal(0, spread, len(rows["dev_loss"]))))
    rows["seed"] = list(range(seeds)) * len(table["dev_loss"])
    return rows


def test_the_luckiest_seed_is_not_the_frontier():
    truth = Evidence(Points.from_table(study(budgets=6))).y
    rows = of_seeds(4, 0.1)
    averaged = Evidence(Points.from_table(rows))
    lucky = Evidence(Points.from_table({n: c for n, c in rows.items() if n != "seed"}))
    assert np.abs(averaged.y - truth).mean() < 0.5 * np.abs(lucky.y - truth).mean()
    assert averaged.noise == pytest.approx(0.1, rel=0.3)


def test_runs_that_differ_in_more_than_their_seed_are_not_averaged():
    rows = of_seeds(4, 0.1)
    plain = {name: column for name, column in rows.items() if name != "seed"}
    tuned = {**rows, "seed": [0, 0, 1, 1] * (len(rows["seed"]) // 4)}  # two rates each
    y = Evidence(Points.from_table(tuned)).y
    assert (y == Evidence(Points.from_table(plain)).y).all()
