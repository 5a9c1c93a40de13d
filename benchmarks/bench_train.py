"""Training steps: the paper's network as one writes it in torch, and ours, on one thread.

Reference: float32, channels-last, batch 64, bytes over 255, Adam. Ours: the same network
by `isoclone.training.loop.Trainer` with the recipe `lean` (batch 32), from gathering the batch to
the averaged weights, in each precision that the processor multiplies, and by kernels compiled here:
a study takes what is faster for its sizes.
Then a step of the smallest policy, beside what its training curve takes of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from common import alternating, show
from torch import nn

import isoclone as ic
from isoclone.study.builtins import BREAKOUT, TOY
from isoclone.study.estimate import _made_up
from isoclone.training.device import precisions_on
from isoclone.training.loop import Trainer

BATCH = 64  # of the reference
WANTED = {1: 2.0, 2: 2.0, 8: 2.0, 23: 1.4, 50: 1.2}  # width -> ratio, the fastest way


def reference(width: int) -> object:
    """One training step of the plain network, as a function."""
    net = nn.Sequential(
        nn.Conv2d(4, width, 8, 4),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, 2),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(98 * width, 4),
    ).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    frames = torch.randint(0, 255, (BATCH, 4, 84, 84), dtype=torch.uint8)
    actions = torch.randint(0, 4, (BATCH,))

    def step() -> int:
        x = (frames.float() / 255).contiguous(memory_format=torch.channels_last)
        loss = nn.functional.cross_entropy(net(x), actions)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return BATCH

    return step


def curve() -> tuple[float, float]:
    """Return steps per CPU second of the toy game's smallest policy: whole, and its curve alone."""
    spec = TOY.replace(policy="mlp")
    with tempfile.TemporaryDirectory() as folder:
        run = spec.run_for(4, 0, "benchmark", 1e7)
        trainer = Trainer(run, _made_up(spec), ic.game(spec.game).n_actions, Path(folder))

        def whole() -> int:
            trainer.step()
            return 1

        def alone() -> int:
            trainer.progress.step += 1
            trainer._note(torch.tensor(1.0), trainer.flat.values.grad, trainer.recipe.batch_size)
            return 1

        return alternating(whole, alone)


WAYS = {  # how a study may train a width: the precision, and kernels or torch's convolutions
    f"{precision}{', kernels' * bool(to)}": {"precision": precision, "compiled_to": to}
    for to in (0, max(WANTED))
    for precision in precisions_on("cpu")
}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for way, settings in WAYS.items():
        spec = BREAKOUT.replace(recipe=ic.recipe("lean", **settings).to_json())
        for width, wanted in WANTED.items():
            with tempfile.TemporaryDirectory() as folder:
                run = spec.run_for(width, 0, "benchmark", 1e12)
                trainer = Trainer(run, _made_up(spec), 4, Path(folder))

                def ours(trainer: Trainer = trainer) -> int:
                    trainer.step()
                    return trainer.recipe.batch_size

                theirs, mine = alternating(reference(width), ours)  # type: ignore[arg-type]
                rate = mine * trainer.flops_per_sample / 1e9
            said = f"width {width}, {way}, {rate:.0f} GFLOP/s"
            rows.append((said, theirs, mine, f">= {wanted}"))
    show("training samples per CPU second, 1 thread", rows)
    show("steps per CPU second; ours: the curve's part alone", [("toy", *curve(), ">= 100")])


if __name__ == "__main__":
    main()
