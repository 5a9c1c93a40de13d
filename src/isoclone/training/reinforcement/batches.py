"""A rollout as samples to learn from, in minibatches drawn anew for each pass.

Without memory a minibatch is any samples; with memory it is whole unrolls, each from the state that
the policy had when it played them, which are forgotten where an episode begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from isoclone.base.device import to_device
from isoclone.policies.cores import State
from isoclone.policies.encode import FrameEncoder
from isoclone.policies.observe import observe
from isoclone.training.reinforcement.actor_critic import ActorCritic
from isoclone.training.reinforcement.objective import Minibatch
from isoclone.training.reinforcement.rollouts import Rollout


class Samples:
    """The samples of a rollout; `weigh` adds what learning from them needs.

    Args:
        rollout: what was played.
        unroll: steps of a recurrent policy's pieces; 0 without memory.
    """

    def __init__(
        self,
        rollout: Rollout,
        encoder: FrameEncoder,
        module: ActorCritic,
        dtype: torch.dtype,
        unroll: int,
    ):
        self._rollout, self._encoder, self._module = rollout, encoder, module
        self._dtype, self._unroll = dtype, unroll
        self._device = next(module.parameters()).device
        self._columns = {
            "actions": rollout.actions,
            "log_probs": rollout.log_probs,
            "values": rollout.values,
            "advantages": np.zeros_like(rollout.values),
            "targets": np.zeros_like(rollout.values),
        }

    def weigh(self, advantages: np.ndarray, targets: np.ndarray) -> None:
        """Take the advantages and the values' targets, (steps, slots) each."""
        self._columns["advantages"] = advantages.astype(np.float32)
        self._columns["targets"] = targets.astype(np.float32)

    def minibatches(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[tuple[Any, ...], State, Minibatch]]:
        """Yield arguments, state and samples of each minibatch of one pass, all samples once.

        Args:
            rng: draws their order; as they were played without one.
        """
        steps, slots = self._rollout.log_probs.shape
        piece = self._unroll or 1
        pieces = steps // piece * slots
        order = np.arange(pieces) if rng is None else rng.permutation(pieces)
        for some in np.split(order, len(order) * piece // size):
            yield self._minibatch(some // slots * piece, some % slots)

    def joined(self, parts: list[torch.Tensor]) -> np.ndarray:
        """Return figures of minibatches in the order of play, (n,) each, as (steps, slots)."""
        piece = self._unroll or 1
        steps, slots = self._rollout.log_probs.shape
        rows = torch.cat([part.reshape(piece, -1) for part in parts], 1).cpu().numpy()
        return rows.reshape(piece, -1, slots).swapaxes(0, 1).reshape(steps, slots)

    def _minibatch(
        self, first: np.ndarray, lanes: np.ndarray
    ) -> tuple[tuple[Any, ...], State, Minibatch]:
        """Return the samples of pieces that begin at steps (k,) of slots (k,)."""
        piece = np.arange(self._unroll or 1)
        steps = first + piece[:, None]  # (unroll, k)
        slots = np.broadcast_to(lanes, steps.shape)
        at = steps.ravel(), slots.ravel()
        told = self._rollout.teacher
        samples = Minibatch(
            **{name: self._sent(column[at]) for name, column in self._columns.items()},
            teacher=None if told is None else self._sent(told[at]),
        )
        stacks = self._sent(self._rollout.stacks(steps, slots))
        if not self._unroll:
            seen = observe(self._module.policy, stacks[0], self._encoder, self._dtype)
            return (seen,), {}, samples
        seen = observe(self._module.policy, stacks, self._encoder, self._dtype)
        before = self._sent(self._rollout.previous[steps, slots])
        inputs = seen, before, self._sent(self._rollout.starts[steps, slots])
        return inputs, self._states(first // self._unroll, lanes), samples

    def _sent(self, values: np.ndarray) -> torch.Tensor:
        return to_device(torch.from_numpy(np.ascontiguousarray(values)), self._device)

    def _states(self, pieces: np.ndarray, lanes: np.ndarray) -> State:
        """Return the states (k, ...) before pieces (k,) of slots (k,)."""
        states = self._rollout.states
        return {
            name: torch.stack(
                [states[piece][name][lane] for piece, lane in zip(pieces, lanes, strict=True)]
            )
            for name in states[0]
        }
