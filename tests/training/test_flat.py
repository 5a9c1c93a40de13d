"""The optimiser of one vector is torch's own, without what torch's own imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from isoclone.training.flat import Adam

BETAS, EPS = (0.8, 0.97), 1e-5


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_it_updates_to_the_bits_of_torchs_own(weight_decay):
    mine, theirs = (nn.Parameter(torch.linspace(-1, 1, 50)) for _ in range(2))
    ours = Adam(mine, 0.1, betas=BETAS, eps=EPS, weight_decay=weight_decay)
    settings = {"betas": BETAS, "eps": EPS, "weight_decay": weight_decay, "fused": True}
    other = torch.optim.Adam([theirs], **settings)
    for step in range(5):
        ours.rate = other.param_groups[0]["lr"] = 0.1 / (1 + step)
        mine.grad = torch.sin(torch.arange(50.0) + step)
        theirs.grad = mine.grad.clone()
        ours.step()
        other.step()
    assert torch.equal(mine, theirs)
    for name, value in other.state[theirs].items():
        assert torch.equal(ours.state[name], value)


def test_torchs_compiler_is_not_imported():
    code = (
        "import sys, torch; from isoclone.training.flat import Adam; "
        "values = torch.nn.Parameter(torch.ones(3)); values.grad = torch.ones(3); "
        "Adam(values, 0.1).step(); print('torch._dynamo' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
