"""Checked environments: every frame is copied, and every frame and reward is checked.

A game may write over an array that it gave out, give values that are not finite or frames of
another shape than declared, or fail when it is made, reset or stepped. It is checked here once, for
every kind of game and every use: recordings, rollouts, scores of experts, films.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isoclone.base.errors import (
    FOREIGN,
    DataError,
    ExecutionError,
    ForeignFailure,
    IsocloneError,
    words_of,
)
from isoclone.games.base import Env, Game, SerialVector, VectorEnv, as_flag, close, slot_seeds


def make_env(game: Game) -> CheckedEnv:
    """Make a checked environment of a game.

    Raises:
        ForeignFailure: it cannot be made; the message has the environment's own words.
    """
    return CheckedEnv(game)


def vector_env(game: Game, n: int, seed: int) -> VectorEnv:
    """Make the game's own vectorised environment, or `n` checked single ones stepped in turn."""
    make = getattr(game, "make_vector", None)
    if make is not None:
        vector: VectorEnv = make(n, seed)
        return vector
    return SerialVector(lambda: CheckedEnv(game), slot_seeds(seed, n), game.frame)


class CheckedEnv:
    """One environment of a game; its other attributes are reached through this one.

    `reset` and `step` raise ForeignFailure, naming the step and the reason, if the environment
    raises, and ExecutionError if it gives a frame or reward that the game does not declare.
    """

    def __init__(self, game: Game):
        self._game, self._steps, self._sum = game, 0, 0.0
        self._dtype = np.dtype(game.frame.dtype)
        self._env: Env = self._made()

    def _made(self) -> Env:
        try:
            return self._game.make_env()
        except IsocloneError:
            raise
        except FOREIGN as error:  # foreign code may raise anything
            raise self._failure("cannot be made", error) from error

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode that belongs to `seed`; return a copy of the first frame."""
        self._steps, self._sum = 0, 0.0
        try:
            frame = self._env.reset(seed)
        except DataError as error:
            raise ExecutionError(f"{self._where}: {error}") from error
        except IsocloneError:
            raise
        except FOREIGN as error:
            raise self._failure(f"failed at reset (seed {seed})", error) from error
        return self._copied(frame)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        """Act once; return (a copy of the frame, reward, terminated, truncated)."""
        self._steps += 1
        try:
            frame, reward, terminated, truncated = self._env.step(action)
            paid = float(reward)
            ends = as_flag(terminated, "terminated"), as_flag(truncated, "truncated")
        except DataError as error:
            raise ExecutionError(f"{self._where}: {error}") from error
        except IsocloneError:
            raise
        except FOREIGN as error:
            raise self._failure(f"failed at step {self._steps}", error) from error
        if not np.isfinite(paid):
            raise ExecutionError(f"{self._where}: reward is {paid}, not a finite number")
        self._sum += paid
        if not np.isfinite(self._sum):
            raise ExecutionError(f"{self._where}: the rewards so far are too large to be summed")
        return self._copied(frame), paid, *ends

    def close(self) -> None:
        """Close the environment."""
        close(self._env)

    def __getattr__(self, name: str) -> Any:
        if name == "_env":  # not made yet
            raise AttributeError(name)
        return getattr(self._env, name)

    @property
    def _where(self) -> str:
        return f"game '{self._game.name}', step {self._steps}"

    def _failure(self, what: str, error: BaseException) -> ForeignFailure:
        return ForeignFailure(f"game '{self._game.name}' {what}: {words_of(error)}")

    def _copied(self, frame: Any) -> np.ndarray:
        """Return a copy of a frame that is as the game declares it."""
        declared, found = self._game.frame, np.asarray(frame)
        if found.shape != declared.shape:
            raise ExecutionError(
                f"{self._where}: a frame has shape {found.shape}, not {declared.shape}"
            )
        if found.dtype != self._dtype:
            raise ExecutionError(f"{self._where}: a frame is {found.dtype}, not {declared.dtype}")
        if self._dtype.kind == "f" and not np.isfinite(found).all():
            count = int((~np.isfinite(found)).sum())
            raise ExecutionError(
                f"{self._where}: {count} of {found.size} numbers of the frame are not finite"
            )
        return found.copy()
