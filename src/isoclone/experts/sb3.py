"""A stable-baselines3 model as an expert: a batch through its policy, actions drawn or the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from isoclone.experts.base import FIRE, View, must_serve
from isoclone.experts.draws import draw

LOCKSTEP = 8
STATE = "sb3-state"  # where a view keeps the state of a recurrent policy


class Reader(Protocol):
    """What a model is shown of the views."""

    def batch(self, views: Sequence[View]) -> Any:
        """Return the observations of the views, for one batch."""
        ...


@dataclass(frozen=True)
class Sb3Expert:
    """An SB3 model as an expert; plays eight episodes side by side.

    With `deterministic` it takes the likeliest action; otherwise actions are drawn from the policy
    with the episode's own random generator. With `press_fire` it presses FIRE at the start of an
    episode and after each lost life. The hub's models were trained with wrappers that do so, and
    many of them never serve the ball by themselves.
    """

    model: Any = field(repr=False)
    deterministic: bool
    press_fire: bool
    reader: Reader
    to_index: Callable[[Any], Any] = int  # from an action of the model's to one of the game's
    name: str = "sb3"
    lockstep: int = LOCKSTEP
    notes: tuple[str, ...] = ()

    @property
    def recurrent(self) -> bool:
        """Whether the policy has an LSTM."""
        return hasattr(self.model.policy, "lstm_hidden_state_shape")

    @property
    def chooses(self) -> str:
        """How actions are chosen, for people."""
        return "greedy" if self.deterministic else "sampled"

    @property
    def other_way(self) -> str:
        """How to have them chosen otherwise; '' if they cannot be."""
        if not samples(self.model.policy):
            return ""
        return f"deterministic={str(not self.deterministic).lower()}"

    def act(self, views: Sequence[View]) -> list[Any]:
        """Return one action for each view, from one batch through the network."""
        actions = self._choose(self.reader.batch(views), views)
        if not self.press_fire:
            return actions
        return [
            FIRE if must_serve(view) else action
            for view, action in zip(views, actions, strict=True)
        ]

    def _choose(self, batch: Any, views: Sequence[View]) -> list[Any]:
        policy = self.model.policy
        if self.recurrent:
            chosen = self._recurrent(batch, views)
        elif self.deterministic:
            chosen = policy.predict(batch, deterministic=True, **_masked(policy, views))[0]
        else:
            chosen = self._drawn(batch, views, **_masked(policy, views))
        return [self.to_index(action) for action in chosen]

    def _drawn(self, batch: Any, views: Sequence[View], **masked: Any) -> list[Any]:
        import torch

        policy = self.model.policy
        with torch.no_grad():
            tensor, _ = policy.obs_to_tensor(batch)
            return drawn(policy, policy.get_distribution(tensor, **masked), views)

    def _recurrent(self, batch: Any, views: Sequence[View]) -> Any:
        """Step a policy with an LSTM, whose state the views keep."""
        import torch

        policy = self.model.policy
        layers, _, width = policy.lstm_hidden_state_shape
        zeros = np.zeros((2, layers, width), np.float32)
        state = np.stack([view.memory.get(STATE, zeros) for view in views], axis=2)
        starts = np.array([STATE not in view.memory for view in views], np.float32)
        with torch.no_grad():
            tensor, _ = policy.obs_to_tensor(batch)
            held = tuple(torch.as_tensor(part, device=policy.device) for part in state)
            begun = torch.as_tensor(starts, device=policy.device)
            distribution, new = policy.get_distribution(tensor, held, begun)
            after = torch.stack(new).cpu().numpy()
            for column, view in enumerate(views):
                view.memory[STATE] = after[:, :, column]
            if self.deterministic:
                return _in_bounds(policy, distribution.mode().cpu().numpy())
            return drawn(policy, distribution, views)


def samples(policy: Any) -> bool:
    """Return whether a policy is a distribution to draw actions from."""
    return hasattr(policy, "get_distribution") and not getattr(policy, "use_sde", False)


def is_maskable(policy: Any) -> bool:
    """Return whether a policy takes a mask of allowed actions."""
    return type(policy).__module__.startswith("sb3_contrib.common.maskable")


def drawn(policy: Any, distribution: Any, views: Sequence[View]) -> list[Any]:
    """Return actions drawn from a distribution of SB3, each with its episode's generator."""
    inner: Any = getattr(distribution, "distribution", None)
    parts = inner if isinstance(inner, list) else getattr(distribution, "distributions", [inner])
    if hasattr(parts[0], "logits") and parts[0].batch_shape == (len(views),):
        columns = [
            [draw(row, view.rng) for row, view in zip(_chances(part), views, strict=True)]
            for part in parts
        ]
        return columns[0] if len(columns) == 1 else list(np.array(columns).T)
    if hasattr(parts[0], "probs"):  # one chance for each of several bits
        rows = parts[0].probs.double().cpu().numpy()
        return [
            (view.rng.random(len(row)) < row).astype(np.int64)
            for row, view in zip(rows, views, strict=True)
        ]
    mean, sd = inner.mean.cpu().numpy(), inner.stddev.cpu().numpy()
    noise = np.stack([view.rng.standard_normal(mean.shape[1:]) for view in views])
    return list(_in_bounds(policy, (mean + sd * noise).astype(np.float32)))


def _chances(part: Any) -> np.ndarray:
    chances: np.ndarray = part.probs.double().cpu().numpy()
    return chances


def _in_bounds(policy: Any, actions: np.ndarray) -> np.ndarray:
    """Return continuous actions within their space, as SB3 gives them to an environment."""
    low = getattr(policy.action_space, "low", None)
    return actions if low is None else np.clip(actions, low, policy.action_space.high)


def _masked(policy: Any, views: Sequence[View]) -> dict[str, Any]:
    """Return the masks of allowed actions, as the game gives them, for a policy that takes them."""
    if not is_maskable(policy):
        return {}
    masks = [masks_of(view.env) for view in views]
    if any(mask is None for mask in masks):
        return {}
    return {"action_masks": np.stack([np.asarray(mask) for mask in masks])}


def masks_of(env: Any) -> Any:
    """Return the game's mask of allowed actions, from its `action_masks()`; None without one."""
    ask, inner = getattr(env, "action_masks", None), getattr(env, "env", None)
    if ask is None and inner is not None:
        with suppress(AttributeError):
            ask = inner.get_wrapper_attr("action_masks")
    return None if ask is None else ask()
