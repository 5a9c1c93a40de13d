"""Exported agents give our logits on raw frames, in programs that know nothing of isoclone."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from agents_made import made

import isoclone as ic
from isoclone.agents.export import described
from isoclone.agents.runners import runner_for
from isoclone.agents.whole import WholePolicy
from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.base.tables import EXPORTERS
from isoclone.games import FrameSpec

ATARI, VECTOR = FrameSpec((84, 84), "uint8", 4), FrameSpec((4,), "float32", 2)
CODES, PRECISE = FrameSpec((9, 9, 3), "uint8", 1), FrameSpec((3,), "float64", 1)
POLICIES = [
    ("mlp", VECTOR), ("mlp", PRECISE), ("cnn", ATARI), ("cnn", CODES), ("mlp-lstm", VECTOR),
    ("cnn-lstm", ATARI), ("cnn-transformer", ATARI),
]  # fmt: skip
GAMES, STEPS = 3, 4


def played(policy):
    """Raw stacks of frames, what our own runner makes of them, and the actions it takes."""
    spec, slots = policy.encoder.spec, np.arange(GAMES)
    rng = np.random.default_rng(5)
    frames = [
        rng.integers(0, 256, (GAMES, *spec.shape)).astype(np.uint8)
        if spec.is_image
        else (100 + 5 * rng.normal(size=(GAMES, *spec.shape))).astype(spec.dtype)
        for _ in range(STEPS)
    ]
    runner, logits, actions, stacks = runner_for(policy, GAMES), [], [], []
    for t, frame in enumerate(frames):
        runner.push(slots, frame) if t else runner.start(slots, frame)
        logits.append(runner.logits(slots).copy())
        actions.append(logits[-1].argmax(1))
        runner.chose(slots, actions[-1])
        rows = [max(0, t - spec.stack + 1 + k) for k in range(spec.stack)]
        stacks.append(np.stack([frames[row] for row in rows], 1))
    return stacks, logits, actions


def worst(policy, call):
    """The largest difference of an exported program's logits from ours."""
    stacks, logits, actions = played(policy)
    whole, state, apart = WholePolicy(policy), [], 0.0
    if whole.state_names:
        state = [x.numpy() for x in whole.example(GAMES)[3:]]
    for t in range(STEPS):
        memory = []
        if whole.state_names:
            before = actions[t - 1] if t else np.full(GAMES, policy.n_actions)
            memory = [before, np.full(GAMES, t == 0), *state]
        told, *state = call(stacks[t], *memory)
        apart = max(apart, float(np.abs(told - logits[t]).max()))
    return apart


@pytest.mark.parametrize(("name", "frame"), POLICIES)
def test_onnx_and_torch_give_our_logits(name, frame, tmp_path):
    import onnxruntime

    policy = made(name, frame, 5)
    ic.export(policy, "torch", tmp_path / "agent.pt2")
    program = torch.export.load(tmp_path / "agent.pt2").module()

    def by_torch(*inputs):
        given = program(*map(torch.from_numpy, map(np.ascontiguousarray, inputs)))
        return [x.numpy() for x in (given if isinstance(given, tuple) else (given,))]

    assert worst(policy, by_torch) < 1e-5
    ic.export(policy, "onnx", tmp_path / "agent.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "agent.onnx")
    names = [each.name for each in session.get_inputs()]
    assert worst(policy, lambda *inputs: session.run(None, dict(zip(names, inputs)))) < 1e-5  # noqa: B905
    about = json.loads(session.get_modelmeta().custom_metadata_map["isoclone"])
    assert about["inputs"] == names
    assert about["frames"]["stack"] == policy.encoder.spec.stack


def test_how_observations_become_frames_is_in_the_file():
    for name, entries in (("gym/CartPole-v1", 1), ("toy", None), ("gym/NotHere-v9", None)):
        about = described(made("mlp", FrameSpec((4,), "float32", 1), 2, game=name))
        assert (about["reads"] and len(about["reads"]["entries"])) == entries


def test_bytes_over_255_are_inside_too(tmp_path):
    policy = made("cnn", ATARI, 5, kind="unit")
    whole = WholePolicy(policy)
    assert worst(policy, lambda frames: [whole(torch.from_numpy(frames)).numpy()]) < 1e-5


def test_a_study_is_exported_by_the_command(finished_study, tmp_path):
    words = [sys.executable, "-m", "isoclone", "export", str(finished_study), "--json"]
    for to in ("safetensors", "onnx", "torch"):
        out = tmp_path / f"agent.{to}"
        done = subprocess.run(
            [*words, "--to", to, "--out", str(out)], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["path"] == str(out)
    assert ic.load(tmp_path / "agent.safetensors").run == ic.load(finished_study).run
    again = subprocess.run([*words, "--to", "torch", "--out", str(out)], capture_output=True)
    assert again.returncode == 2
    assert b"is there already" in again.stderr


def test_others_add_formats(finished_study, tmp_path):
    ic.register_exporter("words", lambda policy, out: out.write_text(policy.run.label))
    try:
        agent = ic.load(finished_study)
        assert ic.export(agent, "words", tmp_path / "a.txt").read_text() == agent.run.label
    finally:
        EXPORTERS.remove("words")
    with pytest.raises(UnknownNameError, match="unknown format to export to 'words'"):
        ic.export(agent, "words", tmp_path / "b")
    with pytest.raises(SpecError, match="not 3"):
        ic.register_exporter("three", 3)  # type: ignore[arg-type]
