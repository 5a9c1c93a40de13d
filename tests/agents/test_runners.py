"""Runners: what a policy says in play is what it says of the same stacks anywhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from agents_made import made

from isoclone.agents.runners import StackRunner
from isoclone.games import FrameSpec
from isoclone.policies.observe import observe

SLOTS = 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 4, 12, 20])
def test_logits_in_play_are_those_of_the_whole_stacks_to_the_bit(width, dtype):
    """Slots begin, go on and pause by themselves, so that each has its own newest frame."""
    frame = FrameSpec((84, 84), "uint8", 4)
    policy = replace(made("cnn", frame, 4, width=width), dtype=dtype)
    runner, rng = StackRunner(policy, SLOTS), np.random.default_rng(0)
    seen: list[list[np.ndarray]] = [[] for _ in range(SLOTS)]
    for step in range(9):
        frames = rng.integers(0, 256, (SLOTS, *frame.shape), np.uint8)
        begins = rng.random(SLOTS) < (0.2 if step else 1)
        goes_on = ~begins & (rng.random(SLOTS) < 0.8)
        for slot in np.flatnonzero(begins):
            seen[slot] = [frames[slot]] * frame.stack
        for slot in np.flatnonzero(goes_on):
            seen[slot] = [*seen[slot][1:], frames[slot]]
        runner.start(np.flatnonzero(begins), frames[begins])
        runner.push(np.flatnonzero(goes_on), frames[goes_on])
        asked = np.flatnonzero(rng.random(SLOTS) < 0.7)
        stacks = np.stack([policy.encoder.encode(np.stack(seen[slot])) for slot in range(SLOTS)])
        whole = torch.from_numpy(stacks[asked])
        wanted = policy.logits(observe(policy.module, whole, policy.encoder, dtype))
        assert np.array_equal(runner.logits(asked), wanted.numpy())
