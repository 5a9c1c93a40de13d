"""A step of training on a device that is not the CPU: nothing is mixed up, and nothing waits.

Tensors here have shapes and a device, but no numbers, which no code may ask for. The device is
CUDA's where torch was built with it, be there a GPU or not, and else 'meta', the only one that all
builds have.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from isoclone.demos import FrameDemonstrations
from isoclone.policies import policy_layout
from isoclone.study.spec import StudySpec
from isoclone.training.loop import READ_STEPS, Trainer
from isoclone.training.recipes import recipe

DEVICE = torch.device("cuda:0" if torch.version.cuda else "meta")
PRECISIONS = ["float32", "bfloat16"] if torch.version.cuda else ["float32"]  # meta has no autocast
POLICIES = [
    ("breakout_demos", "cnn", 2),
    ("breakout_demos", "cnn", 23),
    ("breakout_demos", "cnn-lstm", 4),
    ("breakout_demos", "cnn-transformer", 4),
    ("toy_demos", "mlp", 8),
    ("toy_demos", "mlp-lstm", 8),
]


def moved(module: nn.Module, convert, recurse: bool = True) -> nn.Module:
    """Do what `Module._apply` does, which cannot exchange tensors without numbers."""
    for child in module.children():
        moved(child, convert)
    for table in (module._parameters, module._buffers):
        for name, value in table.items():
            if value is not None:
                new = convert(value.detach())
                table[name] = nn.Parameter(new) if isinstance(value, nn.Parameter) else new
    return module


def without_numbers():
    return FakeTensorMode(allow_non_fake_inputs=True) if torch.version.cuda else nullcontext()


@pytest.mark.parametrize("fits", [True, False], ids=["frames-on-device", "frames-on-host"])
@pytest.mark.parametrize(("demos", "policy", "width"), POLICIES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_step_mixes_up_devices_or_waits(
    demos, policy, width, precision, fits, tmp_path, monkeypatch, request
):
    recorded: FrameDemonstrations = request.getfixturevalue(demos)
    spec = StudySpec(
        name="cuda",
        game=recorded.game_name,
        expert="scripted",
        policy=policy,
        widths=(width,),
        budgets_flops=(1e12,),
        recipe=recipe("lean", batch_size=128, precision=precision).to_json(),
    )
    run = spec.run_for(width, 0, recorded.fingerprint, 1e12)
    layout = policy_layout(policy, width, recorded.frame, recorded.n_actions)
    source = recorded.source(run.recipe["frames"], layout)
    monkeypatch.setattr("isoclone.demos.batches._fits", lambda codes, device: fits)
    monkeypatch.setattr(nn.Module, "_apply", moved)
    if not torch.version.cuda:
        monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())
    with without_numbers():
        trainer = Trainer(run, source, recorded.n_actions, tmp_path, str(DEVICE))
        for _ in range(READ_STEPS - 1):
            trainer.step()
        assert {p.device for p in trainer.module.parameters()} == {DEVICE}
        assert trainer._unread[-1].loss.device == DEVICE
        assert trainer.progress.train_loss == 0  # not read yet
        with pytest.raises((RuntimeError, NotImplementedError)):
            trainer.step()  # reads, which is waiting
