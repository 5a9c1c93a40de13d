"""Kernels compile here, and compute what torch's convolutions compute."""

from __future__ import annotations

import copy

import pytest
import torch

from isoclone.base.errors import ExecutionError, SpecError
from isoclone.games import FrameSpec
from isoclone.policies import kernels, make_policy
from isoclone.policies.cnn import Cnn
from isoclone.policies.kernels import Kernels, compiler, take_kernels

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")

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


def network(width, frame=ATARI):
    torch.manual_seed(width)
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


@needs_compiler
@pytest.mark.parametrize(
    ("width", "frame"),
    [
        *((width, ATARI) for width in (1, 2, 3, 5, 8, 13, 20)),
        (4, FrameSpec((48, 64), "uint8", 1)),
        (7, FrameSpec((36, 40), "uint8", 3)),
        (6, FrameSpec((100, 44), "uint8", 2)),
    ],
)
def test_values_and_gradients_are_those_of_torch_in_float64(width, frame):
    net, x = network(width, frame), batch(frame)
    exact = copy.deepcopy(net).double()
    take_kernels(net)
    torch.testing.assert_close(net(x).double(), exact(x.double()), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradients(net, x), gradients(exact, x.double()), strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


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
