"""Spaces as JSON values, and as a command line says them; the game 'data'."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium import spaces

from isoclone.base.errors import SpecError
from isoclone.games import game, is_playable
from isoclone.games.described import described, space_of

SPACES = [
    spaces.Box(-1, 1, (3,)),
    spaces.Box(np.array([-1, -np.inf]), np.array([np.inf, 2.5]), dtype=np.float64),
    spaces.Box(0, 255, (4, 5, 3), np.uint8),
    spaces.Box(-(2**63), 2**63 - 1, (2,), np.int64),
    spaces.Discrete(6),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([3, 2]),
    spaces.MultiDiscrete([[3, 2], [4, 5]]),
    spaces.MultiBinary((2, 3)),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Tuple([spaces.Box(0, 1, ())])}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_is_the_same_read_again(space):
    said = json.loads(json.dumps(described(space), allow_nan=False))
    assert space_of(said) == space


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("6", spaces.Discrete(6)),
        ("3,2", spaces.MultiDiscrete([3, 2])),
        ("-1:1", spaces.Box(-1, 1, (1,))),
        ("-1:1,0:5", spaces.Box(np.array([-1, 0]), np.array([1, 5]), dtype=np.float32)),
        ('{"multi_binary": [4]}', spaces.MultiBinary((4,))),
    ],
)
def test_a_space_on_the_command_line(text, space):
    assert space_of(text) == space


WRONG = ["", "six", "-1", "0", "1:", "1:2:3", "3,", "{", "{}", "[]", '{"box": [2]}', "9" * 30]
VALUES = [None, 3, {"box": [-1], "dtype": "float32", "low": 0, "high": 1}, {"discrete": 2.5}]
OBJECTS = [{"box": [2], "dtype": "object", "low": 0, "high": 1}, {"tuple": 3}, {"dict": {"a": 1}}]


@pytest.mark.parametrize("wrong", [*WRONG, *VALUES, *OBJECTS], ids=str)
def test_what_is_no_space_is_refused_in_one_line(wrong):
    with pytest.raises(SpecError) as caught:
        space_of(wrong, "--action-space")
    assert "--action-space" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_cannot_be_read():
    with pytest.raises(SpecError, match="kind Text cannot be read"):
        described(spaces.Text(5))


def test_the_game_of_spaces_alone():
    options = {"observations": described(SPACES[0]), "actions": described(SPACES[4])}
    made = game("data", **options)
    assert (made.frame.shape, made.n_actions, made.options()) == ((3,), 6, options)
    assert not is_playable(made)
    with pytest.raises(SpecError, match="has no environment"):
        made.make_env()
    with pytest.raises(SpecError, match="made from its demonstrations"):
        game("data")
    with pytest.raises(SpecError):
        game("data", **options, wobble=3)
