"""Untrained policies with an encoder, for tests of what is done with trained ones."""

from __future__ import annotations

import numpy as np
import torch

from isoclone.agents.checkpoint import TrainedPolicy, policy_for
from isoclone.base.records import Run
from isoclone.games import FrameSpec
from isoclone.policies import policy_layout
from isoclone.policies.encode import fit_encoder
from isoclone.training.recipes import recipe


def made(
    name: str,
    frame: FrameSpec,
    n_actions: int,
    kind: str = "standardise",
    game: str = "toy",
    width: int = 4,
) -> TrainedPolicy:
    """A policy with random weights, its encoder fitted to random frames."""
    rng = np.random.default_rng(0)
    if frame.dtype == "uint8":
        frames = rng.integers(0, 256, (50, *frame.shape)).astype(np.uint8)
    else:
        frames = (100 + 3 * rng.normal(size=(50, *frame.shape))).astype(frame.dtype)
    encoder = fit_encoder(kind, policy_layout(name, width, frame, n_actions), frame, frames)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = policy_for(encoder, name, width, n_actions).eval()
    chosen = recipe("lean", precision="float32").to_json()
    run = Run(game, "0" * 16, name, width, {}, chosen, 0)
    return TrainedPolicy(module, encoder, run, n_actions, 0, torch.float32, torch.device("cpu"))
