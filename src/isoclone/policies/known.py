"""What is known of the feed-forward policies that come with isoclone, without making one.

Their layers say what a module would, and sooner: torch takes a second to import and longer to count
a real backward pass. Policies of others, and recurrent ones, are made and measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isoclone.base.tables import POLICIES
from isoclone.games import FrameSpec
from isoclone.policies.flops import (
    LEAST_SIDE,
    Layer,
    cnn_layers,
    count_params,
    mlp_layers,
    picture_layers,
)

LARGEST = 2**40  # parameters; what torch says to more is not known here


@dataclass(frozen=True)
class Known:
    """A policy's layers, the first of which reads the observation, and its layout."""

    layers: list[Layer]
    layout: str


def known_policy(
    name: str, width: int, frame: FrameSpec, n_actions: int, **options: Any
) -> Known | None:
    """Return what is known of a policy; None where a module has to be made to know it."""
    describe = KNOWN.get(POLICIES.reference(name))
    if describe is None or options or width < 1:
        return None
    found = describe(width, frame, n_actions)
    return found if found is not None and count_params(found.layers) < LARGEST else None


def in_blocks(frame: FrameSpec) -> bool:
    """Return whether `cnn` reads pictures in 4x4 blocks: grey ones that can be cut into them."""
    grey = frame.dtype == "uint8" and len(frame.shape) == 2
    return grey and min(frame.shape) >= LEAST_SIDE and not any(side % 4 for side in frame.shape)


def _cnn(width: int, frame: FrameSpec, n_actions: int) -> Known | None:
    if in_blocks(frame):
        shape = (frame.shape[0], frame.shape[1])
        return Known(cnn_layers(width, n_actions, shape, frame.stack), "blocks4")
    if frame.picture is None:
        return None
    return Known(picture_layers(width, n_actions, frame.picture, frame.stack), "rows")


def _mlp(width: int, frame: FrameSpec, n_actions: int) -> Known:
    return Known(mlp_layers(width, n_actions, frame.stack * frame.size), "rows")


KNOWN: dict[str | None, Callable[[int, FrameSpec, int], Known | None]] = {
    "isoclone.policies.cnn:make_cnn": _cnn,
    "isoclone.policies.mlp:Mlp": _mlp,
}
