"""What an SB3 model is shown: isoclone's frames, or observations as Gymnasium gives them.

A model that isoclone trained reads frames. One made elsewhere for a Gymnasium game reads what the
environment itself gives: normalised, then stacked, then with channels first, in SB3's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.experts.base import View
from isoclone.experts.normalize import Statistics
from isoclone.games import FrameSpec, Game, close, make_env

PAST = "sb3-past"  # where a view keeps its last observations


def as_sb3(observation: np.ndarray) -> np.ndarray:
    """Return a stack as SB3 expects it: images (stack, h, w) unchanged, vectors as (n,)."""
    return observation if observation.ndim == 3 else observation.reshape(-1)


def sb3_spaces(frame: FrameSpec, n_actions: int, stack: int | None = None) -> tuple[Any, Any]:
    """Return the Gymnasium spaces (observation, action) of a game as SB3 sees it."""
    from gymnasium.spaces import Box, Discrete

    stack = stack or frame.stack
    if len(frame.shape) == 2:
        box = Box(0, 255, (stack, *frame.shape), np.uint8)
    else:
        box = Box(-np.inf, np.inf, (stack * frame.size,), np.float32)
    return box, Discrete(n_actions)


@dataclass(frozen=True)
class FrameReader:
    """Reads the last `stack` frames; those before the start are black if `blank`, as with SB3.

    `statistics` are of a frame, or of the stack if `of_stack`.
    """

    stack: int
    blank: bool = False
    statistics: Statistics | None = None
    of_stack: bool = False

    def batch(self, views: Sequence[View]) -> np.ndarray:
        """Return the observations of the views, (n, *observation)."""
        return np.stack([self._read(view) for view in views])

    def _read(self, view: View) -> np.ndarray:
        frames = view.observation(self.stack)
        if self.statistics and not self.of_stack:
            frames = np.stack([self.statistics.normalized(frame) for frame in frames])
        if self.blank and view.step + 1 < self.stack:
            frames[: self.stack - 1 - view.step] = 0
        shown = as_sb3(frames)
        return self.statistics.normalized(shown) if self.statistics and self.of_stack else shown


@dataclass(frozen=True)
class RawReader:
    """Reads observations as the environment gave them; `statistics` as for `FrameReader`."""

    stack: int = 1
    statistics: Statistics | None = None
    of_stack: bool = False

    def batch(self, views: Sequence[View]) -> Any:
        """Return the observations of the views: an array, (n, *observation), or a dict of them."""
        read = [self._read(view) for view in views]
        if isinstance(read[0], dict):
            return {key: np.stack([one[key] for one in read]) for key in read[0]}
        return np.stack(read)

    def _read(self, view: View) -> Any:
        seen = view.env.observation
        if self.statistics and not self.of_stack:
            seen = self.statistics.normalized(seen)
        if isinstance(seen, dict):
            return {key: np.array(value) for key, value in seen.items()}
        if self.stack == 1:
            return np.array(seen)
        past = view.memory.setdefault(PAST, [np.zeros_like(seen)] * self.stack)
        past[:] = [*past[1:], np.array(seen)]
        stacked = np.concatenate(past, axis=-1)
        return self.statistics.normalized(stacked) if self.statistics and self.of_stack else stacked


def gymnasium_spaces(game: Game) -> tuple[Any, Any] | None:
    """Return the spaces (observation, action) of a game's Gymnasium environment; None without one.

    Raises:
        ExecutionError: the environment cannot be made.
    """
    env = make_env(game)
    try:
        inner = getattr(env, "env", None)
        spaces = getattr(inner, "observation_space", None), getattr(inner, "action_space", None)
        return None if None in spaces else spaces
    finally:
        close(env)


def stacked_space(space: Any, stack: int) -> Any:
    """Return the space that a model is made for: observations stacked, channels of images first."""
    from gymnasium import spaces
    from stable_baselines3.common.preprocessing import (
        is_image_space,
        is_image_space_channels_first,
    )
    from stable_baselines3.common.vec_env import VecTransposeImage

    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: stacked_space(one, 1) for key, one in space.spaces.items()})
    if not isinstance(space, spaces.Box):
        return space
    if stack > 1:
        low, high = (np.repeat(bound, stack, axis=-1) for bound in (space.low, space.high))
        space = spaces.Box(low, high, dtype=space.dtype)  # type: ignore[arg-type]
    if is_image_space(space) and not is_image_space_channels_first(space):
        return VecTransposeImage.transpose_space(space)
    return space
