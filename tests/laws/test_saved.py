"""What one group of runs saves over another: known shapes, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoclone.base.errors import DataError, FitError, SpecError
from isoclone.laws.saved import flops_saved, worth

BUDGETS = (1e9, 2e9, 4e9, 8e9)


def runs(saving: float, seed: int = 0, luck: float = 0.0) -> dict[str, Any]:
    """Return runs whose return is 100 log2(C / saving / 1e9), the middle size's; others less."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {}
    for size, worse in ((100, 30.0), (300, 0.0), (900, 20.0)):
        for run in range(3):
            lasting = luck * rng.normal()
            for budget in BUDGETS:
                told = {
                    "run_id": f"{size}-{run}",
                    "seed": run,
                    "budget_flops": budget,
                    "flops": budget,
                    "params": size,
                    "samples": budget / size,
                    "return_mean": 100 * np.log2(budget / saving / 1e9) - worse + lasting,
                    "return_se": 1.0,
                }
                for name, value in told.items():
                    rows.setdefault(name, []).append(value)
    return rows


def test_half_the_compute_is_half_the_compute() -> None:
    found = flops_saved(runs(1.0), runs(2.0))
    assert (found.measure, found.level) == ("return_mean", pytest.approx(200))
    assert found.ratio.value == pytest.approx(0.5)
    assert found.flops_with == pytest.approx(4e9)
    assert found.ratio.low is not None
    assert found.ratio.high is not None
    assert found.ratio.low <= 0.5 <= found.ratio.high < 0.55


def test_the_interval_holds_the_truth_where_runs_have_luck() -> None:
    held, widths = 0, []
    for seed in range(20):
        pair = runs(1.0, seed, luck=25.0), runs(2.0, 100 + seed, luck=25.0)
        found = flops_saved(*pair, level=120.0)
        low, high = found.ratio.low or 0.0, found.ratio.high or np.inf
        held += low <= 0.5 <= high
        widths.append(high / low)
    assert held >= 17
    assert np.median(widths) < 4


@pytest.mark.parametrize("level", [-500.0, 1e6])
def test_a_return_that_one_does_not_come_to_is_refused(level: float) -> None:
    with pytest.raises(FitError, match=r"both groups come to the same return between"):
        flops_saved(runs(1.0), runs(2.0), level)


def test_returns_of_different_games_are_refused() -> None:
    first, second = ({**runs(1.0), "game": [name] * 36} for name in ("toy", "recall"))
    with pytest.raises(SpecError, match="the first group is of toy, the second of recall"):
        flops_saved(first, second)
    assert flops_saved(first, runs(1.0)).ratio.value == pytest.approx(1.0)


def test_groups_without_a_return_in_common_are_refused() -> None:
    with pytest.raises(FitError, match=r"the first group needs at most 0.12 of the FLOPs"):
        flops_saved(runs(1.0), runs(1e3))


def lossy(saving: float, seed: int = 0, luck: float = 0.0, seeds: int = 3) -> dict[str, Any]:
    """Return runs of one size, their loss 0.8 (C / saving / 1e9)^-0.2 and a run's lasting luck."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {}
    for run in range(seeds):
        lasting = luck * rng.normal()
        for budget in BUDGETS:
            loss = 0.8 * (budget / saving / 1e9) ** -0.2 * np.exp(lasting)
            told = {"run_id": f"{run}", "budget_flops": budget, "flops": budget, "params": 100}
            told |= {"samples": budget / 100, "dev_loss": loss, "dev_loss_se": 1e-3 * loss}
            for name, value in told.items():
                rows.setdefault(name, []).append(value)
    return rows


def test_a_loss_is_interpolated_as_its_logarithm() -> None:
    found = flops_saved(lossy(1.0), lossy(3.0), level=0.7)
    assert found.measure == "dev_loss"
    assert found.flops_with == pytest.approx(1e9 * (0.8 / 0.7) ** 5)
    assert found.ratio.value == pytest.approx(1 / 3)


def test_groups_without_a_figure_in_common_are_told_what_they_have() -> None:
    with pytest.raises(DataError, match="the first group has return, the second dev loss"):
        flops_saved(runs(1.0), lossy(1.0))
    none = {**runs(1.0), "return_mean": [None] * 36}
    with pytest.raises(DataError, match="the first group has return, the second neither"):
        flops_saved(runs(1.0), none)


def test_a_multiplier_is_of_the_base_over_the_variant() -> None:
    found = worth("deep", lossy(1.0), "flat", lossy(2.0))
    assert found.multiplier is not None
    assert found.multiplier.value == pytest.approx(2)
    assert found.flops is not None
    assert found.flops_base == pytest.approx(2 * found.flops)
    assert found.multiplier.holds(2)
    assert found.status == ()


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_holds_the_multiplier_nineteen_times_of_twenty(seeds: int) -> None:
    held = 0
    for seed in range(40):
        pair = lossy(1.0, seed, 0.05, seeds), lossy(2.0, 100 + seed, 0.05, seeds)
        multiplier = worth("deep", pair[0], "flat", pair[1]).multiplier
        assert multiplier is not None
        held += multiplier.holds(2)
    assert held >= 34  # of 40; 38 expected


def codes(*pair: dict[str, Any]) -> list[str]:
    found = worth("deep", pair[0], "flat", pair[1])
    return [status.code for status in found.status]


def test_one_seed_has_a_value_and_no_interval() -> None:
    found = worth("deep", lossy(1.0, seeds=1), "flat", lossy(2.0))
    assert [status.code for status in found.status] == ["one_seed"]
    assert found.multiplier is not None
    assert (found.multiplier.low, found.multiplier.high) == (None, None)


def test_what_cannot_be_compared_has_no_multiplier() -> None:
    far, one = lossy(1e3), {name: values[:1] for name, values in lossy(1.0).items()}
    assert codes(lossy(1.0), far) == ["no_overlap"]
    assert codes(one, lossy(1.0)) == ["single_budget", "one_seed"]
    failed = {**lossy(1.0), "status": ["failed"] * len(lossy(1.0)["params"])}
    assert codes(failed, lossy(1.0)) == ["no_points"]
    for variant in (far, one, failed):
        assert worth("deep", variant, "flat", lossy(1.0)).multiplier is None


def test_points_that_are_not_ok_are_told_of() -> None:
    table = lossy(1.0)
    table["status"] = ["ok"] * (len(table["params"]) - 1) + ["diverged"]
    found = worth("deep", table, "flat", lossy(2.0))
    assert [status.code for status in found.status] == ["rows_dropped"]
    assert "diverged" in found.status[0].message


def test_noise_of_points_widens_the_interval() -> None:
    quiet = lossy(1.0)
    noisy = {**quiet, "dev_loss_se": [0.1 * loss for loss in quiet["dev_loss"]]}
    sure, unsure = (worth("deep", t, "flat", lossy(2.0)).multiplier for t in (quiet, noisy))
    assert sure is not None
    assert unsure is not None
    assert (unsure.high or np.inf) - (unsure.low or 0) > 5 * ((sure.high or 0) - (sure.low or 0))
