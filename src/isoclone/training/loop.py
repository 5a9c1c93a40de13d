"""Train one run: build its parts, resume from its saved state, and train to a budget.

A constant-rate run passes through all its budgets and leaves a checkpoint at each. Everything
that happens at step t is a function of the run's declared fields and t, and the whole state is
saved along the way, so a run that was killed goes on to the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from isoclone.agents.checkpoint import (
    TrainedPolicy,
    described,
    load_tensors,
    policy_for,
    save_checkpoint,
    save_tensors,
    under,
)
from isoclone.base import distributed
from isoclone.base.curves import CurveRow
from isoclone.base.errors import CheckpointError, SpecError
from isoclone.base.records import Run
from isoclone.demos import Source
from isoclone.demos.base import MASKED, Batch
from isoclone.executors.setup import keep_freed_memory
from isoclone.policies import policy_flops
from isoclone.policies.factors import total_nats
from isoclone.policies.kernels import compiled_at, take_kernels
from isoclone.training.curve import Curve
from isoclone.training.device import precision_for
from isoclone.training.flat import Adam, FlatParameters, State
from isoclone.training.learner import SAVE_SECONDS, Diverged, Tell, TrainProgress, share_of_last
from isoclone.training.memory_format import arranged
from isoclone.training.recipes import Recipe

READ_STEPS = 50  # no more often is a GPU waited for, to read losses; a CPU has them at once
LOSS_AVERAGE = 8.0  # the reported training loss gives step s the weight s^8


@dataclass
class _Unread:
    """A step whose loss is still on the device: a tensor with one number."""

    step: int
    samples_before: int
    loss: torch.Tensor
    row: tuple[int, float, torch.Tensor, float] | None  # of the curve: samples, rate, norm, seconds


class Trainer:
    """A run in progress: its parts, and how far it has come.

    Args:
        run: what to train.
        source: what to train on.
        n_actions: the game's action count.
        folder: where the run keeps its state; `resume` loads it.
        device: 'cpu', 'cuda', 'mps'.
        action_sizes: the game's, where actions have several factors.

    Raises:
        SpecError: the policy cannot be trained on this source, or not by so many processes.
    """

    def __init__(
        self,
        run: Run,
        source: Source,
        n_actions: int,
        folder: Path,
        device: str = "cpu",
        action_sizes: Sequence[int] = (),
    ):
        keep_freed_memory()
        self.run, self.source, self.n_actions = run, source, n_actions
        self.action_sizes = tuple(action_sizes)
        self.state_path = folder / "state.safetensors"
        self.recipe = recipe = Recipe.from_json(run.recipe)
        if distributed.size() > recipe.batch_size:
            raise SpecError(
                f"a batch of {recipe.batch_size} cannot be dealt out to "
                f"{distributed.size()} processes"
            )
        self.device = torch.device(device)
        self.dtype = getattr(torch, precision_for(recipe.precision, self.device.type))
        self.encoder = source.encoder
        self.flops_per_sample = policy_flops(
            run.policy,
            run.width,
            self.encoder.spec,
            n_actions,
            run.flop_convention,
            **run.policy_options,
        )
        self.module = arranged(self._fresh_module(), recipe.memory_format_at(run.width))
        self.feed = source.feed(self.module, recipe.batch_size, run.seed, device, self.dtype)
        self.carried = self._initial_state()
        self.flat = FlatParameters(self.module)
        self.optimiser = Adam(
            self.flat.values,
            recipe.rate_at(run.width),
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
        )
        self.average = self.flat.values.detach().clone()
        self.progress, self.curve = TrainProgress(), Curve()
        self._unread: list[_Unread] = []

    def _fresh_module(self) -> torch.nn.Module:
        """Return the policy with the weights that the run's seed gives it."""
        run = self.run
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            module = policy_for(
                self.encoder, run.policy, run.width, self.n_actions, **run.policy_options
            )
        if self.device.type == "cpu" and compiled_at(run.recipe, run.width):
            take_kernels(module, self.dtype)
        return module.to(self.device)

    def _initial_state(self) -> list[State]:
        """Return what each part of a batch carries on: nothing, or a recurrent policy's state."""
        lanes = len(range(self.feed.lanes)[distributed.share(self.feed.lanes)])
        parts = self.recipe.accumulate
        shares = [len(part) for part in torch.arange(lanes).tensor_split(parts)]
        return [self.module.initial_state(share) if lanes else {} for share in shares]  # type: ignore[operator]

    # ------------------------------------------------------------------ training

    def train_until(self, budget_flops: float, tell: Tell | None = None) -> None:
        """Train until at least `budget_flops` are spent; the state is saved now and then.

        Args:
            tell: told every 50 steps how many samples have been seen.

        Raises:
            Diverged: the loss stopped being finite.
        """
        wanted = math.ceil(budget_flops / self.flops_per_sample)
        clock = time.process_time if self.device.type == "cpu" else time.monotonic
        begun, before = clock(), self.progress.seconds
        saved = time.monotonic()
        while self.progress.samples < wanted:
            self.step()
            self.progress.seconds = before + clock() - begun
            may_ask = distributed.size() == 1 or self.progress.step % READ_STEPS == 0
            if may_ask and distributed.any_of(time.monotonic() - saved > SAVE_SECONDS):
                self.save()
                saved = time.monotonic()
            if tell and self.progress.step % READ_STEPS == 0:
                tell(self.progress.samples)
        self.read_losses()

    def step(self) -> None:
        """Take one batch: rate, forward and backward, clip, update, average.

        Nothing here waits for a device; the losses of a few steps are read together.

        Raises:
            Diverged: a loss that was read is not a finite number.
        """
        done = self.progress
        batch = self.feed.batch(done.step)
        self.optimiser.rate = self._rate()
        self.flat.zero_grad()
        losses = []
        for i, part in enumerate(batch.split(self.recipe.accumulate)):
            logits, self.carried[i] = self._forward(part, self.carried[i])
            loss = total_nats(logits, part.targets, self.action_sizes, MASKED) / max(
                1, batch.samples
            )
            losses.append(loss.detach())
            loss.backward()
        gradient = self.flat.values.grad
        assert gradient is not None
        distributed.add_up(gradient)
        done.step += 1
        done.samples += batch.samples
        self._note(sum(losses[1:], losses[0]), gradient, batch.samples)
        self._clip()
        self.optimiser.step()
        self._average()
        if self.device.type == "cpu" or len(self._unread) >= READ_STEPS:
            self.read_losses()

    def _note(self, loss: torch.Tensor, gradient: torch.Tensor, samples: int) -> None:
        """Take note of a step, to be read later; most have no row in the curve."""
        done, row = self.progress, None
        if self.curve.begins_row(done.step):
            rate = self.optimiser.rate
            row = done.samples, rate, gradient.norm(), done.seconds
        self._unread.append(_Unread(done.step, done.samples - samples, loss, row))

    def read_losses(self) -> None:
        """Read the losses of the last steps from the device, into progress and curve.

        Raises:
            Diverged: one is not a finite number; the message says after how many samples.
        """
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        losses = torch.stack([step.loss for step in unread])
        distributed.add_up(losses)
        done, curve = self.progress, self.curve
        for step, loss in zip(unread, losses.tolist(), strict=True):
            if not math.isfinite(loss):
                raise Diverged(f"training loss was {loss} after {step.samples_before:,} samples")
            done.train_loss += (loss - done.train_loss) * share_of_last(step.step, LOSS_AVERAGE)
            curve.saw(loss)
            if step.row:
                samples, rate, norm, seconds = step.row
                curve.add(step.step, samples, rate, norm.item(), seconds)

    def _forward(self, batch: Batch, carried: State) -> tuple[torch.Tensor, State]:
        """Return logits, and the state to go on from, through which no gradient goes back."""
        with torch.autocast(self.device.type, torch.bfloat16, self.dtype == torch.bfloat16):
            if not carried:
                return self.module(*batch.inputs), carried
            logits, state = self.module(*batch.inputs, carried)
        return logits, {name: value.detach() for name, value in state.items()}

    def _clip(self) -> None:
        """Scale the gradient down to the recipe's largest norm, if it is longer."""
        gradient, longest = self.flat.values.grad, self.recipe.clip_norm
        if longest and gradient is not None:
            gradient.mul_((longest / gradient.norm()).clamp(max=1.0))

    def _rate(self) -> float:
        """Return the learning rate now: linear warm-up, then as the recipe's schedule says."""
        recipe, samples = self.recipe, self.progress.samples
        share = min(1.0, (samples + recipe.batch_size) / max(1, recipe.warmup_samples))
        if recipe.schedule == "inverse_sqrt":
            share *= min(1.0, recipe.decay_from / max(1, samples)) ** 0.5
        elif recipe.schedule == "cosine":
            assert self.run.horizon_flops is not None
            way = min(1.0, samples * self.flops_per_sample / self.run.horizon_flops)
            low = recipe.final_share
            share *= low + (1 - low) * 0.5 * (1 + math.cos(math.pi * way))
        return recipe.rate_at(self.run.width) * share

    @torch.no_grad()
    def _average(self) -> None:
        """Weigh the weights of step s as s^average (Karras et al. 2024, power-function EMA)."""
        if self.recipe.average == 0:
            return
        share = share_of_last(self.progress.step, self.recipe.average)
        self.average.lerp_(self.flat.values, share)

    # ------------------------------------------------------------------ results

    @property
    def flops(self) -> float:
        """FLOPs spent so far, under the run's convention."""
        return self.progress.samples * self.flops_per_sample

    def costs(self) -> dict[str, Any]:
        """Return the training loss, as a column of the run's point."""
        return {"train_loss": self.progress.train_loss if self.progress.step else None}

    def rows(self) -> list[CurveRow]:
        """Return the training curve so far."""
        return self.curve.rows(self.flops_per_sample)

    def is_beyond(self, budget_flops: float) -> bool:
        """Return whether the run has gone further than training to that budget takes it.

        Training stops with the batch that reaches the budget; masked samples make it less.
        """
        wanted = math.ceil(budget_flops / self.flops_per_sample)
        return self.progress.samples >= wanted + self.recipe.batch_size

    def close(self) -> None:
        """Do nothing: only memory is held."""

    def weights(self) -> State:
        """Return the weights a point is measured with: averaged if the recipe says so."""
        if self.recipe.average == 0:
            return dict(self.module.state_dict())
        return {**self.module.state_dict(), **self.flat.views(self.average)}

    def trained(self) -> TrainedPolicy:
        """Return a copy of the policy as it stands, to be evaluated."""
        module = self._fresh_module()
        module.load_state_dict(self.weights())
        return TrainedPolicy(
            module.eval(),
            self.encoder,
            self.run,
            self.n_actions,
            self.progress.samples,
            self.dtype,
            self.device,
            self.action_sizes,
        )

    def save_checkpoint(self, path: Path) -> None:
        """Write the policy as it stands, to be played and evaluated by anyone."""
        if not distributed.leads():
            return
        counted = (self.progress.samples, self.n_actions, self.action_sizes)
        about = described(self.run, *counted, self.dtype)
        save_checkpoint(path, self.weights(), self.encoder, about)

    # ------------------------------------------------------------------ saving and resuming

    def save(self) -> None:
        """Save the whole state; any number of processes can resume from it.

        Raises:
            Diverged: a loss that is read first is not a finite number.
        """
        self.read_losses()
        tensors = {f"weights.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= self.flat.saved(self.average, self.optimiser)
        tensors["curve"] = self.curve.tensor()
        for name in self.carried[0]:
            mine = torch.cat([state[name] for state in self.carried])
            tensors[f"carried.{name}"] = distributed.gather(mine)
        times = {"curve_seconds": self.curve.seconds}
        metadata = {"run_id": self.run.id, **self.progress.__dict__, **times}
        if distributed.leads():
            save_tensors(self.state_path, tensors, metadata)

    def resume(self) -> Trainer:
        """Load the saved state, if there is one.

        Raises:
            CheckpointError: it is damaged, or of another run. Nothing has been changed then.
        """
        if self.state_path.exists():
            tensors, metadata = load_tensors(self.state_path)
            self._restore(tensors, *self._checked(tensors, metadata))
        return self

    def _checked(self, tensors: State, metadata: dict[str, Any]) -> tuple[TrainProgress, Curve]:
        """Return progress and curve of a saved state, once the state is found to be this run's.

        An error here means that the file is unusable. Later errors, such as a lack of memory, do
        not, and must not cost the run its progress.
        """
        if metadata.get("run_id") != self.run.id:
            raise CheckpointError(f"{self.state_path} belongs to another run; delete it")
        wanted = {f"weights.{name}": v.shape for name, v in self.module.state_dict().items()}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        progress = {f.name: metadata.get(f.name) for f in fields(TrainProgress)}
        numbers = all(isinstance(value, int | float) for value in progress.values())
        carried = all(f"carried.{name}" in found for name in self.carried[0])
        fits = self.flat.holds(tensors) and not wanted.items() - found.items()
        if not numbers or not carried or not fits:
            raise CheckpointError(f"{self.state_path} does not fit the run; delete it")
        try:
            curve = Curve.restored(tensors["curve"], metadata["curve_seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.state_path} has no curve; delete it") from error
        return TrainProgress(**progress), curve  # type: ignore[arg-type]

    def _restore(self, tensors: State, progress: TrainProgress, curve: Curve) -> None:
        self.progress, self.curve, self._unread = progress, curve, []
        self.module.load_state_dict(under(tensors, "weights."))
        self.flat.restore(tensors, self.average, self.optimiser)
        for name in self.carried[0]:
            mine = tensors[f"carried.{name}"][distributed.share(self.feed.lanes)]
            parts = mine.tensor_split(len(self.carried))
            for state, part in zip(self.carried, parts, strict=True):
                state[name].copy_(part)
