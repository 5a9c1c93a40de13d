"""Play for a learner: environments side by side without end, cut into rollouts of a few steps.

Frames are encoded once, when they are seen, and kept once: a stack is gathered from them by number,
when a sample is learned from. Each slot starts its next episode as soon as one has ended; what is
played next is a function of the weights, the seed and the state here.

The state of a game cannot be saved. So the actions of each slot's unfinished episode are, and the
number of episodes it has begun: played again from its beginning, the episode is where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from isoclone.agents.checkpoint import under
from isoclone.games import Game, action_sizes, close, stack_indices, vector_env
from isoclone.games.actions import action_shape, as_logits_rows
from isoclone.policies.cores import State
from isoclone.policies.encode import FrameEncoder
from isoclone.policies.factors import nats
from isoclone.policies.observe import observe
from isoclone.policies.sampling import Sampling
from isoclone.training.reinforcement.actor_critic import ActorCritic
from isoclone.training.reinforcement.rewards import Rewards

DRAWN = 1  # key of the chance that draws actions, beside the run's seed
RANDOM_STEPS = 256  # of each slot, whose frames an encoder's statistics are of
PLAIN = Sampling()


class Teacher(Protocol):
    """Another policy that is asked what it would do, for the frames that are played."""

    def ask(self, inputs: tuple[Any, ...]) -> torch.Tensor:
        """Return logits (lanes, n_actions) for the observations of one step."""
        ...


@dataclass
class Rollout:
    """Samples of a few steps of all slots, and what learning from them needs.

    Arrays are (steps, slots, ...) unless said. `codes` (rows, slots, size) are encoded frames: row
    `history + t` is the frame seen at step t; `first` the row of the episode's first frame.
    `ends` are last steps of episodes, or of lives. `following` is the next value within one: 0
    after a terminal step, that of the last observation after a truncated one. `states` are a
    recurrent policy's before each unroll.
    """

    codes: np.ndarray
    history: int
    first: np.ndarray
    previous: np.ndarray
    starts: np.ndarray
    actions: np.ndarray
    log_probs: np.ndarray
    values: np.ndarray
    following: np.ndarray
    rewards: np.ndarray
    ends: np.ndarray
    teacher: np.ndarray | None
    states: list[State]
    returns: list[float] = field(default_factory=list)  # of episodes that ended, in raw rewards
    forwards: int = 0  # samples that policy and critic read to play

    def stacks(self, steps: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Return the codes (..., stack, size) of observations at steps (...) of slots (...)."""
        rows = self._rows(steps.ravel(), self.first[steps, slots].ravel())
        stacked = self.codes[rows, slots.ravel()[:, None]]
        return stacked.reshape(*steps.shape, *stacked.shape[1:])

    def followed_by(self, values: np.ndarray) -> np.ndarray:
        """Return `following` by other values (steps, slots) of the same observations.

        Values of last observations, of episodes cut off and of the rollout, stay the player's.
        """
        following, inside = self.following.copy(), ~self.ends[:-1]
        following[:-1][inside] = values[1:][inside]
        return following

    def _rows(self, steps: np.ndarray, first: np.ndarray) -> np.ndarray:
        return stack_indices(steps + self.history, first, self.history + 1)


class Actors:
    """Environments that a policy plays side by side, and where each of them is.

    Args:
        game: what is played.
        encoder: turns frames into the policy's codes.
        slots: environments.
        rewards: what is learned from.
        seed: of the environments and of the actions drawn.
        state: of a recurrent policy before an episode's first step; {} without memory.
        unroll: steps that a recurrent policy learns in one piece; 0 without memory.
        device: where the policy thinks.
        lives: whether a lost life counts as an end.
    """

    def __init__(
        self,
        game: Game,
        encoder: FrameEncoder,
        slots: int,
        rewards: Rewards,
        seed: int,
        state: State,
        unroll: int,
        device: torch.device,
        lives: bool = False,
    ):
        self._game, self._encoder, self._seed = game, encoder, seed
        self.slots, self.rewards, self._unroll = slots, rewards, unroll
        self._sizes = action_sizes(game)
        self._history = encoder.spec.stack - 1
        self.env = vector_env(game, slots, seed)
        self.played = 0  # steps of each slot so far
        self._begun = np.zeros(slots, np.int64)  # episodes
        self._taken: list[list[Any]] = [[] for _ in range(slots)]  # actions of this episode
        self._sums = np.zeros(slots)  # its raw rewards
        self._starts = np.ones(slots, bool)
        self._window = np.zeros((self._history + 1, slots, encoder.spec.size), encoder.dtype)
        self._age = np.zeros(slots, np.int64)  # steps of this episode so far
        self.state, self._device = state, device
        self._lives = getattr(self.env, "lives", None) if lives else None

    def begin(self) -> None:
        """Start the first episode in every slot; not needed before `restore`."""
        self._begin(np.arange(self.slots))

    def close(self) -> None:
        """Close the environments."""
        close(self.env)

    # ------------------------------------------------------------------ play

    @torch.no_grad()
    def play(
        self, module: ActorCritic, steps: int, dtype: torch.dtype, teacher: Teacher | None = None
    ) -> Rollout:
        """Play so many steps in every slot.

        Args:
            module: the policy, with its critic.
            dtype: float32, or bfloat16 for mixed precision.
            teacher: asked at every step, where one is given.
        """
        rollout = self._empty(steps)
        chance = np.random.default_rng([self._seed, DRAWN, self.played])
        history, last = self._history, np.zeros((self.slots,))
        for t in range(steps):
            rollout.first[t] = np.maximum(history + t - self._age, 0)
            inputs = self._inputs(module, self._window[None].swapaxes(1, 2), dtype)
            if self._unroll:
                _, previous, starts = inputs
                rollout.previous[t], rollout.starts[t] = previous[0].cpu(), starts[0].cpu()
                if t % self._unroll == 0:
                    rollout.states.append(self.state)
            logits, values, self.state = self._think(module, inputs, self.state, dtype)
            if teacher is not None:
                rollout.teacher = self._taught(rollout.teacher, t, steps, teacher.ask(inputs))
            uniforms = chance.random(action_shape(self._sizes, self.slots))
            chosen = PLAIN.choose(logits.cpu().numpy(), uniforms, self._sizes)
            rollout.actions[t] = chosen
            log_probs = -nats(logits, torch.from_numpy(chosen).to(logits.device), self._sizes)
            rollout.log_probs[t], rollout.values[t] = log_probs.cpu().numpy(), values.cpu().numpy()
            if t:
                rollout.following[t - 1] = np.where(rollout.ends[t - 1], last, rollout.values[t])
            last = self._step(module, rollout, t, chosen, dtype)
        inputs = self._inputs(module, self._window[None].swapaxes(1, 2), dtype)
        _, values, _ = self._think(module, inputs, self.state, dtype)
        rollout.following[-1] = np.where(rollout.ends[-1], last, values.cpu().numpy())
        rollout.forwards += (steps + 1) * self.slots
        self.played += steps
        return rollout

    def _empty(self, steps: int) -> Rollout:
        shape, spec = (steps, self.slots), self._encoder.spec
        codes = np.zeros((steps + self._history + 1, self.slots, spec.size), self._encoder.dtype)
        codes[: self._history + 1] = self._window
        each = action_shape(self._sizes, *shape)
        return Rollout(
            codes,
            self._history,
            first=np.zeros(shape, np.int64),
            previous=np.zeros(each, np.int64),
            starts=np.zeros(shape, bool),
            actions=np.zeros(each, np.int64),
            log_probs=np.zeros(shape, np.float32),
            values=np.zeros(shape, np.float32),
            following=np.zeros(shape, np.float32),
            rewards=np.zeros(shape),
            ends=np.zeros(shape, bool),
            teacher=None,
            states=[],
        )

    def _step(
        self, module: ActorCritic, rollout: Rollout, t: int, chosen: np.ndarray, dtype: torch.dtype
    ) -> np.ndarray:
        """Act in all slots; return the value of what follows (slots,) where an episode ended."""
        before = self._lives_left()
        frames, rewards, terminated, truncated = self.env.step(chosen)
        ended = terminated | truncated
        over = ended | (self._lives_left() < before)
        self._sums += rewards
        for slot, action in enumerate(chosen.tolist()):
            self._taken[slot].append(action)
        rollout.rewards[t] = self.rewards.shaped(rewards, over)
        rollout.ends[t] = over
        self._push(frames)
        values = np.zeros(self.slots)
        cut = np.flatnonzero(truncated & ~terminated)
        if len(cut):  # what it is worth where the time limit was
            values[cut] = self._worth(module, cut, dtype)
            rollout.forwards += len(cut)
        gone = np.flatnonzero(ended)
        if len(gone):
            rollout.returns += self._sums[gone].tolist()
            self._begin(gone)
        rollout.codes[self._history + t + 1] = self._window[-1]
        return values

    def _lives_left(self) -> np.ndarray:
        """Return the lives left in each slot (slots,); 0 where they do not count."""
        left = self._lives() if self._lives else None
        return np.zeros(self.slots) if left is None else left

    def _worth(self, module: ActorCritic, slots: np.ndarray, dtype: torch.dtype) -> np.ndarray:
        window = self._window[:, slots].swapaxes(0, 1)[None]
        inputs = self._inputs(module, window, dtype, slots)
        which = torch.from_numpy(slots)
        state = {k: v[which.to(self._device)] for k, v in self.state.items()}
        _, values, _ = self._think(module, inputs, state, dtype)
        worth: np.ndarray = values.cpu().numpy()
        return worth

    def _begin(self, slots: np.ndarray) -> None:
        """Start the next episode in slots; the first frame stands in for those before it."""
        self._window[:, slots] = self._encoder.encode(self.env.reset(slots))[None]
        self._age[slots], self._starts[slots], self._sums[slots] = 0, True, 0.0
        self._begun[slots] += 1
        for slot in slots.tolist():
            self._taken[slot] = []

    def _push(self, frames: np.ndarray) -> None:
        self._window[:-1] = self._window[1:]
        self._window[-1] = self._encoder.encode(frames)
        self._age += 1
        self._starts[:] = False

    def _before(self) -> np.ndarray:
        """Return the actions before, as numbers of their logits; `n_actions` at a start."""
        none = sum(self._sizes)
        before = np.full(action_shape(self._sizes, self.slots), none, np.int64)
        for slot, taken in enumerate(self._taken):
            if taken:
                before[slot] = as_logits_rows(np.array(taken[-1]), self._sizes)
        return before

    def _inputs(
        self,
        module: ActorCritic,
        stacks: np.ndarray,
        dtype: torch.dtype,
        slots: np.ndarray | None = None,
    ) -> tuple[Any, ...]:
        """Return a policy's arguments for one step, of stacks (1, slots, stack, size)."""
        device = self._device
        codes = torch.from_numpy(np.ascontiguousarray(stacks)).to(device)
        if not module.recurrent:
            return (observe(module.policy, codes[0], self._encoder, dtype),)
        which = slice(None) if slots is None else slots
        previous = torch.from_numpy(self._before()[which])[None].to(device)
        starts = torch.from_numpy(self._starts[which].copy())[None].to(device)
        return observe(module.policy, codes, self._encoder, dtype), previous, starts

    def _think(
        self, module: ActorCritic, inputs: tuple[Any, ...], state: State, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, State]:
        """Return logits (slots, n_actions), values (slots,) in float32, and the state."""
        with torch.autocast(self._device.type, torch.bfloat16, dtype == torch.bfloat16):
            logits, values, state = module(inputs, state)
        if module.recurrent:
            logits, values = logits[0], values[0]
        return logits.float(), values.float(), state

    def _taught(
        self, told: np.ndarray | None, t: int, steps: int, logits: torch.Tensor
    ) -> np.ndarray:
        if told is None:
            told = np.zeros((steps, *logits.shape), np.float32)
        told[t] = logits.float().cpu().numpy()
        return told

    # ------------------------------------------------------------------ saving and resuming

    def saved(self) -> tuple[State, dict[str, Any]]:
        """Return tensors and plain values from which `restore` goes on."""
        lengths = [len(taken) for taken in self._taken]
        flat = [action for taken in self._taken for action in taken]
        factors = action_shape(self._sizes)
        actions = np.array(flat, np.int64).reshape(len(flat), *factors)
        tensors = {"actors.taken": torch.from_numpy(actions)}
        tensors |= {f"actors.state.{name}": value for name, value in self.state.items()}
        return tensors, {
            "played": self.played,
            "begun": self._begun.tolist(),
            "lengths": lengths,
            "frames": self._digest(),
            "rewards": self.rewards.to_json(),
        }

    def restore(self, tensors: State, about: dict[str, Any]) -> bool:
        """Play the unfinished episodes again; return whether they went as they had gone.

        Where they did not, since the game depends on more than its seed, new ones are begun.

        Raises:
            KeyError, TypeError, ValueError: the state is not of such a run; nothing was changed.
        """
        lengths, begun = [int(n) for n in about["lengths"]], np.array(about["begun"], np.int64)
        taken = tensors["actors.taken"].numpy()
        if len(lengths) != self.slots or begun.shape != (self.slots,) or sum(lengths) != len(taken):
            raise ValueError("the episodes under way do not fit")
        self.rewards.restore(about["rewards"])
        self.played = int(about["played"])
        state = under(tensors, "actors.state.")
        self.state = {name: value.to(self._device) for name, value in state.items()}
        parts = np.split(taken, np.cumsum(lengths)[:-1])
        if self._replayed(parts, begun) and self._digest() == about["frames"]:
            return True
        self._begin(np.arange(self.slots))
        self._begun = begun + 1
        return False

    def _replayed(self, parts: Sequence[np.ndarray], begun: np.ndarray) -> bool:
        """Play each slot's actions from its episode's beginning, all ending at the same time."""
        for slot, count in enumerate(begun.tolist()):
            for _ in range(count - 1):
                self.env.reset(np.array([slot]))
        lengths = np.array([len(part) for part in parts])
        longest, playing = int(lengths.max()), np.zeros(self.slots, bool)
        for t in range(longest + 1):
            now = np.flatnonzero(lengths == longest - t)
            if len(now):
                self._begin(now)
                playing[now] = True
            if t < longest and not self._repeated(parts, longest - t, playing):
                return False
        self._begun = begun.copy()
        return True

    def _repeated(self, parts: Sequence[np.ndarray], left: int, playing: np.ndarray) -> bool:
        """Take the action that has so many after it, itself included; False if an episode ends."""
        actions = np.zeros(action_shape(self._sizes, self.slots), np.int64)
        for slot in np.flatnonzero(playing).tolist():
            actions[slot] = parts[slot][len(parts[slot]) - left]
            self._taken[slot].append(actions[slot].tolist())
        frames, rewards, terminated, truncated = self.env.step(actions)
        self._push(frames)
        self._sums += rewards
        return not (terminated | truncated)[playing].any()

    def _digest(self) -> str:
        return hashlib.sha256(self._window.tobytes()).hexdigest()[:16]
