"""Who plays for the learner: with its present weights, or one iteration ahead with older ones.

With `lag` 1 the next rollout is played in a thread of its own while the learner learns from the
last one: emulators and learning keep two cores, or a core and a GPU, busy. That rollout's policy is
then one iteration older than the one that learns from it, which V-trace allows for. What is played
stays a function of the run and the iteration: the older weights are those of a fixed iteration.
"""

from __future__ import annotations

import copy
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from isoclone.agents.checkpoint import under
from isoclone.policies.cores import State
from isoclone.training.reinforcement.actor_critic import ActorCritic
from isoclone.training.reinforcement.rollouts import Actors, Rollout
from isoclone.training.reinforcement.teacher import Clone


class Player:
    """Rollouts one after the other, and all that their continuation depends on.

    Args:
        actors: the environments, and where they are.
        learner: the module that learns.
        steps: of a rollout, in every slot.
        lag: iterations that the weights played with are older than the learner's, 0 or 1.
        teacher: asked at every step of a rollout that is to be taught.
    """

    def __init__(
        self,
        actors: Actors,
        learner: ActorCritic,
        steps: int,
        dtype: torch.dtype,
        lag: int,
        teacher: Clone | None,
    ):
        self._actors, self._learner, self._teacher = actors, learner, teacher
        self._steps, self._dtype = steps, dtype
        self._older = _copied(learner) if lag else None  # plays the next rollout
        self._before: tuple[State, dict[str, Any]] | None = None  # the state it begins from
        self._thread = ThreadPoolExecutor(1) if lag else None
        self._playing: Future[Rollout] | None = None

    def next(self, taught: bool, taught_after: bool) -> Rollout:
        """Return the next rollout; with a lag, begin the one after it with the present weights.

        Args:
            taught: whether the teacher is asked in this rollout.
            taught_after: whether in the one after it.
        """
        if self._thread is None or self._older is None:
            return self._played(self._learner, taught)
        rollout = self._playing.result() if self._playing else self._played(self._older, taught)
        self._older.load_state_dict(self._learner.state_dict())
        self._before = self._state()
        self._playing = self._thread.submit(self._played, self._older, taught_after)
        return rollout

    def _played(self, module: ActorCritic, taught: bool) -> Rollout:
        teacher = self._teacher if taught else None
        return self._actors.play(module, self._steps, self._dtype, teacher)

    def wait(self) -> None:
        """Wait until nothing is being played."""
        if self._playing is not None:
            self._playing.exception()

    def close(self) -> None:
        """Wait for what is being played, and close the environments."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._actors.close()

    # ------------------------------------------------------------------ saving and resuming

    def saved(self) -> tuple[State, dict[str, Any]]:
        """Return tensors and plain values from which `restore` goes on.

        A rollout under way is not among them: it is played again.
        """
        tensors, about = self._before or self._state()
        older = self._older.state_dict() if self._older else {}
        return tensors | {f"older.{name}": value for name, value in older.items()}, about

    def _state(self) -> tuple[State, dict[str, Any]]:
        tensors, about = self._actors.saved()
        known = self._teacher.state if self._teacher else {}
        return tensors | {f"teacher.{name}": value for name, value in known.items()}, about

    def restore(self, tensors: State, about: dict[str, Any]) -> bool:
        """Go back to a saved state; return whether the games went as they had gone.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: the state is not of such a run.
        """
        if self._older:
            self._older.load_state_dict(under(tensors, "older."))
        if self._teacher:
            self._teacher.restore(under(tensors, "teacher."))
        return self._actors.restore(tensors, about)


def _copied(module: ActorCritic) -> ActorCritic:
    """Return a copy with memory of its own; a module's parameters may be views of one vector."""
    copied = copy.deepcopy(module)
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
        parameter.data = parameter.data.clone(memory_format=torch.preserve_format)
    return copied
