"""Train one run by PPO to a budget: play, weigh what came of it, learn; again.

Everything that happens in iteration k is a function of the run's declared fields and k. The state
is saved between iterations, so a run that was killed goes on to the same numbers, in any game whose
episodes depend on nothing but seed and actions.

FLOPs are counted by what was computed: forward passes of play (the values of last observations
included), passes of learning, forward passes of a teacher and over what an older policy played. The
optimiser is not counted, as everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
from isoclone.executors.setup import keep_freed_memory
from isoclone.games import Game, action_sizes, close, vector_env
from isoclone.games.actions import random_actions, several
from isoclone.policies import policy_layout
from isoclone.policies.encode import FrameEncoder, fit_encoder
from isoclone.policies.factors import nats
from isoclone.training.device import precision_for
from isoclone.training.flat import Adam, FlatParameters, State
from isoclone.training.learner import SAVE_SECONDS, Diverged, Tell, TrainProgress, share_of_last
from isoclone.training.reinforcement.actor_critic import (
    ActorCritic,
    learning_cost,
    make_actor_critic,
    orthogonal,
)
from isoclone.training.reinforcement.advantages import gae, vtrace
from isoclone.training.reinforcement.batches import Samples
from isoclone.training.reinforcement.objective import FIGURES, objective
from isoclone.training.reinforcement.player import Player
from isoclone.training.reinforcement.recipe import PpoRecipe
from isoclone.training.reinforcement.rewards import Rewards
from isoclone.training.reinforcement.rollouts import Actors, Rollout
from isoclone.training.reinforcement.teacher import Clone

TRAINED_IN = 2**40  # seeds of training episodes begin here: no policy is judged on one of them
SHUFFLED = 2  # key of the chance that draws minibatches, beside the run's seed
RANDOM_SLOTS, RANDOM_STEPS = 8, 256  # of random play, for an encoder's statistics
GROWTH = 1.06  # samples of a row of the curve over those of the row before


@dataclass
class Counts:
    """Samples by what was computed for them, exactly."""

    played: int = 0  # forward passes of play
    learned: int = 0  # forward and backward passes
    taught: int = 0  # forward passes of a teacher
    weighed: int = 0  # forward passes over what an older policy played


class PpoTrainer:
    """A run in progress: its parts, and how far it has come.

    Args:
        run: what to train; its recipe is a `PpoRecipe`'s.
        game: what is played.
        folder: where the run keeps its state; `resume` loads it.
        device: 'cpu', 'cuda', 'mps'.
        clone: a policy to start from, which also teaches where the recipe says so.

    Raises:
        SpecError: the policy cannot be trained in this game, or by several processes.
    """

    def __init__(
        self,
        run: Run,
        game: Game,
        folder: Path,
        device: str = "cpu",
        clone: TrainedPolicy | None = None,
    ):
        if distributed.size() > 1:
            raise SpecError("reinforcement learning trains a run in one process, not by torchrun")
        keep_freed_memory()
        self.run, self.game, self.clone = run, game, clone
        self.state_path = folder / "state.safetensors"
        self.recipe = recipe = PpoRecipe.from_json(run.recipe)
        self.device = torch.device(device)
        self.dtype = getattr(torch, precision_for(recipe.precision, self.device.type))
        shape = (run.policy, run.width, game.frame, game.n_actions)
        self.encoder = clone.encoder if clone else _encoder(run, game, recipe.frames)
        self.cost = learning_cost(*shape, recipe.critic, run.flop_convention, **run.policy_options)
        self.module = self._fresh_module()
        unroll = int(self.module.policy.unroll) if self.module.recurrent else 0  # type: ignore
        _check_unroll(recipe, unroll)
        self.unroll, self.sizes = unroll, action_sizes(game)
        self.flat = FlatParameters(self.module)
        self.optimiser = Adam(self.flat.values, recipe.rate_at(run.width), eps=recipe.adam_eps)
        self.average = self.flat.values.detach().clone()
        self.progress, self.counts = TrainProgress(), Counts()
        self.curve: list[dict[str, Any]] = []
        self._since: list[float] = []  # returns of episodes that ended since the last row
        self.updates = 0
        self.replayed = True  # False where a game went differently when it was played again
        self._player: Player | None = None

    def _fresh_module(self) -> ActorCritic:
        """Return policy and critic with the weights that the run's seed, or the clone, gives."""
        run, recipe = self.run, self.recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            module = make_actor_critic(
                run.policy,
                run.width,
                self.game.frame,
                self.game.n_actions,
                recipe.critic,
                **run.policy_options,
            )
            orthogonal(module)
        for part in (module.policy, module.critic):
            if hasattr(part, "input_scale"):
                part.input_scale = self.encoder.scale  # type: ignore[assignment]
        if self.clone:
            module.policy.load_state_dict(self.clone.module.state_dict())
        return module.to(self.device)

    @property
    def player(self) -> Player:
        """Who plays; the environments are made when they are first needed."""
        if self._player is None:
            actors = self._fresh_actors()
            actors.begin()
            self._player = self._player_of(actors)
        return self._player

    def _fresh_actors(self) -> Actors:
        recipe, seed = self.recipe, TRAINED_IN + self.run.seed
        rewards = Rewards(recipe.rewards, recipe.slots, recipe.discount)
        state = self.module.initial_state(recipe.slots)
        about = (recipe.slots, rewards, seed, state, self.unroll, self.device, recipe.lives)
        return Actors(self.game, self.encoder, *about)

    def _player_of(self, actors: Actors) -> Player:
        recipe = self.recipe
        teacher = Clone(self.clone, recipe.slots) if self.clone and recipe.teacher_coef else None
        return Player(actors, self.module, recipe.rollout_steps, self.dtype, recipe.lag, teacher)

    def _resumed_player(self, tensors: State, about: dict[str, Any]) -> Player:
        """Return who plays, the environments where they were in a saved state.

        Raises:
            CheckpointError: the state does not tell.
        """
        player = self._player_of(self._fresh_actors())
        with ExitStack() as undo:
            undo.callback(player.close)
            try:
                self.replayed = player.restore(tensors, about["player"])
            except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
                raise CheckpointError(f"{self.state_path} is no state of PPO; delete it") from error
            undo.pop_all()
        return player

    def close(self) -> None:
        """Close the environments."""
        if self._player is not None:
            self._player.close()
            self._player = None

    # ------------------------------------------------------------------ training

    def train_until(self, budget_flops: float, tell: Tell | None = None) -> None:
        """Train until at least `budget_flops` are spent; the state is saved now and then.

        Args:
            tell: told after every iteration how many environment steps have been taken.

        Raises:
            Diverged: an advantage or a loss is not a finite number.
        """

        def told(returns: list[float]) -> None:
            if tell:
                tell(self.progress.samples)

        self.train_while(lambda: self.flops < budget_flops, told)

    def train_while(
        self, unfinished: Callable[[], bool], told: Callable[[list[float]], None]
    ) -> None:
        """Train as long as it is unfinished; the state is saved now and then.

        Args:
            told: told after every iteration the returns of episodes that ended in it.

        Raises:
            Diverged: an advantage or a loss is not a finite number.
        """
        clock = time.process_time if self.device.type == "cpu" else time.monotonic
        begun, before = clock(), self.progress.seconds
        saved = time.monotonic()
        while unfinished():
            returns = self.iterate()
            self.progress.seconds = before + clock() - begun
            if time.monotonic() - saved > SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
            told(returns)

    def iterate(self) -> list[float]:
        """Play one rollout and learn from it; return the returns of episodes that ended.

        Raises:
            Diverged: an advantage or a loss is not a finite number.
        """
        recipe, done = self.recipe, self.progress
        teaches, later = (
            recipe.teaches(samples) if self.clone else 0.0
            for samples in (done.samples, done.samples + recipe.samples_per_iteration)
        )
        rollout = self.player.next(teaches > 0, later > 0)
        self.counts.played += rollout.forwards
        self.counts.taught += recipe.samples_per_iteration if rollout.teacher is not None else 0
        samples = self._weighed(rollout)
        figures, norm = self._learn(samples, teaches)
        done.step += 1
        done.samples += recipe.samples_per_iteration
        self._note(rollout, figures, norm)
        return rollout.returns

    def _weighed(self, rollout: Rollout) -> Samples:
        """Return the samples of a rollout with their advantages."""
        recipe = self.recipe
        samples = Samples(rollout, self.encoder, self.module, self.dtype, self.unroll)
        shares = recipe.discount, recipe.gae_lambda
        values, following, ends = rollout.values, rollout.following, rollout.ends
        if recipe.lag:
            log_probs, values = self._reread(samples)
            following = rollout.followed_by(values)
            ratios = np.exp(log_probs - rollout.log_probs)
            weighed = vtrace(rollout.rewards, values, following, ends, ratios, *shares)
        else:
            weighed = gae(rollout.rewards, values, following, ends, *shares)
        if not all(np.isfinite(figures).all() for figures in weighed):
            raise Diverged(
                f"advantages were not finite after {self.progress.samples:,} environment steps"
            )
        samples.weigh(*weighed)
        return samples

    @torch.no_grad()
    def _reread(self, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        """Return the learner's log-probabilities of what was done, and values, (steps, slots)."""
        log_probs, values = [], []
        for inputs, state, batch in samples.minibatches(self.recipe.batch_size):
            logits, value = self._read(inputs, state)
            log_probs.append(-nats(logits.float(), batch.actions, self.sizes))
            values.append(value.float())
        self.counts.weighed += self.recipe.samples_per_iteration
        return samples.joined(log_probs), samples.joined(values)

    def _read(self, inputs: tuple[Any, ...], state: State) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (n, n_actions) and values (n,) of a minibatch."""
        with torch.autocast(self.device.type, torch.bfloat16, self.dtype == torch.bfloat16):
            logits, values, _ = self.module(inputs, state)
        return (logits.flatten(0, 1), values.flatten()) if self.unroll else (logits, values)

    def _learn(self, samples: Samples, teaches: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Pass over the samples; return the mean figures of the last pass, and a gradient norm.

        A pass is the last where the policy has moved further than the recipe allows.
        """
        recipe, seed = self.recipe, TRAINED_IN + self.run.seed
        for epoch in range(recipe.epochs):
            rng = np.random.default_rng([seed, SHUFFLED, self.progress.step, epoch])
            told = []
            for inputs, state, batch in samples.minibatches(recipe.batch_size, rng):
                self.flat.zero_grad()
                losses, norm = self._step(inputs, state, batch, teaches)
                told.append(losses)
            self.counts.learned += recipe.samples_per_iteration
            figures = torch.stack(told).mean(0)
            if not torch.isfinite(figures).all():
                raise Diverged(
                    f"the training loss was not finite after {self.progress.samples:,} "
                    "environment steps"
                )
            if recipe.target_kl and figures[FIGURES.index("kl_nats")] > 1.5 * recipe.target_kl:
                break
        return figures, norm

    def _step(
        self, inputs: tuple[Any, ...], state: State, batch: Any, teaches: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        recipe = self.recipe
        logits, values = self._read(inputs, state)
        losses = objective(logits, values, batch, recipe, self.sizes, teaches)
        losses.total.backward()
        gradient = self.flat.values.grad
        assert gradient is not None
        norm = gradient.norm()
        if recipe.clip_norm:
            gradient.mul_((recipe.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        self.optimiser.step()
        self.updates += 1
        if recipe.average:
            with torch.no_grad():
                share = share_of_last(self.updates, recipe.average)
                self.average.lerp_(self.flat.values, share)
        return losses.figures, norm.detach()

    def _note(self, rollout: Rollout, figures: torch.Tensor, norm: torch.Tensor) -> None:
        """Add a row to the curve, where enough was played since the last one."""
        self._since += rollout.returns
        before = self.curve[-1]["samples"] if self.curve else 0
        if self.progress.samples < GROWTH * before:
            return
        told = dict(zip(FIGURES, figures.tolist(), strict=True))
        del told["teacher_kl_nats"]
        self.curve.append(
            {
                "samples": self.progress.samples,
                "flops": self.flops,
                "learning_rate": self.optimiser.rate,
                "gradient_norm": norm.item(),
                "return_mean": float(np.mean(self._since)) if self._since else None,
                "seconds": self.progress.seconds,
                **told,
            }
        )
        self._since = []

    # ------------------------------------------------------------------ results

    @property
    def flops(self) -> float:
        """FLOPs spent so far, under the run's convention."""
        return self.play_flops + self.learn_flops

    @property
    def play_flops(self) -> float:
        """FLOPs of playing: the forward passes of policy and critic."""
        return self.counts.played * self.cost.play

    @property
    def learn_flops(self) -> float:
        """FLOPs of learning: forward and backward passes, and forward ones of a teacher's."""
        counts, cost = self.counts, self.cost
        taught = counts.taught * cost.teach + counts.weighed * cost.weigh
        return counts.learned * cost.learn + taught

    def costs(self) -> dict[str, Any]:
        """Return the FLOPs by what they were for, and the passes, as columns of the run's point.

        Passes are those made: a recipe's `target_kl` ends some early.
        """
        passes = self.counts.learned / max(self.progress.samples, 1)
        flops = {"play_flops": self.play_flops, "learn_flops": self.learn_flops}
        return {**flops, "epochs": round(passes, 4)}

    def rows(self) -> list[CurveRow]:
        """Return the training curve so far."""
        made, samples, seconds = [], 0, 0.0
        for row in self.curve:
            told = {name: value for name, value in row.items() if name != "seconds"}
            passed = row["seconds"] - seconds
            speed = (row["samples"] - samples) / passed if passed > 0 else None
            made.append(CurveRow(**told, samples_per_s=speed))
            samples, seconds = row["samples"], row["seconds"]
        return made

    def is_beyond(self, budget_flops: float) -> bool:
        """Return whether the run has gone further than training to that budget takes it."""
        shape = (self.run.policy, self.run.width, self.game.frame, self.game.n_actions)
        options = self.run.policy_options
        least = self.recipe.least_flops(*shape, self.run.flop_convention, **options)
        return self.flops >= budget_flops + 1.1 * least  # values at time limits cost a little more

    def weights(self) -> State:
        """Return the policy's weights that a point is measured with."""
        every = dict(self.module.state_dict())
        if self.recipe.average:
            every |= self.flat.views(self.average)
        return under(every, "policy.")

    def trained(self) -> TrainedPolicy:
        """Return a copy of the policy as it stands, to be evaluated."""
        run = self.run
        shape = (run.policy, run.width, self.game.n_actions)
        module = policy_for(self.encoder, *shape, **run.policy_options).to(self.device)
        module.load_state_dict(self.weights())
        return TrainedPolicy(
            module.eval(),
            self.encoder,
            run,
            self.game.n_actions,
            self.progress.samples,
            self.dtype,
            self.device,
            several(self.game),
        )

    def save_checkpoint(self, path: Path) -> None:
        """Write the policy as it stands, to be played and evaluated by anyone."""
        counted = (self.progress.samples, self.game.n_actions, several(self.game))
        about = described(self.run, *counted, self.dtype)
        save_checkpoint(path, self.weights(), self.encoder, about)

    # ------------------------------------------------------------------ saving and resuming

    def save(self) -> None:
        """Save the whole state, the episodes under way included."""
        tensors, player = self.player.saved()
        tensors |= {f"weights.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= self.flat.saved(self.average, self.optimiser)
        save_tensors(
            self.state_path,
            tensors,
            {
                "run_id": self.run.id,
                "progress": self.progress.__dict__,
                "counts": self.counts.__dict__,
                "updates": self.updates,
                "curve": self.curve,
                "since": self._since,
                "player": player,
            },
        )

    def resume(self) -> PpoTrainer:
        """Load the saved state, if there is one.

        Raises:
            CheckpointError: it is damaged, or of another run. Nothing has been changed then.
        """
        if not self.state_path.exists():
            return self
        try:
            tensors, about = load_tensors(self.state_path)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; delete it to begin anew") from error
        if about.get("run_id") != self.run.id:
            raise CheckpointError(f"{self.state_path} belongs to another run; delete it")
        wanted = {f"weights.{name}": v.shape for name, v in self.module.state_dict().items()}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if wanted.items() - found.items() or not self.flat.holds(tensors):
            raise CheckpointError(f"{self.state_path} does not fit the run; delete it")
        try:
            progress, counts = TrainProgress(**about["progress"]), Counts(**about["counts"])
            curve, since = list(about["curve"]), list(about["since"])
            updates = int(about["updates"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.state_path} is no state of PPO; delete it") from error
        player = self._resumed_player(tensors, about)
        self.progress, self.counts, self.updates = progress, counts, updates
        self.curve, self._since, self._player = curve, since, player
        self.module.load_state_dict(under(tensors, "weights."))
        self.flat.restore(tensors, self.average, self.optimiser)
        return self


def _check_unroll(recipe: PpoRecipe, unroll: int) -> None:
    """Raise SpecError unless a rollout and a minibatch are whole numbers of unrolls."""
    for name in ("rollout_steps", "batch_size") if unroll else ():
        if getattr(recipe, name) % unroll:
            raise SpecError(
                f"recipe '{recipe.name}': {name} must be a multiple of the policy's unroll "
                f"({unroll}), not {getattr(recipe, name)}"
            )


def _encoder(run: Run, game: Game, kind: str) -> FrameEncoder:
    """Return the encoder of a game's frames, with the statistics of random play."""
    layout = policy_layout(run.policy, run.width, game.frame, game.n_actions, **run.policy_options)
    if kind == "unit" or layout == "raw":
        frames = np.zeros((1, *game.frame.shape), game.frame.dtype)  # of which nothing is taken
        return fit_encoder("unit", layout, game.frame, frames)
    return fit_encoder(kind, layout, game.frame, random_frames(game, TRAINED_IN + run.seed))


def random_frames(game: Game, seed: int) -> np.ndarray:
    """Return frames of random play, (n, *shape)."""
    env, rng = vector_env(game, RANDOM_SLOTS, seed), np.random.default_rng(seed)
    try:
        seen = [env.reset(np.arange(RANDOM_SLOTS))]
        for _ in range(RANDOM_STEPS):
            drawn = random_actions(action_sizes(game), rng, RANDOM_SLOTS)
            frames, _, terminated, truncated = env.step(drawn)
            seen.append(frames)
            ended = np.flatnonzero(terminated | truncated)
            if len(ended):
                seen.append(env.reset(ended))
    finally:
        close(env)
    return np.concatenate(seen)
