"""Atari: the single emulator and ale-py's vector environment agree bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.games import game
from isoclone.games.atari import AtariEnv, AtariVector, rom_names

STEPS = 400


def deterministic(rom: str, max_steps: int):
    return AtariEnv(rom, max_steps, sticky=0.0), AtariVector(rom, 1, 0, max_steps, sticky=0.0)


@pytest.mark.parametrize(("rom", "limit"), [("breakout", 150), ("pong", 90)])
def test_single_and_vector_agree_bit_for_bit_across_resets(rom, limit):
    """Also when an episode was cut short in mid-play and the slot is reset on purpose."""
    single, vector = deterministic(rom, limit)
    rng, zero = np.random.default_rng(1), np.array([0])
    resets = 0
    assert (single.reset(0) == vector.reset(zero)[0]).all()
    for _ in range(STEPS):
        action = int(rng.integers(len(single.actions)))
        frame, reward, *ends = single.step(action)
        frames, rewards, terminated, truncated = vector.step(np.array([action]))
        assert [bool(terminated[0]), bool(truncated[0])] == ends
        assert rewards[0] == reward
        if not ends[0]:  # the picture after the last life is nobody's observation
            assert (frames[0] == frame).all()
        if any(ends):
            resets += 1
            assert (single.reset(0) == vector.reset(zero)[0]).all()
    assert resets >= 2


def test_single_and_vector_agree_after_the_game_is_over():
    """Breakout loses all its lives; ale-py's dummy step after an end is never seen."""
    single, vector = deterministic("breakout", 5_000)
    fire, right, zero = 1, 2, np.array([0])
    ended = 0
    single.reset(0), vector.reset(zero)
    for step in range(1_200):
        action = fire if step % 7 == 0 else right
        frame, reward, *ends = single.step(action)
        frames, rewards, terminated, truncated = vector.step(np.array([action]))
        assert [bool(terminated[0]), bool(truncated[0])] == ends
        assert rewards[0] == reward
        if ends[0]:
            ended += 1
            assert (single.reset(0) == vector.reset(zero)[0]).all()
        else:
            assert (frames[0] == frame).all()
    assert ended >= 2


def test_an_idle_slot_is_masked():
    vector = AtariVector("breakout", 2, 0, max_steps=5)
    vector.reset(np.array([1]))
    for step in range(1, 12):
        _, _, terminated, truncated = vector.step(np.zeros(2, np.int64))
        assert not terminated.any()
        assert truncated.tolist() == [False, step == 5]
    vector.reset(np.array([0]))
    ends = [vector.step(np.zeros(2, np.int64))[3].tolist() for _ in range(5)]
    assert ends == [[False, False]] * 4 + [[True, False]]


def test_a_slot_left_unused_starts_from_the_beginning_when_it_is_reset():
    vector = AtariVector("pong", 2, 0, max_steps=500, sticky=0.0)
    first = vector.reset(np.array([0]))[0]
    for _ in range(60):
        vector.step(np.array([0, 3]))
    assert (vector.reset(np.array([1]))[0] == first).all()


def test_slots_of_one_seed_repeat_and_differ_from_another_seeds():
    def seen(seed):
        vector = AtariVector("breakout", 1, seed, max_steps=500)
        vector.reset(np.array([0]))
        actions = np.random.default_rng(0).integers(4, size=80)
        return b"".join(vector.step(np.array([a]))[0].tobytes() for a in actions)

    assert seen(1) == seen(1)
    assert seen(1) != seen(2)


def test_sticky_actions_repeat_a_quarter_of_the_emulators_frames():
    env = game("atari/Breakout").make_env()
    env.reset(0)
    sticks = []

    class Watched:
        def __init__(self, ale):
            self._ale = ale

        def act(self, action):
            sticks.append(action)
            return self._ale.act(action)

        def __getattr__(self, name):
            return getattr(self._ale, name)

    env.ale = Watched(env.ale)
    for step in range(600):
        env.step(2 + step % 2)
    wanted = np.repeat([env.actions[2 + step % 2] for step in range(600)], 4)[: len(sticks)]
    repeated = np.array([a != b for a, b in zip(sticks, wanted, strict=True)])
    assert 0.05 < repeated.mean() < 0.12  # 1/4 + 1/16 + 1/64 + 1/256 of 4 frames: .083


@pytest.mark.parametrize("name", ["Pong", "Seaquest", "MsPacman", "MontezumaRevenge", "Freeway"])
def test_other_games_can_be_made_and_played(name):
    the_game = game(f"atari/{name}", max_steps=30)
    env = the_game.make_env()
    assert env.reset(0).shape == (84, 84)
    assert len(env.actions) == the_game.n_actions
    for _ in range(5):
        frame, *_ = env.step(the_game.n_actions - 1)
    assert (frame.shape, frame.dtype) == ((84, 84), np.uint8)
    assert env.ram().shape == (128,)
    assert env.screen_rgb().shape[2] == 3


def test_both_spellings_of_a_rom_are_one_game():
    assert game("atari/ms_pacman").name == game("atari/MsPacman").name == "atari/MsPacman"
    assert "MsPacman" in rom_names()
