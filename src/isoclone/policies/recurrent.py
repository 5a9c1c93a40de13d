"""`cnn-lstm`, `cnn-transformer`, `mlp-lstm`: features of an observation, and a core that remembers.

The features are those of `cnn` or `mlp` below their heads, read through a linear layer to `hidden`
numbers; the action before is added as an embedding. Observations are the game's usual stacks, so a
recurrent policy differs from its feed-forward twin in its memory alone.
"""

from __future__ import annotations

import torch
from torch import nn

from isoclone.games import FrameSpec
from isoclone.policies.cnn import Cnn, make_cnn
from isoclone.policies.cores import State, check_lengths, make_core
from isoclone.policies.mlp import Mlp
from isoclone.policies.pictures import PictureCnn

UNROLL = 16
CONTEXT = 32  # steps that a transformer sees


class Recurrent(nn.Module):
    """A trunk for single observations, a core over steps, a linear head.

    Args:
        trunk: the network that reads a single observation; its own head is dropped.
        hidden: numbers that stand for a step.
        core: 'lstm', 'transformer' or 'mamba'.
        layers, aspect: depth of the core, see `make_core`.
        unroll: steps that are trained in one piece. FLOPs are counted for it.
        context: steps a transformer sees; not used by the other cores.

    Raises:
        SpecError: layers, unroll or context below 1; both layers and aspect.
    """

    def __init__(
        self,
        trunk: Cnn | PictureCnn | Mlp,
        hidden: int,
        n_actions: int,
        core: str,
        layers: int | None = None,
        unroll: int = UNROLL,
        context: int = CONTEXT,
        aspect: float | None = None,
    ):
        super().__init__()
        check_lengths(unroll=unroll)
        self.unroll, self.layout, self.trunk = unroll, trunk.layout, trunk.without_head()
        self.inputs = nn.Linear(trunk.size, hidden)
        self.before = nn.Embedding(n_actions + 1, hidden)
        self.core = make_core(core, hidden, layers, context, aspect)
        self.norm, self.size = nn.LayerNorm(hidden), hidden
        self.head = nn.Linear(hidden, n_actions)

    @property
    def input_scale(self) -> float:
        """The number by which the policy multiplies a code of an observation."""
        return getattr(self.trunk, "input_scale", 1.0)

    @input_scale.setter
    def input_scale(self, scale: float) -> None:
        self.trunk.input_scale = scale

    def initial_state(self, lanes: int) -> State:
        """Return the state before an episode's first step, for so many episodes side by side."""
        state: State = self.core.initial_state(lanes)  # type: ignore[operator]
        return state

    def forward(
        self,
        observations: torch.Tensor,
        previous: torch.Tensor,
        starts: torch.Tensor,
        state: State,
    ) -> tuple[torch.Tensor, State]:
        """Return logits (steps, lanes, n_actions) and the state to go on from.

        Args:
            observations: (steps, lanes, ...) in the trunk's layout.
            previous: (steps, lanes) int64, the action before; `n_actions` at an episode's start;
                (steps, lanes, factors) where actions have several, as numbers of their logits.
            starts: (steps, lanes) bool, an episode's first step.
            state: of `initial_state` or of the call before.
        """
        x, state = self.features(observations, previous, starts, state)
        return self.head(x), state

    def features(
        self,
        observations: torch.Tensor,
        previous: torch.Tensor,
        starts: torch.Tensor,
        state: State,
    ) -> tuple[torch.Tensor, State]:
        """Return what the head reads (steps, lanes, size) and the state; called as `forward` is."""
        features = self.trunk.features(observations.flatten(0, 1))
        before = self.before(previous)
        if previous.dim() > starts.dim():  # several factors
            before = before.sum(-2)
        x = self.inputs(features).view(*starts.shape, -1) + before
        x, state = self.core(x, starts, state)
        return self.norm(x), state


def cnn_lstm(
    width: int,
    frame: FrameSpec,
    n_actions: int,
    *,
    layers: int | None = None,
    unroll: int = UNROLL,
    aspect: float | None = None,
) -> Recurrent:
    """Make `cnn`'s convolutions of a width, and an LSTM of 8 x width numbers over steps."""
    trunk = make_cnn(width, frame, n_actions)
    return Recurrent(trunk, 8 * width, n_actions, "lstm", layers, unroll, aspect=aspect)


def cnn_transformer(
    width: int,
    frame: FrameSpec,
    n_actions: int,
    *,
    layers: int | None = None,
    unroll: int = UNROLL,
    context: int = CONTEXT,
    aspect: float | None = None,
) -> Recurrent:
    """Make `cnn`'s convolutions of a width, and a causal transformer of 8 x width over steps."""
    trunk = make_cnn(width, frame, n_actions)
    return Recurrent(trunk, 8 * width, n_actions, "transformer", layers, unroll, context, aspect)


def mlp_lstm(
    width: int,
    frame: FrameSpec,
    n_actions: int,
    *,
    layers: int | None = None,
    unroll: int = UNROLL,
    aspect: float | None = None,
) -> Recurrent:
    """Make `mlp`'s hidden layers of a width, and an LSTM of the same width over steps."""
    trunk = Mlp(width, frame, n_actions)
    return Recurrent(trunk, width, n_actions, "lstm", layers, unroll, aspect=aspect)
