"""`isoclone laws` on runs without dev loss: each trouble is one clear line, or a status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rl_truth import CEILING, rl_study, write_csv

from isoclone.cli import main
from isoclone.cli.screen import STDOUT


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "runs.csv", rl_study(luck=0.1))


ENDS = ("--random-return", "0", "--expert-return", f"{CEILING:g}")


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, what went to stdout, and to stderr."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def document(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    status, out, _ = said(capsys, *words, "--json")
    assert status == 0
    return json.loads(out)


def codes(body: dict[str, Any]) -> set[str]:
    return {s["code"] for s in body["status"]}


def test_what_a_user_types(runs, capsys):
    body = document(capsys, "laws", "fit", runs, *ENDS)["groups"][""]
    found = body["exponents"]["isoflop_optima"]["params"]
    assert found["low"] <= 0.5 <= found["high"]
    assert body["measure"] == "return_mean"
    assert set(body["exponents"]) == {"isoflop_optima", "intrinsic"}
    STDOUT.width = 200
    _, out, _ = said(capsys, "laws", "fit", runs, *ENDS)
    assert "optima by return" in out
    assert "intrinsic performance" in out
    assert "Hilton et al. 2023, arXiv 2301.13442" in out
    assert "loss" not in out
    _, out, _ = said(capsys, "laws", "forecast", runs, "--flops", "1e11", *ENDS)
    assert "environment steps" in out
    assert "mean return" in out
    assert "loss" not in out


def test_columns_that_are_optional_may_be_missing(tmp_path, capsys):
    table = rl_study(luck=0.1)
    few = {name: table[name] for name in ("params", "samples", "flops", "return_mean", "seed")}
    body = document(capsys, "laws", "fit", write_csv(tmp_path / "few.csv", few))["groups"][""]
    assert body["points"] == len(table["flops"])
    bare = {name: v for name, v in few.items() if name != "seed"}
    body = document(capsys, "laws", "fit", write_csv(tmp_path / "bare.csv", bare))["groups"][""]
    assert body["points"] == len(table["flops"])


def test_a_plan_for_a_return_needs_no_loss(runs, capsys):
    body = document(capsys, "laws", "plan", runs, "--target-return", "400", *ENDS)
    assert body["forecast"]["return_mean"]["value"] == pytest.approx(400, rel=0.02)
    assert body["next_runs"] is None
    assert any("needs dev_loss" in notice for notice in body["notices"])


def test_another_run_than_the_best_can_be_asked_for(runs, capsys):
    best = document(capsys, "laws", "forecast", runs, "--flops", "1e10", *ENDS)
    words = ("laws", "forecast", runs, "--flops", "1e10", "--params", "1000", *ENDS)
    own = document(capsys, *words)
    assert own["return_mean"]["value"] < best["return_mean"]["value"]
    assert own["dev_loss"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--target-loss", "1"),
        ("needed", "--flops", "1e10"),
    ],
)
def test_what_needs_losses_says_so_in_one_line(tmp_path, capsys, words):
    table = rl_study(luck=0.1)
    table["unique_samples"] = table["samples"]
    runs = write_csv(tmp_path / "runs.csv", table)
    status, _, err = said(capsys, "laws", words[0], runs, *words[1:])
    assert status == 1
    assert "needs dev_loss; the table has returns only" in err
    assert len(err.strip().splitlines()) == 1


def test_a_back_test_says_that_it_needs_losses(runs, capsys):
    body = document(capsys, "laws", "backtest", runs)
    assert body["rows"] == []
    assert "a back-test needs dev_loss" in body["status"][0]["message"]


# ---------------------------------------------------------------------- when things go wrong


def test_returns_of_one_seed_and_no_random_reference_are_statuses(tmp_path, capsys):
    runs = write_csv(tmp_path / "one.csv", rl_study(seeds=1))
    body = document(capsys, "laws", "fit", runs)["groups"][""]
    assert {"one_seed", "no_random_reference"} <= codes(body)


def test_returns_that_are_all_equal_are_one_line(tmp_path, capsys):
    table = rl_study()
    table["return_mean"] = [9.0] * len(table["flops"])
    status, _, err = said(capsys, "laws", "fit", write_csv(tmp_path / "equal.csv", table))
    assert status == 1
    assert err.strip().endswith(
        "all 90 returns are equal (9): they tell nothing of size or compute"
    )
    assert len(err.strip().splitlines()) == 1


def test_negative_returns_are_fitted(tmp_path, capsys):
    table = rl_study(luck=0.1)
    table["return_mean"] = [r - CEILING for r in table["return_mean"]]
    body = document(capsys, "laws", "fit", write_csv(tmp_path / "low.csv", table))["groups"][""]
    assert "returns_not_positive" in codes(body)
    assert body["laws"]["return_mean"] is None
    found = body["exponents"]["isoflop_optima"]["params"]
    assert found["low"] <= 0.5 <= found["high"]


def test_saturated_at_every_budget_is_a_status(tmp_path, capsys):
    runs = write_csv(tmp_path / "top.csv", rl_study(shift=6.5, slope=0.0, luck=0.2))
    body = document(capsys, "laws", "forecast", runs, "--flops", "1e11", *ENDS)
    assert "saturated" in codes(body)
    assert body["return_mean"]["low"] < CEILING


def test_rows_without_a_return_are_counted(tmp_path, capsys):
    table = rl_study(luck=0.1)
    table["return_mean"][4] = None
    table["return_mean"][9] = "inf"
    body = document(capsys, "laws", "fit", write_csv(tmp_path / "gaps.csv", table))["groups"][""]
    assert sum(body["dropped"].values()) == 2
    assert "rows_dropped" in codes(body)
