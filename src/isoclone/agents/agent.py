"""An agent: a trained policy that is asked for actions in somebody's own loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.agents.checkpoint import TrainedPolicy, load_checkpoint
from isoclone.agents.runners import Runner, runner_for, unmixed
from isoclone.base.errors import DataError, IsocloneError, SpecError
from isoclone.games import game as make_game
from isoclone.games.actions import action_shape, action_sizes, one_action
from isoclone.policies.sampling import Sampling


@dataclass(repr=False)
class Agent(TrainedPolicy):
    """A trained policy that acts: `act(observation)` returns what the environment's `step` takes.

    It keeps what it has seen of each episode (a stack of frames, a recurrent policy's state) until
    `reset`. It is a policy as well, for `ic.rollout` and `ic.evaluate`.

    Attributes:
        sampling: 'sample', 'argmax', or settings, see `policies.sampling`.
        seed: of what is drawn.
    """

    sampling: str = "sample"
    seed: int = 0

    def __post_init__(self) -> None:
        self._way = Sampling.parse(self.sampling)
        self._chance = np.random.default_rng(self.seed)
        self._runner: Runner | None = None
        self._n: int | None = None
        self.reset()

    def __repr__(self) -> str:
        return f"Agent({self.run.label} of {self.run.game}, {self.samples:,} samples)"

    def reset(self, n: int | None = None) -> None:
        """Begin new episodes with the next observation: one, or `n` side by side.

        Raises:
            SpecError: `n` is below 1.
        """
        if n is not None and n < 1:
            raise SpecError(f"reset(n): n must be at least 1, not {n}")
        if self._runner is None or n != self._n:
            self._n = n
            self._runner = runner_for(unmixed(self._plain()), n or 1)
        self._begins = np.ones(n or 1, bool)

    def act(self, observation: Any, starts: Any = None) -> Any:
        """Return the action for an observation, as the environment's `step` takes it.

        After `reset(n)` it takes n observations (a list, an array whose first axis they are, or a
        table of such arrays), and returns a list of n actions.

        Args:
            observation: as the game's own environment gives it: a gymnasium observation, an RGB or
                grey Atari screen (or the last two), a frame of a game of one's own.
            starts: (n,) bool, the games whose episode begins with this observation; those that
                `reset` has just begun are known.

        Raises:
            DataError: it is not an observation of the game.
        """
        frames = np.stack([self._frame(each) for each in _apart(observation, self._n)])
        actions = self.choose(frames, starts)
        made = [self._action(index) for index in actions]
        return made[0] if self._n is None else made

    def choose(self, frames: np.ndarray, starts: Any = None) -> np.ndarray:
        """Return the indices of actions for frames (n, *shape) as `encoder.spec` declares them.

        It is what `act` does between reading the observations and making the actions.
        """
        assert self._runner is not None
        begins = self._begins if starts is None else self._begins | np.asarray(starts, bool)
        slots, sizes = np.arange(len(frames)), action_sizes(self)
        for do, which in ((self._runner.start, begins), (self._runner.push, ~begins)):
            if which.any():
                do(slots[which], frames[which])
        self._begins = np.zeros(len(frames), bool)
        draws = self._chance.random(action_shape(sizes, len(frames)))
        actions = self._way.choose(self._runner.logits(slots), draws, sizes)
        self._runner.chose(slots, actions)
        return actions

    def _plain(self) -> TrainedPolicy:
        """Return the policy alone."""
        return TrainedPolicy(**{f.name: getattr(self, f.name) for f in fields(TrainedPolicy)})

    @cached_property
    def _game(self) -> tuple[Any, str]:
        """The game, else None and why not, as the end of a sentence."""
        try:
            return make_game(self.run.game, **self.run.game_options), ""
        except IsocloneError as error:
            return None, f" (the game is not here, so only its frames are understood: {error})"

    def _frame(self, observation: Any) -> np.ndarray:
        """Return an observation as a frame of the declared shape and dtype."""
        game, without = self._game
        read, spec = getattr(game, "read", None), self.encoder.spec
        frame = np.asarray(observation if read is None else read(observation))
        if frame.shape != spec.shape or (read is None and frame.dtype != spec.dtype):
            raise DataError(
                f"the observation has shape {frame.shape} and dtype {frame.dtype}; {self.run.game} "
                f"has frames of shape {spec.shape} and dtype {spec.dtype}{without}"
            )
        return frame

    def _action(self, index: Any) -> Any:
        make = getattr(self._game[0], "action_of", None)
        return one_action(index) if make is None else make(index)


def load_agent(
    checkpoint: str | Path, device: str = "cpu", sampling: str = "sample", seed: int = 0
) -> Agent:
    """Load an agent from a checkpoint file.

    Raises:
        CheckpointError: the file is damaged, or does not hold what it says.
        SpecError: an unknown way of sampling.
    """
    policy = load_checkpoint(checkpoint, device)
    parts = {f.name: getattr(policy, f.name) for f in fields(policy)}
    return Agent(**parts, sampling=sampling, seed=seed)


def _apart(observations: Any, n: int | None) -> Sequence[Any]:
    """Return n observations one by one."""
    if n is None:
        return [observations]
    if isinstance(observations, Mapping):
        parts = {key: _apart(value, n) for key, value in observations.items()}
        return [{key: value[i] for key, value in parts.items()} for i in range(n)]
    if len(observations) != n:
        raise DataError(f"{len(observations)} observations for {n} games side by side")
    return list(observations)
