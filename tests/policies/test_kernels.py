"""Kernels compile here, and compute what torch's convolutions compute."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from isoclone.base.errors import ExecutionError, SpecError
from isoclone.games import FrameSpec
from isoclone.policies import kernels, make_policy
from isoclone.policies.cnn import Cnn
from isoclone.policies.kernels import Kernels, compiler, multiplies_bfloat16, take_kernels

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")
needs_bfloat16 = pytest.mark.skipif(
    compiler() is None or not multiplies_bfloat16(), reason="no products of bfloat16 here"
)

ATARI = FrameSpec((84, 84), "uint8", 4)
ACTIONS = 5


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "isoclone" / "kernels"
    forget()


def forget():
    for cached in (kernels._library, kernels._target, kernels._folder):
        cached.cache_clear()


def network(width, frame=ATARI, seed=0):
    torch.manual_seed(seed)
    net = Cnn(width, frame, ACTIONS)
    net.input_scale = 0.01
    return net


def batch(frame=ATARI, n=6):
    rows, columns = (side // 4 for side in frame.shape)
    return torch.randint(-128, 128, (n, rows, columns, 16 * frame.stack)).float()


def gradients(net, x):
    net.zero_grad()
    wanted = torch.sin(torch.arange(len(x) * ACTIONS)).view(len(x), ACTIONS).to(x.dtype)
    net(x).backward(wanted)
    return [p.grad.double() for p in net.parameters()]


SIZES = [
    *((width, ATARI) for width in (1, 2, 3, 5, 8, 13, 20)),
    (4, FrameSpec((48, 64), "uint8", 1)),
    (7, FrameSpec((36, 40), "uint8", 3)),
    (6, FrameSpec((100, 44), "uint8", 2)),
]


@needs_compiler
@pytest.mark.parametrize(("width", "frame"), SIZES)
def test_values_and_gradients_are_those_of_torch_in_float64(width, frame):
    net, x = network(width, frame), batch(frame)
    exact = copy.deepcopy(net).double()
    take_kernels(net)
    torch.testing.assert_close(net(x).double(), exact(x.double()), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradients(net, x), gradients(exact, x.double()), strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@needs_bfloat16
@pytest.mark.parametrize(("width", "frame"), SIZES)
def test_in_bfloat16_errors_are_those_of_torch_or_less(width, frame):
    """In the median network: a sum that nearly cancels is off by chance, whoever computes it."""
    theirs, ours = [], []
    for seed in range(7):
        net, x = network(width, frame, seed), batch(frame, n=32)
        exact = copy.deepcopy(net).double()
        theirs.append(off(net, exact, x))
        take_kernels(net, torch.bfloat16)
        ours.append(off(net, exact, x.to(torch.int8)))
    assert np.median(ours) < 1.4 * np.median(theirs) < 0.5


def off(net, exact, x):
    """Return how far features and their gradients are from exact ones, as a share of them."""
    found = []
    for each, seen in ((net, x), (exact, x.double())):
        each.zero_grad()
        if each is net and seen.is_floating_point():
            seen = seen.bfloat16()
        with torch.autocast("cpu", torch.bfloat16, each is net):
            features = each.features(seen)
        wanted = torch.sin(torch.arange(features.numel())).view_as(features).to(features.dtype)
        features.backward(wanted)
        convolutions = (each.conv1, each.conv2, each.conv3)
        parts = [p.grad for conv in convolutions for p in conv.parameters()]
        found.append([part.double() for part in (features.detach(), *parts)])
    errors = [((a - b).norm() / b.norm()).item() for a, b in zip(*found, strict=True)]
    return sum(errors) / len(errors)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
def test_codes_of_one_byte_need_not_be_made_floats(dtype):
    net = take_kernels(network(3))
    codes = batch().abs().clamp(max=127).to(dtype)
    assert torch.equal(net(codes), net(codes.float()))
    net.kernels = None
    assert torch.equal(net(codes), net(codes.float()))


@needs_compiler
def test_the_same_bits_each_time_whatever_else_is_in_the_batch():
    net, x = take_kernels(network(3)), batch()
    with torch.inference_mode():
        together = net.features(x)
        assert torch.equal(together, net.features(x))
        assert torch.equal(together[2:3], net.features(x[2:3]))
    assert torch.equal(together, net.features(x).detach())
    assert all(map(torch.equal, gradients(net, x), gradients(net, x)))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_is_not_hidden(dtype):
    """As torch has it: a run whose weights diverge has to show it in its loss and gradients."""
    if dtype == torch.bfloat16 and not multiplies_bfloat16():
        pytest.skip("no products of bfloat16 here")
    for layer in ("conv1", "conv2", "conv3"):
        net = network(3)
        getattr(net, layer).weight.data[0, 0, 0, 0] = torch.nan
        theirs = [bool(part.isnan().any()) for part in gradients(net, batch())]
        take_kernels(net, dtype)
        assert net(batch()).isnan().all()
        assert [bool(part.isnan().any()) for part in gradients(net, batch())] == theirs
        assert any(theirs)


@needs_compiler
def test_weights_in_another_order_in_memory_give_the_same(own_cache):
    net, x = take_kernels(network(3)), batch()
    other = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    assert not other.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(net(x), other(x))
    assert all(map(torch.equal, gradients(net, x), gradients(other, x)))


@needs_compiler
def test_a_policy_with_memory_takes_them_for_what_it_sees():
    torch.manual_seed(0)
    policy = make_policy("cnn-lstm", 2, ATARI, ACTIONS)
    x = batch(n=6).view(3, 2, 21, 21, 64)
    args = (x, torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.bool))
    before = policy(*args, policy.initial_state(2))[0]
    take_kernels(policy)
    assert policy.trunk.kernels == Kernels(2, 4, 21, 21)
    after = policy(*args, policy.initial_state(2))[0]
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@needs_compiler
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_other_precisions_and_exporters_take_torchs_own(monkeypatch):
    net, x = take_kernels(network(2)), batch()
    monkeypatch.setattr(Kernels, "features", lambda *_: pytest.fail("kernels computed"))
    with torch.autocast("cpu", torch.bfloat16):
        net(x.bfloat16())
    torch.jit.trace(net, x, check_trace=False)


@needs_compiler
def test_they_are_compiled_once_a_machine(own_cache, monkeypatch):
    take_kernels(network(2))
    assert len(list(own_cache.glob("*.so"))) == 1
    forget()
    monkeypatch.setattr(kernels, "_compile", lambda *_: pytest.fail("compiled again"))
    take_kernels(network(2))


@needs_compiler
def test_a_torn_file_is_compiled_again(own_cache, tmp_path, monkeypatch):
    take_kernels(network(2))
    (whole,) = own_cache.glob("*.so")
    torn = tmp_path / "other" / "isoclone" / "kernels" / whole.name
    torn.parent.mkdir(parents=True)
    torn.write_bytes(whole.read_bytes()[:100])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    forget()
    take_kernels(network(2))(batch())
    assert torn.stat().st_size == whole.stat().st_size


@needs_compiler
def test_a_cache_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    take_kernels(network(2))(batch())


@needs_compiler
def test_a_processor_without_bfloat16_is_named(monkeypatch):
    monkeypatch.setattr(kernels, "multiplies_bfloat16", lambda: False)
    with pytest.raises(SpecError, match=r"does not multiply \(AVX512_BF16\)"):
        take_kernels(network(2), torch.bfloat16)


@needs_bfloat16
def test_play_in_bfloat16_gives_the_bits_of_training():
    net, codes = take_kernels(network(3), torch.bfloat16), batch().to(torch.int8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        forward = net(codes)
    with torch.inference_mode():
        assert torch.equal(net.prepared(torch.bfloat16)(codes), forward)


@needs_compiler
def test_a_compiler_may_be_named_with_options(monkeypatch):
    monkeypatch.setenv("CXX", f"{compiler()[0]} -g0")
    assert compiler()[1:] == ["-g0"]
    take_kernels(network(2))(batch())


@needs_compiler
def test_a_folder_from_which_nothing_may_be_run_is_an_error_of_ours(monkeypatch):
    def refuse(path):
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(kernels.ctypes, "CDLL", refuse)
    with pytest.raises(ExecutionError, match=r"cannot be loaded: .* failed to map"):
        take_kernels(network(2))


@needs_compiler
def test_kernels_are_left_again():
    net, x = network(2), batch()
    before = net(x)
    assert torch.equal(kernels.leave_kernels(take_kernels(net))(x), before)


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SpecError, match=r"compiled_to .* install g\+\+ or clang"):
        take_kernels(network(2))


def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'fatal error: no such header' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(ExecutionError, match=r"does not compile .*: fatal error: no such"):
        take_kernels(network(2))
