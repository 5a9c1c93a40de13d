"""A policy and its critic as one module, and what a step of play and of learning costs.

A policy whose features a critic may share has `features`, `head` and `size` (see `policies.base`);
others get a critic of their own.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from isoclone.base.errors import SpecError
from isoclone.games import FrameSpec
from isoclone.policies import is_recurrent, make_policy
from isoclone.policies.base import example_of
from isoclone.policies.compiler import without_compiler
from isoclone.policies.cores import State

HIDDEN_GAIN, POLICY_GAIN, VALUE_GAIN = 2**0.5, 0.01, 1.0


class ActorCritic(nn.Module):
    """Logits and a value for every observation.

    `policy` is a policy; `critic` a linear layer on its features, or another policy, of whose
    outputs the first is the value.

    Args:
        policy: feed-forward or recurrent.
        separate: a policy of the same kind as the critic; None to share the policy's features.

    Raises:
        SpecError: the policy has no features to share.
    """

    def __init__(self, policy: nn.Module, separate: nn.Module | None = None):
        super().__init__()
        self.policy, self.shares = policy, separate is None
        if separate is None and not shares_features(policy):
            raise SpecError(
                f"a critic cannot share the features of {type(policy).__name__}, which has no "
                "`features`, `head` and `size`: choose a recipe with critic='separate'"
            )
        size: Any = getattr(policy, "size", None)
        self.critic = nn.Linear(size, 1) if separate is None else separate
        self.recurrent = is_recurrent(policy)

    def initial_state(self, lanes: int) -> State:
        """Return the state before an episode's first step; {} for a feed-forward policy."""
        if not self.recurrent:
            return {}
        parts = {"policy": self.policy.initial_state(lanes)}  # type: ignore[operator]
        if not self.shares:
            parts["critic"] = self.critic.initial_state(lanes)  # type: ignore[operator]
        return {f"{part}.{k}": v for part, state in parts.items() for k, v in state.items()}

    def forward(self, inputs: tuple[Any, ...], state: State) -> tuple[torch.Tensor, ...]:
        """Return logits (..., n_actions), values (...) and the new state.

        Args:
            inputs: the policy's arguments, its state aside.
            state: of `initial_state` or of the call before.
        """
        if self.shares:
            features, after = self._call(self.policy.features, inputs, state, "policy")
            return self.policy.head(features), self.critic(features)[..., 0], after  # type: ignore
        logits, after = self._call(self.policy, inputs, state, "policy")
        values, more = self._call(self.critic, inputs, state, "critic")
        return logits, values[..., 0], {**after, **more}  # type: ignore[return-value]

    def _call(
        self, function: Any, inputs: tuple[Any, ...], state: State, part: str
    ) -> tuple[torch.Tensor, State]:
        if not self.recurrent:
            return function(*inputs), {}
        own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
        out, after = function(*inputs, own)
        return out, {f"{part}.{name}": value for name, value in after.items()}


def shares_features(policy: nn.Module) -> bool:
    """Return whether a critic can share a policy's features."""
    return all(hasattr(policy, name) for name in ("features", "head", "size"))


def orthogonal(module: ActorCritic) -> None:
    """Draw the weights of linear layers and convolutions orthogonally, biases 0 [initialization].

    By Huang et al. 2022 and SB3: gain sqrt 2 inside, .01 for the policy's last layer and 1 for the
    value's. A core's own layers keep what they are made with.
    """
    core: Any = getattr(module.policy, "core", None)
    kept = set(core.modules()) if core is not None else set()
    for each in module.modules():
        if isinstance(each, nn.Linear | nn.Conv2d) and each not in kept:
            _draw(each.weight, HIDDEN_GAIN)
            if each.bias is not None:
                nn.init.zeros_(each.bias)
    for head, gain in ((last_layer(module.policy), POLICY_GAIN), (_value(module), VALUE_GAIN)):
        if head is not None:
            _draw(head.weight, gain)


@torch.no_grad()
def _draw(weight: torch.Tensor, gain: float) -> None:
    """Draw weights of any memory layout; torch fills only dense ones in the usual order."""
    weight.copy_(nn.init.orthogonal_(torch.empty(weight.shape), gain))


def last_layer(policy: nn.Module) -> nn.Linear | None:
    """Return the linear layer that gives a policy's logits, if it is known."""
    head = getattr(policy, "head", None)
    return head if isinstance(head, nn.Linear) else None


def _value(module: ActorCritic) -> nn.Linear | None:
    return module.critic if isinstance(module.critic, nn.Linear) else last_layer(module.critic)


def make_actor_critic(
    name: str, width: int, frame: FrameSpec, n_actions: int, critic: str, **options: Any
) -> ActorCritic:
    """Make a policy and its critic; a policy without features to share gets one of its own.

    Raises:
        UnknownNameError, SpecError: as `make_policy`.
    """
    made = functools.partial(make_policy, name, width, frame, n_actions, **options)
    policy = made()
    alone = critic == "separate" or not shares_features(policy)
    return ActorCritic(policy, made() if alone else None)


class Cost(NamedTuple):
    """FLOPs of a policy and its critic, per sample: one step of play, one pass of learning.

    `teach` is those of the policy alone, forward, as a teacher; `weigh` those of one pass over what
    an older policy played, forward.
    """

    play: float
    learn: float
    teach: float
    weigh: float


@functools.cache
def _measured(
    name: str,
    width: int,
    frame: FrameSpec,
    n_actions: int,
    critic: str,
    options: tuple[tuple[str, Any], ...],
) -> Cost:
    def counted(module: ActorCritic) -> Cost:
        with torch.device("meta"):
            given, samples = example_of(module.policy, frame)
            inputs = given[:-1] if module.recurrent else given
            with FlopCounterMode(display=False) as counter, torch.enable_grad():
                logits, values, _ = module(inputs, module.initial_state(1))
                forward = counter.get_total_flops()
                (logits.sum() + values.sum()).backward()
            learn = counter.get_total_flops()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                module.policy(*given)
            teach = counter.get_total_flops()
            play = forward
            if module.recurrent:  # step by step: attention over what is remembered, not an unroll
                one = tuple(_first_step(x) for x in inputs)
                with FlopCounterMode(display=False) as counter, torch.no_grad():
                    module(one, module.initial_state(1))
                play = counter.get_total_flops() * samples
        return Cost(*(flops / samples for flops in (play, learn, teach, forward)))

    with torch.device("meta"):
        module = make_actor_critic(name, width, frame, n_actions, critic, **dict(options))
    return without_compiler(counted, module)


def _first_step(x: Any) -> Any:
    """Return the first step of a tensor (steps, ...), or of a named tuple of them."""
    return x[:1] if hasattr(x, "shape") else type(x)(*(_first_step(y) for y in x))


def learning_cost(
    name: str,
    width: int,
    frame: FrameSpec,
    n_actions: int,
    critic: str,
    convention: str = "exact",
    **options: Any,
) -> Cost:
    """Count what playing and learning cost per sample, without storage for the module.

    `exact` is what is computed; `3x-forward` takes learning as three forward passes; `6nd` 2 N and
    6 N, of the policy's parameters N.

    Raises:
        SpecError: the convention is not defined here.
    """
    cost = _measured(name, width, frame, n_actions, critic, tuple(sorted(options.items())))
    if convention == "exact":
        return cost
    if convention == "3x-forward":
        return cost._replace(learn=3 * cost.play)
    if convention == "6nd":
        from isoclone.policies import policy_params

        params = policy_params(name, width, frame, n_actions, **options)
        return Cost(2.0 * params, 6.0 * params, 2.0 * params, 2.0 * params)
    raise SpecError(
        f"FLOP convention '{convention}' is not defined for reinforcement learning; exact, "
        "3x-forward and 6nd are"
    )
