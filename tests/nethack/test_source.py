"""Whole games as batches for a trainer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isoclone.base.errors import SpecError
from isoclone.demos.base import MASKED
from isoclone.nethack.game import FRAME
from isoclone.nethack.recordings import NldDemonstrations, Unrolls
from isoclone.policies import make_policy


@pytest.fixture(scope="module")
def policy() -> torch.nn.Module:
    return make_policy("nethack", 8, FRAME, 121, unroll=16)


def feed(demos, module, batch_size, seed):
    return demos.source("unit", "raw").feed(module, batch_size, seed, "cpu", torch.float32)


def test_unrolls_of_games(nethack_demos: NldDemonstrations, policy):
    made = feed(nethack_demos, policy, 64, 3)
    assert made.lanes == 4
    unroll = Unrolls(nethack_demos, "train", 4, 16, 3).take(2)
    batch = made.batch(2)
    screens, previous, starts = batch.inputs
    assert np.array_equal(screens.chars.numpy(), unroll.chars)
    assert np.array_equal(previous.numpy(), unroll.prev_actions)
    assert np.array_equal(starts.numpy(), unroll.starts)
    assert batch.targets.shape == (16, 4)
    assert batch.samples == int((batch.targets != MASKED).sum())


def test_a_batch_falls_into_parts(nethack_demos, policy):
    batch = feed(nethack_demos, policy, 64, 0).batch(0)
    parts = batch.split(3)
    assert [p.targets.shape for p in parts] == [(16, 2), (16, 1), (16, 1)]
    assert sum(p.samples for p in parts) == batch.samples
    chars = torch.cat([p.inputs[0].chars for p in parts], 1)
    assert torch.equal(chars, batch.inputs[0].chars)


def test_what_does_not_go_together(nethack_demos):
    with pytest.raises(SpecError, match="need a policy that reads them"):
        feed(nethack_demos, torch.nn.Linear(1, 1), 64, 0)
