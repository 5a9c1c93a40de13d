"""The look-ahead: it plays well, and the game never notices it."""

import pickle

import numpy as np
import pytest

from isoclone.base.errors import SpecError
from isoclone.demos.play import play
from isoclone.experts import View, expert
from isoclone.experts.entropy import action_entropy
from isoclone.experts.identity import identity_of
from isoclone.experts.lookahead import _Trial
from isoclone.experts.score import score_expert
from isoclone.games import game

SMALL = {"depth": 12, "near": 6, "every": 3}


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


def test_the_future_of_a_plan_is_what_the_emulator_does():
    """A plan that was moved on step by step says what a new trial of it says."""
    invaders = game("atari/SpaceInvaders", sticky=0.0)
    player = expert("lookahead", invaders, **SMALL)
    env = invaders.make_env()
    view = View(env, np.random.default_rng(0), 4, [env.reset(3)])
    moved = 0
    for _ in range(60):
        before = view.memory.get("path")
        action = player.act([view])[0]
        path, twin = view.memory["path"], _Trial(player, player._emulator(), env.ale, view.rng)
        assert action == path.plan[0]
        again = twin.path(list(path.plan))
        assert (again.gains, again.lost, again.rams) == (path.gains, path.lost, path.rams)
        moved += path is before
        frame, reward, _, _ = env.step(action)
        view.frames.append(frame)
        assert reward == again.gains[0]
        assert env.ram().tobytes() == again.rams[0]
    assert moved > 30  # it was reused far more often than made anew


def test_it_keeps_to_what_it_does():
    """At most steps of Space Invaders it does what it did before, whatever its chances."""
    invaders = game("atari/SpaceInvaders", max_steps=150)
    player = expert("lookahead", invaders)
    (actions,) = [e.actions for _, _, e, _ in play(invaders, player, 0, [0])]
    assert np.mean(actions[1:] != actions[:-1]) < 0.2
    found = action_entropy(player, invaders, episodes=1, asks=2, states=4)
    assert found.nats < 0.2


def test_a_life_in_danger_is_kept():
    """Standing still under Space Invaders costs lives that a look-ahead keeps."""
    invaders = game("atari/SpaceInvaders", max_steps=500)
    lives = {}
    for name in ("noop", "lookahead"):
        env = invaders.make_env()
        view = View(env, np.random.default_rng(0), 4, [env.reset(0)])
        player = expert(name, invaders) if name == "lookahead" else expert(lambda seen: 0, invaders)
        ended = False
        while not ended:
            frame, _, terminated, truncated = env.step(player.act([view])[0])
            view.frames.append(frame)
            ended = terminated or truncated
        lives[name] = env.ale.lives()
    assert lives["lookahead"] == 3 > lives["noop"]


def test_it_is_another_expert_than_that_of_random_plans():
    assert identity_of("lookahead")["plays"] == "held actions"
    assert identity_of("lookahead") != identity_of("lookahead", {"near": 8})


def test_it_says_what_it_costs():
    player = expert("lookahead", game("atari/Breakout"), **SMALL)
    assert player.frames_per_step == (1 + 4 * 6 / 3) * 4
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
        ({"depth": 8}, "near \\(12\\) is more than depth"),
        ({"margin": -1}, "margin must not be negative"),
        ({"rollouts": 3}, "rollouts"),
    ],
)
def test_impossible_settings_are_named(options, said):
    with pytest.raises(SpecError, match=said):
        expert("lookahead", game("atari/Breakout"), **options)


def test_only_atari_games_have_an_emulator():
    with pytest.raises(SpecError, match="Atari games only"):
        expert("lookahead", game("toy"))
