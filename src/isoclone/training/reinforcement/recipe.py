"""The recipe of PPO: every setting in one place, with its source.

Names in brackets are those of Huang et al. 2022, "The 37 implementation details of proximal policy
optimization", where a setting is one of them.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from isoclone.base.errors import SpecError
from isoclone.base.records import conform, shown

REWARDS = ("raw", "sign", "scaled")
CRITICS = ("shared", "separate")
LAGS = (0, 1)
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class PpoRecipe:
    """The settings of PPO (Schulman et al. 2017); all of them are part of a run's identity.

    An iteration plays `rollout_steps` steps in each of `slots` environments, and then passes
    `epochs` times over these samples in minibatches of `batch_size`.

    Attributes:
        learning_rate: of Adam, at `width_base`; it falls as (width / width_base)^-`width_power`. It
            is constant, so that one run crosses all budgets [annealing is left out].
        average: exponent of the power-law average of the weights that a point is measured with, as
            in cloning; 0 measures the last ones.
        frames: how frames are encoded, see `policies.encode`; statistics are those of random play.
        rewards: what is learned from: 'raw'; 'sign', -1, 0 or 1 [reward clipping]; 'scaled', over
            the SD of the discounted return so far, at most 10 [reward scaling and clipping].
        lives: a lost life ends what a sample can gain, though the game goes on; in games that tell
            of lives [episodic life].
        critic: 'shared' is a linear layer on the policy's features, 'separate' a network of the
            same kind and width [shared and separate networks].
        discount, gae_lambda: of generalised advantages (Schulman et al. 2016) [GAE].
        clip: of the ratio of probabilities [clipped surrogate objective].
        clip_values: of the change of a value, 0 for none [value function loss clipping].
        value_coef, entropy_coef: weights of the value's loss and of the entropy [overall loss].
        clip_norm: the largest norm of a gradient [global gradient clipping].
        adam_eps: of Adam [Adam's epsilon].
        target_kl: a pass over the samples ends where the policy has moved so far, in nats; 0 never
            [early stopping].
        lag: iterations that the weights played with are older than those that learn. 0: play,
            then learn, advantages by GAE. 1: the next rollout is played while the last one is
            learned from, advantages by V-trace (Espeholt et al. 2018).
        teacher_coef: weight of KL(teacher | policy) for a run that starts from a clone
            (kickstarting, Schmitt et al. 2018); it falls linearly to 0 over `teacher_samples`.
    """

    learner: ClassVar[str] = "ppo"

    name: str
    learning_rate: float = 1e-3
    width_base: int = 8
    width_power: float = 0.0
    slots: int = 8
    rollout_steps: int = 128
    epochs: int = 4
    batch_size: int = 256
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    clip_values: float = 0.0
    value_coef: float = 0.5
    entropy_coef: float = 0.01
    clip_norm: float = 0.5
    adam_eps: float = 1e-5
    target_kl: float = 0.0
    lag: int = 0
    rewards: str = "scaled"
    lives: bool = False
    critic: str = "shared"
    frames: str = "unit"
    average: float = 0.0
    teacher_coef: float = 0.0
    teacher_samples: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        try:
            conform(self)
        except TypeError as error:
            raise SpecError(f"recipe: {error}") from error
        for field, fine in self._checks().items():
            if not fine:
                raise SpecError(f"recipe '{self.name}': {field} cannot be {getattr(self, field)!r}")

    def _checks(self) -> dict[str, bool]:
        iteration = self.samples_per_iteration
        return {
            "learning_rate": 0 < self.learning_rate < math.inf,
            "width_base": self.width_base >= 1,
            "width_power": math.isfinite(self.width_power),
            "slots": self.slots >= 1,
            "rollout_steps": self.rollout_steps >= 1,
            "epochs": self.epochs >= 1,
            "batch_size": 1 <= self.batch_size <= iteration and iteration % self.batch_size == 0,
            "discount": 0 <= self.discount <= 1,
            "gae_lambda": 0 <= self.gae_lambda <= 1,
            "clip": 0 < self.clip < math.inf,
            "clip_values": 0 <= self.clip_values < math.inf,
            "value_coef": 0 <= self.value_coef < math.inf,
            "entropy_coef": 0 <= self.entropy_coef < math.inf,
            "clip_norm": 0 <= self.clip_norm < math.inf,
            "adam_eps": 0 < self.adam_eps < math.inf,
            "target_kl": 0 <= self.target_kl < math.inf,
            "lag": self.lag in LAGS,
            "rewards": self.rewards in REWARDS,
            "critic": self.critic in CRITICS,
            "frames": self.frames in ("unit", "standardise"),
            "average": 0 <= self.average < math.inf,
            "teacher_coef": 0 <= self.teacher_coef < math.inf,
            "teacher_samples": self.teacher_samples >= 0,
            "precision": self.precision in PRECISIONS,
        }

    @property
    def samples_per_iteration(self) -> int:
        """Environment steps of one iteration, in all slots together."""
        return self.slots * self.rollout_steps

    @property
    def ends_at_budget(self) -> bool:
        """Whether training depends on where it ends; it does not."""
        return False

    def sample_flops(self, *policy: Any, **options: Any) -> float:
        """Return the FLOPs of one environment step, played and learned from.

        Args:
            policy: name, width, frame, n_actions and convention, as of `policy_flops`.
            options: the policy's.
        """
        return self.least_flops(*policy, **options) / self.samples_per_iteration

    def least_flops(self, *policy: Any, **options: Any) -> float:
        """Return the FLOPs of the least that can be trained, one iteration."""
        from isoclone.training.reinforcement.actor_critic import learning_cost

        name, width, frame, n_actions, *convention = policy
        cost = learning_cost(name, width, frame, n_actions, self.critic, *convention, **options)
        forwards = self.samples_per_iteration + self.slots  # the last observations' values too
        each = self.epochs * cost.learn + self.lag * cost.weigh
        return forwards * cost.play + self.samples_per_iteration * each

    def rate_at(self, width: int) -> float:
        """Return the learning rate for a width."""
        return self.learning_rate * (width / self.width_base) ** -self.width_power

    def teaches(self, samples: int) -> float:
        """Return the teacher's weight after so many samples."""
        left = 1 - samples / self.teacher_samples if self.teacher_samples else 0.0
        return self.teacher_coef * max(left, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return {"learner": self.learner, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PpoRecipe:
        """Return a recipe from the result of `to_json`.

        Raises:
            SpecError: a field that no recipe has, or a value it cannot take.
        """
        if not isinstance(data, dict):
            raise SpecError(f"recipe: must be a table of its fields, not {shown(data)}")
        try:
            return cls(**{name: value for name, value in data.items() if name != "learner"})
        except TypeError as error:
            raise SpecError(f"recipe: {error}") from error


# Games of vectors and small pictures: SB3's defaults with more games side by side, shorter rollouts
# and scaled rewards.
PPO = PpoRecipe("ppo")

# Atari: as in Schulman et al. 2017 and RL Zoo, but for what was measured in Breakout at widths of 8
# and 16: a rate four times as high learns faster, and where a lost life counts as an end (there the
# game waits for FIRE) returns fall after 50,000 steps, SB3's too.
PPO_ATARI = PpoRecipe(
    "ppo-atari",
    slots=8,
    rollout_steps=128,
    batch_size=256,
    clip=0.1,
    rewards="sign",
)
