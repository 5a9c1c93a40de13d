"""Networks in files as experts: TorchScript, torch.export, ONNX. Real files, tiny."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclone.base.errors import CheckpointError, SpecError, TrustError
from isoclone.experts import expert, score_expert
from isoclone.games import game

CART = game("gym/CartPole-v1", max_steps=60)


class Linear(torch.nn.Module):
    """Leans to the side to which the pole falls."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[0.0, 0, -9, -9], [0, 0, 9, 9]]))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return seen @ self.weight.T


class Remembers(torch.nn.Module):
    """Adds up what it has seen of the angle."""

    def forward(self, seen: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = state + seen[:, 2:3]
        return torch.cat([-state, state], 1) * 99, state

    @torch.jit.export
    def initial_state(self, n: int) -> torch.Tensor:
        return torch.zeros(n, 1)


def scripted(module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


def exported(module, path: Path, *example) -> Path:
    lanes = torch.export.Dim("lanes", min=1)
    program = torch.export.export(module, example, dynamic_shapes=[{0: lanes}] * len(example))
    torch.export.save(program, path)
    return path


def onnx_file(path: Path, memory: bool) -> Path:
    """`Linear` or `Remembers`, written down as ONNX by hand."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    inputs = [value("seen", TensorProto.FLOAT, ["n", 4])]
    outputs = [value("logits", TensorProto.FLOAT, ["n", 2])]
    if memory:
        inputs.append(value("state", TensorProto.FLOAT, ["n", 1]))
        outputs.append(value("after", TensorProto.FLOAT, ["n", 1]))
        arrays = {"angle": [[0.0], [0], [1], [0]], "out": [[-99.0, 99]]}
        nodes = [
            helper.make_node("MatMul", ["seen", "angle"], ["now"]),
            helper.make_node("Add", ["state", "now"], ["after"]),
            helper.make_node("MatMul", ["after", "out"], ["logits"]),
        ]
    else:
        arrays = {"weight": [[0.0, 0], [0, 0], [-9, 9], [-9, 9]]}
        nodes = [helper.make_node("MatMul", ["seen", "weight"], ["logits"])]
    kept = [numpy_helper.from_array(np.array(a, np.float32), name) for name, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, kept)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder, seen = tmp_path_factory.mktemp("files"), torch.zeros(2, 4)
    return {
        "pt": scripted(Linear(), folder / "a.pt"),
        "pt2": exported(Linear(), folder / "a.pt2", seen),
        "onnx": onnx_file(folder / "a.onnx", False),
        "pt with memory": scripted(Remembers(), folder / "b.pt"),
        "pt2 with memory": exported(Remembers(), folder / "b.pt2", seen, torch.zeros(2, 1)),
        "onnx with memory": onnx_file(folder / "b.onnx", True),
    }


@pytest.mark.parametrize("kind", ["pt", "pt2", "onnx"])
@pytest.mark.parametrize("memory", ["", " with memory"])
def test_one_network_plays_the_same_from_every_kind_of_file(files, kind, memory):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    player = expert(files[kind + memory], CART, trust=True, deterministic=True)
    score = score_expert(player, CART, episodes=10)
    first = expert(files["pt" + memory], CART, trust=True, deterministic=True)
    assert score.scores == score_expert(first, CART, episodes=10).scores
    assert score.scores[0] == score_expert(player, CART, episodes=1).scores[0]
    if not memory:
        assert score.mean == 60
    assert ("with a memory" in score.notes[0]) is bool(memory)
    assert player.recurrent is bool(memory)


def test_files_of_torch_need_trust_and_onnx_needs_none(files):
    for kind in ("pt", "pt2"):
        with pytest.raises(TrustError, match="--trust"):
            expert(files[kind], CART)
    pytest.importorskip("onnxruntime")
    assert expert(str(files["onnx"]), CART).name == "onnx:a"


# The end of a zip archive in two parts.
PARTS = b"PK\x06\x07" + struct.pack("<IQI", 0, 0, 2) + b"PK\x05\x06" + bytes(18)


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no network", PARTS])
def test_damaged_and_missing_files_are_named(tmp_path, suffix, damage):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"broken{suffix}"
    with pytest.raises(CheckpointError, match="no expert at"):
        expert(path, CART, trust=True)
    path.write_bytes(damage)
    with pytest.raises(CheckpointError, match=rf"broken\{suffix} (cannot be read as|is damaged)"):
        expert(path, CART, trust=True)


def test_a_network_of_another_game_says_what_it_was_given(files):
    acrobot = game("gym/Acrobot-v1")
    with pytest.raises(CheckpointError, match=r"float32 of shape \(1, 6\)"):
        score_expert(expert(files["pt"], acrobot, trust=True), acrobot, episodes=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"observes": "env"}, "observes must be one of stack"),
        ({"dtype": "float99"}, "dtype must be"),
        ({"scale": 0}, "scale must be above 0"),
        ({"colour": 1}, "colour"),
        ({"every": 0}, "every must be at least 1"),
    ],
)
def test_options_a_network_cannot_have_are_refused(files, options, said):
    with pytest.raises(SpecError, match=said):
        expert(files["pt"], CART, trust=True, **options)


def test_pictures_are_given_as_asked(tmp_path):
    class Bright(torch.nn.Module):
        def forward(self, seen: torch.Tensor) -> torch.Tensor:
            assert seen.dtype == torch.float16
            assert bool(seen.max() <= 1)
            assert seen.shape[1:] == (210, 160, 3)
            return torch.zeros(seen.shape[0], dtype=torch.int64)

    pong = game("atari/Pong", max_steps=3)
    settings = {"observes": "rgb", "dtype": "float16", "scale": 255}
    player = expert(scripted(Bright(), tmp_path / "b.pt"), pong, trust=True, **settings)
    assert score_expert(player, pong, 1).action_frequencies[0] == 1
    assert player.notes == ("given rgb as float16, divided by 255",)
