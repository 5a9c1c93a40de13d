"""Ablations of studies of frames; those of whole games are in tests/nethack/test_study.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import tiny_spec

from isoclone.base.errors import SpecError
from isoclone.base.store import read_json
from isoclone.study.ablation import Ablation
from isoclone.study.costs import peak_bytes
from isoclone.study.spec import StudySpec
from isoclone.training.recipes import recipe


def test_frames_cannot_be_selected_by_game(toy_demos, tmp_path):
    variants = {"long": {"where": "length > 20", "budgets_flops": (3e6,)}}
    asked = Ablation("tried", "Does it help?", tiny_spec(), variants, 2, (3e6,), episodes=2)
    with pytest.raises(SpecError, match=r"filters recordings of whole games only; .* holds record"):
        asked.run(tmp_path, toy_demos.path)


def test_variants_have_a_compute_multiplier_against_the_one_that_changes_nothing(
    toy_demos, tmp_path
):
    slow = {"recipe": recipe("lean", precision="float32", learning_rate=2e-4).to_json()}
    variants = {"slow": slow, "usual": {}}
    budgets = (5e6, 1e7, 2e7)
    asked = Ablation("tried", "Faster?", tiny_spec(), variants, 4, budgets, (0, 1, 2), episodes=0)
    rows = asked.run(tmp_path, toy_demos.path)
    (found,) = asked.worths(rows)
    assert (found.label, found.base, found.measure) == ("slow", "usual", "dev_loss")
    if found.multiplier is not None:
        assert found.multiplier.value < 1
    else:
        assert [status.code for status in found.status] == ["no_overlap"]
    page = (tmp_path / "ablation.html").read_text()
    assert "What it is worth in compute" in page
    assert "C of usual, FLOPs" in page


def test_variants_along_a_number_and_what_they_cost(toy_demos, tmp_path):
    """The page has the chart and the table; a second run measures nothing again."""
    variants = {"few": {"width": 2}, "many": {"width": 4}}
    along = {"few": ("mlp", 2), "many": ("mlp", 4)}
    fixed = {"axis": "units", "along": along, "costs": True, "episodes": 0}
    asked = Ablation("tried", "Wide?", tiny_spec(), variants, 2, (3e6,), (0, 1), **fixed)
    rows = asked.run(tmp_path, toy_demos.path)
    known = read_json(tmp_path / "costs.json")
    assert len(known) == 2
    assert known.keys() <= {row.point.run_id for row in rows}
    for found in known.values():
        assert found["step_us"] > 0
        assert found["memory_bytes"] is None or 0 <= found["memory_bytes"] < 1 << 30
    page = (tmp_path / "ablation.html").read_text()
    assert "Dev loss against units" in page
    assert 'id="chart-along"' in page
    assert "What training and play cost" in page
    asked.run(tmp_path, toy_demos.path)
    assert read_json(tmp_path / "costs.json") == known
    with pytest.raises(SpecError, match="along names no variant 'none'"):
        replace(asked, along={"none": ("mlp", 1)}).run(tmp_path, toy_demos.path)


def test_memory_is_that_of_the_work_alone():
    kept = []
    found = peak_bytes(lambda: kept.append(bytearray(b"1" * (64 << 20))))
    assert found is None or 60 << 20 < found < 200 << 20
    again = peak_bytes(lambda: None)
    assert again is None or again < 20 << 20


def test_what_learns_by_play_is_compared_by_return(tmp_path):
    learns = recipe("ppo", precision="float32").to_json()
    base = StudySpec(
        "played", "gym/CartPole-v1", "nobody", (1, 2, 3), (2e6, 4e6), policy="mlp", recipe=learns
    )
    variants = {"narrow": {}, "wide": {"width": 3}}
    asked = Ablation("tried", "Better?", base, variants, 2, (2e6, 4e6), (0,), episodes=4)
    rows = asked.run(tmp_path)
    assert {row.point.dev_loss for row in rows} == {None}
    (found,) = asked.worths(rows)
    assert found.measure == "return_mean"
    assert "one_seed" in [status.code for status in found.status]
    page = (tmp_path / "ablation.html").read_text()
    assert "the highest return is" in page
    assert 'id="chart-variants"' not in page


def test_a_base_that_is_no_variant_is_refused(toy_demos, tmp_path):
    asked = Ablation("tried", "Which?", tiny_spec(), {"a": {}}, 2, (3e6,), against="b")
    with pytest.raises(SpecError, match=r"against must be one of 'a'"):
        asked.run(tmp_path, toy_demos.path)
