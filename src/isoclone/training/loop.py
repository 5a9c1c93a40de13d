"""One run, read top to bottom: data, model, optimiser, loop, budgets crossed, done.

A constant-rate run passes through all its budgets and leaves a checkpoint at each. Everything
that happens at step t is a function of the run's declared fields and t, and the whole state is
saved along the way, so a run that was killed goes on to the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from isoclone.base import distributed
from isoclone.base.errors import CheckpointError, SpecError
from isoclone.base.records import Run
from isoclone.executors.setup import keep_freed_memory
from isoclone.games import FrameSpec
from isoclone.policies import policy_flops
from isoclone.training.checkpoint import (
    Trained,
    load_tensors,
    policy_for,
    save_checkpoint,
    save_tensors,
)
from isoclone.training.data import MASKED, Batch, Source, encoder_of, feed_for
from isoclone.training.flat import FlatParameters
from isoclone.training.recipes import Recipe

SAVE_SECONDS = 20.0
LOSS_AVERAGE = 8.0  # the reported training loss weighs step s as s^8

Progress = Callable[[int], None]


class Diverged(Exception):
    """The training loss was not a finite number."""


@dataclass
class Progressed:
    """How far a run has come, and its training loss lately (averaged as weights can be).

    `seconds` is the time it took, restarts included and lost work left out: of the processor on
    CPUs, so that a busy machine does not spoil it, and of the clock elsewhere.
    """

    step: int = 0
    samples: int = 0
    train_loss: float = 0.0
    seconds: float = field(default=0.0, compare=False)  # never twice the same


class Trainer:
    """A run in progress.

    Args:
        run: what to train.
        source: what to train on: encoded frames, whole games, or a feed of one's own.
        n_actions: the game's action count.
        folder: where the run keeps its state; continued from there if something is there.
        device: 'cpu', 'cuda', 'mps'.
    """

    def __init__(self, run: Run, source: Source, n_actions: int, folder: Path, device: str = "cpu"):
        keep_freed_memory()
        self.run, self.source, self.n_actions, self.folder = run, source, n_actions, folder
        self.recipe = Recipe.from_json(run.recipe)
        self.device = torch.device(device)
        self.dtype = getattr(torch, precision_for(self.recipe, self.device.type))
        self.encoder = encoder_of(source)
        self.flops_per_sample = run_flops_per_sample(run, self.encoder.spec, n_actions)
        self.module = self._make_module()
        self.feed = feed_for(
            source, self.recipe.batch_size, run.seed, self.module, device, self.dtype
        )
        self.carried = self._initial_state()
        self.flat = FlatParameters(self.module)
        self.optimiser = torch.optim.Adam(
            [self.flat.values],
            lr=self.recipe.rate_at(run.width),
            betas=self.recipe.betas,
            weight_decay=self.recipe.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.average = self.flat.values.detach().clone()
        self.progressed = Progressed()
        if self.state_path.exists():
            self._restore()

    @property
    def state_path(self) -> Path:
        """Where the state to go on from is kept."""
        return self.folder / "state.safetensors"

    def _make_module(self) -> torch.nn.Module:
        run = self.run
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            module = policy_for(
                self.encoder, run.policy, run.width, self.n_actions, **run.policy_options
            )
        return module.to(self.device)

    def _initial_state(self) -> list[dict[str, torch.Tensor]]:
        """What each part of a batch carries on from the batch before: nothing, or the policy's."""
        lanes = len(range(self.feed.lanes)[distributed.share(self.feed.lanes)])
        parts = self.recipe.accumulate
        shares = [len(part) for part in torch.arange(lanes).tensor_split(parts)]
        return [self.module.initial_state(share) if lanes else {} for share in shares]  # type: ignore[operator]

    @property
    def flops(self) -> float:
        """What has been spent so far, under the run's convention."""
        return self.progressed.samples * self.flops_per_sample

    def train_until(self, budget_flops: float, progress: Progress | None = None) -> None:
        """Train until at least `budget_flops` are spent; the state is saved now and then.

        Raises:
            Diverged: the loss stopped being finite.
        """
        wanted = math.ceil(budget_flops / self.flops_per_sample)
        clock = time.process_time if self.device.type == "cpu" else time.monotonic
        begun, before = clock(), self.progressed.seconds
        saved = time.monotonic()
        while self.progressed.samples < wanted:
            self._step()
            self.progressed.seconds = before + clock() - begun
            if distributed.any_of(time.monotonic() - saved > SAVE_SECONDS):
                self.save()
                saved = time.monotonic()
            if progress and self.progressed.step % 50 == 0:
                progress(self.progressed.samples)

    def _step(self) -> None:
        done = self.progressed
        batch = self.feed.batch(done.step)
        self._set_rate()
        self.flat.zero_grad()
        value = 0.0
        for i, part in enumerate(batch.split(self.recipe.accumulate)):
            logits, self.carried[i] = self._forward(part, self.carried[i])
            loss = _loss(logits, part.targets) / max(1, batch.samples)
            value += loss.item()
            loss.backward()
        value = distributed.total(value)
        if not math.isfinite(value):
            raise Diverged(f"training loss was {value} after {done.samples:,} samples")
        assert self.flat.values.grad is not None
        distributed.add_up(self.flat.values.grad)
        self._clip()
        self.optimiser.step()
        done.step += 1
        done.samples += batch.samples
        done.train_loss += (value - done.train_loss) * _share_of_last(done.step, LOSS_AVERAGE)
        self._average()

    def _forward(
        self, batch: Batch, carried: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits, and the state to go on from, through which no gradient goes back."""
        with torch.autocast(self.device.type, torch.bfloat16, self.dtype == torch.bfloat16):
            if not carried:
                return self.module(*batch.inputs), carried
            logits, state = self.module(*batch.inputs, carried)
        return logits, {name: value.detach() for name, value in state.items()}

    def _clip(self) -> None:
        """Shorten the gradient to the recipe's longest."""
        gradient, longest = self.flat.values.grad, self.recipe.clip_norm
        if longest and gradient is not None:
            gradient.mul_((longest / gradient.norm()).clamp(max=1.0))

    def _set_rate(self) -> None:
        """Linear warm-up, then as the recipe's schedule says."""
        recipe, samples = self.recipe, self.progressed.samples
        share = min(1.0, (samples + recipe.batch_size) / max(1, recipe.warmup_samples))
        if recipe.schedule == "inverse_sqrt":
            share *= min(1.0, recipe.decay_from / max(1, samples)) ** 0.5
        elif recipe.schedule == "cosine":
            assert self.run.horizon_flops is not None
            way = min(1.0, samples * self.flops_per_sample / self.run.horizon_flops)
            low = recipe.final_share
            share *= low + (1 - low) * 0.5 * (1 + math.cos(math.pi * way))
        self.optimiser.param_groups[0]["lr"] = recipe.rate_at(self.run.width) * share

    @torch.no_grad()
    def _average(self) -> None:
        """Weights of step s counting as s^average (Karras et al. 2024, power-function EMA)."""
        if self.recipe.average == 0:
            return
        share = _share_of_last(self.progressed.step, self.recipe.average)
        self.average.lerp_(self.flat.values, share)

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights a point is measured with: averaged if the recipe says so."""
        if self.recipe.average == 0:
            return dict(self.module.state_dict())
        return {**self.module.state_dict(), **self.flat.views(self.average)}

    def trained(self) -> Trained:
        """A copy of the policy as it stands, to be evaluated."""
        module = self._make_module()
        module.load_state_dict(self.weights())
        return Trained(
            module.eval(),
            self.encoder,
            self.run,
            self.n_actions,
            self.progressed.samples,
            self.dtype,
            self.device,
        )

    def save(self) -> None:
        """Save the whole state, to go on from after a stop at any moment and on any ranks."""
        tensors = {f"weights.{k}": v for k, v in self.module.state_dict().items()}
        tensors["average"] = self.average
        for state in self.optimiser.state.values():
            tensors |= {f"adam.{name}": value for name, value in state.items()}
        for name in self.carried[0]:
            tensors[f"carried.{name}"] = distributed.gather(
                torch.cat([s[name] for s in self.carried])
            )
        metadata = {"run_id": self.run.id, **self.progressed.__dict__}
        if distributed.leads():
            save_tensors(self.state_path, tensors, metadata)

    def _restore(self) -> None:
        tensors, metadata = load_tensors(self.state_path)
        if metadata.pop("run_id", None) != self.run.id:
            raise CheckpointError(f"{self.state_path} belongs to another run; delete it")
        self.progressed = Progressed(**metadata)
        self.module.load_state_dict(_under(tensors, "weights."))
        self.average.copy_(tensors["average"])
        for name in self.carried[0]:
            mine = tensors[f"carried.{name}"][distributed.share(self.feed.lanes)]
            parts = mine.tensor_split(len(self.carried))
            for state, part in zip(self.carried, parts, strict=True):
                state[name].copy_(part)
        adam = _under(tensors, "adam.")
        if adam:
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": {0: adam}})

    def save_checkpoint(self, path: Path) -> None:
        """Write the policy as it stands, to be played and evaluated by anyone."""
        if not distributed.leads():
            return
        save_checkpoint(
            path,
            self.weights(),
            self.encoder,
            {
                "run": self.run.to_json(),
                "samples": self.progressed.samples,
                "n_actions": self.n_actions,
                "precision": str(self.dtype).removeprefix("torch."),
            },
        )


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum of the cross-entropies of what is not masked, in float32."""
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, targets.flatten(), ignore_index=MASKED, reduction="sum")


def _share_of_last(step: int, power: float) -> float:
    """Weight of step `step` in an average where step s counts as s^power."""
    return 1 - (1 - 1 / step) ** (power + 1)


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def run_flops_per_sample(run: Run, frame: FrameSpec, n_actions: int) -> float:
    """FLOPs of one training sample of a run, under its convention."""
    return policy_flops(
        run.policy, run.width, frame, n_actions, run.flop_convention, **run.policy_options
    )


def precision_for(recipe: Recipe, device: str) -> str:
    """'float32' or 'bfloat16': what 'auto' means on this device."""
    if recipe.precision != "auto":
        return recipe.precision
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = device == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if fast else "float32"


def check_device(device: str) -> str:
    """The device, if this machine has it.

    Raises:
        SpecError: it does not.
    """
    kind = device.partition(":")[0]
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(kind, False):
        have = ", ".join(name for name, here in there.items() if here)
        raise SpecError(f"device '{device}' is not available here (available: {have})")
    return device


def samples_for(budget_flops: float, flops_per_sample: float, batch_size: int) -> int:
    """Samples a budget buys, in whole batches: the first count that reaches it."""
    return math.ceil(math.ceil(budget_flops / flops_per_sample) / batch_size) * batch_size


def epochs(samples: int, unique: int) -> float:
    """Passes over the training samples."""
    return float(np.round(samples / unique, 4))
