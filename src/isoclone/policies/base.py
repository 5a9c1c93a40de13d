"""The protocol of policies: a torch module made for a width; and the cost of one.

A policy is a maker `maker(width, frame, n_actions, **options) -> torch.nn.Module`.

A feed-forward module maps observations (b, ...) to logits (b, n_actions).

A recurrent module has

- `unroll`, how many steps are trained in one piece,
- `initial_state(lanes)`, a dict of tensors whose first dimension is the lane (one episode being
  read or played), and
- `forward(observations, previous, starts, state) -> (logits, state)`: observations
  (steps, lanes, ...), the action before each, (steps, lanes) int64, `n_actions` at an episode's
  start, and starts (steps, lanes) bool, where the state before is forgotten; logits
  (steps, lanes, n_actions).

Where a game's actions have several factors (`games.actions`), `n_actions` is the number of all
their logits, which lie one factor after the other, and `previous` is (steps, lanes, factors): the
number of each factor's logit.

What observations are depends on the module's `layout`:

| layout           | observations                                                          |
|------------------|-----------------------------------------------------------------------|
| `rows` (default) | floats (..., stack, *frame_shape), oldest frame first; pictures with  |
|                  | channels have them last                                               |
| `blocks4`        | floats (..., h/4, w/4, stack x 16): 4x4 blocks, the stack's frames in |
|                  | turn, as codes worth `input_scale` each, which the module is told     |
| `raw`            | what the module's `observe(frames (..., stack, size))` makes of frames|
|                  | as the game emits them                                                |

A feed-forward module may have `prepared(dtype)`: a function from observations to the logits of
`forward` on a CPU, to the bit, that is sooner done with weights that stay as they are.

A module that takes any other input has `example()`, which returns arguments for one forward pass
and how many samples they are.

A module with `features`, `head` and `size` shares its features with a critic, where it learns by
reinforcement: `features(observations)` (b, size), or of a recurrent one `features(*inputs, state)`,
(steps, lanes, size) and the new state; `head` makes logits of them. Others get a critic of their
own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from isoclone.base.errors import SpecError
from isoclone.base.tables import POLICIES
from isoclone.games import FrameSpec
from isoclone.policies.compiler import without_compiler
from isoclone.policies.flops import cnn_flops_per_sample, count_params, flops_per_sample
from isoclone.policies.known import known_policy

if TYPE_CHECKING:
    import torch


Maker = Callable[..., "torch.nn.Module"]


def make_policy(
    name: str, width: int, frame: FrameSpec, n_actions: int, **options: Any
) -> torch.nn.Module:
    """Make a policy module, its weights drawn with torch's current seed.

    Raises:
        UnknownNameError: no such policy.
        SpecError: the width is not positive, or the policy cannot take the game's frames.
    """
    if width < 1:
        raise SpecError(f"width must be at least 1, not {width}")
    try:
        return POLICIES.make(name, width, frame, n_actions, **options)
    except TypeError as error:
        raise SpecError(f"policy '{name}': {error}") from error


class _Cost(NamedTuple):
    """Trainable parameters; FLOPs of a forward, and of a forward and backward pass, per sample.

    `recurrent` is whether the policy carries a state from step to step.
    """

    params: int
    forward: float
    trained: float
    recurrent: bool


@functools.cache
def _cost(
    name: str, width: int, frame: FrameSpec, n_actions: int, options: tuple[tuple[str, Any], ...]
) -> _Cost:
    """Return a policy's cost: by its layers where they are known, else as `_measured` counts it."""
    known = known_policy(name, width, frame, n_actions, **dict(options))
    if known is None:
        return _measured(name, width, frame, n_actions, **dict(options))
    forward = float(sum(layer.forward_flops() for layer in known.layers))
    return _Cost(count_params(known.layers), forward, flops_per_sample(known.layers), False)


def _measured(name: str, width: int, frame: FrameSpec, n_actions: int, **options: Any) -> _Cost:
    """Count a policy's cost on a module without storage, by torch's own counter."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def counted(module: torch.nn.Module) -> tuple[float, float]:
        with torch.device("meta"):
            (inputs, samples), mode = example_of(module, frame), FlopCounterMode(display=False)
            with mode as counter, torch.enable_grad():
                out = module(*inputs)
                forward = counter.get_total_flops()
                (out[0] if is_recurrent(module) else out).sum().backward()
        return forward / samples, counter.get_total_flops() / samples

    module = made_without_storage(name, width, frame, n_actions, **options)
    costs = without_compiler(counted, module)
    params = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return _Cost(params, *costs, is_recurrent(module))


def example_of(module: torch.nn.Module, frame: FrameSpec) -> tuple[tuple[Any, ...], int]:
    """Return arguments for one forward pass, and how many samples they are."""
    import torch

    example: Callable[[], tuple[tuple[Any, ...], int]] | None = getattr(module, "example", None)
    if example is not None:
        return example()
    shape = input_shape(module, frame)
    if not is_recurrent(module):
        return (torch.empty(1, *shape),), 1
    steps: int = module.unroll  # type: ignore[assignment]
    previous, starts = (torch.zeros(steps, 1, dtype=kind) for kind in (torch.int64, torch.bool))
    state = module.initial_state(1)  # type: ignore[operator]
    return (torch.empty(steps, 1, *shape), previous, starts, state), steps


def is_recurrent(module: torch.nn.Module) -> bool:
    """Return whether a policy carries a state from step to step."""
    return hasattr(module, "initial_state")


def input_shape(module: torch.nn.Module, frame: FrameSpec) -> tuple[int, ...]:
    """Return the shape of one observation in the module's layout."""
    if layout_of(module) == "rows":
        return (frame.stack, *frame.shape)
    h, w = frame.shape
    return (h // 4, w // 4, frame.stack * 16)


def layout_of(module: torch.nn.Module) -> str:
    """Return the module's `layout`, 'rows' if it has none."""
    return str(getattr(module, "layout", "rows"))


def policy_layout(name: str, width: int, frame: FrameSpec, n_actions: int, **options: Any) -> str:
    """Return a policy's layout, read from a module without storage where it is not known."""
    known = known_policy(name, width, frame, n_actions, **options)
    if known is not None:
        return known.layout
    return layout_of(made_without_storage(name, width, frame, n_actions, **options))


def made_without_storage(
    name: str, width: int, frame: FrameSpec, n_actions: int, **options: Any
) -> torch.nn.Module:
    """Make a policy module whose parameters have shapes and no values."""
    import torch

    with torch.device("meta"):
        return make_policy(name, width, frame, n_actions, **options)


def policy_params(name: str, width: int, frame: FrameSpec, n_actions: int, **options: Any) -> int:
    """Count a policy's trainable parameters, without storage for them."""
    return _cost(name, width, frame, n_actions, tuple(sorted(options.items()))).params


def policy_remembers(
    name: str, width: int, frame: FrameSpec, n_actions: int, **options: Any
) -> bool:
    """Return whether a policy is recurrent."""
    return _cost(name, width, frame, n_actions, tuple(sorted(options.items()))).recurrent


def policy_flops(
    name: str,
    width: int,
    frame: FrameSpec,
    n_actions: int,
    convention: str = "exact",
    **options: Any,
) -> float:
    """Return the FLOPs to train a policy on one sample, forward and backward.

    Raises:
        SpecError: the convention is not defined for this policy.
    """
    cost = _cost(name, width, frame, n_actions, tuple(sorted(options.items())))
    if convention == "exact":
        return cost.trained
    if convention == "3x-forward":
        return 3.0 * cost.forward
    if convention == "6nd":
        return 6.0 * cost.params
    if name == "cnn" and len(frame.shape) == 2 and min(frame.shape) >= 36:
        shape = (frame.shape[0], frame.shape[1])
        return cnn_flops_per_sample(width, n_actions, convention, shape, frame.stack)
    raise SpecError(f"FLOP convention '{convention}' is not defined for policy '{name}'")


def width_for(params: float, name: str, frame: FrameSpec, n_actions: int, **options: Any) -> int:
    """Return the width whose parameter count is nearest to `params` in log space (at least 1).

    Raises:
        SpecError: `params` is not a positive number.
    """
    if not 0 < params < float("inf"):
        raise SpecError(f"params must be a positive number, not {params}")

    def count(width: int) -> int:
        return policy_params(name, width, frame, n_actions, **options)

    low, high = 1, 2
    while count(high) < params:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= params else (low, middle)
    return low if params / count(low) <= count(high) / params else high
