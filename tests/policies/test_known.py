"""What is known of policies without torch is what torch counts and a module says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from isoclone.games import FrameSpec
from isoclone.policies import POLICIES, policy_flops, policy_layout, policy_params
from isoclone.policies.base import _measured, layout_of, made_without_storage
from isoclone.policies.known import LARGEST, known_policy
from isoclone.policies.mlp import Mlp

FRAMES = [
    FrameSpec((84, 84), "uint8", 4),
    FrameSpec((36, 44), "uint8", 2),  # cut into blocks
    FrameSpec((42, 42), "uint8", 4),
    FrameSpec((84, 84, 3), "uint8", 4),
    FrameSpec((37, 61, 3), "uint8", 1),
    FrameSpec((35, 90), "uint8", 3),
    FrameSpec((20, 21, 4), "uint8", 1),
    FrameSpec((19, 8), "float32", 1),
    FrameSpec((7, 7, 20), "uint8", 1),
    FrameSpec((1, 5), "uint8", 1),
]
VECTOR = FrameSpec((17,), "float32", 3)


@pytest.mark.parametrize("width", [1, 2, 5, 16, 33])
@pytest.mark.parametrize(
    ("name", "frame"), [("cnn", f) for f in FRAMES] + [("mlp", f) for f in (*FRAMES, VECTOR)]
)
def test_costs_and_layout_are_those_of_a_module(name, frame, width):
    counted = _measured(name, width, frame, 6)
    assert policy_params(name, width, frame, 6) == counted.params
    assert policy_flops(name, width, frame, 6) == counted.trained
    assert policy_flops(name, width, frame, 6, "3x-forward") == 3 * counted.forward
    module = made_without_storage(name, width, frame, 6)
    assert policy_layout(name, width, frame, 6) == layout_of(module)


def test_nothing_is_known_of_what_is_not_ours():
    known = POLICIES.find("mlp")[0]
    assert known_policy("mlp", 4, VECTOR, 3) is not None
    assert known_policy("mlp", 4, VECTOR, 3, depth=2) is None  # its maker refuses that
    assert known_policy("cnn", 4, VECTOR, 3) is None  # and that
    for name in ("cnn-lstm", "nobody"):
        assert known_policy(name, 4, FRAMES[0], 3) is None
    assert known_policy("mlp", 0, VECTOR, 3) is None
    assert known_policy("mlp", int(LARGEST**0.5) + 1, VECTOR, 3) is None
    POLICIES.add("mlp", lambda *args: Mlp(*args))
    try:
        assert known_policy("mlp", 4, VECTOR, 3) is None
    finally:
        POLICIES.add("mlp", "isoclone.policies.mlp:Mlp")
    assert POLICIES.find("mlp")[0] is known


def test_costs_of_known_policies_do_not_import_torch():
    code = """if True:
        import sys
        from isoclone.games import FrameSpec
        from isoclone.policies import policy_flops, policy_layout
        frame = FrameSpec((84, 84), "uint8", 4)
        policy_flops("cnn", 8, frame, 4), policy_layout("mlp", 8, frame, 4)
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)
