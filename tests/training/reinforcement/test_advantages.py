"""Advantages against their definitions, written as sums."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.training.reinforcement.advantages import gae, vtrace

DISCOUNT, LAMBDA = 0.97, 0.9


def a_rollout(seed: int = 0, steps: int = 12, slots: int = 3) -> dict[str, np.ndarray]:
    """Return rewards, values, next values and ends: terminal in slot 0, truncated in slot 1."""
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, steps, slots))
    ends = np.zeros((steps, slots), bool)
    ends[4, 0] = ends[7, 1] = ends[steps - 1, 2] = True
    following = np.vstack([values[1:], rng.normal(size=(1, slots))])
    following[4, 0] = 0.0  # terminal
    following[7, 1] = rng.normal()  # cut off by a time limit: the last observation's own value
    return {"rewards": rewards, "values": values, "following": following, "ends": ends}


def until_end(ends: np.ndarray, t: int) -> range:
    """Return the steps from t to the end of its episode, or of the rollout."""
    after = [k for k in range(t, len(ends)) if ends[k]]
    return range(t, (after[0] if after else len(ends) - 1) + 1)


def test_advantages_are_the_sum_of_the_paper() -> None:
    given = a_rollout()
    advantages, targets = gae(**given, discount=DISCOUNT, lambda_=LAMBDA)
    for slot in range(3):
        column = {name: value[:, slot] for name, value in given.items()}
        deltas = column["rewards"] + DISCOUNT * column["following"] - column["values"]
        for t in range(len(deltas)):
            steps = until_end(column["ends"], t)
            wanted = sum((DISCOUNT * LAMBDA) ** (k - t) * deltas[k] for k in steps)
            assert advantages[t, slot] == pytest.approx(wanted)
    assert np.allclose(targets, advantages + given["values"])


def test_vtrace_is_the_sum_of_the_paper() -> None:
    given = a_rollout(1)
    ratios = np.exp(np.random.default_rng(2).normal(size=given["rewards"].shape))
    advantages, targets = vtrace(**given, ratios=ratios, discount=DISCOUNT, lambda_=LAMBDA)
    for slot in range(3):
        column = {name: value[:, slot] for name, value in given.items()}
        clipped = np.minimum(1.0, ratios[:, slot])
        deltas = clipped * (column["rewards"] + DISCOUNT * column["following"] - column["values"])
        for t in range(len(deltas)):
            wanted, weight = column["values"][t], 1.0
            for k in until_end(column["ends"], t):
                wanted += DISCOUNT ** (k - t) * weight * deltas[k]
                weight *= LAMBDA * clipped[k]
            assert targets[t, slot] == pytest.approx(wanted)
            last = column["ends"][t] or t == len(deltas) - 1
            after = column["following"][t] if last else targets[t + 1, slot]
            gain = column["rewards"][t] + DISCOUNT * after - column["values"][t]
            assert advantages[t, slot] == pytest.approx(gain)


def test_vtrace_of_the_players_own_policy_has_the_targets_of_gae() -> None:
    given = a_rollout(3)
    same = np.ones_like(given["rewards"])
    _, targets = vtrace(**given, ratios=same, discount=DISCOUNT, lambda_=LAMBDA)
    _, wanted = gae(**given, discount=DISCOUNT, lambda_=LAMBDA)
    assert np.allclose(targets, wanted)
