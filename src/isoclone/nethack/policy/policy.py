"""The policy `nethack`: an encoder of terminal screens, a recurrent core, a linear head."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.games import FrameSpec
from isoclone.nethack.game import unpack_tty
from isoclone.nethack.policy.lean import LeanEncoder
from isoclone.nethack.policy.paper import PaperEncoder
from isoclone.nethack.policy.screen import COLUMNS, ROWS, Screens
from isoclone.policies.cores import State, check_lengths, make_core

ENCODERS = {"lean": LeanEncoder, "paper": PaperEncoder}


class TtyPolicy(nn.Module):
    """A policy that plays NetHack from its terminal.

    `width` sets the size: the encoding of a screen and the residual stream of the core have `width`
    numbers, embeddings of words a quarter of that. Depth does not depend on width, unless `aspect`
    is given.

    Args:
        width: see above.
        frame: packed screens of 24 x 80 characters, as many colours, cursor row and column.
        core: 'lstm', 'transformer' or 'mamba'.
        encoder: 'lean' or 'paper'.
        layers, aspect: depth of the core, see `make_core`.
        context: screens a transformer sees; the other cores ignore it.
        forget: screens after which an LSTM or Mamba forgets everything; None: never.
        unroll: steps trained in one piece; FLOPs are counted for this length.
        options: options of the encoder (see `LeanEncoder`).
    """

    layout = "raw"

    def __init__(
        self,
        width: int,
        frame: FrameSpec,
        n_actions: int,
        core: str = "lstm",
        encoder: str = "lean",
        layers: int | None = None,
        context: int = 64,
        unroll: int = 16,
        aspect: float | None = None,
        forget: int | None = None,
        **options: Any,
    ):
        super().__init__()
        if frame.shape != (2 * ROWS * COLUMNS + 2,):
            raise SpecError(
                f"policy 'nethack' needs packed terminal screens, not frames of shape {frame.shape}"
            )
        if encoder not in ENCODERS:
            raise UnknownNameError("encoder", encoder, list(ENCODERS))
        check_lengths(unroll=unroll)
        self.unroll, self.n_actions = unroll, n_actions
        self.encoder = ENCODERS[encoder](width, n_actions, **options)
        self.core = make_core(core, width, layers, context, aspect, forget)
        self.norm, self.size = nn.LayerNorm(width), width
        self.head = nn.Linear(width, n_actions)
        with torch.no_grad():
            self.head.weight *= 0.1  # start near a uniform distribution

    def observe(self, frames: torch.Tensor) -> Screens:
        """Return packed frames (..., 1, 3842) uint8 as screens."""
        screens: Any = unpack_tty(frames[..., 0, :])  # type: ignore[arg-type]
        return Screens(*screens)

    def initial_state(self, lanes: int) -> State:
        """Return the state before the first screen of `lanes` games; tensors (lanes, ...)."""
        seen = self.encoder.initial_state(lanes)
        return {**seen, **self.core.initial_state(lanes)}  # type: ignore[operator]

    def forward(
        self, screens: Screens, previous: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Return the logits of every step, and the state for the next call.

        Args:
            screens: (steps, lanes, ...).
            previous: (steps, lanes) int64, the action before; `n_actions` at a game's start.
            starts: (steps, lanes) bool, a game's first screen.
            state: of `initial_state` or of the call before; tensors (lanes, ...).

        Returns:
            (steps, lanes, n_actions) logits, state.
        """
        x, state = self.features(screens, previous, starts, state)
        return self.head(x), state

    def features(
        self, screens: Screens, previous: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Return what the head reads (steps, lanes, size) and the state; called as `forward` is."""
        x, seen = self.encoder(screens, previous, starts, state)
        x, remembered = self.core(x, starts, state)
        return self.norm(x), {**seen, **remembered}

    def example(self) -> tuple[tuple[Any, ...], int]:
        """Return arguments of `forward` for one unroll of one lane, and their number of samples."""
        device = self.head.weight.device
        shape = (self.unroll, 1)
        chars = torch.zeros(*shape, ROWS, COLUMNS, dtype=torch.uint8, device=device)
        cursor = torch.zeros(*shape, 2, dtype=torch.int64, device=device)
        previous = torch.zeros(shape, dtype=torch.int64, device=device)
        starts = torch.zeros(shape, dtype=torch.bool, device=device)
        given = (Screens(chars, chars, cursor), previous, starts, self.initial_state(1))
        return given, self.unroll
