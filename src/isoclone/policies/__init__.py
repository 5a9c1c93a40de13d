"""Policies: the lookup by name, what each costs, and the width for a wanted size.

Importing this does not import torch; making or measuring a policy does.
"""

from __future__ import annotations

from isoclone.games import FrameSpec
from isoclone.policies.base import (
    POLICIES,
    input_shape,
    is_recurrent,
    layout_of,
    make_policy,
    policy_flops,
    policy_layout,
    policy_params,
    policy_remembers,
    width_for,
)

__all__ = [
    "POLICIES",
    "input_shape",
    "is_recurrent",
    "layout_of",
    "make_policy",
    "policy_flops",
    "policy_layout",
    "policy_names",
    "policy_params",
    "policy_remembers",
    "suited_policy",
    "width_for",
]


def suited_policy(frame: FrameSpec) -> str:
    """Return the feed-forward policy for a kind of frames: 'cnn' for pictures, 'mlp' for vectors.

    Pictures whose sides are below 5 are vectors to it.
    """
    return "cnn" if frame.picture is not None and min(frame.picture[:2]) >= 5 else "mlp"


def policy_names() -> list[str]:
    """Return every registered name."""
    return POLICIES.names()


POLICIES.add("cnn", "isoclone.policies.cnn:make_cnn")
POLICIES.add("mlp", "isoclone.policies.mlp:Mlp")
POLICIES.add("cnn-lstm", "isoclone.policies.recurrent:cnn_lstm")
POLICIES.add("cnn-transformer", "isoclone.policies.recurrent:cnn_transformer")
POLICIES.add("mlp-lstm", "isoclone.policies.recurrent:mlp_lstm")
