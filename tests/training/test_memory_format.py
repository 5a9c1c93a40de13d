"""How weights lie in memory: the same training but for rounding, and states that do not depend."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support import assert_identical
from torch import nn

from isoclone.agents.checkpoint import load_tensors, save_tensors
from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.games import FrameSpec
from isoclone.policies import make_policy, policy_layout
from isoclone.policies.base import made_without_storage
from isoclone.training.loop import Trainer
from isoclone.training.memory_format import arranged, has_choice
from isoclone.training.recipes import MEMORY_FORMATS, Recipe, recipe

COLOUR, GREY = FrameSpec((48, 48, 3), "uint8", 4), FrameSpec((84, 84), "uint8", 4)


pytestmark = pytest.mark.usefixtures("one_thread")


def trainer(demos, folder, memory_format="contiguous", policy="cnn", **changes) -> Trainer:
    settings = recipe("lean", precision="float32", memory_format=memory_format, **changes)
    run = Run(demos.game_name, demos.fingerprint, policy, 4, {}, settings.to_json(), 0)
    layout = policy_layout(policy, run.width, demos.frame, demos.n_actions)
    return Trainer(run, demos.source(settings.frames, layout), demos.n_actions, folder)


def train(made: Trainer, steps: int) -> Trainer:
    made.train_until(steps * made.recipe.batch_size * made.flops_per_sample)
    return made


def state(made: Trainer) -> dict[str, torch.Tensor]:
    made.save()
    return load_tensors(made.state_path)[0]


# ---------------------------------------------------------------------- the choice


@pytest.mark.parametrize(
    ("policy", "frame", "has"),
    [
        ("cnn", COLOUR, True),
        ("cnn", replace(COLOUR, stack=1), True),
        ("cnn-lstm", COLOUR, True),
        ("cnn", FrameSpec((42, 42), "uint8", 4), True),
        ("cnn", GREY, False),  # it is made with channels last
        ("cnn-lstm", GREY, False),
        ("mlp", COLOUR, False),
    ],
)
def test_convolutions_have_a_choice_unless_they_are_made_with_channels_last(policy, frame, has):
    assert has_choice(made_without_storage(policy, 4, frame, 3)) == has


def test_arranged_weights_are_the_same_and_none_is_left():
    plain, last = (make_policy("cnn", 4, COLOUR, 3) for _ in range(2))
    last.load_state_dict(plain.state_dict())
    assert arranged(plain, "contiguous") is plain
    assert has_choice(plain)
    assert not has_choice(arranged(last, "channels_last"))
    assert_identical(dict(last.state_dict()), dict(plain.state_dict()))
    assert isinstance(arranged(nn.Linear(2, 3), "channels_last"), nn.Linear)


def test_a_recipe_tells_the_format_of_a_width():
    usual = recipe("lean", memory_format="channels_last", memory_format_but=(16, 32))
    formats = [usual.memory_format_at(width) for width in (8, 16, 24)]
    assert formats == ["channels_last", "contiguous", "channels_last"]
    other = recipe("lean", memory_format="contiguous", memory_format_but=[8])
    assert [other.memory_format_at(width) for width in (8, 16)] == ["channels_last", "contiguous"]
    assert recipe("lean").memory_format_at(8) == "contiguous"  # 'auto', and nothing was measured
    for settled in (usual, other):
        assert Recipe.from_json(settled.to_json()) == settled
    for wrong in ({"memory_format": "rows"}, {"memory_format": "auto", "memory_format_but": (8,)}):
        with pytest.raises(SpecError, match="memory_format"):
            recipe("lean", **wrong)


def test_recipes_from_before_there_was_a_choice_keep_their_identity():
    named = recipe("lean", memory_format="contiguous").to_json()
    assert not [field for field in named if field.startswith("memory")]
    assert Recipe.from_json(named).memory_format_at(8) == "contiguous"


# ---------------------------------------------------------------------- training and states


def test_both_formats_train_alike_but_for_rounding(toy_demos, tmp_path):
    made = {name: train(trainer(toy_demos, tmp_path / name, name), 30) for name in MEMORY_FORMATS}
    assert made["channels_last"].module.convolutions[1].weight.stride()[1] == 1  # type: ignore
    first, second = (state(each) for each in made.values())
    assert first.keys() == second.keys()
    for name in first.keys() - {"curve"}:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("memory_format", MEMORY_FORMATS)
def test_a_run_killed_on_the_way_has_the_same_bits(toy_demos, tmp_path, memory_format):
    whole = train(trainer(toy_demos, tmp_path / "whole", memory_format), 30)
    for stop in (7, 8, 30):
        part = trainer(toy_demos, tmp_path / "parts", memory_format).resume()
        train(part, stop).save()
    assert_identical(state(part), state(whole))


@pytest.mark.parametrize(("begun", "ended"), [MEMORY_FORMATS, MEMORY_FORMATS[::-1]])
def test_a_state_is_continued_in_the_other_format(toy_demos, tmp_path, begun, ended):
    """Runs in two formats have two ids, so no study does; the state itself does not depend."""
    first = train(trainer(toy_demos, tmp_path / "a", begun), 20)
    tensors = state(first)
    second = trainer(toy_demos, tmp_path / "b", ended)
    metadata = load_tensors(first.state_path)[1]
    save_tensors(second.state_path, tensors, {**metadata, "run_id": second.run.id})
    second.resume()
    assert_identical(state(second), tensors)  # nothing was permuted
    train(second, 40)
    for name, value in state(train(first, 40)).items():
        if name != "curve":
            torch.testing.assert_close(value, state(second)[name], atol=1e-5, rtol=1e-3)
