"""NetHack: what training and rollouts cost, and what a FLOP and a second buy with both encoders.

    python benchmarks/bench_nethack_train.py --demos demos/aa [--flops 1e11] [--part all]

One core. Parts: `train` samples/s by size and core; `encoders` dev loss of the lean and the paper's
encoder at the same exact FLOPs, with the seconds each took; `loss` dev loss at C by `6nd` beside
what was wanted (a quarter of an hour); `rollout` steps/s with a policy of half a million
parameters, many games side by side against one, and with a tiny one against one NLE
through Gymnasium (`bench_nethack.py` compares the same games).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import show

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.agents.runners import runner_for
from isoclone.base.records import Run
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.evaluation.rollout import RECURRENT_SLOTS
from isoclone.games import close, game, vector_env
from isoclone.nethack.game import FRAME
from isoclone.nethack.recordings import NldDemonstrations
from isoclone.policies import make_policy, policy_flops, policy_params
from isoclone.policies.encode import raw_encoder
from isoclone.policies.sampling import Sampling
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe

ACTIONS = 121
FIRST_FRAMES = 12_500  # of each dev game: what the wanted losses are of
SECONDS = 4.0  # of processor time for each figure: a busy machine does not spoil them


def trainer(demos: NldDemonstrations, width: int, options: dict[str, Any]) -> Trainer:
    """A fresh run in a folder of its own."""
    fields = recipe("nethack").to_json()
    run = Run(demos.game_name, demos.fingerprint, "nethack", width, options, fields, 0)
    return Trainer(run, demos.source("unit", "raw"), demos.n_actions, Path(tempfile.mkdtemp()))


def training(demos: NldDemonstrations) -> list[dict[str, Any]]:
    """Samples per processor second, decoding included."""
    rows = []
    cases = [(w, {"core": "lstm"}) for w in (12, 48, 96, 112, 192)]
    cases += [(96, {"core": "transformer"}), (96, {"core": "mamba"})]
    cases += [(96, {"core": "lstm", "encoder": "paper"})]
    for width, options in cases:
        made = trainer(demos, width, options)
        made.train_until(made.flops_per_sample * 2_000)
        begun, first = time.process_time(), made.progress.samples
        while time.process_time() - begun < SECONDS:
            made.train_until(made.flops + made.flops_per_sample)
        spent = time.process_time() - begun
        rows.append(
            {
                "policy": " ".join([*options.values(), str(width)]),
                "params": policy_params("nethack", width, FRAME, ACTIONS, **options),
                "MFLOP a sample": made.flops_per_sample / 1e6,
                "samples/s": (made.progress.samples - first) / spent,
            }
        )
    return rows


def encoders(demos: NldDemonstrations, flops: float) -> list[dict[str, Any]]:
    """Dev loss on the first frames of the dev games at equal exact FLOPs."""
    rows = []
    for name, width in (("lean", 24), ("lean", 48), ("lean", 96), ("paper", 48), ("paper", 96)):
        made, spent = trainer(demos, width, {"encoder": name}), 0.0
        for budget in (flops / 10, flops):
            begun = time.process_time()
            made.train_until(budget)
            spent += time.process_time() - begun
            loss = dev_loss(made.trained(), made.source, 20_000)
            rows.append(
                {
                    "encoder": f"{name} {width}",
                    "exact FLOPs": budget,
                    "samples": made.progress.samples,
                    "seconds": spent,
                    "dev loss": loss.mean,
                }
            )
    return rows


def losses(demos: NldDemonstrations) -> list[dict[str, Any]]:
    """Dev loss at C by 6ND: over the first frames of each dev game, and over whole ones."""
    rows = []
    made = trainer(demos, 96, {})
    params = policy_params("nethack", 96, FRAME, demos.n_actions)
    for flops, wanted in ((3e12, 0.85), (1e13, 0.70)):
        made.train_until(flops / (6 * params) * made.flops_per_sample)
        first = dev_loss(made.trained(), made.source, FIRST_FRAMES * len(demos.dev_episodes))
        whole = dev_loss(made.trained(), made.source, demos.samples)
        rows.append(
            {
                "FLOPs by 6ND": flops,
                "exact FLOPs": made.flops,
                "samples": made.progress.samples,
                "first frames": first.mean,
                "their SE": first.se,
                "wanted": wanted,
                "whole games": whole.mean,
                "SE of those": whole.se,
            }
        )
    return rows


def untrained(width: int) -> TrainedPolicy:
    """A policy that has learned nothing costs what any costs."""
    fields = recipe("nethack", precision="float32").to_json()
    run = Run("nethack", "none", "nethack", width, {}, fields, 0)
    module = make_policy("nethack", width, FRAME, ACTIONS).eval()
    device = torch.device("cpu")
    return TrainedPolicy(module, raw_encoder(FRAME), run, ACTIONS, 0, torch.float32, device)


def playing(policy: TrainedPolicy | None, slots: int) -> float:
    """Steps per processor second of so many games in this process; random keys without a policy."""
    env, rng = vector_env(game("nethack"), slots, 0), np.random.default_rng(0)
    every, way = np.arange(slots), Sampling()
    shown = runner_for(policy, slots) if policy else None
    frames = env.reset(every)
    if shown:
        shown.start(every, frames)
    steps, begun = 0, time.process_time()
    while time.process_time() - begun < SECONDS:
        uniforms = rng.random(slots)
        actions = (
            way.choose(shown.logits(every), uniforms) if shown else rng.integers(121, size=slots)
        )
        frames, _, terminated, truncated = env.step(actions)
        if shown:
            shown.chose(every, actions)
            shown.push(every, frames)
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            first = env.reset(ended)
            if shown:
                shown.start(ended, first)
        steps += slots
    spent = time.process_time() - begun
    close(env)
    return steps / spent


def gymnasium_alone() -> float:
    """Steps per processor second of NLE through Gymnasium, random keys, all it shows by default."""
    import gymnasium
    import nle  # noqa: F401

    env = gymnasium.make("NetHackChallenge-v0")
    env.reset()
    rng, steps, begun = np.random.default_rng(0), 0, time.process_time()
    while time.process_time() - begun < SECONDS:
        _, _, terminated, truncated, _ = env.step(int(rng.integers(121)))
        steps += 1
        if terminated or truncated:
            env.reset()
    return steps / (time.process_time() - begun)


def rollouts() -> list[tuple[str, float, float, str]]:
    """(what, reference, ours, wanted) in steps per processor second."""
    half, tiny = untrained(112), untrained(8)
    alone, raw = playing(half, 1), gymnasium_alone()
    rows = [
        (f"0.5M LSTM, {slots} games, against 1", alone, playing(half, slots), ">= 6x")
        for slots in (16, 64, RECURRENT_SLOTS)
    ]
    return rows + [
        (f"width 8, {slots} games, against NLE alone", raw, playing(tiny, slots), ">= .6x")
        for slots in (64, RECURRENT_SLOTS)
    ]


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows under the names of their columns."""
    print("\n" + "  ".join(f"{name:>16s}" for name in rows[0]))
    for row in rows:
        cells = (f"{v:,.4g}" if isinstance(v, float) else f"{v}" for v in row.values())
        print("  ".join(f"{cell:>16s}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--demos", type=Path)
    parser.add_argument("--flops", type=float, default=1e11)
    parts = ("all", "train", "encoders", "loss", "rollout")
    parser.add_argument("--part", choices=parts, default="all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    exact = policy_flops("nethack", 96, FRAME, ACTIONS)
    print(f"lean, width 96: {exact / 1e6:.2f} MFLOP a sample, forward and backward")
    if given.part in ("all", "rollout"):
        show("rollouts, steps per processor second", rollouts())
    if given.part == "rollout":
        return
    demos = NldDemonstrations.open(given.demos, verify=False)
    if given.part in ("all", "train"):
        table(training(demos))
    if given.part in ("all", "encoders"):
        table(encoders(demos, given.flops))
    if given.part in ("all", "loss"):
        table(losses(demos))


if __name__ == "__main__":
    main()
