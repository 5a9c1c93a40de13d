"""The policy `nethack`: one step after the other equals all at once, and what screens become."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from isoclone.base.errors import IsocloneError
from isoclone.nethack.game import FRAME
from isoclone.nethack.policy import memory
from isoclone.nethack.policy.paper import OneHotLine
from isoclone.nethack.policy.screen import Screens
from isoclone.policies import make_policy, policy_flops, policy_params
from isoclone.policies.cores import make_core
from isoclone.policies.cores.mamba import ScanInTraining, scan, scan_by_kernel
from isoclone.policies.cores.transformer import BLOCK

ACTIONS = 121


def unroll_of(steps: int, lanes: int, seed: int = 0):
    """Screens of printable characters, previous actions, and two games that start on the way."""
    torch.manual_seed(seed)
    chars = torch.randint(32, 127, (steps, lanes, 24, 80), dtype=torch.uint8)
    chars[torch.rand(steps, lanes, 24, 80) < 0.7] = 32
    colors = torch.randint(0, 16, (steps, lanes, 24, 80), dtype=torch.uint8)
    cursor = torch.stack(
        [torch.randint(0, 24, (steps, lanes)), torch.randint(0, 80, (steps, lanes))], 2
    )
    chars[:, :, 0, 1:4] = torch.tensor([ord(c) for c in " - "], dtype=torch.uint8)
    chars[:, :, 0, 0] = torch.randint(97, 123, (steps, lanes), dtype=torch.uint8)
    starts = torch.zeros(steps, lanes, dtype=torch.bool)
    starts[0, 0] = starts[steps // 2 + 1, 1] = starts[steps // 2 + 3, 1] = True
    return Screens(chars, colors, cursor), torch.randint(0, ACTIONS, (steps, lanes)), starts


def part(given, rows: slice):
    screens, previous, starts = given
    return Screens(*(x[rows] for x in screens)), previous[rows], starts[rows]


CASES = [
    {"core": "lstm", "layers": 2},
    {"core": "transformer", "context": 6},
    {"core": "transformer", "context": 1},
    {"core": "mamba"},
    {"core": "lstm", "forget": 5},
    {"core": "mamba", "forget": 3},
    {"core": "lstm", "encoder": "paper"},
    {"core": "mamba", "stack": 3, "inventory": True},
]


@pytest.mark.parametrize("options", CASES, ids=lambda o: "-".join(map(str, o.values())))
def test_step_by_step_equals_all_at_once(options):
    """Also across the starts of games, and over the borders of unrolls."""
    torch.manual_seed(1)
    module = make_policy("nethack", 20, FRAME, ACTIONS, **options).eval()
    with torch.no_grad():
        module.head.weight *= 30  # outputs of the size of a trained policy's
    steps, lanes = 14, 3
    given = unroll_of(steps, lanes)
    with torch.inference_mode():
        whole, last = module(*given, module.initial_state(lanes))
        state, one_by_one = module.initial_state(lanes), []
        for t in range(steps):
            logits, state = module(*part(given, slice(t, t + 1)), state)
            one_by_one.append(logits)
        first, state_between = module(*part(given, slice(0, 9)), module.initial_state(lanes))
        second, _ = module(*part(given, slice(9, None)), state_between)
    assert whole.abs().max() > 0.5
    torch.testing.assert_close(torch.cat(one_by_one), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-4, rtol=0)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in last.items()}


@pytest.mark.parametrize("options", CASES, ids=lambda o: "-".join(map(str, o.values())))
def test_a_start_forgets_everything(options):
    """What a lane saw before a game's first screen changes nothing after it; before, it does."""
    module = make_policy("nethack", 20, FRAME, ACTIONS, **options).eval()
    given, other = unroll_of(8, 2), unroll_of(8, 2, seed=5)
    states = []
    with torch.inference_mode():
        for history in (given, other):
            states.append(module(*history, module.initial_state(2))[1])
        screens, previous, starts = part(given, slice(0, 4))
        for begins in (True, False):
            starts[0] = begins
            a, b = (module(screens, previous, starts, state)[0] for state in states)
            same = torch.allclose(a, b, atol=1e-6)
            assert same == (begins or options.get("context") == 1)


@pytest.mark.parametrize("core", ["lstm", "transformer", "mamba"])
def test_flops_are_what_torch_counts_in_training(core):
    """Exact FLOPs per sample are those of forward and backward of a real unroll."""
    module = make_policy("nethack", 24, FRAME, ACTIONS, core=core, unroll=8)
    with FlopCounterMode(display=False) as counter:
        module(*unroll_of(8, 5), module.initial_state(5))[0].sum().backward()
    exact = policy_flops("nethack", 24, FRAME, ACTIONS, core=core, unroll=8)
    assert counter.get_total_flops() / 40 == exact
    six = policy_flops("nethack", 24, FRAME, ACTIONS, "6nd", core=core, unroll=8)
    assert six == 6 * sum(p.numel() for p in module.parameters())


def limited(core: str, steps: int) -> dict:
    return {"context" if core == "transformer" else "forget": steps}


def core_of(name: str, steps: int):
    torch.manual_seed(0)
    return make_core(name, 8, None, **{"context": 64, **limited(name, steps)})


def test_a_core_with_a_context_forgets_what_lies_further_back():
    """A step shows in the next ones, as many as the context has, and in no later one."""
    steps, context = 14, 4
    for core, seen in (("transformer", 1 + 2 * (context - 1)), ("lstm", 4), ("mamba", 4)):
        module = core_of(core, context)
        x, starts = torch.randn(steps, 1, 8), torch.zeros(steps, 1, dtype=torch.bool)
        other = x.clone()
        other[4] = torch.randn(8)  # a step at which the LSTM and Mamba forget
        with torch.no_grad():
            a, b = (module(y, starts, module.initial_state(1))[0] for y in (x, other))
        changed = ((a - b).abs().amax((1, 2)) > 0).nonzero().flatten().tolist()
        assert changed == list(range(4, 4 + seen))  # two layers of a transformer look back twice


LONG = 4096


@pytest.mark.parametrize("core", ["lstm", "transformer", "mamba"])
def test_a_context_of_4096_is_the_same_step_by_step_as_at_once(core, one_thread):
    """In a rollout with carried state, in training in one piece, and cut in two."""
    module, steps = core_of(core, LONG), LONG + 300
    x, starts = torch.randn(steps, 1, 8), torch.zeros(steps, 1, dtype=torch.bool)
    starts[250] = True
    with torch.enable_grad():
        whole, last = module(x, starts, module.initial_state(1))
        first, state = module(x[:260], starts[:260], module.initial_state(1))
        second, cut = module(x[260:], starts[260:], state)
    state, one_by_one = module.initial_state(1), []
    with torch.inference_mode():
        for t in range(steps):
            out, state = module(x[t : t + 1], starts[t : t + 1], state)
            one_by_one.append(out)
    torch.testing.assert_close(torch.cat(one_by_one), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-4, rtol=0)
    for name, value in last.items():
        torch.testing.assert_close(cut[name], value, atol=1e-4, rtol=0)
        torch.testing.assert_close(state[name], value, atol=1e-4, rtol=0)


@pytest.mark.parametrize("core", ["lstm", "transformer", "mamba"])
@pytest.mark.parametrize(("context", "unroll"), [(LONG, 32), (300, 700)])
def test_flops_of_long_contexts_and_unrolls_are_exact(core, context, unroll, one_thread):
    options = {"core": core, "unroll": unroll, **limited(core, context)}
    module = make_policy("nethack", 8, FRAME, ACTIONS, **options)
    with FlopCounterMode(display=False) as counter:
        module(*unroll_of(unroll, 2), module.initial_state(2))[0].sum().backward()
    assert counter.get_total_flops() / (2 * unroll) == policy_flops(
        "nethack", 8, FRAME, ACTIONS, **options
    )


class Largest(TorchDispatchMode):
    """Keeps in mind how many numbers the largest tensor made inside it has."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.numel())
        return out


@pytest.mark.parametrize("core", ["transformer", "mamba"])
def test_memory_of_a_step_does_not_grow_with_the_square_of_the_context(core):
    """Of one piece of 4,096 steps, forward and backward: no table of all steps by all steps."""
    with torch.device("meta"):
        module = core_of(core, LONG)
        x, starts = torch.empty(LONG, 1, 8), torch.zeros(LONG, 1, dtype=torch.bool)
        with Largest() as largest:
            module(x, starts, module.initial_state(1))[0].sum().backward()
    assert largest.numbers <= 2 * BLOCK * LONG


def test_gradients_of_a_scan_with_a_backward_pass_of_its_own():
    found = []
    for way in (scan, ScanInTraining.apply):
        torch.manual_seed(0)
        steps, lanes, channels = 300, 3, 5  # more than one piece
        u, dt = torch.randn(steps, lanes, channels), torch.rand(steps, lanes, channels) * 0.2
        b, c = torch.randn(steps, lanes, 16), torch.randn(steps, lanes, 16)
        a, h = -torch.arange(1.0, 17).repeat(channels, 1), torch.randn(lanes, channels, 16)
        given = [x.double().requires_grad_() for x in (u, dt, a, b, c, h)]
        starts = torch.rand(steps, lanes) < 0.02
        y, last = way(*given[:5], starts, given[5])
        (y.sin().sum() + last.square().sum()).backward()
        found.append([y, last, *(x.grad for x in given)])
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-10, rtol=1e-10)


def test_what_the_encoders_cost():
    assert policy_flops("nethack", 128, FRAME, ACTIONS) < 10e6
    assert 80e6 < policy_flops("nethack", 16, FRAME, ACTIONS, encoder="paper") < 110e6
    sizes = [policy_params("nethack", w, FRAME, ACTIONS) for w in range(8, 40)]
    assert sizes == sorted(set(sizes))


def test_the_message_line_is_the_one_hot_product_for_a_fraction_of_its_price():
    layer = OneHotLine(80, 24)
    line = torch.randint(0, 256, (16, 80), dtype=torch.uint8)
    one_hot = functional.one_hot(line.long(), 256).float().flatten(1)
    with FlopCounterMode(display=False) as product:
        wanted = functional.linear(one_hot, layer.table.weight.T, layer.bias)
    with FlopCounterMode(display=False) as summed:
        found = layer(line)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert product.get_total_flops() == 16 * 2 * 20_480 * 24
    assert summed.get_total_flops() == 0


def reference_kernel(u, delta, a, b, c, return_last_state):
    """mamba-ssm's `selective_scan_fn` as documented: (lanes, channels, steps) from a zero state."""
    h = torch.zeros(u.shape[0], u.shape[1], a.shape[1])
    ys = []
    for t in range(u.shape[2]):
        h = h * torch.exp(delta[:, :, t, None] * a)
        h = h + delta[:, :, t, None] * b[:, None, :, t] * u[:, :, t, None]
        ys.append((h * c[:, None, :, t]).sum(-1))
    return torch.stack(ys, 2), h


@pytest.mark.parametrize("with_starts", [True, False])
def test_a_kernel_without_state_or_starts_does_the_scan(with_starts):
    torch.manual_seed(0)
    steps, lanes, channels = 7, 3, 10
    u, dt = torch.randn(steps, lanes, channels), torch.rand(steps, lanes, channels) * 0.2 + 0.001
    a = -torch.arange(1.0, 17).repeat(channels, 1)
    b, c = torch.randn(steps, lanes, 16), torch.randn(steps, lanes, 16)
    starts = torch.zeros(steps, lanes, dtype=torch.bool)
    starts[0, 1] = starts[4, 2] = with_starts
    h = torch.randn(lanes, channels, 16)
    wanted, last = scan(u, dt, a, b, c, starts, h)
    found, found_last = scan_by_kernel(reference_kernel, u, dt, a, b, c, starts, h)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_last, last, atol=1e-4, rtol=1e-4)


def lines(*texts: str) -> torch.Tensor:
    return torch.tensor([[*text.ljust(80).encode()] for text in texts], dtype=torch.uint8)


def test_the_rebuilt_inventory():
    said = lines("m - a crude dagger.", "You see here a fork.", "m - 2 daggers.", "")[:, None]
    starts = torch.tensor([[False], [False], [False], [True]])
    state = torch.zeros(1, memory.SLOTS + 1, dtype=torch.int64)
    known, _ = memory.inventory(said, starts, state, 1024)
    m = known[:, 0, ord("m") - ord("a")]
    assert m[0] == m[1] > 0
    assert m[2] not in (0, m[0])
    assert known[3].sum() == 0
    assert (known[0] > 0).sum() == 1


@pytest.mark.parametrize(
    "options",
    [
        {"core": "gru"},
        {"encoder": "vit"},
        {"context": 0},
        {"crop": 4},
        {"depth": 3},
        {"forget": 0},
        {"core": "transformer", "forget": 4},
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(options):
    with pytest.raises(IsocloneError) as caught:
        make_policy("nethack", 8, FRAME, ACTIONS, **options)
    assert "\n" not in str(caught.value)
