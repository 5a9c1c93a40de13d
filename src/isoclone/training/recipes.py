"""Named training recipes: every default in one place, with its source."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from isoclone.base.errors import SpecError
from isoclone.base.records import conform, shown
from isoclone.base.tables import RECIPES
from isoclone.games import Game
from isoclone.policies import policy_flops
from isoclone.training.reinforcement.recipe import PPO, PPO_ATARI, PpoRecipe

SCHEDULES = ("constant", "inverse_sqrt", "cosine")
PRECISIONS = ("auto", "float32", "bfloat16")
MEMORY_FORMATS = ("contiguous", "channels_last")
LATER = {
    "clip_norm": 0.0,
    "accumulate": 1,
    "memory_format": "contiguous",
    "memory_format_but": (),
    "compiled_to": 0,
}


@dataclass(frozen=True)
class Recipe:
    """The settings of training; all of them are part of a run's identity.

    `learning_rate` holds at `width_base` and falls as (width / width_base)^-`width_power`.
    `average` is the exponent of a power-law average of the weights along the way (0: none): the
    weights of step s count as s^average, so the average always spans the same share of the run
    and every budget gets a point of annealed quality from one constant-rate run.
    After the warm-up the rate is `constant`; or falls as `inverse_sqrt` of the samples seen, from
    `decay_from` samples on, wherever the run will end; or follows a `cosine` to the end of the
    run, which then has one budget only.
    `frames` is how frames are encoded (see `policies.encode`).
    `clip_norm` is the largest norm of a gradient; longer ones are shortened to it (0: none are).
    `accumulate` cuts a batch into so many parts whose gradients are added up, to save memory: the
    result is the same except for rounding.
    `memory_format` is how the weights of convolutions lie in memory, 'contiguous' (as the policy is
    made) or 'channels_last'; widths in `memory_format_but` take the other one. For 'auto' a study
    measures which is faster. The results are the same except for rounding.
    `compiled_to` is the largest width whose convolutions are computed by kernels compiled for it
    (see `policies.kernels`); for None a study measures up to where they are faster. The results are
    the same except for rounding.
    """

    name: str
    learning_rate: float
    batch_size: int
    warmup_samples: int = 0
    schedule: str = "constant"
    decay_from: int = 0
    final_share: float = 0.1  # cosine ends at this share of the peak rate
    average: float = 0.0
    frames: str = "unit"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    width_base: int = 8
    width_power: float = 0.0
    precision: str = "auto"
    clip_norm: float = 0.0
    accumulate: int = 1
    memory_format: str = "contiguous"
    memory_format_but: tuple[int, ...] = ()
    compiled_to: int | None = 0

    def __post_init__(self) -> None:
        try:
            conform(self)
        except TypeError as error:
            raise SpecError(f"recipe: {error}") from error
        checks = {
            "learning_rate": 0 < self.learning_rate < math.inf,
            "batch_size": self.batch_size >= 1,
            "final_share": 0 <= self.final_share <= 1,
            "betas": all(0 <= beta < 1 for beta in self.betas),
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "width_base": self.width_base >= 1,
            "width_power": math.isfinite(self.width_power),
            "warmup_samples": self.warmup_samples >= 0,
            "schedule": self.schedule in SCHEDULES,
            "decay_from": self.schedule != "inverse_sqrt" or self.decay_from > 0,
            "average": 0 <= self.average < math.inf,
            "clip_norm": 0 <= self.clip_norm < math.inf,
            "accumulate": 1 <= self.accumulate <= self.batch_size,
            "frames": self.frames in ("unit", "standardise"),
            "precision": self.precision in PRECISIONS,
            "memory_format": self.memory_format in ("auto", *MEMORY_FORMATS),
            "memory_format_but": self.memory_format != "auto" or not self.memory_format_but,
            "compiled_to": self.compiled_to is None or self.compiled_to >= 0,
        }
        for field, fine in checks.items():
            if not fine:
                raise SpecError(f"recipe '{self.name}': {field} cannot be {getattr(self, field)!r}")

    def rate_at(self, width: int) -> float:
        """Return the peak learning rate for a width."""
        return self.learning_rate * (width / self.width_base) ** -self.width_power

    def memory_format_at(self, width: int) -> str:
        """Return how the weights lie in memory at a width: 'contiguous' or 'channels_last'.

        Without a study that measures it, 'auto' is 'contiguous'.
        """
        usual = MEMORY_FORMATS[0] if self.memory_format == "auto" else self.memory_format
        if width not in self.memory_format_but:
            return usual
        return next(name for name in MEMORY_FORMATS if name != usual)

    def sample_flops(self, *policy: Any, **options: Any) -> float:
        """Return the FLOPs of training on one sample; arguments as `policy_flops`."""
        return policy_flops(*policy, **options)

    def least_flops(self, *policy: Any, **options: Any) -> float:
        """Return the FLOPs of the least that can be trained, one batch."""
        return self.batch_size * self.sample_flops(*policy, **options)

    @property
    def ends_at_budget(self) -> bool:
        """Whether the schedule depends on where training ends: then each budget is its own run."""
        return self.schedule == "cosine"

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values.

        Fields that were added later are left out at their defaults, so that recipes keep their
        identity.
        """
        fields = dataclasses.asdict(self)
        kept = {k: v for k, v in fields.items() if k not in LATER or v != LATER[k]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        """Return a recipe from the result of `to_json`.

        Raises:
            SpecError: a field that no recipe has, or a value it cannot take.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise SpecError(f"recipe: {error}") from error


# Tuyls et al. 2023, Atari: Adam at a constant rate, bytes over 255, no averaging.
PAPER = Recipe("paper", learning_rate=1e-4, batch_size=128, precision="float32")

# Measured on Breakout (docs/log.md): standardised pixels, a rate that falls with the root of the
# samples, whatever the run's last budget, and averaged weights.
LEAN = Recipe(
    "lean",
    learning_rate=3.5e-3,
    batch_size=32,
    warmup_samples=2_000,
    schedule="inverse_sqrt",
    decay_from=10_000,
    average=8.0,
    frames="standardise",
    betas=(0.9, 0.99),
    width_power=0.3,
    memory_format="auto",
    compiled_to=None,
)

RECIPES.add("paper", lambda: PAPER)
RECIPES.add("lean", lambda: LEAN)
# From a clone: the teacher's part is as large as the gain's, and fades over 200,000 steps. A rate
# that suits a start from nothing destroys what a clone can do once the teacher is silent.
TAUGHT: dict[str, Any] = {"teacher_coef": 1.0, "teacher_samples": 200_000}
TAUGHT_RATE = 0.25  # of the recipe's learning rate

RECIPES.add("ppo", lambda: PPO)
RECIPES.add("ppo-atari", lambda: PPO_ATARI)


def imitates(recipe: dict[str, Any]) -> bool:
    """Return whether a recipe, as JSON, is of cloning an expert, not of learning by own play."""
    return recipe.get("learner") != PpoRecipe.learner


def read_recipe(data: dict[str, Any]) -> Recipe | PpoRecipe:
    """Return the recipe of a result of `to_json`, of whichever learner.

    Raises:
        SpecError: a field that no recipe has, or a value it cannot take.
    """
    if not isinstance(data, dict):
        raise SpecError(f"recipe: must be a table of its fields, not {shown(data)}")
    if "learner" in data and imitates(data):
        known = PpoRecipe.learner
        raise SpecError(
            f"recipe: learner must be '{known}', or left out to clone, not {shown(data['learner'])}"
        )
    return Recipe.from_json(data) if imitates(data) else PpoRecipe.from_json(data)


def suited_to_play(game: Game, taught: bool = False) -> PpoRecipe:
    """Return the recipe by which a game is learned, where none is named.

    It is the game's own (`play_recipe`), or one for frames of such a kind.

    Args:
        taught: by a clone, from whose weights it starts.
    """
    big = game.frame.is_image and game.frame.picture is not None and min(game.frame.shape[:2]) >= 36
    named = getattr(game, "play_recipe", (PPO_ATARI if big else PPO).name)
    chosen = recipe(named)
    if not isinstance(chosen, PpoRecipe):
        raise SpecError(f"play_recipe of {game.name}: '{named}' is no recipe of reinforcement")
    if not taught or chosen.teacher_coef:
        return chosen
    rate = TAUGHT_RATE * chosen.learning_rate
    return dataclasses.replace(chosen, name=f"{chosen.name}-taught", learning_rate=rate, **TAUGHT)


def recipe(name: str, **changes: Any) -> Recipe | PpoRecipe:
    """Return a named recipe, with fields changed if wanted.

    Raises:
        UnknownNameError: no such recipe.
        SpecError: a field that no recipe has, or a value it cannot take.
    """
    found: Any = RECIPES.find(name)[0]
    known: Recipe | PpoRecipe = found() if callable(found) else found
    try:
        return dataclasses.replace(known, **changes)
    except TypeError as error:
        raise SpecError(f"recipe '{name}': {error}") from error
