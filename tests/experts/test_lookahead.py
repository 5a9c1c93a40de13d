"""The look-ahead: it plays well, and the game never notices it."""

import pickle

import numpy as np
import pytest

from isoclone.base.errors import SpecError
from isoclone.experts import View, expert
from isoclone.experts.score import score_expert
from isoclone.games import game

SMALL = {"depth": 12, "rollouts": 5, "every": 3}


def trajectory(actions, player, steps=40):
    """Frames, rewards and console memory of an episode with given actions, planning or not."""
    breakout = game("atari/Breakout")
    env = breakout.make_env()
    view = View(env, np.random.default_rng(0), 4, [env.reset(7)])
    seen = []
    for action in actions[:steps]:
        if player is not None:
            player.act([view])
        frame, reward, terminated, truncated = env.step(action)
        view.frames.append(frame)
        seen.append((frame, reward, terminated, truncated, env.ram().copy(), env.screen_rgb()))
    return seen


def test_planning_leaves_the_game_untouched():
    actions = np.random.default_rng(1).integers(4, size=40).tolist()
    player = expert("lookahead", game("atari/Breakout"), **SMALL)
    with_plans, without = trajectory(actions, player), trajectory(actions, None)
    for a, b in zip(with_plans, without, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_same_chance_gives_the_same_game():
    pong = game("atari/Pong", max_steps=25)
    once, again = (score_expert(expert("lookahead", pong, **SMALL), pong, 1) for _ in range(2))
    assert once.action_frequencies == again.action_frequencies
    assert once.scores == again.scores


def test_it_beats_chance_where_lives_are_short():
    invaders = game("atari/SpaceInvaders", max_steps=150)
    planned = score_expert(expert("lookahead", invaders, **SMALL), invaders, 1)
    chance = score_expert(expert("random", invaders), invaders, 4)
    assert planned.mean > chance.mean


def test_it_says_what_it_costs():
    player = expert("lookahead", game("atari/Breakout"), **SMALL)
    assert player.frames_per_step == 5 * 12 * 4 / 3
    assert player.steps_per_second_estimate(6) > 1


def test_it_travels_between_processes():
    breakout = game("atari/Breakout")
    player = expert("lookahead", breakout, **SMALL)
    player.steps_per_second_estimate(1)
    copy = pickle.loads(pickle.dumps(player))
    assert copy == player
    assert score_expert(copy, game("atari/Breakout", max_steps=4), 1).steps == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth": 0}, "depth must be at least 1"),
        ({"every": 40}, "every"),
        ({"rolouts": 3}, "rolouts"),
    ],
)
def test_impossible_settings_are_named(options, said):
    with pytest.raises(SpecError, match=said):
        expert("lookahead", game("atari/Breakout"), **options)


def test_only_atari_games_have_an_emulator():
    with pytest.raises(SpecError, match="Atari games only"):
        expert("lookahead", game("toy"))
