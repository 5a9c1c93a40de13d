"""Policies: the lookup by name, what each costs, and the width for a wanted size.

Importing this does not import torch; making or measuring a policy does.
"""

from __future__ import annotations

from isoclone.policies.base import (
    POLICIES,
    input_shape,
    is_recurrent,
    layout_of,
    make_policy,
    policy_flops,
    policy_layout,
    policy_params,
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
    "width_for",
]


def policy_names() -> list[str]:
    """Return every registered name."""
    return POLICIES.names()


POLICIES.add("cnn", "isoclone.policies.cnn:Cnn")
POLICIES.add("mlp", "isoclone.policies.mlp:Mlp")
POLICIES.add("cnn-lstm", "isoclone.policies.recurrent:cnn_lstm")
POLICIES.add("cnn-transformer", "isoclone.policies.recurrent:cnn_transformer")
POLICIES.add("mlp-lstm", "isoclone.policies.recurrent:mlp_lstm")
