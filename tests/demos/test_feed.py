"""Batches for a trainer: whichever the demonstrations, a function of their number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isoclone.base.errors import SpecError
from isoclone.demos import open_cache
from isoclone.nethack.game import FRAME
from isoclone.nethack.recordings import NldDemonstrations, Unrolls
from isoclone.policies import make_policy
from isoclone.training.data import MASKED, FrameFeed, UnrollFeed, feed_for, lanes_for


@pytest.fixture(scope="module")
def policy() -> torch.nn.Module:
    return make_policy("nethack", 8, FRAME, 121, unroll=16)


def test_shuffled_frames(toy_demos):
    cache = open_cache(toy_demos, "unit", "rows")
    module = torch.nn.Linear(1, 1)
    feed = feed_for(cache, 48, 3, module, "cpu", torch.float32)
    assert isinstance(feed, FrameFeed)
    assert (feed.lanes, feed.unique_samples) == (0, len(cache.train))
    again = feed_for(cache, 48, 3, module, "cpu", torch.float32)
    for k in (2, 0, 7):
        one, other = feed.batch(k), again.batch(k)
        assert torch.equal(one.inputs[0], other.inputs[0])
        assert torch.equal(one.targets, other.targets)
        assert one.samples == len(one.targets) == 48


def test_unrolls_of_games(nethack_demos: NldDemonstrations, policy):
    feed = feed_for(nethack_demos, 64, 3, policy, "cpu", torch.float32)
    assert isinstance(feed, UnrollFeed)
    assert (feed.lanes, feed.unique_samples) == (4, nethack_demos.samples_in("train"))
    unroll = Unrolls(nethack_demos, "train", 4, 16, 3).take(2)
    batch = feed.batch(2)
    screens, previous, starts = batch.inputs
    assert np.array_equal(screens.chars.numpy(), unroll.chars)
    assert np.array_equal(previous.numpy(), unroll.prev_actions)
    assert np.array_equal(starts.numpy(), unroll.starts)
    assert batch.targets.shape == (16, 4)
    assert batch.samples == int((batch.targets != MASKED).sum())


def test_a_batch_falls_into_parts(nethack_demos, policy):
    batch = feed_for(nethack_demos, 64, 0, policy, "cpu", torch.float32).batch(0)
    parts = batch.split(3)
    assert [p.targets.shape for p in parts] == [(16, 2), (16, 1), (16, 1)]
    assert sum(p.samples for p in parts) == batch.samples
    chars = torch.cat([p.inputs[0].chars for p in parts], 1)
    assert torch.equal(chars, batch.inputs[0].chars)


def test_what_does_not_go_together(toy_demos, nethack_demos, policy):
    cache = open_cache(toy_demos, "unit", "rows")
    with pytest.raises(SpecError, match="learns from whole games"):
        feed_for(cache, 64, 0, policy, "cpu", torch.float32)
    with pytest.raises(SpecError, match="need a policy that reads them"):
        feed_for(nethack_demos, 64, 0, torch.nn.Linear(1, 1), "cpu", torch.float32)
    with pytest.raises(SpecError, match="not a multiple of the unroll"):
        lanes_for(50, 16)
