"""Recorded frames as batches: shuffled, or as unrolls of episodes side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isoclone.base.errors import SpecError
from isoclone.demos.base import MASKED
from isoclone.demos.feed import FrameSource, lanes_for
from isoclone.policies import make_policy


@pytest.fixture(scope="module")
def source(toy_demos) -> FrameSource:
    return toy_demos.source("unit", "rows")


@pytest.fixture(scope="module")
def recurrent(toy_demos) -> torch.nn.Module:
    return make_policy("mlp-lstm", 4, toy_demos.frame, toy_demos.n_actions, unroll=8)


def feed(source, module, batch_size=48, seed=3):
    return source.feed(module, batch_size, seed, "cpu", torch.float32)


def test_shuffled_frames(source):
    one, again = (feed(source, torch.nn.Linear(1, 1)) for _ in range(2))
    assert one.lanes == 0
    for k in (2, 0, 7):
        batch, other = one.batch(k), again.batch(k)
        assert torch.equal(batch.inputs[0], other.inputs[0])
        assert torch.equal(batch.targets, other.targets)
        assert batch.samples == len(batch.targets) == 48


def test_unrolls_of_frames_are_the_episodes_in_order(source, recurrent, toy_demos):
    """An epoch holds every training step once, after its own action before and on its own stack."""
    made, cache = feed(source, recurrent, 32), source.cache
    count = len(cache.train)
    batches = [made.batch(k) for k in range(-(-count // 32) + 1)]
    inputs = zip(*(b.inputs for b in batches), strict=True)
    observations, previous, starts = (torch.cat(x) for x in inputs)
    targets = torch.cat([b.targets for b in batches])
    shorter = count // 4
    for lane in range(4):
        first = source.cache.train  # rows of the cache, which the lane's frames are looked up in
        frames = observations[:shorter, lane, -1].reshape(shorter, -1).numpy()
        rows = [_row_of(frame, targets[t, lane], cache, first) for t, frame in enumerate(frames)]
        for t, row in enumerate(rows):
            fresh = row is not None and cache.starts[row] == row
            if fresh:
                assert starts[t, lane]
                assert previous[t, lane] == toy_demos.n_actions
            elif t and not starts[t, lane]:
                assert previous[t, lane] == targets[t - 1, lane]


def _row_of(frame, action, cache, rows):
    """The row of a frame that is met once; None where several look alike."""
    alike = rows[(cache.codes[rows] == frame.astype(np.uint8)).all(1)]
    alike = [row for row in alike if cache.actions[row] == action]
    return alike[0] if len(alike) == 1 else None


def test_every_training_step_is_seen_once_an_epoch(source, recurrent):
    made, cache, seen = feed(source, recurrent, 32), source.cache, []
    gather = made._unrolls._batches.gather
    made._unrolls._batches.gather = lambda rows: seen.append(rows.reshape(8, 4)) or gather(rows)
    for k in range(-(-len(cache.train) // 32) + 1):
        made.batch(k)
    rows = np.concatenate(seen)
    edges = [len(cache.train) * i // 4 for i in range(5)]
    epoch = [rows[: edges[i + 1] - edges[i], i] for i in range(4)]
    assert sorted(np.concatenate(epoch)) == sorted(cache.train)


def test_a_batch_falls_into_parts(source, recurrent):
    batch = feed(source, recurrent, 32, 0).batch(0)
    parts = batch.split(3)
    assert [p.targets.shape for p in parts] == [(8, 2), (8, 1), (8, 1)]
    assert sum(p.samples for p in parts) == batch.samples
    assert torch.equal(torch.cat([p.inputs[0] for p in parts], 1), batch.inputs[0])


def test_dev_episodes_are_read_from_their_first_step(source, recurrent):
    """Every dev episode's first steps once; state is carried in the same lanes."""
    cache = source.cache
    episodes, lengths = np.unique(cache.episodes[cache.dev], return_counts=True)
    limit = -(-100 // len(episodes))
    met: dict[int, int] = {}
    for batch in source.dev_batches(recurrent, 100, "cpu", torch.float32):
        there = (batch.targets != MASKED).numpy()
        for episode in batch.episodes[there].tolist():
            met[episode] = met.get(episode, 0) + 1
    wanted = {int(e): min(limit, int(n)) for e, n in zip(episodes, lengths, strict=True)}
    assert met == wanted


def test_a_batch_is_a_whole_number_of_unrolls():
    with pytest.raises(SpecError, match="not a multiple of the unroll"):
        lanes_for(50, 16)
