"""Games: looked up by name, the same for the same seed, stacks inside their episode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.games import FrameSpec, game, game_names, stack_indices, vector_env


def play(env, seed, actions):
    trace = [(env.reset(seed).tobytes(), 0.0, False, False)]
    for action in actions:
        frame, *rest = env.step(int(action))
        trace.append((frame.tobytes(), *rest))
        if rest[1] or rest[2]:
            break
    return trace


def test_unknown_games_are_named_with_a_hint():
    with pytest.raises(UnknownNameError, match="did you mean toy"):
        game("toyy")
    with pytest.raises(UnknownNameError, match="did you mean Breakout"):
        game("atari/Brekout")
    with pytest.raises(UnknownNameError, match="NoSuchThing"):
        game("gym/NoSuchThing-v0")


@pytest.mark.parametrize("name", ["toy", "atari/Breakout", "gym/CartPole-v1"])
def test_an_option_a_game_does_not_have_is_named(name):
    with pytest.raises(SpecError, match="wobble"):
        game(name, wobble=1)


@pytest.mark.parametrize("name", ["toy", "atari/Breakout", "gym/CartPole-v1"])
def test_a_game_needs_at_least_one_step(name):
    with pytest.raises(SpecError, match="max_steps"):
        game(name, max_steps=0)


def test_every_rom_is_listed():
    names = game_names()
    assert "toy" in names
    assert sum(name.startswith("atari/") for name in names) > 90


def test_toy_is_the_same_for_the_same_seed_and_actions():
    toy, rng = game("toy"), np.random.default_rng(0)
    actions = rng.integers(3, size=200)
    again, other = (play(toy.make_env(), seed, actions) for seed in (5, 6))
    env = toy.make_env()
    play(env, 9, actions)  # what was played before leaves no trace
    assert play(env, 5, actions) == again
    assert again != other


def test_toy_tells_its_two_ends_apart():
    whole = play(game("toy").make_env(), 1, np.ones(300))
    assert whole[-1][2:] == (True, False)
    assert len(whole) == 1 + 8 * 11
    cut = play(game("toy", max_steps=7).make_env(), 1, np.ones(300))
    assert cut[-1][2:] == (False, True)
    assert len(cut) == 1 + 7


def test_an_end_on_the_last_step_is_an_end_of_the_game():
    assert play(game("toy", max_steps=88).make_env(), 1, np.ones(300))[-1][2:] == (True, False)


def test_slots_of_single_environments_play_as_if_alone():
    """Each slot's k-th episode is the same however many slots there are beside it."""
    toy = game("toy", max_steps=20)
    first = {}
    for n in (1, 3):
        env, seen = vector_env(toy, n, seed=4), []
        seen.append(env.reset(np.arange(n))[0].tobytes())
        for _ in range(20):
            frames, _, terminated, truncated = env.step(np.ones(n, np.int64))
            seen.append(frames[0].tobytes())
        assert truncated.all()
        assert not terminated.any()
        first[n] = seen
        _, rewards, *ends = env.step(np.ones(n, np.int64))  # all idle now
        assert not rewards.any()
        assert not np.any(ends)
    assert first[1] == first[3]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    stack=st.integers(1, 5),
)
def test_no_stack_crosses_a_reset(lengths, stack):
    first = np.cumsum(lengths) - lengths
    starts, times = np.repeat(first, lengths), np.arange(sum(lengths))
    rows = stack_indices(times, starts, stack)
    assert rows.shape == (sum(lengths), stack)
    assert (rows[:, -1] == times).all()
    assert (rows >= starts[:, None]).all()
    steps = np.diff(rows, axis=1)
    assert ((steps == 1) | ((steps == 0) & (rows[:, 1:] == starts[:, None]))).all()


def test_a_frame_knows_its_size():
    spec = FrameSpec((84, 84), "uint8", 4)
    assert (spec.size, spec.is_image) == (7056, True)
    assert not FrameSpec((4,), "float32", 1).is_image
