"""Policies: the paper's network, its size, its cost, and the width for a wanted size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.games import FrameSpec, game
from isoclone.policies import (
    make_policy,
    policy_flops,
    policy_params,
    suited_policy,
    width_for,
)
from isoclone.policies.base import input_shape, is_recurrent
from isoclone.policies.flops import cnn_flops_per_sample, cnn_params

ATARI = FrameSpec((84, 84), "uint8", 4)
PUBLISHED = {
    1: 725,
    3: 2_575,
    5: 4_969,
    8: 9_580,
    13: 19_985,
    23: 50_995,
    266: 4_985_110,
}


def plain(width: int, n_actions: int = 4) -> nn.Sequential:
    """The network as one would write it down."""
    return nn.Sequential(
        nn.Conv2d(4, width, 8, 4),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, 2),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * 49, n_actions),
    )


def blocks(images: torch.Tensor) -> torch.Tensor:
    """(b, 4, 84, 84) -> (b, 21, 21, 64)."""
    b = len(images)
    cut = images.view(b, 4, 21, 4, 21, 4).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(b, 21, 21, 64)


def by_channel(weight: torch.Tensor) -> torch.Tensor:
    """The last layer's weights for activations channel by channel, as in the plain network."""
    return weight.view(len(weight), 49, -1).transpose(1, 2).reshape(len(weight), -1)


def test_what_a_code_is_worth_is_multiplied_into_the_first_layer():
    ours, scaled = (make_policy("cnn", 3, ATARI, 4) for _ in range(2))
    scaled.load_state_dict(ours.state_dict())
    scaled.input_scale = 0.1
    codes = torch.randint(-127, 127, (2, 21, 21, 64)).float()
    torch.testing.assert_close(scaled(codes), ours(codes * 0.1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("width", [1, 5, 23])
def test_the_cnn_is_the_plain_network_on_rearranged_frames(width):
    torch.manual_seed(0)
    ours, theirs = make_policy("cnn", width, ATARI, 4), plain(width)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        other.data.copy_(mine.data)
    theirs[-1].weight.data = by_channel(ours.head.weight.data)
    images = torch.randn(6, 4, 84, 84)
    images_too = images.clone().requires_grad_()
    logits, wanted = ours(blocks(images)), theirs(images_too)
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=1e-5)
    logits.logsumexp(1).sum().backward()
    wanted.logsumexp(1).sum().backward()
    ours.head.weight.grad = by_channel(ours.head.weight.grad)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("width", "params"), PUBLISHED.items())
def test_parameters_as_published(width, params):
    assert policy_params("cnn", width, ATARI, 4) == cnn_params(width, 4) == params


@pytest.mark.parametrize("width", [1, 8, 50])
@pytest.mark.parametrize("n_actions", [4, 18])
def test_exact_flops_are_what_a_plain_network_computes_in_training(width, n_actions):
    """Forward and backward of real tensors; the input's own gradient is not computed."""
    with FlopCounterMode(display=False) as counter:
        out = plain(width, n_actions)(torch.zeros(1, 4, 84, 84))
        forward = counter.get_total_flops()
        out.sum().backward()
    assert policy_flops("cnn", width, ATARI, n_actions) == counter.get_total_flops()
    assert cnn_flops_per_sample(width, n_actions) == counter.get_total_flops()
    assert policy_flops("cnn", width, ATARI, n_actions, "3x-forward") == 3 * forward
    assert cnn_flops_per_sample(width, n_actions, "3x-forward") == 3 * forward


@pytest.mark.parametrize(
    ("name", "frame"),
    [("mlp", game("toy").frame), ("mlp-lstm", game("toy").frame)]
    + [(f"cnn-{core}", ATARI) for core in ("lstm", "transformer")],
)
def test_exact_flops_are_what_each_policy_computes_in_training(name, frame):
    module = make_policy(name, 8, frame, 3).to("meta")  # CPUs compute some layers in another way
    shape, steps = input_shape(module, frame), getattr(module, "unroll", 1)
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        if is_recurrent(module):
            previous = torch.zeros(steps, 2, dtype=torch.int64)
            state = module.initial_state(2)
            out, _ = module(torch.zeros(steps, 2, *shape), previous, previous > 0, state)
        else:
            out = module(torch.zeros(2, *shape))
        out.sum().backward()
    flops = counter.get_total_flops() / (2 * steps)
    assert policy_flops(name, 8, frame, 3) == pytest.approx(flops, rel=1e-9)


@pytest.mark.parametrize(("width", "ratio"), [(1, 24.96), (23, 12.8), (117, 6.3), (266, 4.88)])
def test_the_papers_counter_overstates_small_networks_most(width, ratio):
    exact = policy_flops("cnn", width, ATARI, 4)
    theirs = policy_flops("cnn", width, ATARI, 4, "tuyls2023-atari")
    assert theirs / exact == pytest.approx(ratio, abs=0.05)


def test_6nd_is_six_flops_a_parameter():
    assert policy_flops("cnn", 5, ATARI, 4, "6nd") == 6 * 4_969
    toy = game("toy")
    six = policy_flops("mlp", 8, toy.frame, 3, "6nd")
    assert six == 6 * policy_params("mlp", 8, toy.frame, 3)


def test_a_convention_without_a_meaning_for_a_policy_is_refused():
    toy = game("toy")
    with pytest.raises(SpecError, match="not defined for policy 'mlp'"):
        policy_flops("mlp", 8, toy.frame, 3, "tuyls2023-atari")
    with pytest.raises((SpecError, UnknownNameError), match="furlongs"):
        policy_flops("cnn", 8, ATARI, 4, "furlongs")


@pytest.mark.parametrize("width", [1, 2, 3, 7, 50, 266])
def test_the_width_of_a_size_is_that_size(width):
    assert width_for(policy_params("cnn", width, ATARI, 4), "cnn", ATARI, 4) == width


@pytest.mark.parametrize("params", [1, 700, 1_111, 12_345, 1e6])
def test_no_other_width_is_nearer(params):
    width = width_for(params, "cnn", ATARI, 4)

    def distance(w):
        return max(params / policy_params("cnn", w, ATARI, 4),
                   policy_params("cnn", w, ATARI, 4) / params)  # fmt: skip

    assert all(distance(width) <= distance(w) for w in (max(1, width - 1), width + 1))


@pytest.mark.parametrize("params", [0, -5, float("inf"), float("nan")])
def test_a_size_that_cannot_be_is_refused(params):
    with pytest.raises(SpecError, match="params"):
        width_for(params, "cnn", ATARI, 4)


def test_policies_that_cannot_be_made():
    with pytest.raises(SpecError, match="width must be at least 1, not 0"):
        make_policy("cnn", 0, ATARI, 4)
    with pytest.raises(UnknownNameError, match="did you mean cnn"):
        make_policy("cn", 4, ATARI, 4)
    with pytest.raises(SpecError, match="wobble"):
        make_policy("mlp", 4, ATARI, 4, wobble=1)
    with pytest.raises(SpecError, match="'mlp' takes any"):
        make_policy("cnn", 4, FrameSpec((5,), "float32", 1), 3)


PICTURES = [  # frames, and numbers in the last layer of a network of width 3
    (FrameSpec((12, 12), "uint8", 2), 6 * 6 * 6),
    (FrameSpec((7, 7, 3), "uint8", 1), 6 * 7 * 7),
    (FrameSpec((10, 10, 6), "uint8", 1), 6 * 5 * 5),
    (FrameSpec((24, 30, 2), "float32", 1), 6 * 6 * 8),
    (FrameSpec((84, 84, 3), "uint8", 4), 6 * 7 * 7),
    (FrameSpec((85, 90), "uint8", 4), 6 * 7 * 7),
    (FrameSpec((36, 36), "float32", 1), 6 * 1 * 1),
    (FrameSpec((210, 160, 3), "uint8", 1), 6 * 22 * 16),
]


@pytest.mark.parametrize("name", ["cnn", "cnn-lstm"])
@pytest.mark.parametrize(("frame", "size"), PICTURES, ids=str)
def test_the_cnn_takes_pictures_of_any_kind(name, frame, size):
    module = make_policy(name, 3, frame, 5)
    assert module.layout == "rows"
    assert getattr(module, "trunk", module).size == size
    assert policy_flops(name, 3, frame, 5) > 0
    assert suited_policy(frame) == "cnn"
    if name == "cnn":
        assert module(torch.zeros(2, frame.stack, *frame.shape)).shape == (2, 5)


def test_channels_are_read_pixel_by_pixel():
    torch.manual_seed(0)
    module = make_policy("cnn", 2, FrameSpec((6, 6, 3), "uint8", 2), 4)
    frames = torch.randn(1, 2, 6, 6, 3)
    wanted = nn.functional.relu(
        module.convolutions[0](frames[0].permute(0, 3, 1, 2).reshape(1, 6, 6, 6))
    )
    seen = []
    module.convolutions[1].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    module(frames)
    torch.testing.assert_close(seen[0], wanted)


def test_which_policy_suits_a_kind_of_frames():
    assert suited_policy(FrameSpec((4,), "float32", 1)) == "mlp"
    assert suited_policy(FrameSpec((4, 4), "uint8", 1)) == "mlp"
    assert suited_policy(ATARI) == "cnn"


def test_the_mlp_takes_pictures_and_vectors():
    toy = game("toy")
    assert make_policy("mlp", 4, toy.frame, 3)(torch.zeros(5, 2, 12, 12)).shape == (5, 3)
    vector = FrameSpec((4,), "float32", 1)
    assert make_policy("mlp", 4, vector, 2)(torch.zeros(5, 1, 4)).shape == (5, 2)
