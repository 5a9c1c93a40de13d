"""How weights lie in memory: chosen by the time it takes here, by size, once, and kept."""

from __future__ import annotations

import pytest
import torch
from support import tiny_spec
from torch import nn

from isoclone.base.errors import ExecutionError, SpecMismatchError, StoreError
from isoclone.base.tables import POLICIES
from isoclone.study import doctor, precision
from isoclone.study.memory_format import FormatTimes, format_times, has_formats, with_fastest
from isoclone.study.study import Study
from isoclone.training.recipes import recipe

# Microseconds a sample by width, contiguous and channels last, as measured on a processor with
# bfloat16 (docs/log.md): 84x84 in colour, four frames, in bfloat16; 42x42 in grey, in float32.
COLOUR = {2: (594, 328), 8: (634, 347), 16: (338, 374), 23: (840, 548), 32: (573, 602)}
SMALL = {2: (56, 59), 8: (61, 62), 16: (76, 68), 23: (114, 99), 32: (138, 119)}
ALIKE = {2: (109, 113), 8: (126, 123), 32: (326, 327)}


def rows(measured, precision="bfloat16"):
    return [FormatTimes(w, precision, a * 1e-6, b * 1e-6) for w, (a, b) in measured.items()]


def spec(**changes):
    settings = recipe("lean", **changes).to_json()
    return tiny_spec(policy="cnn", budgets_flops=(1e8, 2e8, 4e8), recipe=settings)


@pytest.fixture
def timed(monkeypatch):
    """A processor that has both precisions, and takes an hour, or as long as a test sets."""
    times = {"float32": 3600.0, "bfloat16": 3500.0}
    formats = {"float32": rows(ALIKE, "float32"), "bfloat16": rows(COLOUR)}
    gained = lambda spec: 0.5 if "memory_format" in spec.recipe else 1.0  # noqa: E731
    monkeypatch.setattr(precision, "precisions_on", lambda device: ["float32", "bfloat16"])
    monkeypatch.setattr(
        precision,
        "train_seconds",
        lambda spec, _: times[spec.recipe["precision"]] * gained(spec),
    )
    monkeypatch.setattr(
        precision, "format_times", lambda spec, _: formats[spec.recipe["precision"]]
    )
    return times


@pytest.mark.parametrize(
    ("measured", "usual", "but"),
    [
        (COLOUR, "channels_last", [16]),
        (SMALL, "contiguous", [16, 23, 32]),
        (ALIKE, "contiguous", []),
    ],
)
def test_the_faster_format_is_taken_and_sizes_that_gain_by_the_other(measured, usual, but):
    chosen = with_fastest(spec(), rows(measured)).recipe
    assert chosen.get("memory_format", "contiguous") == usual
    assert chosen.get("memory_format_but", []) == but
    if not but:
        assert chosen == recipe("lean", memory_format="contiguous").to_json()


def test_the_choice_decides_which_precision_is_faster_and_is_kept(timed, tmp_path):
    study = Study.create(tmp_path, spec())
    assert study.spec.recipe["precision"] == "bfloat16"  # 3500 s alone would not save enough
    assert study.spec.recipe["memory_format"] == "channels_last"
    assert study.spec.recipe["memory_format_but"] == [16]
    assert study.times == {"float32": 3600.0, "bfloat16": 1750.0}
    again = Study.open(tmp_path)
    assert (again.spec, again.formats) == (study.spec, study.formats)
    assert [row.width for row in again.formats if row.precision == "bfloat16"] == list(COLOUR)
    timed["bfloat16"] = 9000.0
    assert Study.create(tmp_path, spec()).spec == study.spec
    with pytest.raises(SpecMismatchError, match="memory_format"):
        Study.create(tmp_path, spec(precision="bfloat16", memory_format="contiguous"))


def test_the_plan_says_what_it_was_chosen_by(timed, tmp_path):
    notes = Study.create(tmp_path, spec()).plan().notes
    said = "memory format, us a sample contiguous / channels last: width 2 594 / 328, 8 634 / 347"
    assert any(note.startswith(said) for note in notes)
    assert any(note.startswith("precision bfloat16: ") for note in notes)


def test_doctor_says_what_was_chosen(timed, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "GEMM_SECONDS", 0.02)
    study = Study.create(tmp_path, spec())
    told = [each.found for each in doctor.examine(study, 1) if each.what == "chosen"]
    assert told == study.chosen()
    assert len(told) == 2


def test_what_a_user_names_is_not_timed(timed, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "format_times", lambda *_: pytest.fail("timed"))
    made = Study.create(tmp_path, spec(memory_format="channels_last"))
    assert made.spec.recipe["memory_format"] == "channels_last"
    assert made.formats == []


def test_only_the_format_is_timed_where_the_precision_is_named(timed, tmp_path):
    made = Study.create(tmp_path, spec(precision="bfloat16"))
    assert made.spec.recipe["memory_format_but"] == [16]
    assert made.times == {}
    assert len(made.formats) == len(COLOUR)


def test_short_training_is_not_worth_the_timing(timed, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "format_times", lambda *_: pytest.fail("timed"))
    timed |= {"float32": 60.0, "bfloat16": 50.0}
    made = Study.create(tmp_path, spec())
    assert not [field for field in made.spec.recipe if field.startswith("memory_format")]
    assert made.spec.recipe["precision"] == "bfloat16"


def test_a_study_from_before_there_was_a_choice_goes_on_as_it_is(timed, monkeypatch, tmp_path):
    named = {"precision": "float32", "memory_format": "contiguous"}
    before = Study.create(tmp_path, spec(**named))
    monkeypatch.setattr(precision, "format_times", lambda *_: pytest.fail("timed"))
    assert Study.create(tmp_path, spec()).spec == before.spec
    assert not [field for field in before.spec.recipe if field.startswith("memory_format")]


def test_a_policy_that_cannot_be_timed_stays_contiguous(timed, monkeypatch, tmp_path):
    def fail(*_):
        raise ExecutionError("view size is not compatible")

    monkeypatch.setattr(precision, "format_times", fail)
    made = Study.create(tmp_path, spec())
    assert "memory_format" not in made.spec.recipe
    assert made.times == {"float32": 3600.0, "bfloat16": 3500.0}


class Viewing(nn.Module):
    """A policy that takes it for granted that activations are contiguous."""

    def __init__(self, width, frame, n_actions):
        super().__init__()
        self.conv = nn.Conv2d(frame.stack, width, 3)
        self.head = nn.Linear(width * (frame.shape[0] - 2) * (frame.shape[1] - 2), n_actions)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(frames).view(len(frames), -1))


def test_a_policy_that_needs_contiguous_activations_is_left_alone(timed, monkeypatch, tmp_path):
    POLICIES.add("viewing", Viewing)
    monkeypatch.setattr(precision, "format_times", format_times)
    try:
        made = Study.create(tmp_path, spec().replace(policy="viewing"))
    finally:
        POLICIES.remove("viewing")
    assert "memory_format" not in made.spec.recipe
    assert made.formats == []


def test_every_size_is_timed_either_way():
    small = spec(precision="float32").replace(widths=(2, 4, 5))
    assert has_formats(small)
    assert not has_formats(tiny_spec(policy="mlp"))
    frames = precision.some_frames(small.make_game())
    measured = format_times(small, frames)
    assert [(row.width, row.precision) for row in measured] == [
        (w, "float32") for w in small.widths
    ]
    for row in measured:
        assert 0 < row.contiguous < 1
        assert 0 < row.channels_last < 1


def test_damaged_times_are_named(timed, tmp_path):
    study = Study.create(tmp_path, spec())
    declared = study.folder.read_spec()
    study.folder.write_spec({**declared, "sample_seconds": [{"width": "two"}]})
    with pytest.raises(StoreError, match="sample_seconds"):
        Study.open(tmp_path)
