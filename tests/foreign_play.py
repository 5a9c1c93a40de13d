"""Episodes of a real environment, as somebody else would have recorded them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from isoclone.demos import FrameDemonstrations


class Played(NamedTuple):
    """One episode: observations (T + 1, 4), actions (T,), rewards (T,), and how it ended."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool


@cache
def cartpole(episodes: int = 8, limit: int = 20) -> tuple[Played, ...]:
    """CartPole by two rules, one of which falls; cut off after `limit` steps."""
    env = gymnasium.make("CartPole-v1")
    played = []
    for number in range(episodes):
        seen, actions, rewards = [env.reset(seed=number)[0]], [], []
        over = cut = False
        while not (over or cut):
            tilt = seen[-1][2] + 0.5 * seen[-1][3]
            actions.append(int(tilt > 0) if number % 2 else 1)
            observation, reward, over, cut, _ = env.step(actions[-1])
            seen.append(observation)
            rewards.append(float(reward))
            cut = cut or len(actions) == limit
        ends = bool(over), bool(cut and not over)
        played.append(Played(np.array(seen), np.array(actions), np.array(rewards), *ends))
    env.close()
    return tuple(played)


def steps(played: tuple[Played, ...], final: bool = False) -> dict[str, np.ndarray]:
    """All steps in a row, with the flags of ends, and with final observations if asked for."""
    seen = [one.observations if final else one.observations[:-1] for one in played]
    columns: dict[str, Any] = {"observations": np.concatenate(seen)}
    columns["actions"] = np.concatenate([one.actions for one in played])
    columns["rewards"] = np.concatenate([one.rewards for one in played])
    ends = ends_of(played)
    for name in ("terminated", "truncated"):
        flags = np.zeros(ends[-1], bool)
        flags[ends - 1] = [getattr(one, name) for one in played]
        columns[name] = flags
    return columns


def ends_of(played: tuple[Played, ...]) -> np.ndarray:
    """Numbers of steps up to the end of each episode."""
    return np.cumsum([len(one.actions) for one in played])


def check_same(demos: FrameDemonstrations, played: tuple[Played, ...]) -> None:
    """Check that demonstrations hold the very play."""
    assert len(demos.episodes) == len(played)
    for one, episode in zip(played, demos, strict=True):
        assert np.array_equal(episode.frames, one.observations[:-1].astype(np.float32))
        assert np.array_equal(episode.actions, one.actions)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's size and time of change."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in files}
