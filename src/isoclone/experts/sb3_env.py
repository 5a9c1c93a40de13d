"""Games as vectorised environments of stable-baselines3. Needs the extra 'sb3'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from isoclone.experts.sb3_read import as_sb3, sb3_spaces
from isoclone.games import Game, close, vector_env


class GameVecEnv(VecEnv):
    """`n` slots of a game, with stacked frames, for training.

    Rewards are clipped to -1, 0, 1 where frames are images (the usual practice); the raw score of
    an episode is in its `info["episode"]`. A slot that ends is reset at once; its last stack is in
    `info["terminal_observation"]`, and `info["TimeLimit.truncated"]` says whether it was cut off.
    """

    def __init__(self, game: Game, n: int, seed: int):
        observations, actions = sb3_spaces(game.frame, game.n_actions)
        super().__init__(n, observations, actions)
        self._game, self._env = game, vector_env(game, n, seed)
        shape = (n, game.frame.stack, *game.frame.shape)
        self._stacks = np.zeros(shape, game.frame.dtype)
        self._scores, self._lengths = np.zeros(n), np.zeros(n, np.int64)

    def reset(self) -> np.ndarray:
        """Start an episode in every slot; return the observations, (n, *observation)."""
        self._restart(np.arange(self.num_envs))
        return self._observations()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, (n,), for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step every slot; return observations, rewards (n,) float32, ends (n,) and infos."""
        frames, rewards, terminated, truncated = self._env.step(self._actions)
        self._stacks[:, :-1] = self._stacks[:, 1:]
        self._stacks[:, -1] = frames
        self._scores += rewards
        self._lengths += 1
        ends = terminated | truncated
        infos = [
            self._info(slot, truncated[slot]) if ends[slot] else {} for slot in range(len(ends))
        ]
        if ends.any():
            self._restart(np.flatnonzero(ends))
        shaped = np.sign(rewards) if self._game.frame.is_image else rewards
        return self._observations(), shaped.astype(np.float32), ends, infos

    def _info(self, slot: int, truncated: bool) -> dict[str, Any]:
        return {
            "terminal_observation": as_sb3(self._stacks[slot].copy()),
            "TimeLimit.truncated": bool(truncated),
            "episode": {"r": float(self._scores[slot]), "l": int(self._lengths[slot]), "t": 0.0},
        }

    def _restart(self, slots: np.ndarray) -> None:
        self._stacks[slots] = self._env.reset(slots)[:, None]
        self._scores[slots], self._lengths[slots] = 0.0, 0

    def _observations(self) -> np.ndarray:
        shape = self.observation_space.shape or ()
        return self._stacks.copy().reshape(self.num_envs, *shape)

    def close(self) -> None:
        """Close the games."""
        close(self._env)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return None in each slot for `render_mode`, which SB3 reads; raise for other names."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise AttributeError: slots have no attributes to set."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """Raise AttributeError: slots have no methods to call."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for each slot: none is wrapped."""
        return [False] * self.num_envs

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Do nothing: slots are seeded once, when they are made."""
        return [None] * self.num_envs
