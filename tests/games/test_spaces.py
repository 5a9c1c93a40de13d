"""How the spaces of Gymnasium games are read."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    Sequence,
    Text,
    Tuple,
)

from isoclone.base.errors import DataError, SpecError
from isoclone.games import FrameSpec
from isoclone.games.spaces import ReadSpaces, action_reader, layout, observation_reader

BYTES = {"low": 0, "high": 255, "dtype": np.uint8}
VECTORS = [
    (Box(-1, 1, (4,)), 4),
    (Box(-1, 1, (5, 5)), 25),
    (Box(-1, 1, ()), 1),
    (Box(0, 255, (128,), np.uint8), 128),
    (Box(-5, 5, (3,), np.int32), 3),
    (Discrete(16), 16),
    (Discrete(5, start=-2), 5),
    (MultiDiscrete([3, 4]), 7),
    (MultiDiscrete([[2, 3], [4, 5]]), 14),
    (MultiBinary(5), 5),
    (MultiBinary([2, 3]), 6),
    (Tuple([Discrete(32), Discrete(11), Discrete(2)]), 45),
    (Dict(b=Discrete(3), a=Dict(x=Box(-1, 1, (2, 2)), y=MultiBinary(2))), 9),
]


@pytest.mark.parametrize(("space", "size"), VECTORS, ids=str)
def test_what_is_no_picture_is_flattened_as_gymnasium_flattens_it(space, size):
    reader = observation_reader(space)
    assert reader.frame == FrameSpec((size,), "float32", 1)
    space.seed(0)
    for _ in range(20):
        one = space.sample()
        flat = np.reshape(gymnasium.spaces.flatten(space, one), -1)
        np.testing.assert_allclose(reader.read(one), flat, rtol=1e-6)
        assert reader.read(one).dtype == np.float32


PICTURES = [
    (Box(shape=(96, 96, 3), **BYTES), (84, 84), "uint8", 4),
    (Box(shape=(3, 210, 160), **BYTES), (84, 84), "uint8", 4),
    (Box(shape=(60, 50), **BYTES), (84, 84), "uint8", 4),
    (Box(shape=(40, 40, 1), **BYTES), (84, 84), "uint8", 4),
    (Box(shape=(7, 7, 3), **BYTES), (7, 7, 3), "uint8", 1),  # codes
    (Box(0, 10, (64, 64, 3), np.uint8), (64, 64, 3), "uint8", 1),  # not of all bytes
    (Box(0, 1, (10, 10, 4), np.bool_), (10, 10, 4), "uint8", 1),
    (Box(0, 7, (8, 8, 2), np.int64), (8, 8, 2), "uint8", 1),
    (Box(-1, 7, (8, 8, 2), np.int64), (8, 8, 2), "float32", 1),
    (Box(shape=(4, 84, 84), **BYTES), (84, 84, 4), "uint8", 1),
    (Box(shape=(4, 40, 40, 3), **BYTES), (40, 40, 12), "uint8", 1),
    (Box(0, 1, (36, 36)), (36, 36), "float32", 1),
]


@pytest.mark.parametrize(("space", "shape", "dtype", "stack"), PICTURES, ids=str)
def test_photographs_become_grey_and_other_pictures_stay(space, shape, dtype, stack):
    reader = observation_reader(space)
    assert reader.frame == FrameSpec(shape, dtype, stack)
    space.seed(0)
    one = space.sample()
    frame = reader.read(one)
    assert (frame.shape, frame.dtype) == (shape, dtype)
    if stack == 1:
        assert np.sort(frame, axis=None).tolist() == np.sort(one, axis=None).tolist()
    assert not np.shares_memory(frame, one)


def test_channels_go_last_pixel_by_pixel():
    reader = observation_reader(Box(0, 9, (2, 5, 6), np.uint8))
    one = np.random.default_rng(0).integers(0, 9, (2, 5, 6), np.uint8)
    assert (reader.read(one)[3, 4] == one[:, 3, 4]).all()
    frames = observation_reader(Box(shape=(2, 40, 41, 3), **BYTES))
    two = np.random.default_rng(0).integers(0, 255, (2, 40, 41, 3), np.uint8)
    assert frames.read(two)[7, 8].tolist() == two[:, 7, 8].reshape(-1).tolist()


def test_how_pictures_are_shown_can_be_said():
    space = Box(shape=(96, 90, 3), **BYTES)
    one = space.sample()
    colour = observation_reader(space, frames="rgb", resize=False)
    assert (colour.read(one) == one).all()
    assert colour.frame == FrameSpec((96, 90, 3), "uint8", 4)
    assert observation_reader(space, frames="rgb", stack=2).frame == FrameSpec(
        (84, 84, 3), "uint8", 2
    )
    assert observation_reader(space, frames="grey", resize=48).frame.shape == (48, 48)
    raw = observation_reader(space, frames="raw")
    assert raw.frame == FrameSpec((96, 90, 3), "uint8", 1)
    assert (raw.read(one) == one).all()
    for wrong in ({"frames": "blue"}, {"frames": "grey", "resize": 0}):
        with pytest.raises(SpecError):
            observation_reader(space, **wrong)
    with pytest.raises(SpecError, match="wants one picture"):
        observation_reader(Discrete(3), frames="grey")


def test_codes_become_channels_of_zeros_and_ones():
    grid = Box(0, 255, (7, 7, 3), np.uint8)
    reader = observation_reader(grid, frames="onehot:11,6,3")
    assert reader.frame == FrameSpec((7, 7, 20), "uint8", 1)
    tiles = [(4, 4, 0), (4, 4, 1), (4, 4, 2), (5, 4, 0), (2, 5, 0)]
    for tile in tiles:
        seen = np.zeros((7, 7, 3), np.uint8)
        seen[3, 2] = tile
        frame = reader.read(seen)
        split = np.split(frame, [11, 17], axis=-1)
        assert all((part.sum(-1) == 1).all() for part in split)
        assert tuple(int(part[3, 2].argmax()) for part in split) == tile
    with pytest.raises(DataError, match="code 11 in channel 0, and 11 codes"):
        reader.read(np.full((7, 7, 3), 11, np.uint8))
    declared = Box(
        np.zeros((2, 5, 6)), np.stack([np.full((5, 6), 3), np.ones((5, 6))]), dtype=np.int64
    )
    first = observation_reader(declared, frames="onehot")  # channels first, their bounds known
    assert first.frame.shape == (5, 6, 4 + 2)
    sample = declared.sample()
    assert (first.read(sample)[..., :4].argmax(-1) == sample[0]).all()
    for wrong in ("onehot", "onehot:11,6", "onehot:11,6,x", "onehot:300,6,3", "raw:3"):
        with pytest.raises(SpecError, match=r"how many codes each channel|frames must be one of"):
            observation_reader(grid, frames=wrong)
    with pytest.raises(SpecError, match="whole numbers from 0"):
        observation_reader(Box(0, 1, (7, 7, 3)), frames="onehot:2,2,2")


def test_a_picture_beside_other_entries_stays_a_picture():
    space = Dict(direction=Discrete(4), image=Box(shape=(7, 7, 3), **BYTES))
    reader = observation_reader(space)
    assert reader.frame == FrameSpec((7, 7, 7), "uint8", 1)
    assert "'direction' as 4 more channels" in reader.described
    one = {"direction": 2, "image": space["image"].sample()}
    frame = reader.read(one)
    assert (frame[..., :3] == one["image"]).all()
    assert (frame[..., 3:] == [0, 0, 1, 0]).all()
    real = observation_reader(Dict(speed=Box(-1, 1, (2,)), view=Box(shape=(40, 40), **BYTES)))
    assert real.frame == FrameSpec((84, 84, 3), "float32", 4)
    assert observation_reader(space, entries=("image",)).frame.shape == (7, 7, 3)
    with pytest.raises(SpecError, match="no 'picture'; they have direction, image"):
        observation_reader(space, entries=("picture",))


def test_where_entries_lie_in_a_frame_is_told():
    space = Dict({"z": Box(-5, 5, (2,)), "a": Discrete(3), "grid": Box(0, 9, (5, 6, 2), np.uint8)})
    for entries in ((), ("z", "a")):
        reader = observation_reader(space, entries=entries)
        told = layout(ReadSpaces(space, Discrete(2), reader, action_reader(Discrete(2)), 256))
        json.dumps(told)
        sample = {"z": np.float32([-2, 3]), "a": np.int64(1), "grid": space["grid"].sample()}
        frame = reader.read(sample)
        found = {
            one["entry"]: frame[..., one["first"] : one["first"] + one["count"]]
            for one in told["entries"]
        }
        assert sum(part.shape[-1] for part in found.values()) == frame.shape[-1]
        assert (found["z"] == [-2, 3]).all()
        assert (found["a"] == [0, 1, 0]).all()
        assert entries or (found["grid"] == sample["grid"]).all()
        values = {one["entry"]: one["values"] for one in told["entries"]}
        assert values == {"z": "raw", "a": "onehot"} | ({} if entries else {"grid": "raw"})
        assert told["action_space"] == {"discrete": 2}


def test_two_pictures_are_flattened():
    space = Tuple([Box(shape=(40, 40), **BYTES), Box(shape=(40, 40), **BYTES)])
    assert observation_reader(space).frame == FrameSpec((3200,), "float32", 1)


@pytest.mark.parametrize("space", [Text(5), Graph(Discrete(2), None), Sequence(Discrete(2))])
def test_spaces_without_a_fixed_size_are_refused_in_one_line(space):
    kind = type(space).__name__
    with pytest.raises(SpecError, match=f"space {kind} cannot be read"):
        observation_reader(space)
    with pytest.raises(SpecError, match=rf"entry 'm': a space {kind} .* entries=x "):
        observation_reader(Dict(m=space, x=Discrete(2)))
    with pytest.raises(SpecError, match=f"space {kind} cannot be chosen"):
        action_reader(space)


def test_wide_numbers_keep_their_differences():
    for space, near in [
        (Box(-np.inf, np.inf, (1,), np.float64), 1.7e9),
        (Box(0, 2**40, (1,), np.int64), 2**33),
    ]:
        reader = observation_reader(space)
        assert reader.frame.dtype == "float64"
        one, two = (reader.read(np.array([near + k], space.dtype)) for k in (0, 1))
        assert two - one == 1


NARROW = Box(-1, 1, (3,))
WRONG = [
    (NARROW, np.zeros(4, np.float32), r"has shape \(4,\), its space says \(3,\)"),
    (NARROW, np.array([0, np.nan, np.inf]), "2 of 3 numbers .* are not finite"),
    (NARROW, np.array([0, 1.5, 0]), r"has 1.5 at \[1\], outside its space's bounds, -1.0 to 1.0"),
    (NARROW, np.array(["a", "b", "c"]), "observation is <U1"),
    (NARROW, None, "has shape"),
    (Box(-np.inf, np.inf, (1,)), np.array([1.7e9 + 1]), "declare the space as float64"),
    (Box(shape=(7, 7, 3), **BYTES), np.full((7, 7, 3), 0.5), "is float64, its space says uint8"),
    (Box(shape=(7, 7, 3), **BYTES), np.full((7, 7, 3), 256), "has 256 at"),
    (Box(shape=(7, 7, 3), **BYTES), np.full((7, 7, 3), -1), "has -1 at"),
    (Discrete(3), 3, "observation 3 is not one of"),
    (Discrete(3), 1.0, "observation 1.0 is not one of"),
    (Discrete(3, start=1), 0, "observation 0 is not one of"),
    (MultiDiscrete([2, 3]), np.array([0, 3]), "is not one of"),
    (MultiBinary(2), np.array([0, 2]), "is not one of"),
    (Dict(a=Discrete(2)), {"b": 1}, "has no entry 'a'"),
    (Tuple([Discrete(2)]), (), "has no entry '0'"),
]


@pytest.mark.parametrize(("space", "value", "why"), WRONG)
def test_observations_that_are_not_of_the_space_are_refused(space, value, why):
    with pytest.raises(DataError, match=why):
        observation_reader(space, strict=True).read(value)


def test_rounding_at_the_bounds_and_other_widths_are_taken():
    reader = observation_reader(NARROW, strict=True)
    assert reader.read(np.array([1 + 1e-7, -1, 0])).dtype == np.float32  # float64
    assert reader.read(np.array([1, 0, 0])).tolist() == [1, 0, 0]  # whole numbers
    assert observation_reader(NARROW).read(np.array([9.0, 0, 0]))[0] == 9  # unless strict


ACTIONS = [
    (Discrete(3), (3,)),
    (Discrete(3, start=-1), (3,)),
    (MultiDiscrete([3, 4]), (3, 4)),
    (MultiDiscrete([[2, 3], [4, 5]]), (2, 3, 4, 5)),
    (MultiBinary(3), (2, 2, 2)),
    (Box(-2, 2, (1,)), (256,)),
    (Box(np.float32([-1, 0]), np.float32([1, 9])), (256, 256)),
    (Box(-3, 6, (2,), np.int64), (10, 10)),
    (Box(0, 255, (2,), np.uint8), (256, 256)),
    (Box(0, 999, (1,), np.int64), (256,)),
    (Tuple([Discrete(2), Box(-1, 1, (2,))]), (2, 256, 256)),
    (Dict(a=Discrete(2), b=Tuple([MultiBinary(2)])), (2, 2, 2)),
]


@pytest.mark.parametrize(("space", "sizes"), ACTIONS, ids=str)
def test_actions_become_indices_and_indices_actions(space, sizes):
    reader = action_reader(space)
    assert reader.sizes == sizes
    space.seed(0)
    for _ in range(50):
        one = space.sample()
        index = reader.to_index(one)
        assert isinstance(index, int) if len(sizes) == 1 else index.shape == (len(sizes),)
        again = reader.to_action(index)
        assert np.all(reader.to_index(again) == index)
        assert type(space) is Discrete or space.contains(again)
        assert reader.is_binned or reader.error(one) == 0


def test_what_is_not_binned_comes_back_as_it_was():
    assert action_reader(Discrete(3, start=-1)).to_action(0) == -1
    assert action_reader(Box(-3, 6, (2,), np.int64)).to_action([0, 9]).tolist() == [-3, 6]
    both = action_reader(Dict(a=Discrete(2), b=Tuple([MultiBinary(2)])))
    made = both.to_action([1, 0, 1])
    assert made["a"] == 1
    assert made["b"][0].tolist() == [0, 1]


def test_a_bin_stands_for_its_centre():
    reader = action_reader(Box(-1, 1, (2,)), bins=4)
    assert reader.to_index(np.array([-1.0, 0.6])).tolist() == [0, 3]
    np.testing.assert_allclose(reader.to_action([0, 3]), [-0.75, 0.75])
    assert reader.error(np.array([-1.0, 0.75])) == pytest.approx(0.125)
    assert reader.to_index(np.array([-7.0, 1.0])).tolist() == [0, 3]  # the nearest bins
    assert reader.described == "2 numbers from -1 to 1, cut into 4 bins each"
    every = np.random.default_rng(0).uniform(-1, 1, 4000)
    errors = [action_reader(Box(-1, 1, (1,))).error([x]) for x in every]
    assert np.mean(errors) == pytest.approx(2 / 256 / 4, rel=0.05)


@pytest.mark.parametrize("box", [Box(-np.inf, np.inf, (2,)), Box(0, np.inf, (1,))], ids=str)
def test_actions_without_bounds_want_some(box):
    with pytest.raises(SpecError, match="option 'action_bounds'"):
        action_reader(box)
    assert action_reader(box, bounds=(-3, 3)).sizes == (256,) * box.shape[0]
    with pytest.raises(SpecError, match="two numbers, the lower first"):
        action_reader(box, bounds=(3, -3))


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (Discrete(3), 3),
        (Discrete(3), 0.5),
        (MultiDiscrete([2, 3]), [0, 1, 1]),
        (Box(-1, 1, (1,)), [np.nan]),
        (Box(-1, 1, (1,)), "left"),
        (Dict(a=Discrete(2)), 1),
    ],
)
def test_what_is_no_action_is_refused(space, action):
    with pytest.raises(DataError):
        action_reader(space).to_index(action)
