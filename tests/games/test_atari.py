"""Atari: our emulators agree bit for bit with ale-py's vector environment."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.base.errors import SpecError
from isoclone.games import close, game, vector_env
from isoclone.games.atari import AtariEnv, _shrink, rom_names


class Reference:
    """ale-py's vector environment, one slot, every default that matters overridden."""

    def __init__(self, rom: str):
        from ale_py.vector_env import AtariVectorEnv

        self._env = AtariVectorEnv(
            rom,
            1,
            num_threads=1,
            repeat_action_probability=0.0,
            img_height=84,
            img_width=84,
            grayscale=True,
            stack_num=1,
            frameskip=4,
            maxpool=True,
            noop_max=0,
            episodic_life=False,
            reward_clipping=False,
            use_fire_reset=False,
            autoreset_mode="NextStep",
            max_num_frames_per_episode=10**9,
        )
        self._env.reset(seed=0)

    def reset(self):
        """On purpose, before the dummy step that ale-py would take after an end."""
        return self._env.reset(options={"reset_mask": np.ones(1, bool)})[0][0, 0].copy()

    def step(self, action):
        frames, rewards, terminated, _, _ = self._env.step(np.array([action]))
        return frames[0, 0], rewards[0], bool(terminated[0])


def assert_same_play(rom, limit, steps, choose):
    """Play both for a while; returns how many episodes were terminated and truncated."""
    ours, theirs = AtariEnv(rom, limit, sticky=0.0), Reference(rom)
    ends = [0, 0]
    assert (ours.reset(0) == theirs.reset()).all()
    for step in range(steps):
        action = choose(step, len(ours.actions))
        frame, reward, terminated, truncated = ours.step(action)
        wanted, their_reward, over = theirs.step(action)
        assert (reward, terminated) == (their_reward, over)
        if not over:  # the picture after the last life is nobody's observation
            assert (frame == wanted).all()
        if terminated or truncated:
            ends[truncated] += 1
            assert (ours.reset(0) == theirs.reset()).all()
    close(ours)
    return ends


@pytest.mark.parametrize(("rom", "limit"), [("breakout", 150), ("pong", 90)])
def test_frames_rewards_and_ends_are_ale_pys_across_resets(rom, limit):
    """Also when an episode was cut short in mid-play and the game is reset on purpose."""
    rng = np.random.default_rng(1)
    ends = assert_same_play(rom, limit, 400, lambda _, actions: int(rng.integers(actions)))
    assert sum(ends) >= 2


def test_frames_rewards_and_ends_are_ale_pys_when_the_game_is_over():
    """Breakout loses all its lives; ale-py's dummy step after an end is never seen."""
    terminated, _ = assert_same_play("breakout", 5_000, 1_200, lambda step, _: 2 - (step % 7 == 0))
    assert terminated >= 2


def test_an_idle_slot_is_left_alone():
    vector = vector_env(game("atari/Breakout", max_steps=5), 2, 0)
    vector.reset(np.array([1]))
    for step in range(1, 12):
        _, _, terminated, truncated = vector.step(np.zeros(2, np.int64))
        assert not terminated.any()
        assert truncated.tolist() == [False, step == 5]
    vector.reset(np.array([0]))
    ends = [vector.step(np.zeros(2, np.int64))[3].tolist() for _ in range(5)]
    assert ends == [[False, False]] * 4 + [[True, False]]
    close(vector)


def seen(seed, before=0):
    """80 steps of a slot, in an emulator that somebody else has played `before` steps with."""
    env = game("atari/Breakout").make_env()
    env.reset(9)
    for _ in range(before):
        env.step(1)
    env.close()
    vector = vector_env(game("atari/Breakout"), 1, seed)
    vector.reset(np.array([0]))
    actions = np.random.default_rng(0).integers(4, size=80)
    frames = b"".join(vector.step(np.array([a]))[0].tobytes() for a in actions)
    close(vector)
    return frames


def test_slots_of_one_seed_repeat_and_differ_from_another_seeds():
    assert seen(1) == seen(1)
    assert seen(1) != seen(2)


def test_an_emulator_that_was_given_back_is_as_good_as_new():
    assert seen(1) == seen(1, before=57)


@pytest.mark.parametrize("rom", ["beam_rider", "tennis", "qbert"])
def test_an_episode_is_the_same_whatever_was_played_before(rom):
    """A reset leaves memory of two of them as it was, and a state alone a picture of the third."""
    env = AtariEnv(rom, 1_000)

    def play(seed):
        chosen = np.random.default_rng(seed).integers(len(env.actions), size=150)
        seen = [env.reset(seed).tobytes()]
        for action in chosen:
            frame, *told = env.step(int(action))
            seen.append((frame.tobytes(), *told))
        return seen

    first = play(0)
    for seed in (1, 2):
        play(seed)
    assert play(0) == first


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


@pytest.mark.parametrize(("skip", "counts"), [(1, {1}), (3, {3}), ("2-4", {2, 3, 4})])
def test_a_step_takes_as_many_emulator_frames_as_asked(skip, counts):
    pong = game("atari/Pong", frame_skip=skip, sticky=0, max_steps=30)
    env, seen = pong.make_env(), []
    env.reset(0)
    for _ in range(30):
        before = env.ale.getEpisodeFrameNumber()
        env.step(2)
        seen.append(env.ale.getEpisodeFrameNumber() - before)
    close(env)
    assert set(seen) == counts
    assert game("atari/Pong", **pong.options()) == pong
    assert pong.random_score is None
    assert "sticky" not in game("atari/Pong").options()


def test_frames_of_one_emulator_frame_are_its_screen():
    env = game("atari/Pong", frame_skip=1).make_env()
    env.reset(0)
    frame = env.step(0)[0]
    screen = np.zeros((210, 160), np.uint8)
    env.ale.getScreenGrayscale(screen)
    assert (frame == _shrink(screen)).all()
    close(env)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sticky": 1}, "sticky must be a chance"),
        ({"sticky": "often"}, "sticky must be a chance"),
        ({"frame_skip": 0}, "frame_skip must be"),
        ({"frame_skip": "4-2"}, "frame_skip must be"),
        ({"frame_skip": [1, 2, 3]}, "frame_skip must be"),
    ],
)
def test_options_no_emulator_can_have_are_refused(options, said):
    with pytest.raises(SpecError, match=said):
        game("atari/Pong", **options)
