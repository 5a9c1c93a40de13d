"""A policy among fewer actions: of its weights, the rows that belong to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from isoclone.agents.checkpoint import TrainedPolicy, described, policy_for, save_checkpoint
from isoclone.base.errors import SpecError

State = dict[str, torch.Tensor]


def save_narrowed(policy: TrainedPolicy, game: str, actions: Sequence[int], path: Path) -> None:
    """Write a policy for another game of the same frames, with some of the actions.

    Args:
        policy: one choice among `n_actions`.
        game: the game that it will play.
        actions: which of the policy's actions each action of that game is.

    Raises:
        SpecError: a weight depends on the number of actions in a way that is not known.
    """
    run = dataclasses.replace(policy.run, game=game)
    about = described(run, policy.samples, len(actions), (), policy.dtype)
    save_checkpoint(path, narrowed(policy, actions), policy.encoder, about)


def narrowed(policy: TrainedPolicy, actions: Sequence[int]) -> State:
    """Return the weights of a policy among some of the actions.

    A dimension that is as long as there are actions keeps their rows; one that is longer by one,
    as where the action before is looked up, keeps the row of "none", its last one, too.

    Raises:
        SpecError: a weight depends on the number of actions in another way.
    """
    run, kept = policy.run, list(actions)
    with torch.device("meta"):
        shape = (policy.encoder, run.policy, run.width, len(kept))
        wanted = policy_for(*shape, **run.policy_options).state_dict()
    rows = {policy.n_actions: kept, policy.n_actions + 1: [*kept, policy.n_actions]}
    weights: State = {}
    for name, tensor in policy.module.state_dict().items():
        for dim, (has, wants) in enumerate(zip(tensor.shape, wanted[name].shape, strict=True)):
            if has == wants:
                continue
            if len(rows.get(has, ())) != wants:
                raise SpecError(
                    f"policy '{run.policy}' cannot be cut down to {len(kept)} actions: its "
                    f"'{name}' is {has} long, and would be {wants}"
                )
            tensor = tensor.index_select(dim, torch.tensor(rows[has], device=tensor.device))
        weights[name] = tensor
    return weights
