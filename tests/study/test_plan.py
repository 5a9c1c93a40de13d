"""What to run next: rules, stops, waits, additions, and nothing but the points counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoclone.base.errors import SpecMismatchError
from isoclone.base.records import Point
from isoclone.base.results import mean_loss
from isoclone.base.schema import unmeasured
from isoclone.base.store import read_json
from isoclone.study.estimate import Speed, sweep_seconds
from isoclone.study.plan import Cell, flops_spent, grid, grid_flops, next_cells
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study
from isoclone.training.recipes import recipe

SPEC = StudySpec(
    name="s",
    game="toy",
    expert="scripted",
    policy="mlp",
    widths=(2, 4, 8, 16, 32),
    budgets_flops=(1e8, 2e8, 4e8),
    extend=2,
    rules="narrow",
)
WIDE = SPEC.replace(rules="wide")


def measured(width, budget, loss, se=0.01, seed=0, **fields) -> Point:
    row = {
        **unmeasured(Point),
        **dict.fromkeys(("params", "samples", "unique_samples", "epochs", "episodes"), 1),
        **dict.fromkeys(("game", "policy", "recipe", "flop_convention"), "any"),
        "run_id": f"{width}-{seed}",
        "budget_flops": budget,
        "flops": budget,
        "dev_loss": loss,
        "dev_loss_se": se,
        "width": width,
        "seed": seed,
        "status": "ok" if loss is not None else "diverged",
    }
    return Point(**{**row, **fields})


def valley(width, budget, centre=None):
    """A parabola in log width, its bottom moving up with compute."""
    best = math.log(8 if centre is None else centre) + 0.3 * math.log(budget / 1e8)
    return 1 - 0.1 * math.log(budget / 1e8) + 0.2 * (math.log(width) - best) ** 2


def play_out(spec, loss, order=list):
    """Measure until complete; returns the points and the last answer."""
    points = []
    for _ in range(100):
        sweep = next_cells(spec, order(points))
        if sweep.complete:
            return points, sweep
        assert len(set(sweep.cells)) == len(sweep.cells)
        points += [
            measured(c.width, c.budget_flops, loss(c.width, c.budget_flops), seed=c.seed)
            for c in sweep.cells
        ]
    raise AssertionError("the sweep does not end")


def decided(sweep, what):
    return [(d.budget_flops, d.width) for d in sweep.decisions if d.what == what]


def test_it_begins_with_the_smallest_budget():
    sweep = next_cells(SPEC, [])
    assert sweep.cells == tuple(Cell(w, 0, 1e8) for w in SPEC.widths)
    assert not sweep.complete


def test_what_is_measured_is_not_asked_for_again():
    points = [measured(w, 1e8, valley(w, 1e8)) for w in (2, 8)]
    assert [c.width for c in next_cells(SPEC, points).cells] == [4, 16, 32]


def test_a_plain_grid_is_the_whole_grid():
    spec = SPEC.replace(adaptive=False)
    points, sweep = play_out(spec, valley)
    assert {Cell(p.width, p.seed, p.budget_flops) for p in points} == set(grid(spec))
    assert not sweep.decisions
    assert flops_spent(points) == grid_flops(spec) == 5 * 4e8


def test_runs_of_one_budget_each_are_counted_each():
    apart = SPEC.replace(recipe=recipe("lean", schedule="cosine").to_json(), adaptive=False)
    together, budgets = SPEC.replace(adaptive=False), SPEC.budgets_flops
    assert together.flops_to(budgets[1]) == budgets[1]
    assert apart.flops_to(budgets[1]) == sum(budgets[:2])
    assert grid_flops(apart) == len(SPEC.widths) * sum(budgets)
    speed, costs = Speed(0.0, 1e-9, 1.0, None), dict.fromkeys(SPEC.widths, 1e4)
    seconds = [
        sweep_seconds(spec.replace(episodes=0, dev_samples=1), speed, costs, grid(spec))
        for spec in (together, apart)
    ]
    assert seconds[1] / seconds[0] == pytest.approx(sum(budgets) / max(budgets), rel=1e-3)


def test_a_hopeless_small_size_stops():
    points, sweep = play_out(SPEC, lambda w, c: valley(w, c, centre=10))
    assert (1e8, 2) in decided(sweep, "stopped")
    assert not [p for p in points if p.width == 2 and p.budget_flops > 1e8]
    assert flops_spent(points) < grid_flops(SPEC)


def test_a_size_worse_by_less_than_the_noise_goes_on():
    points = [measured(w, 1e8, valley(w, 1e8, centre=10), se=5.0) for w in SPEC.widths]
    assert 2 in [c.width for c in next_cells(WIDE, points).cells]
    assert 2 not in [c.width for c in next_cells(SPEC, points).cells]


def test_a_hopeless_size_without_an_error_stops_as_well():
    """A single dev episode has no SE."""
    points = [measured(w, 1e8, valley(w, 1e8, centre=10), se=None) for w in SPEC.widths]
    assert (1e8, 2) in decided(next_cells(SPEC, points), "stopped")


def at_budgets(points):
    return {b: {p.width for p in points if p.budget_flops == b} for b in SPEC.budgets_flops}


def nearest_to(best_at):
    return lambda width, budget: abs(math.log(width / best_at[budget])) + 0.1


def test_a_size_far_above_the_best_waits_until_its_time_comes():
    best = {1e8: 2, 2e8: 4, 4e8: 8}
    points, sweep = play_out(WIDE.replace(extend=0), nearest_to(best))
    assert decided(sweep, "waits") == [(2e8, 16), (2e8, 32), (4e8, 32)]
    assert at_budgets(points)[2e8] == {2, 4, 8}
    assert at_budgets(points)[4e8] >= {4, 8, 16}


def test_a_waiting_size_joins_if_the_largest_that_did_not_wait_turns_out_best():
    best = {1e8: 2, 2e8: 8, 4e8: 8}
    points, _ = play_out(SPEC.replace(extend=0), nearest_to(best))
    assert at_budgets(points)[2e8] == {2, 4, 8, 16}


def test_the_last_budget_trains_the_best_size_and_the_next():
    points, sweep = play_out(SPEC.replace(extend=0), nearest_to({1e8: 4, 2e8: 4, 4e8: 4}))
    assert at_budgets(points)[2e8] == {2, 4, 8, 16}  # 2 stopped, and came back below the best
    assert at_budgets(points)[4e8] == {4, 8}
    assert decided(sweep, "joins") == [(2e8, 2)]


def test_a_third_size_joins_at_the_last_budget_and_no_fourth():
    points, _ = play_out(SPEC.replace(extend=0), nearest_to({1e8: 2, 2e8: 2, 4e8: 32}))
    assert at_budgets(points)[4e8] == {2, 4, 8}


def test_a_size_that_stopped_by_bad_luck_comes_back():
    points, _ = play_out(SPEC.replace(extend=0), nearest_to({1e8: 16, 2e8: 2, 4e8: 2}))
    assert at_budgets(points)[2e8] == set(SPEC.widths)
    assert at_budgets(points)[4e8] == {2, 4}


def test_a_best_size_at_the_edge_gets_a_neighbour():
    _, sweep = play_out(SPEC, lambda w, c: valley(w, c, centre=60))
    assert decided(sweep, "added")[0] == (1e8, 64)
    assert sweep.widths[-1] == 128
    assert len(sweep.widths) == 7  # `extend` times at most
    _, sweep = play_out(SPEC.replace(extend=0), lambda w, c: valley(w, c, centre=60))
    assert sweep.widths == SPEC.widths


def test_a_neighbour_of_which_one_batch_costs_more_than_the_budget_is_not_added():
    small = SPEC.batch_flops(32)
    spec = SPEC.replace(budgets_flops=(small, 2 * small, 4 * small))
    _, sweep = play_out(spec, lambda w, c: -float(w))
    added = [(budget, width) for budget, width in decided(sweep, "added")]
    assert added
    assert all(spec.batch_flops(width) <= budget for budget, width in added)
    assert added[0][0] > small  # at the first budget there was no room


def test_the_smallest_size_there_can_be_is_one():
    _, sweep = play_out(SPEC, lambda w, c: float(w))
    assert sweep.widths[0] == 1
    assert min(sweep.widths) >= 1
    assert len(set(sweep.widths)) == len(sweep.widths)


def test_a_seed_that_is_missing_is_asked_for():
    spec = SPEC.replace(seeds=(0, 3))
    points = [measured(w, 1e8, 1.0, seed=0) for w in spec.widths]
    assert {(c.width, c.seed) for c in next_cells(spec, points).cells} == {
        (w, 3) for w in spec.widths
    }


def test_points_outside_the_sweep_do_not_count():
    points = [measured(w, 1e8, 1.0, role="extra") for w in SPEC.widths]
    assert next_cells(SPEC, points) == next_cells(SPEC, [])


def test_all_diverged_still_ends():
    points, sweep = play_out(SPEC, lambda w, c: None)
    assert sweep.complete
    assert len(points) == len(grid(SPEC))


def test_a_diverged_size_is_never_the_best():
    points, sweep = play_out(SPEC, lambda w, c: None if w >= 16 else valley(w, c))
    assert sweep.complete
    assert mean_loss([p for p in points if p.width == 16]) == math.inf
    assert max(sweep.widths) == 32


@given(
    st.integers(0, 10_000), st.integers(0, 2), st.booleans(), st.sampled_from(["narrow", "wide"])
)
def test_neither_the_order_of_points_nor_where_it_stopped_matters(seed, extend, two_seeds, rules):
    """Random losses, diverged ones among them; the answer is always the same, and it ends."""
    rng = np.random.default_rng(seed)
    spec = SPEC.replace(extend=extend, seeds=(0, 1) if two_seeds else (0,), rules=rules)
    losses: dict[tuple[int, float], float | None] = {}

    def loss(width, budget):
        key = (width, budget)
        if key not in losses:
            losses[key] = None if rng.random() < 0.1 else float(rng.random())
        return losses[key]

    points, sweep = play_out(spec, loss)
    shuffled = [points[i] for i in rng.permutation(len(points))]
    assert next_cells(spec, shuffled) == sweep
    cut = int(rng.integers(len(points) + 1))
    resumed = [*points[:cut]]
    while not (again := next_cells(spec, resumed)).complete:
        cell = again.cells[int(rng.integers(len(again.cells)))]  # one at a time, in any order
        resumed.append(
            measured(
                cell.width, cell.budget_flops, loss(cell.width, cell.budget_flops), seed=cell.seed
            )
        )
    assert again == sweep
    assert sorted(p.run_id for p in resumed) == sorted(p.run_id for p in points)


@pytest.mark.parametrize("spent", [0, 3])
def test_flops_spent_counts_each_runs_furthest_point(spent):
    points = [measured(4, b, 1.0) for b in (1e8, 2e8, 4e8)[:spent]]
    assert flops_spent(points) == (4e8 if spent else 0)


def test_a_study_from_before_goes_on_by_its_rules(tmp_path):
    made = Study.create(tmp_path / "old", WIDE)
    held = read_json(made.folder.spec)
    del held["spec"]["rules"]
    made.folder.write_spec(held)
    assert Study.open(tmp_path / "old").spec.rules == "wide"
    assert Study.create(tmp_path / "old", WIDE).spec.rules == "wide"
    with pytest.raises(SpecMismatchError, match="rules: wide -> narrow"):
        Study.create(tmp_path / "old", SPEC)
    assert Study.create(tmp_path / "new", SPEC).spec.rules == "narrow"


def test_policies_play_at_the_last_three_budgets():
    spec = SPEC.replace(budgets_flops=(1e8, 2e8, 4e8, 8e8), episodes=5)
    assert [spec.episodes_at(b) for b in spec.budgets_flops] == [0, 5, 5, 5]
    for plain in (spec.replace(rules="wide"), spec.replace(adaptive=False)):
        assert [plain.episodes_at(b) for b in spec.budgets_flops] == [5, 5, 5, 5]
