"""Gymnasium environments: how they are made, played and closed, and what cannot be taken."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text

from isoclone.base.errors import DataError, ExecutionError, SpecError, UnknownNameError
from isoclone.base.registry import trust_modules
from isoclone.cli import main
from isoclone.cli.flags import Changes
from isoclone.demos import FrameDemonstrations
from isoclone.games import action_sizes, game, make_env
from isoclone.testing import check_game

LOG: list[str] = []


class Painted(gymnasium.Env):
    """A colour image whose brightness is the number of steps taken."""

    observation_space = Box(0, 255, (60, 50, 3), np.uint8)
    action_space = Discrete(3)

    def __init__(self, steps=5):
        self.limit = steps
        LOG.append("made")

    def close(self):
        LOG.append("closed")

    def _image(self):
        return np.full(self.observation_space.shape, self._steps, self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._image(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self._steps += 1
        return self._image(), float(np.sum(action)), self._steps >= self.limit, False, {}


class Tiles(Painted):
    observation_space = Box(0, 255, (7, 7, 3), np.uint8)


class Continuous(Painted):
    observation_space = Box(-1, 9, (2,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)


class Levers(Painted):
    action_space = MultiDiscrete([2, 5])


class Later(Painted):
    action_space = Discrete(3, start=5)


class Narrow(Painted):
    observation_space = Box(-1, 3, (2,), np.float32)


class Told(Painted):
    observation_space = Dict(view=Box(0, 255, (7, 7, 3), np.uint8), told=Text(5))


class Broken(Painted):
    def __init__(self):
        raise RuntimeError("cannot connect to the simulator on port 5005")


class Unbounded(Painted):
    action_space = Box(-np.inf, np.inf, (2,), np.float32)


KINDS = (Painted, Tiles, Continuous, Levers, Later, Narrow, Told, Broken, Unbounded)
for made in KINDS:
    gymnasium.register(f"{made.__name__}-v0", made)


def test_cartpole_is_a_game_of_vectors():
    cart = game("gym/CartPole-v1")
    check_game(cart)
    assert (cart.n_actions, cart.frame.shape, cart.frame.stack) == (2, (4,), 1)
    assert cart.options() == {"max_steps": 27_000}
    assert cart.frame.picture is None


def test_gymnasiums_own_time_limit_is_a_truncation():
    env = game("gym/MountainCar-v0").make_env()
    env.reset(0)
    ends = [env.step(1)[2:] for _ in range(200)]
    assert ends[-1] == (False, True)
    assert not any(ends[-2])


def test_max_steps_truncates():
    env = game("gym/CartPole-v1", max_steps=3).make_env()
    env.reset(0)
    assert [env.step(k % 2)[2:] for k in range(3)][-1] == (False, True)


def test_photographs_become_grey_frames():
    painted = game("gym/Painted-v0")
    check_game(painted)
    assert (painted.frame.shape, painted.frame.dtype, painted.frame.stack) == ((84, 84), "uint8", 4)
    env = painted.make_env()
    env.reset(0)
    frame, reward, *_ = env.step(2)
    assert (frame == 1).all()
    assert reward == 2.0


def test_pictures_of_codes_are_taken_as_they_are():
    """Five things of MiniGrid: a grey picture of 84x84 made one of them all."""
    codes = [(4, 4, 0), (4, 4, 1), (4, 4, 2), (5, 4, 0), (2, 5, 0)]
    tiles = game("gym/Tiles-v0")
    env = tiles.make_env()
    frames = set()
    for code in codes:
        picture = np.zeros((7, 7, 3), np.uint8)
        picture[3, 2] = code
        frames.add(env._read(picture).tobytes())
    assert len(frames) == 5
    assert tiles.frame.picture == (7, 7, 3)
    assert tiles.describe()[0] == "observations: a picture of 7x7 with 3 channels, as it is"


def test_actions_of_several_factors():
    levers = game("gym/Levers-v0")
    check_game(levers)
    assert (levers.n_actions, action_sizes(levers)) == (7, (2, 5))
    env = levers.make_env()
    env.reset(0)
    assert env.step(np.array([1, 4]))[1] == 5


def test_real_numbers_are_cut_into_bins():
    smooth = game("gym/Continuous-v0", bins=4)
    check_game(smooth)
    assert smooth.action_sizes == (4, 4)
    assert smooth.index_of(np.array([-0.9, 0.3])).tolist() == [0, 2]
    assert smooth.action_error(np.array([-0.75, 0.35])) == pytest.approx(0.05)
    env = smooth.make_env()
    env.reset(0)
    assert env.step(np.array([0, 2]))[1] == pytest.approx(-0.5)
    assert smooth.options() == {"max_steps": 27_000, "bins": 4}
    assert "cut into 4 bins each" in smooth.describe()[1]
    assert game("gym/Pendulum-v1").action_sizes == ()  # one factor is a plain action


def test_discrete_actions_may_start_anywhere():
    later = game("gym/Later-v0")
    check_game(later)
    env = later.make_env()
    env.reset(0)
    assert env.step(0)[1] == 5
    assert later.index_of(7) == 2
    with pytest.raises(DataError):
        later.index_of(4)


def test_options_make_the_game_again():
    options = {
        "make": {"steps": 7},
        "wrappers": ["gymnasium.wrappers:TransformReward"],
        "frames": "rgb",
        "resize": 40,
        "stack": 2,
    }
    with pytest.raises(SpecError, match=r"in the wrapper .*TransformReward cannot be made"):
        game("gym/Painted-v0", **options)  # it wants a function too
    options["wrappers"] = ["gymnasium.wrappers:RecordEpisodeStatistics"]
    painted = game("gym/Painted-v0", **options)
    assert painted.frame.shape == (40, 40, 3)
    assert painted.options() == {"max_steps": 27_000, **options}
    again = game("gym/Painted-v0", **painted.options())
    assert again == painted
    env = again.make_env()
    env.reset(0)
    assert [env.step(0)[2] for _ in range(7)][-2:] == [False, True]


def test_lists_of_names_may_be_text():
    told = game("gym/Told-v0", entries="view")
    assert told.frame.shape == (7, 7, 3)
    assert told.options()["entries"] == ["view"]


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"stack": 0}, "stack must be a whole number from 1"),
        ({"frames": "blue"}, "frames must be one of"),
        ({"resize": -3}, "resize must be"),
        ({"make": "x"}, "make must be a table"),
        ({"make": {"steps": object}}, "make must hold plain values"),
        ({"make": {"nonsense": 1}}, "cannot be made: TypeError"),
        ({"wrappers": ["nonsense"]}, "a wrapper is named as module:Name"),
        ({"wrappers": ["os:system"]}, "allow it by --import os"),
        ({"wrappers": 3}, "wrappers must be a list of names"),
        ({"bins": 1}, "bins must be a whole number from 2"),
        ({"action_bounds": (1,)}, "action_bounds must be two numbers"),
        ({"loose_bounds": "no"}, "loose_bounds must be true or false"),
        ({"nonsense": 1}, "has no option 'nonsense'; it has max_steps, make"),
    ],
)
def test_options_that_cannot_be_are_refused(option, why):
    with pytest.raises(SpecError, match=why):
        game("gym/Painted-v0", **option)


def test_a_module_that_was_named_is_trusted_with_all_that_is_in_it():
    trust_modules(["os"])
    with pytest.raises(SpecError, match=r"in the wrapper os\.path:join"):
        game("gym/Painted-v0", wrappers=["os.path:join"])


def test_environments_are_closed():
    game("gym/Painted-v0", make={"steps": 2})
    LOG.clear()
    painted = game("gym/Painted-v0", make={"steps": 3})
    for _ in range(3):
        game("gym/Painted-v0", make={"steps": 3})
    assert LOG == ["made", "closed"]  # for its spaces, once
    env = make_env(painted)
    env.close()
    assert LOG == ["made", "closed"] * 2


class Says(Painted):
    def step(self, action):
        seen, reward, terminated, truncated, info = super().step(action)
        return seen, reward, str(terminated), truncated, info

    def close(self):
        raise OSError("socket lost")


def test_ends_that_are_no_flags_are_refused_and_a_close_that_raises_is_not(recwarn):
    gymnasium.register("Says-v0", entry_point=Says)
    env = make_env(game("gym/Says-v0"))
    env.reset(0)
    with pytest.raises(ExecutionError, match="step 1: terminated is 'False', not True or False"):
        env.step(0)
    env.close()
    assert any("socket lost" in str(one.message) for one in recwarn)


def test_floats_outside_their_bounds_are_refused_with_the_step():
    env = make_env(game("gym/Narrow-v0"))
    env.reset(0)
    for _ in range(3):
        env.step(0)
    with pytest.raises(ExecutionError, match=r"step 4: the observation has 4.0 at .*-1.0 to 3.0"):
        env.step(0)
    loose = make_env(game("gym/Narrow-v0", loose_bounds=True))
    loose.reset(0)
    assert [loose.step(0)[0][0] for _ in range(5)][-1] == 5


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Unbounded-v0", "option 'action_bounds'"),
        ("Told-v0", "entry 'told': a space Text cannot be read.*entries=view leaves it out"),
        ("Broken-v0", "cannot be made: RuntimeError: cannot connect to the simulator on port"),
        ("ALE/Pong-v5", "Atari games are made by isoclone itself, as atari/Pong"),
        ("PongNoFrameskip-v4", "as atari/Pong"),
        ("Pong-ramDeterministic-v4", "as atari/Pong"),
        ("GymV26Environment-v0", "shimmy"),
        ("nobodys:Game-v0", "allow it by --import nobodys"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(name, why):
    with pytest.raises(SpecError, match=why) as caught:
        game(f"gym/{name}")
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_there_is_named():
    pytest.importorskip("gymnasium")
    try:
        import jax  # noqa: F401
    except ImportError:
        with pytest.raises(SpecError, match="No module named 'jax'"):
            game("gym/phys2d/CartPole-v1")


def test_an_unknown_game_says_how_others_games_are_found():
    with pytest.raises(UnknownNameError, match=r"CartPole-v1.*--import MODULE"):
        game("gym/CartPole-v9")


def test_colour_is_kept_by_a_flag(tmp_path, capsys):
    words = ["gym/Painted-v0", "--frames", "rgb", "--game-options", "resize=20"]
    record = ["demos", "record", *words, "--expert", "random", "--samples", "12"]
    assert main([*record, "--out", str(tmp_path / "demos"), "--executor", "serial"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "observations: a picture of 60x50, in colour, resized to 20x20, 4 in a stack" in said
    demos = FrameDemonstrations.open(tmp_path / "demos")
    assert demos.frame.shape == (20, 20, 3)
    assert demos.game_options == {"frames": "rgb", "resize": 20}
    assert main(["expert", "score", "random", *words, "--episodes", "2"]) == 0
    assert Changes(frames="raw", game_options=("stack=2",)).begun("x")["game_options"] == {
        "frames": "raw",
        "stack": 2,
    }
