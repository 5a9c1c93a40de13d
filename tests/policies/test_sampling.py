"""How actions are drawn from logits."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.base.errors import SpecError
from isoclone.policies.sampling import Sampling

SHARES = np.array([0.5, 0.3, 0.15, 0.05])
LOGITS = np.log(SHARES)[None].repeat(20_000, 0)
UNIFORMS = np.random.default_rng(0).random(len(LOGITS))


def drawn(text: str) -> np.ndarray:
    """The share of each action among 20,000 draws."""
    actions = Sampling.parse(text).choose(LOGITS, UNIFORMS)
    return np.bincount(actions, minlength=4) / len(actions)


def test_softmax_and_its_temperature():
    assert np.allclose(drawn("sample"), SHARES, atol=0.01)
    cold = SHARES**2 / (SHARES**2).sum()
    assert np.allclose(drawn("temperature=0.5"), cold, atol=0.01)


@pytest.mark.parametrize(
    "text", ["argmax", "temperature=0", "temperature=1e-46", "top_k=1", "top_p=0.001"]
)
def test_only_the_likeliest(text):
    assert drawn(text).tolist() == [1, 0, 0, 0]


def test_the_likely_ones_in_their_proportions():
    assert np.allclose(drawn("top_k=2"), [0.625, 0.375, 0, 0], atol=0.01)
    assert np.allclose(drawn("top_p=0.79"), [0.625, 0.375, 0, 0], atol=0.01)
    assert np.allclose(drawn("top_p=0.81"), np.array([0.5, 0.3, 0.15, 0]) / 0.95, atol=0.01)
    assert np.allclose(drawn("top_k=3,top_p=0.5"), [1, 0, 0, 0])


def test_order_of_actions_does_not_matter():
    turned = Sampling.parse("top_k=2").choose(LOGITS[:, ::-1], UNIFORMS)
    assert set(turned) == {2, 3}


@pytest.mark.parametrize("text", ["best", "top_p=0", "top_k=1.5", "temperature=-1", "top_p", ""])
def test_what_is_no_way_of_sampling(text):
    with pytest.raises(SpecError, match="sampling"):
        Sampling.parse(text)
