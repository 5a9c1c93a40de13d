"""The objective's gradients against finite differences, and its parts against other formulas."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from isoclone.policies.factors import nats
from isoclone.training.reinforcement.objective import (
    FIGURES,
    Minibatch,
    divergence,
    entropy,
    objective,
)
from isoclone.training.reinforcement.recipe import PPO

ROWS = 9


def a_batch(sizes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, Minibatch]:
    """Return logits, values and samples; some ratios lie beyond the clip, on either side."""
    chance = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=chance).double()  # noqa: E731
    logits, values = draw(ROWS, sum(sizes)), draw(ROWS)
    drawn = [torch.randint(n, (ROWS,), generator=chance) for n in sizes]
    actions = drawn[0] if len(sizes) == 1 else torch.stack(drawn, 1)
    before = -nats(logits, actions, sizes) + 0.4 * draw(ROWS)
    moved = draw(ROWS)
    batch = Minibatch(actions, before, moved, draw(ROWS), draw(ROWS), draw(ROWS, sum(sizes)))
    return logits, values, batch


@pytest.mark.parametrize("sizes", [(4,), (3, 2)])
@pytest.mark.parametrize("clip_values", [0.0, 0.3])
def test_gradients_are_those_of_finite_differences(
    sizes: tuple[int, ...], clip_values: float
) -> None:
    recipe = dataclasses.replace(PPO, clip_values=clip_values, entropy_coef=0.1)
    logits, values, batch = a_batch(sizes)
    logits.requires_grad_()
    values.requires_grad_()
    objective(logits, values, batch, recipe, sizes, teaches=0.7).total.backward()

    def at(some_logits: torch.Tensor, some_values: torch.Tensor) -> float:
        with torch.no_grad():
            return float(objective(some_logits, some_values, batch, recipe, sizes, 0.7).total)

    step = 1e-6
    for row in range(ROWS):
        bump = torch.zeros(ROWS).double()
        bump[row] = step
        slope = (at(logits, values + bump) - at(logits, values - bump)) / (2 * step)
        assert values.grad is not None
        assert float(values.grad[row]) == pytest.approx(slope, abs=1e-7)
        for column in range(sum(sizes)):
            bumped = torch.zeros(ROWS, sum(sizes)).double()
            bumped[row, column] = step
            slope = (at(logits + bumped, values) - at(logits - bumped, values)) / (2 * step)
            assert logits.grad is not None
            assert float(logits.grad[row, column]) == pytest.approx(slope, abs=1e-7)


def test_a_ratio_beyond_the_clip_has_no_gradient_where_it_would_gain() -> None:
    recipe = dataclasses.replace(PPO, value_coef=0.0, entropy_coef=0.0)
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    actions = torch.tensor([0, 0])
    log_probs = torch.tensor([-2.0, -0.7])  # the first is much likelier now
    batch = Minibatch(
        actions, log_probs, torch.zeros(2), torch.tensor([1.0, -1.0]), torch.zeros(2), None
    )
    objective(logits, torch.zeros(2), batch, recipe, (2,), 0.0).total.backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0
    assert logits.grad[1].abs().max() > 0


def test_entropy_and_divergence_are_torchs_own() -> None:
    logits, _, batch = a_batch((3, 2))
    assert batch.teacher is not None
    parts = [Categorical(logits=part) for part in logits.split([3, 2], 1)]
    taught = [Categorical(logits=part) for part in batch.teacher.split([3, 2], 1)]
    wanted = parts[0].entropy() + parts[1].entropy()
    assert torch.allclose(entropy(logits, (3, 2)), wanted, atol=1e-6)
    pairs = zip(taught, parts, strict=True)
    apart = torch.stack([kl_divergence(one, other) for one, other in pairs]).sum(0)
    assert torch.allclose(divergence(batch.teacher, logits, (3, 2)), apart, atol=1e-5)


def test_figures_say_how_far_the_policy_moved() -> None:
    logits, values, batch = a_batch((4,))
    still = batch._replace(log_probs=-nats(logits, batch.actions, (4,)))
    told = dict(zip(FIGURES, objective(logits, values, still, PPO, (4,), 0.0).figures, strict=True))
    assert float(told["kl_nats"]) == pytest.approx(0, abs=1e-6)
    assert float(told["clipped_share"]) == 0
    moved = dict(zip(FIGURES, objective(logits, values, batch, PPO, (4,), 0).figures, strict=True))
    assert float(moved["kl_nats"]) > 0.01
    assert float(moved["clipped_share"]) > 0
