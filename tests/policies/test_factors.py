"""Actions with several factors: their loss, their ranks, and how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from isoclone.demos.base import MASKED, Batch
from isoclone.games.actions import action_dtype, as_logits_rows, offsets, random_actions
from isoclone.policies.factors import nats, ranks, total_nats
from isoclone.policies.sampling import Sampling

SIZES = (3, 2, 4)


def some(n: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, 9) and actions (n, 3)."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    return torch.randn(n, sum(SIZES)), torch.from_numpy(random_actions(SIZES, rng, n))


def test_the_loss_is_that_of_the_joint_action():
    """The probability of an action is the product of its factors'."""
    logits, actions = some()
    parts = [part.log_softmax(1) for part in logits.split(SIZES, 1)]
    joint = sum(part[torch.arange(50), actions[:, k]] for k, part in enumerate(parts))
    torch.testing.assert_close(nats(logits, actions, SIZES), -joint)
    every = parts[0][:, :, None, None]
    every = every + parts[1][:, None, :, None] + parts[2][:, None, None, :]
    torch.testing.assert_close(every.exp().sum((1, 2, 3)), torch.ones(50))


def test_one_factor_is_plain_cross_entropy_to_the_bit():
    logits, actions = some()
    plain = actions[:, 2]
    wanted = functional.cross_entropy(logits, plain, reduction="none")
    assert torch.equal(nats(logits, plain, (9,)), wanted)
    together = functional.cross_entropy(logits, plain, reduction="sum")
    assert torch.equal(total_nats(logits, plain, (), MASKED), together)


def test_masked_actions_are_left_out_of_the_total():
    logits, actions = some()
    actions[10:30] = MASKED
    kept = torch.cat([logits[:10], logits[30:]]), torch.cat([actions[:10], actions[30:]])
    total = total_nats(logits.view(5, 10, -1), actions.view(5, 10, -1), SIZES, MASKED)
    torch.testing.assert_close(total, nats(*kept, SIZES).sum())
    assert [part.samples for part in Batch((logits,), actions, 30).split(5)] == [10, 0, 0, 10, 10]


def test_the_rank_is_that_of_the_worst_factor():
    logits = torch.tensor([[3.0, 2, 1, 1, 0, 9, 8, 7, 6]])
    assert ranks(logits, torch.tensor([[0, 0, 0]]), SIZES).tolist() == [0]
    assert ranks(logits, torch.tensor([[1, 0, 3]]), SIZES).tolist() == [3]
    assert ranks(logits, torch.tensor([2]), (9,)).tolist() == [6]


def test_each_factor_is_drawn_by_itself():
    logits = np.log(np.array([0.7, 0.2, 0.1, 0.5, 0.5, 0.1, 0.2, 0.3, 0.4]))[None].repeat(20_000, 0)
    uniforms = np.random.default_rng(0).random((20_000, 3))
    drawn = Sampling.parse("sample").choose(logits, uniforms, SIZES)
    assert drawn.shape == (20_000, 3)
    for k, (size, begin) in enumerate(zip(SIZES, offsets(SIZES), strict=True)):
        shares = np.bincount(drawn[:, k], minlength=size) / 20_000
        np.testing.assert_allclose(shares, np.exp(logits[0, begin : begin + size]), atol=0.01)
    assert abs(np.corrcoef(drawn.T)[0, 2]) < 0.03
    likeliest = Sampling.parse("argmax").choose(logits, uniforms, SIZES)
    assert likeliest[0].tolist() == [0, 0, 3]


def test_actions_as_numbers_of_logits():
    actions = np.array([[0, 0, 0], [2, 1, 3]])
    assert as_logits_rows(actions, SIZES).tolist() == [[0, 3, 5], [2, 4, 8]]
    assert as_logits_rows(np.array([4, 5]), (9,)).tolist() == [4, 5]


@pytest.mark.parametrize(("size", "dtype"), [(32_768, "int16"), (32_769, "int32")])
def test_actions_are_stored_in_what_holds_them(size, dtype):
    assert action_dtype((2, size)) == dtype
