"""Recipes by name: built in, or somebody else's."""

from __future__ import annotations

import dataclasses

import pytest

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.games import game
from isoclone.training.recipes import LEAN, RECIPES, Recipe, recipe, suited_to_play


def test_a_recipe_with_a_field_changed():
    assert recipe("lean") == LEAN
    assert recipe("lean", batch_size=64) == dataclasses.replace(LEAN, batch_size=64)
    with pytest.raises(SpecError, match="recipe 'lean'"):
        recipe("lean", wobble=1)


@pytest.fixture
def mine():
    own = Recipe("mine", learning_rate=1e-3, batch_size=16)
    yield own
    RECIPES.remove("mine")


@pytest.mark.parametrize("made", [False, True])
def test_a_recipe_of_somebody_else(mine, made):
    RECIPES.add("mine", (lambda: mine) if made else mine)
    assert recipe("mine") == mine
    with pytest.raises(UnknownNameError, match=r"nonsense.*lean, mine, .*paper"):
        recipe("nonsense")


def test_from_a_clone_one_learns_more_slowly_and_is_taught():
    atari = game("atari/Breakout")
    alone, taught = suited_to_play(atari), suited_to_play(atari, taught=True)
    assert taught.learning_rate == alone.learning_rate / 4
    assert alone.teaches(0) == 0 < taught.teaches(0)
    assert taught.teaches(taught.teacher_samples) == 0
    score = game("nethack/NetHackScore-v0")  # its recipe has a teacher of its own
    assert suited_to_play(score, taught=True) == suited_to_play(score)
