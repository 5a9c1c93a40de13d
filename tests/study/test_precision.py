"""The precision of training: chosen by the time it takes here, once, and kept."""

from __future__ import annotations

import pytest
from support import tiny_spec

from isoclone.base.errors import ExecutionError, SpecMismatchError
from isoclone.study import precision
from isoclone.study.study import Study
from isoclone.training.recipes import recipe

AUTO, BOTH = recipe("lean", precision="auto").to_json(), {"float32": 60.0, "bfloat16": 50.0}


@pytest.fixture
def timed(monkeypatch):
    """A processor that has both, and takes times that a test sets."""
    times = dict(BOTH)
    monkeypatch.setattr(precision, "precisions_on", lambda device: list(BOTH))
    monkeypatch.setattr(precision, "train_seconds", lambda spec, _: times[spec.recipe["precision"]])
    return times


@pytest.mark.parametrize(("seconds", "chosen"), [(50.0, "bfloat16"), (58.0, "float32")])
def test_the_faster_one_is_chosen_if_it_saves_enough(timed, seconds, chosen, tmp_path):
    timed["bfloat16"] = seconds
    study = Study.create(tmp_path, tiny_spec(recipe=AUTO))
    assert study.spec.recipe["precision"] == chosen
    assert Study.open(tmp_path).times == timed


def test_it_stays_where_another_would_be_faster_by_now(timed, tmp_path):
    Study.create(tmp_path, tiny_spec(recipe=AUTO))
    timed["bfloat16"] = 500.0
    assert Study.create(tmp_path, tiny_spec(recipe=AUTO)).spec.recipe["precision"] == "bfloat16"
    with pytest.raises(SpecMismatchError, match="precision"):
        Study.create(tmp_path, tiny_spec())  # float32 by name


def test_the_plan_says_what_it_was_chosen_by(timed, tmp_path):
    plan = Study.create(tmp_path, tiny_spec(recipe=AUTO)).plan()
    said = "precision bfloat16: training takes a core 1 min 00 s in float32, 50 s in bfloat16"
    assert said in plan.notes


def test_what_a_user_names_is_not_timed(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "train_seconds", lambda *_: pytest.fail("timed"))
    assert Study.create(tmp_path, tiny_spec()).times == {}


def test_both_are_timed_on_the_studys_own_sizes():
    spec = tiny_spec()
    frames = precision.some_frames(spec.make_game())
    for name in ("float32", "bfloat16"):
        settled = precision._with(spec, name)
        assert 0 < precision.train_seconds(settled, frames) < 600


def test_what_cannot_be_timed_is_float32(timed, monkeypatch, tmp_path):
    def fail(*_):
        raise ExecutionError("it diverged")

    monkeypatch.setattr(precision, "train_seconds", fail)
    study = Study.create(tmp_path, tiny_spec(recipe=AUTO))
    assert (study.spec.recipe["precision"], study.times) == ("float32", {})
