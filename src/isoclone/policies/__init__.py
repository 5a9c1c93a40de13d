"""Policies: the lookup by name, what each costs, and the width for a wanted size.

Importing this does not import torch; making or measuring a policy does.
"""

from __future__ import annotations

from typing import Any

from isoclone.policies.base import (
    POLICIES,
    Maker,
    input_shape,
    layout_of,
    make_policy,
    policy_flops,
    policy_layout,
    policy_params,
    width_for,
)

__all__ = [
    "input_shape",
    "layout_of",
    "make_policy",
    "policy_flops",
    "policy_layout",
    "policy_names",
    "policy_params",
    "register_policy",
    "width_for",
]


def register_policy(name: str, maker: Maker) -> None:
    """Add a policy under a name; `maker(width, frame, n_actions, **options)` returns a module."""
    POLICIES.add(name, maker)


def policy_names() -> list[str]:
    """Every registered name."""
    return POLICIES.names()


def _cnn(*args: Any, **options: Any) -> Any:
    from isoclone.policies.cnn import Cnn

    return Cnn(*args, **options)


def _mlp(*args: Any, **options: Any) -> Any:
    from isoclone.policies.cnn import Mlp

    return Mlp(*args, **options)


def _nethack(*args: Any, **options: Any) -> Any:
    from isoclone.policies.tty.policy import TtyPolicy

    return TtyPolicy(*args, **options)


register_policy("cnn", _cnn)
register_policy("mlp", _mlp)
register_policy("nethack", _nethack)
