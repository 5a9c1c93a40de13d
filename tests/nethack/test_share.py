"""All copies of NetHack's library in a process share the pages of their code."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

import isoclone as ic

pytest.importorskip("nle", reason="NetHack is an extra")

from isoclone.nethack import share

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")


def mapped(inode: int) -> int:
    """Bytes of read-only memory that show a file."""
    with open("/proc/self/maps", encoding="utf-8") as lines:
        rows = [line.split() for line in lines]
    ends = [row[0].split("-") for row in rows if int(row[4]) == inode and "w" not in row[1]]
    return sum(int(end, 16) - int(start, 16) for start, end in ends)


def played(env, seed: int, steps: int = 150) -> np.ndarray:
    rng = np.random.default_rng(seed)
    frames = [env.reset(seed)]
    for _ in range(steps):
        frame, _, terminated, truncated = env.step(int(rng.integers(1, 9)))
        frames.append(frame)
        if terminated or truncated:
            break
    return np.stack(frames)


def test_the_code_lies_in_memory_once_and_games_are_the_same(monkeypatch):
    game = ic.game("nethack")
    envs = [game.make_env() for _ in range(3)]
    shared = [played(env, seed) for seed, env in enumerate(envs)]
    again = [played(env, seed) for seed, env in enumerate(envs)]  # a copy is loaded for each game
    file, contents = share._original()
    for env in envs:
        own = os.fstat(env.nle.nethack._dl.fileno()).st_ino
        assert mapped(own) < 0.1 * len(contents)  # what was relocated
    assert mapped(os.fstat(file).st_ino) > 3 * 0.8 * len(contents)
    monkeypatch.setattr("isoclone.nethack.game.share_code", lambda nethack: 0)
    apart = [played(game.make_env(), seed) for seed in range(3)]
    for one, two, three in zip(shared, again, apart, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_where_the_system_forbids_it_games_go_on_as_they_are(monkeypatch):
    def forbidden(*_: object) -> None:
        raise PermissionError("no code from files")

    monkeypatch.setattr(share.mmap, "mmap", forbidden)
    share._original.cache_clear()
    try:
        env = ic.game("nethack").make_env()
        assert len(played(env, 0, 20)) > 1
        assert share.share_code(env.nle.nethack) == 0
    finally:
        share._original.cache_clear()
