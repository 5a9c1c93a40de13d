"""NetHack, for real: seeds, limits, facts, frames, processes that die."""

from __future__ import annotations

import _ctypes
import ctypes
import os
import signal
import sys

import numpy as np
import pytest

import isoclone as ic
from isoclone.base.errors import MissingExtraError, SpecError, UnknownNameError
from isoclone.games import FrameSpec, vector_env
from isoclone.games.process_vector import DIED, ProcessVector
from isoclone.nethack.game import action_keys, key_actions, pack_tty, unpack_tty
from isoclone.testing import check_game

pytest.importorskip("nle")

STEPS = 400


def keys_to_actions(text: str) -> list[int]:
    return [key_actions()[ord(letter)] for letter in text]


def walk(n: int, seed: int = 0) -> np.ndarray:
    """Actions that keep a game going: steps, searches, and ESC out of whatever comes up."""
    moves = np.array([*keys_to_actions("hjklyubns"), key_actions()[27], key_actions()[13]])
    return np.random.default_rng(seed).choice(moves, n)


def play(env, seed, actions):
    """Every frame and the sum of the rewards, until the end."""
    frames, score = [env.reset(seed)], 0.0
    for action in actions:
        frame, reward, terminated, truncated = env.step(int(action))
        frames.append(frame)
        score += reward
        if terminated or truncated:
            break
    return np.stack(frames), score


def test_the_protocol_holds():
    check_game(ic.game("nethack", max_steps=50))


def test_same_seed_and_actions_give_the_same_screens():
    game = ic.game("nethack", character="val-dwa-law-fem")
    one, other = game.make_env(), game.make_lean_env()
    first, score = play(one, 11, walk(STEPS))
    play(other, 5, walk(50))  # what was played before leaves no trace
    second, again = play(other, 11, walk(STEPS))
    assert np.array_equal(first, second)
    assert score == again
    third, _ = play(other, 12, walk(STEPS))
    assert not np.array_equal(first[0], third[0])


def test_a_game_does_not_know_what_time_it_is():
    """NetHack names its shopkeepers after the second in which the game began."""
    env = ic.game("nethack").make_lean_env()
    begun = []
    for seed in (7, 8, 7):
        env.reset(seed)
        library = ctypes.CDLL(env.nle.nethack.dlpath)
        begun.append(ctypes.c_long.in_dll(library, "ubirthday").value)
        _ctypes.dlclose(library._handle)
    assert begun[0] == begun[2]
    assert begun[0] // 257 != begun[1] // 257


def test_a_frame_is_the_terminal():
    env = ic.game("nethack").make_env()
    chars, colors, cursor = unpack_tty(env.reset(0))
    seen = env.observation
    assert np.array_equal(chars, seen["tty_chars"])
    assert np.array_equal(colors, seen["tty_colors"])
    assert np.array_equal(cursor, seen["tty_cursor"])
    assert chars[tuple(cursor)] == ord("@")
    assert "Agent" in chars[22].tobytes().decode()
    one = chars, colors, cursor
    many = pack_tty(*(np.stack([part, part]) for part in one))
    assert many.shape == (2, *ic.game("nethack").frame.shape)
    assert all(np.array_equal(a[1], b) for a, b in zip(unpack_tty(many), one, strict=True))


def test_actions_and_keys():
    keys = action_keys()
    assert len(keys) == ic.game("nethack").n_actions == 121
    assert bytes(keys[:8]) == b"kljhunby"
    doubles = {key for key in keys if keys.count(key) > 1}
    assert doubles == {34, 36, 43}
    assert all(keys[action] == key for key, action in enumerate(key_actions()) if action >= 0)
    assert sum(action >= 0 for action in key_actions()) == 118


@pytest.mark.parametrize("character", ["mon-hum-neu-mal", "wiz-gno-neu-fem", "@"])
def test_any_character(character):
    env = ic.game("nethack", character=character, max_steps=5).make_env()
    play(env, 3, walk(5))
    facts = env.episode_facts()
    assert character in ("@", facts["character"])
    assert len(facts["character"].split("-")) == 4


@pytest.mark.parametrize(
    ("character", "said"),
    [
        ("xyz-hum-neu-mal", "no role 'xyz'; known: arc, bar"),
        ("mon-elf-neu-mal", "race 'elf' does not go with 'mon'; choose from hum"),
        ("val-dwa-neu-fem", "alignment 'neu' does not go with 'val'; choose from law"),
        ("val-hum-neu-mal", "gender 'mal'"),
        ("mon", "role-race-alignment-gender"),
    ],
)
def test_a_character_that_cannot_be(character, said):
    with pytest.raises(SpecError, match=said):
        ic.game("nethack", character=character)


def test_names():
    assert ic.game("nethack").name == "nethack/NetHackChallenge-v0"
    assert ic.game("nethack/NetHackScore-v0").n_actions == 23
    with pytest.raises(UnknownNameError, match="did you mean NetHackScore-v0"):
        ic.game("nethack/NetHackSore-v0")
    with pytest.raises(SpecError, match="no_progress must be at least 1"):
        ic.game("nethack", no_progress=0)
    game = ic.game("nethack", character="@", max_steps=7, no_progress=3)
    assert ic.game(game.name, **game.options()) == game


def test_without_nle_one_line_says_what_to_install(monkeypatch):
    from isoclone.nethack import game as nethack

    nethack.env_ids.cache_clear()
    monkeypatch.setitem(sys.modules, "nle", None)
    with pytest.raises(MissingExtraError, match=r"isoclone\[nethack\]"):
        ic.game("nethack")


def test_step_limit():
    env = ic.game("nethack", max_steps=20).make_env()
    frames, score = play(env, 0, walk(100))
    facts = env.episode_facts()
    assert len(frames) == 21
    assert (facts["end"], facts["length"], facts["death"]) == ("step limit", 20, "quit")
    assert facts["score"] == score
    assert "Agent" in frames[-1][:1920].tobytes().decode()  # the game's screen, not the quitting


def test_no_progress_limit():
    env = ic.game("nethack", no_progress=6).make_env()
    frames, _ = play(env, 0, [key_actions()[27], *keys_to_actions("s" + 100 * ":")])
    assert env.episode_facts()["end"] == "no progress"
    assert len(frames) == 1 + 2 + 6


def test_facts_of_a_game_that_ended():
    env = ic.game("nethack").make_env()
    with pytest.raises(SpecError, match="has not ended"):
        env.episode_facts()
    facts = die(env, 0)
    assert facts["end"] == "terminated"
    assert facts["death"]
    assert facts["depth"] >= 1
    assert facts["turns"] > 0
    assert facts["seed"] == 0
    env.reset(1)
    with pytest.raises(SpecError, match="has not ended"):
        env.episode_facts()


def die(env, seed):
    """Pray until a god has had enough of it."""
    env.reset(seed)
    for _ in range(200):
        for action in [key_actions()[0x80 | ord("p")], *keys_to_actions("y"), key_actions()[13]]:
            _, _, terminated, _ = env.step(action)
            if terminated:
                return env.episode_facts()
    raise AssertionError("did not die")


def test_other_tasks_keep_their_own_rewards():
    env = ic.game("nethack/NetHackScore-v0", max_steps=30).make_env()
    noop = [i for i, action in enumerate(env.nle.actions) if int(action) == 13]
    _, score = play(env, 0, noop * 10)
    assert score == pytest.approx(-0.1)  # the task's own penalty for standing still


def test_the_challenge_pays_and_ends_as_nle_says():
    """The challenge's step is our own; NLE's gives the same rewards, ends and screens."""
    game = ic.game("nethack")
    ours, theirs = game.make_env(), game.make_lean_env()
    pray = [key_actions()[0x80 | ord("p")], *keys_to_actions("y"), key_actions()[13]]
    paid = 0.0
    for seed, actions in ((3, [*walk(300), *pray * 200]), (4, [*walk(2_000, seed=1), *pray * 200])):
        ours.reset(seed)
        theirs.reset(seed)
        for action in actions:
            frame, reward, terminated, _ = ours.step(action)
            seen, wanted, ended, _, _ = theirs.nle.step(action)
            assert (reward, terminated) == (wanted, ended)
            parts = (seen[name] for name in ("tty_chars", "tty_colors", "tty_cursor"))
            assert np.array_equal(frame, pack_tty(*parts))
            paid += reward
            if ended:
                break
        assert ended
    assert paid > 0


def test_slots_in_turn_and_in_processes_play_the_same():
    games = [ic.game("nethack", max_steps=60, processes=p) for p in (1, 2)]
    serial, spread = (vector_env(game, 3, 4) for game in games)
    try:
        slots = np.arange(3)
        assert np.array_equal(serial.reset(slots), spread.reset(slots))
        for step in range(100):
            actions = walk(3, seed=step)
            answers = [env.step(actions) for env in (serial, spread)]
            assert all(np.array_equal(a, b) for a, b in zip(*answers, strict=True))
            ended = np.flatnonzero(answers[0][2] | answers[0][3])
            for slot in ended:
                assert serial.episode_facts(slot) == spread.episode_facts(slot)
            if len(ended):
                assert np.array_equal(serial.reset(ended), spread.reset(ended))
    finally:
        spread.close()


def test_a_process_that_dies_costs_only_the_episodes_it_played():
    env = vector_env(ic.game("nethack", processes=2), 4, 0)
    fresh = vector_env(ic.game("nethack"), 4, 0)
    try:
        env.reset(np.arange(4))
        fresh.reset(np.arange(4))
        os.kill(env._workers[0][0].pid, signal.SIGKILL)
        frames, _, terminated, truncated = env.step(walk(4))
        assert truncated.tolist() == [True, True, False, False]
        assert not terminated.any()
        assert env.episode_facts(0) == {"end": DIED}
        same = fresh.step(walk(4))
        assert np.array_equal(frames[2:], same[0][2:])
        # the slots go on with the games they would have played next
        assert np.array_equal(env.reset(np.array([0])), fresh.reset(np.array([0])))
        env.step(walk(4))
    finally:
        env.close()


class Fatal:
    """An environment that ends its process as soon as it is reset."""

    def reset(self, seed):
        os._exit(3)


def test_processes_that_keep_dying_end_in_one_line():
    env = ProcessVector(Fatal, np.arange(1), FrameSpec((3,), "uint8", 1), 1)
    with pytest.raises(ic.IsocloneError, match="died 3 times"):
        env.reset(np.arange(1))
    env.close()
