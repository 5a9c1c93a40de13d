"""Gymnasium environments: vectors, images, and what cannot be taken."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from isoclone.base.errors import SpecError
from isoclone.games import game
from isoclone.testing import check_game


class Painted(gymnasium.Env):
    """A colour image whose brightness is the number of steps taken."""

    observation_space = Box(0, 255, (60, 50, 3), np.uint8)
    action_space = Discrete(3)

    def _image(self):
        return np.full((60, 50, 3), self._steps, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._image(), {}

    def step(self, action):
        self._steps += 1
        return self._image(), float(action), self._steps >= 5, False, {}


class Unfit(Painted):
    action_space = Box(-1, 1, (2,), np.float32)


class Shapeless(Painted):
    observation_space = Discrete(5)


class Cube(Painted):
    observation_space = Box(0, 1, (4, 4, 7), np.float32)


for made in (Painted, Unfit, Shapeless, Cube):
    gymnasium.register(f"{made.__name__}-v0", made)


def test_cartpole_is_a_game_of_vectors():
    cart = game("gym/CartPole-v1")
    check_game(cart)
    assert (cart.n_actions, cart.frame.shape, cart.frame.stack) == (2, (4,), 1)
    assert not cart.frame.is_image


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


def test_images_become_grey_frames():
    painted = game("gym/Painted-v0")
    check_game(painted)
    assert (painted.frame.shape, painted.frame.dtype, painted.frame.stack) == ((84, 84), "uint8", 4)
    env = painted.make_env()
    env.reset(0)
    frame, reward, *_ = env.step(2)
    assert (frame == 1).all()
    assert reward == 2.0


@pytest.mark.parametrize(
    ("name", "why"),
    [("Unfit", "Discrete"), ("Shapeless", "must be a Box"), ("Cube", "neither a vector")],
)
def test_what_cannot_be_taken_is_refused(name, why):
    with pytest.raises(SpecError, match=why):
        game(f"gym/{name}-v0")
