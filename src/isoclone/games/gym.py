"""`gym/<id>`: any Gymnasium environment with discrete actions and vector or image observations.

An image becomes an 84x84 grey frame (four stacked); a vector stays a vector of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.games.base import FrameSpec

SIDE = 84


class GymEnv:
    """One Gymnasium environment; `env` is open to experts that need it.

    `observation` is the last one as the environment gave it.
    """

    def __init__(self, env_id: str, max_steps: int, as_image: bool):
        self.env = _make(env_id)
        self._max_steps = max_steps
        self._as_image = as_image

    def reset(self, seed: int) -> np.ndarray:
        self._steps = 0
        self.observation, _ = self.env.reset(seed=seed)
        return self._frame(self.observation)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        self.observation, reward, terminated, truncated, _ = self.env.step(action)
        self._steps += 1
        truncated = not terminated and (truncated or self._steps >= self._max_steps)
        return self._frame(self.observation), float(reward), bool(terminated), bool(truncated)

    def _frame(self, observation: np.ndarray) -> np.ndarray:
        if not self._as_image:
            return np.asarray(observation, np.float32).reshape(-1)
        import cv2

        image: Any = np.asarray(observation, np.uint8)
        if image.ndim == 3:
            image = (
                cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]
            )
        return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _make(env_id: str) -> Any:
    import gymnasium

    try:
        return gymnasium.make(env_id, disable_env_checker=True)
    except gymnasium.error.DependencyNotInstalled as error:
        raise SpecError(f"gym/{env_id} is known but not installed: {error}") from error
    except gymnasium.error.UnregisteredEnv as error:
        known = [f"gym/{name}" for name in gymnasium.registry]
        raise UnknownNameError("Gymnasium game", f"gym/{env_id}", known) from error
    except Exception as error:  # foreign code may raise anything
        said = " ".join(str(error).split())[:200]
        raise SpecError(f"gym/{env_id} cannot be made: {type(error).__name__}: {said}") from error


@dataclass(frozen=True)
class Gym:
    """A Gymnasium environment; make it with `game("gym/CartPole-v1")`."""

    name: str
    env_id: str
    n_actions: int
    frame: FrameSpec
    max_steps: int = 27_000
    random_score: float | None = None
    expert_score: float | None = None

    @classmethod
    def named(cls, env_id: str, max_steps: int = 27_000) -> Gym:
        """Check the environment's spaces and wrap it.

        Raises:
            UnknownNameError: Gymnasium does not know the id.
            SpecError: actions are not discrete, or observations neither a vector nor an image.
        """
        from gymnasium.spaces import Box, Discrete

        env = _make(env_id)
        actions, observations = env.action_space, env.observation_space
        env.close()
        if not isinstance(actions, Discrete) or int(actions.start) != 0:
            raise SpecError(f"gym/{env_id}: actions must be Discrete from 0, not {actions}")
        if not isinstance(observations, Box):
            raise SpecError(f"gym/{env_id}: observations must be a Box, not {observations}")
        return cls(
            f"gym/{env_id}", env_id, int(actions.n), _frame_spec(env_id, observations), max_steps
        )

    def make_env(self) -> GymEnv:
        """Make an environment."""
        return GymEnv(self.env_id, self.max_steps, self.frame.is_image)

    def options(self) -> dict[str, Any]:
        """Return the settings beside the name."""
        return {"max_steps": self.max_steps}


def _frame_spec(env_id: str, box: Any) -> FrameSpec:
    shape = box.shape
    if len(shape) == 1:
        return FrameSpec((int(shape[0]),), "float32", 1)
    if box.dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))):
        return FrameSpec((SIDE, SIDE), "uint8", 4)
    raise SpecError(
        f"gym/{env_id}: observations of shape {shape} are neither a vector nor an image"
    )
