"""A policy that is cut down to fewer actions does what it did, among those that are left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isoclone.agents.checkpoint import TrainedPolicy, load_checkpoint, policy_for
from isoclone.agents.narrowed import narrowed, save_narrowed
from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.base.tables import POLICIES
from isoclone.games import FrameSpec
from isoclone.policies import policy_layout
from isoclone.policies.base import input_shape
from isoclone.policies.encode import fit_encoder

KEPT = [4, 0, 2]


def untrained(policy: str, frame: FrameSpec) -> TrainedPolicy:
    encoder = fit_encoder(
        "unit", policy_layout(policy, 3, frame, 6), frame, np.zeros((1, *frame.shape), frame.dtype)
    )
    torch.manual_seed(0)
    module = policy_for(encoder, policy, 3, 6).eval()
    run = Run("game", "", policy, 3, {}, {}, 0)
    return TrainedPolicy(module, encoder, run, 6, 0, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize(
    ("policy", "shape", "dtype"),
    [
        ("mlp", (5,), "float32"),
        ("cnn", (84, 84), "uint8"),
        ("cnn", (10, 10), "uint8"),
        ("mlp-lstm", (5,), "float32"),
        ("cnn-transformer", (10, 10), "uint8"),
    ],
)
def test_logits_of_the_actions_that_are_left_are_the_same(
    policy: str, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    whole = untrained(policy, FrameSpec(shape, dtype, 1))
    save_narrowed(whole, "other", KEPT, tmp_path / "few.safetensors")
    few = load_checkpoint(tmp_path / "few.safetensors")
    assert (few.n_actions, few.run.game, few.run.width) == (3, "other", 3)
    for before_few, before in ((0, 4), (2, 2), (3, 6)):  # the last one: none
        mine, theirs = (asked(p, b) for p, b in ((few, before_few), (whole, before)))
        assert torch.allclose(mine, theirs[..., KEPT], atol=1e-6)


def asked(policy: TrainedPolicy, before: int) -> torch.Tensor:
    shape = input_shape(policy.module, policy.encoder.spec)
    codes = torch.rand((2, *shape), generator=torch.Generator().manual_seed(1))
    if not policy.is_recurrent:
        return policy.logits(codes)
    previous, starts = torch.full((1, 2), before), torch.zeros((1, 2), dtype=torch.bool)
    logits, _ = policy.step(codes[None], previous, starts, state=policy.initial_state(2))
    return logits[0]


def test_a_weight_that_counts_actions_in_another_way_is_refused() -> None:
    class Squares(torch.nn.Module):
        layout = "vector"

        def __init__(self, width: int, frame: FrameSpec, n_actions: int):
            super().__init__()
            self.pairs = torch.nn.Parameter(torch.zeros(n_actions**2))

    POLICIES.add("squares", Squares)
    try:
        with pytest.raises(SpecError, match="'pairs' is 36 long, and would be 9"):
            narrowed(untrained("squares", FrameSpec((5,), "float32", 1)), KEPT)
    finally:
        POLICIES.remove("squares")
