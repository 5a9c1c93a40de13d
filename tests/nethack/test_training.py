"""Training on whole games: state carried, resumed, shared out in parts."""

from __future__ import annotations

import pytest
import torch

from isoclone.base.records import Run
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def nethack_trainer(demos, folder, **changes) -> Trainer:
    """A tiny policy with a state, on real games."""
    fields = {"batch_size": 48, "warmup_samples": 100, "decay_from": 500, **changes}
    made, options = recipe("nethack", **fields), {"core": "mamba", "unroll": 12}
    run = Run(demos.game_name, demos.fingerprint, "nethack", 8, options, made.to_json(), 0)
    return Trainer(run, demos.source("unit", "raw"), demos.n_actions, folder).resume()


def test_a_policy_with_a_state_goes_on_to_the_same_numbers(nethack_demos, tmp_path):
    """Killed between two budgets and continued: weights, state and loss are the same to the bit."""
    through = nethack_trainer(nethack_demos, tmp_path / "a")
    budgets = [through.flops_per_sample * n for n in (300, 700)]
    for budget in budgets:
        through.train_until(budget)
    first = nethack_trainer(nethack_demos, tmp_path / "b")
    first.train_until(budgets[0])
    first.save()
    second = nethack_trainer(nethack_demos, tmp_path / "b")
    second.train_until(budgets[1])
    assert torch.equal(second.flat.values, through.flat.values)
    assert torch.equal(second.average, through.average)
    assert second.progress == through.progress
    for name, value in through.carried[0].items():
        assert torch.equal(second.carried[0][name], value), name
        assert value.abs().sum() > 0


def test_a_state_is_carried_from_unroll_to_unroll(nethack_demos, tmp_path):
    """The second batch's loss is what the policy says that remembers the first."""
    made = nethack_trainer(nethack_demos, tmp_path, learning_rate=1e-12, precision="float32")
    before = [made.feed.batch(k) for k in (0, 1)]
    with torch.no_grad():
        _, state = made.module(*before[0].inputs, made.module.initial_state(4))
        logits, _ = made.module(*before[1].inputs, state)
    wanted = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), before[1].targets.flatten(), ignore_index=-1
    )
    made.step()
    made.progress.train_loss = 0.0
    losses, share = [], made.progress.step + 1
    made.step()
    losses.append(made.progress.train_loss / (1 - (1 - 1 / share) ** 9))
    assert losses[0] == pytest.approx(wanted.item(), abs=1e-4)


def test_gradients_in_parts_add_up_to_the_whole(nethack_demos, tmp_path):
    whole = nethack_trainer(nethack_demos, tmp_path / "a", precision="float32")
    parts = nethack_trainer(nethack_demos, tmp_path / "b", precision="float32", accumulate=3)
    whole.step()
    parts.step()
    torch.testing.assert_close(parts.flat.values.grad, whole.flat.values.grad, atol=1e-6, rtol=1e-4)
    assert parts.progress.samples == whole.progress.samples <= 48


def test_long_gradients_are_shortened(nethack_demos, tmp_path):
    made = nethack_trainer(nethack_demos, tmp_path, clip_norm=1e-3)
    made.step()
    assert made.flat.values.grad.norm().item() == pytest.approx(1e-3, rel=1e-3)
