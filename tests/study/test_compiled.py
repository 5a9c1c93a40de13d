"""Who computes a study's convolutions: chosen by the time it takes here, by size, and kept."""

from __future__ import annotations

import pytest
from support import tiny_spec

from isoclone.base.errors import ExecutionError, SpecError
from isoclone.policies import kernels
from isoclone.policies.kernels import compiler
from isoclone.study import compiled, precision
from isoclone.study.compiled import KernelTimes, has_kernels, kernel_times, with_kernels
from isoclone.study.estimate import some_frames
from isoclone.study.study import Study
from isoclone.training.recipes import recipe

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")

# Microseconds a sample by width, torch's convolutions and kernels, measured in float32.
MEASURED = {2: (78, 22), 8: (120, 65), 23: (387, 347), 50: (1161, 1160)}


def rows(measured=MEASURED, precision="float32"):
    return [KernelTimes(w, precision, a * 1e-6, b * 1e-6) for w, (a, b) in measured.items()]


def spec(**changes):
    settings = recipe("lean", **changes).to_json()
    budgets = (1e10, 2e10, 4e10)
    sizes = {"widths": (2, 8, 23, 50), "budgets_flops": budgets, "forecast_flops": 1e11}
    return tiny_spec(game="atari/Breakout", policy="cnn", recipe=settings, **sizes)


@pytest.fixture
def timed(monkeypatch):
    """A processor that has both precisions, and is sooner done in bfloat16 without kernels."""
    seconds = {"float32": 4000.0, "bfloat16": 3000.0}

    def train_seconds(spec, _):
        gained = 0.5 if spec.recipe.get("compiled_to") else 1.0
        return seconds[spec.recipe["precision"]] * gained

    monkeypatch.setattr(precision, "precisions_on", lambda device: ["float32", "bfloat16"])
    monkeypatch.setattr(precision, "train_seconds", train_seconds)
    monkeypatch.setattr(precision, "has_kernels", lambda _: True)
    measured = {"float32": rows(), "bfloat16": []}
    monkeypatch.setattr(
        precision, "kernel_times", lambda spec, *_: measured[spec.recipe["precision"]]
    )
    return seconds


def test_kernels_are_taken_up_to_the_last_width_that_gains():
    assert with_kernels(spec(), rows()).recipe["compiled_to"] == 23
    assert "compiled_to" not in with_kernels(spec(), rows({2: (50, 49)})).recipe


def test_the_choice_decides_which_precision_is_faster_and_is_kept(timed, tmp_path):
    study = Study.create(tmp_path, spec())
    assert study.spec.recipe["precision"] == "float32"
    assert study.spec.recipe["compiled_to"] == 23
    assert study.times == {"float32": 2000.0, "bfloat16": 3000.0}
    again = Study.open(tmp_path)
    assert (again.spec, again.kernels) == (study.spec, study.kernels)
    assert again.chosen()[-1] == (
        "kernels up to width 23; us a sample torch / compiled: "
        "width 2 78 / 22, 8 120 / 65, 23 387 / 347, 50 1161 / 1160"
    )
    timed["float32"] = 9000.0
    assert Study.create(tmp_path, spec()).spec == study.spec


def test_a_precision_is_taken_without_them_if_it_is_faster_still(timed, tmp_path):
    timed["bfloat16"] = 1000.0
    made = Study.create(tmp_path, spec())
    assert "compiled_to" not in made.spec.recipe
    assert made.chosen()[-1] == "no kernels"


def test_a_precision_that_the_processor_does_not_multiply_is_not_timed(monkeypatch):
    monkeypatch.setattr(kernels, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(compiled, "sample_seconds", lambda *_: pytest.fail("timed"))
    assert kernel_times(spec(precision="bfloat16"), None) == []


def test_what_a_user_names_is_not_timed(timed, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "kernel_times", lambda *_: pytest.fail("timed"))
    assert Study.create(tmp_path / "a", spec(compiled_to=8)).spec.recipe["compiled_to"] == 8
    assert "compiled_to" not in Study.create(tmp_path / "b", spec(compiled_to=0)).spec.recipe


def test_a_compiler_that_fails_leaves_torchs_convolutions(timed, monkeypatch, tmp_path):
    def fail(*_):
        raise ExecutionError("c++ does not compile kernels.cpp")

    monkeypatch.setattr(precision, "kernel_times", fail)
    made = Study.create(tmp_path, spec())
    assert "compiled_to" not in made.spec.recipe
    assert made.kernels == []


def test_values_it_cannot_have_are_refused():
    with pytest.raises(SpecError, match="compiled_to cannot be -1"):
        recipe("lean", compiled_to=-1)


def test_policies_without_convolutions_have_none():
    assert not has_kernels(tiny_spec())


@pytest.mark.parametrize(
    ("up_to", "timed"),
    [(50, [50]), (23, [8, 23, 50]), (8, [8, 23, 50]), (2, [2, 8, 50]), (0, [2, 8, 50])],
)
def test_few_sizes_tell_where_kernels_stop_to_gain(monkeypatch, up_to, timed):
    gain = lambda ways, width, _: (2.0, 1.0) if width <= up_to else (1.0, 1.0)  # noqa: E731
    monkeypatch.setattr(compiled, "sample_seconds", gain)
    found = kernel_times(spec(precision="float32"), None)
    assert [row.width for row in found] == timed
    assert with_kernels(spec(), found).recipe.get("compiled_to", 0) == up_to


def test_what_there_is_no_time_to_learn_stays_with_torch(monkeypatch):
    gain = lambda ways, width, _: (2.0, 1.0) if width <= 23 else (1.0, 1.0)  # noqa: E731
    monkeypatch.setattr(compiled, "sample_seconds", gain)
    for seconds, up_to in ((0.1, 0), (1.5, 0), (3.0, 8), (9.0, 23)):
        found = kernel_times(spec(precision="float32"), None, seconds)
        assert with_kernels(spec(), found).recipe.get("compiled_to", 0) == up_to


@needs_compiler
def test_narrow_sizes_gain_on_this_machine():
    narrow = spec(precision="float32", memory_format="contiguous").replace(widths=(1, 2, 3))
    (measured,) = kernel_times(narrow, some_frames(narrow.make_game()))
    assert measured.width == 3
    assert measured.gain > 1.1
