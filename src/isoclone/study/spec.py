"""The specification of a study: a frozen record that can be stored and compared."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclone.base.errors import (
    IsocloneError,
    SpecError,
    SpecMismatchError,
    UnknownNameError,
    foreign_fails,
)
from isoclone.base.records import Run, conform, jsonable, shown
from isoclone.base.registry import is_reference, trust_typed
from isoclone.base.tables import EXPERTS
from isoclone.base.userfile import is_file_reference
from isoclone.demos import Demonstrations, demos_here, demos_in, open_demos
from isoclone.experts import Expert, expert
from isoclone.experts.identity import identity_of
from isoclone.experts.identity import said as who
from isoclone.experts.scripted import scripted_variants
from isoclone.games import Game, check_seed, is_playable
from isoclone.games import game as make_game
from isoclone.games.base import DATA
from isoclone.laws import DEFAULT_LAW, LAWS
from isoclone.policies import POLICIES
from isoclone.policies.sampling import Sampling
from isoclone.remote import address_of
from isoclone.study.folder import StudyFolder
from isoclone.training.recipes import LEAN, imitates, read_recipe, recipe

FORECAST_FACTOR = 10 / 3
NARROW, WIDE = "narrow", "wide"  # rules of a sweep
PLAYED = 3  # last budgets at which policies play, by narrow rules
NOBODY = "nobody"  # the expert of a study that imitates none
NAMES = ("game", "expert", "policy", "law")  # fields that may be "package.module:Name"


@dataclass(frozen=True)
class StudySpec:
    """A whole study. Field by field, this is what `study.json` holds.

    Attributes:
        samples: demonstrations to record (train and dev together); unused with `demos`.
        expert_identity: what the expert was when the study was made (see `experts.identity`).
        demos: a directory of finished demonstrations to use instead of recording.
        widths: sizes of the grid; more are added at its edges where `extend` allows it.
        budgets_flops: compute budgets, ascending, under `flop_convention`.
        recipe: a recipe's fields (see `isoclone.training.recipes`).
        adaptive: leave out sizes far from the best one (see `isoclone.study.plan`).
        rules: by which of `isoclone.study.plan.RULES` sizes are left out: 'wide', or 'narrow', that
            costs a quarter less for the same forecast of the loss, and tells less of the best size.
        extend: how many sizes may be added at either edge of the grid.
        dev_samples: about how many dev samples a dev loss is measured on.
        episodes: episodes played for a point's mean return; 0 measures none. By narrow rules only
            the last `PLAYED` budgets are played at: returns at others do not sharpen the forecast.
        forecast_flops: budget of the tested forecast; None for 3.3x the largest budget.
        forecast_episodes: episodes the forecast agent plays at most, with all its seeds together:
            fewer where more would not make the interval of its return a twentieth narrower.
        forecast_seeds: with how many seeds it is trained: those of `seeds`, then the next numbers.
        law: the law that forecasts, by name; see `isoclone.laws.LAWS`.
        clones: of reinforcement, the study whose agents its runs start from, if they do.
        ceiling: the highest return there can be, where it is known; no forecast exceeds it.
        calibration: what sizes and budgets were chosen by, if by `study.calibrate`.
    """

    name: str
    game: str
    expert: str
    widths: tuple[int, ...]
    budgets_flops: tuple[float, ...]
    samples: int = 100_000
    demos: str | None = None
    demos_seed: int = 0
    dev_fraction: float = 0.1
    game_options: dict[str, Any] = field(default_factory=dict)
    expert_options: dict[str, Any] = field(default_factory=dict)
    expert_identity: dict[str, Any] = field(default_factory=dict)
    policy: str = "cnn"
    policy_options: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=LEAN.to_json)
    seeds: tuple[int, ...] = (0,)
    flop_convention: str = "exact"
    adaptive: bool = True
    rules: str = WIDE
    extend: int = 2
    dev_samples: int = 10_000
    episodes: int = 16
    sampling: str = "sample"
    forecast_flops: float | None = None
    forecast_episodes: int = 32
    law: str = DEFAULT_LAW
    calibration: dict[str, Any] = field(default_factory=dict)
    clones: str | None = None
    ceiling: float | None = None
    forecast_seeds: int = 1

    def __post_init__(self) -> None:
        try:
            conform(self)
        except TypeError as error:
            raise SpecError(f"study specification: {error}") from error
        if self.game == DATA:
            self._take_spaces()

    def _take_spaces(self) -> None:
        """Take the spaces of a study without an environment from its demonstrations.

        Nothing is played in it, so the numbers of episodes are 0.

        Raises:
            DataError: the demonstrations are not there, or damaged.
        """
        if self.demos is not None and not self.game_options:
            found = open_demos(demos_in(self.demos), verify=False)
            if found.game_name == DATA:
                object.__setattr__(self, "game_options", found.game_options)
        for name in ("episodes", "forecast_episodes"):
            object.__setattr__(self, name, 0)

    @property
    def forecast_budget(self) -> float:
        """Budget of the tested forecast, in FLOPs."""
        return self.forecast_flops or max(self.budgets_flops) * FORECAST_FACTOR

    @property
    def agent_seeds(self) -> tuple[int, ...]:
        """Seeds that the forecast agent is trained with."""
        more = range(max(self.seeds) + 1, max(self.seeds) + 1 + self.forecast_seeds)
        return (*self.seeds, *more)[: self.forecast_seeds]

    @property
    def agent_episodes(self) -> int:
        """Episodes that the forecast agent plays at most with each of its seeds."""
        return math.ceil(self.forecast_episodes / self.forecast_seeds)

    @property
    def imitates(self) -> bool:
        """Whether runs clone an expert's demonstrations; else they learn by their own play."""
        return imitates(self.recipe)

    @property
    def records(self) -> bool:
        """Whether its own expert plays the demonstrations; it can be asked then, others' cannot."""
        return self.imitates and not self.demos

    @property
    def crosses_budgets(self) -> bool:
        """Whether one run of a size and seed serves all budgets; else each budget has its own."""
        return not read_recipe(self.recipe).ends_at_budget

    def flops_to(self, budget_flops: float) -> float:
        """Return the FLOPs of all runs of one size and seed that serve the budgets up to this."""
        reached = [budget for budget in self.budgets_flops if budget <= budget_flops]
        return max(reached, default=0.0) if self.crosses_budgets else sum(reached)

    @property
    def played_budgets(self) -> int:
        """How many of the last budgets policies play at."""
        every = len(self.budgets_flops)
        return min(PLAYED, every) if self.adaptive and self.rules == NARROW else every

    def episodes_at(self, budget_flops: float) -> int:
        """Return how many episodes a point of the sweep plays at a budget."""
        return self.episodes if budget_flops in self.budgets_flops[-self.played_budgets :] else 0

    def make_game(self) -> Game:
        """Make the game, with the study's options."""
        return make_game(self.game, **self.game_options)

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON values."""
        return jsonable(self)

    @classmethod
    def from_json(cls, data: dict[str, Any], costs: bool = True) -> StudySpec:
        """Return a specification from the result of `to_json`.

        Args:
            costs: also check that the budgets suffice, for which torch is loaded.

        Raises:
            SpecError: a field is missing or unknown, or has a value it cannot have.
        """
        if not isinstance(data, dict):
            raise SpecError(f"study specification: must be a table, not {shown(data)}")
        try:
            spec = cls(**data)
        except TypeError as error:
            raise SpecError(f"study specification: {error}") from error
        spec.check(costs)
        return spec

    def refuse_other(self, other: StudySpec, place: str) -> None:
        """Raise SpecMismatchError if `other` differs from this specification, that of `place`."""
        mine, theirs = self.to_json(), other.to_json()
        differing = [key for key in mine if mine[key] != theirs[key]]
        if differing:
            said = "; ".join(f"{k}: {_told(k, mine)} -> {_told(k, theirs)}" for k in differing)
            raise SpecMismatchError(
                f"{place} holds a study that differs ({said}); choose another directory, or give "
                "the directory alone to resume it"
            )

    def trust(self) -> StudySpec:
        """Trust the modules of its names "package.module:Name"; for specifications a user wrote.

        Raises:
            SpecError: one of them cannot be imported.
        """
        trust_typed(*(getattr(self, field) for field in NAMES))
        return self

    def check(self, costs: bool = True) -> None:
        """Check every field, and that the budgets suffice for the widths, but for those `costs`.

        Raises:
            SpecError: a field cannot have its value; the message says what to do.
            UnknownNameError: game, policy, recipe or convention is unknown.
        """
        _check_numbers(self)
        _check_grid(self)
        for table, name in ((POLICIES, self.policy), (LAWS, self.law)):
            if not table.knows(name) or (costs and is_reference(name)):  # ours need no import
                table.find(name)
        if not costs:
            return
        cost = self.batch_flops(max(self.widths))
        if min(self.budgets_flops) < cost:
            raise SpecError(
                f"budgets_flops: {min(self.budgets_flops):.3g} is less than one "
                f"{'batch' if self.imitates else 'iteration'} of width {max(self.widths)} costs "
                f"({cost:.3g}); raise it or drop the width"
            )

    def check_expert(self) -> None:
        """Check that the expert exists, unless demonstrations are given.

        An expert from a file or the hub is checked only when recording begins.

        Raises:
            UnknownNameError: no expert has that name.
            SpecError: an option the expert does not have.
        """
        if self.demos is not None or not self.imitates:
            return
        if EXPERTS.knows(self.expert) or is_file_reference(self.expert):
            expert(self.expert, self.make_game(), **self.expert_options)
        elif not os.path.exists(self.expert) and "/" not in self.expert:
            raise UnknownNameError("expert", self.expert, EXPERTS.names())

    def batch_flops(self, width: int) -> float:
        """Return the FLOPs of the least training of a width, and so the least that a budget can be.

        Raises:
            SpecError: the policy cannot be made in that width, or with these options.
        """
        return self._cost_of("least_flops", width)

    def sample_flops(self, width: int) -> float:
        """Return the FLOPs of training a width on one sample; of reinforcement, the play included.

        Raises:
            SpecError: the policy cannot be made in that width, or with these options.
        """
        return self._cost_of("sample_flops", width)

    def _cost_of(self, what: str, width: int) -> float:
        the_game, known = self.make_game(), read_recipe(self.recipe)
        shape = (self.policy, width, the_game.frame, the_game.n_actions)
        # A policy, or torch, may say anything to such a width or option.
        with foreign_fails(SpecError, f"policy '{self.policy}' of width {width}"):
            count: Callable[..., float] = getattr(known, what)
            return count(*shape, self.flop_convention, **self.policy_options)

    def run_for(self, width: int, seed: int, fingerprint: str, budget_flops: float) -> Run:
        """Return the run of one size and seed that reaches a budget, on those demonstrations.

        One run serves all budgets, unless its schedule depends on where it ends.
        """
        return Run(
            game=self.game,
            demos=fingerprint,
            policy=self.policy,
            width=width,
            policy_options=self.policy_options,
            recipe=self.recipe,
            seed=seed,
            flop_convention=self.flop_convention,
            horizon_flops=None if self.crosses_budgets else budget_flops,
            game_options=self.game_options,
        )

    def replace(self, **changes: Any) -> StudySpec:
        """Return a checked copy with fields changed.

        Raises:
            SpecError: a field no study has, or a value it cannot have.
        """
        try:
            spec = dataclasses.replace(self, **changes)
        except TypeError as error:
            raise SpecError(f"study specification: {error}") from error
        trust_typed(*(changes.get(field) for field in NAMES))
        spec.check()
        return spec


def _told(name: str, fields: dict[str, Any]) -> Any:
    """Return a field for a message."""
    return who(fields[name]) if name == "expert_identity" else fields[name]


def with_identity(spec: StudySpec, before: StudySpec | None = None) -> StudySpec:
    """Return the specification with the identity of its expert, if it has one play.

    Args:
        before: of the study as it is: it stands in where the expert cannot be found any more.

    Raises:
        StoreError: the expert's file cannot be read, and there is no study yet.
    """
    if spec.demos is not None or not spec.imitates:
        return spec
    try:
        found = identity_of(spec.expert, spec.expert_options)
    except IsocloneError:
        if before is None:
            raise
        found = before.expert_identity
    return dataclasses.replace(spec, expert_identity=found)


def read_spec(study: Path) -> StudySpec:
    """Read the specification in a study directory."""
    return StudySpec.from_json(StudyFolder(study).read_spec()["spec"])


def demos_path(study: Path, spec: StudySpec) -> Path:
    """Return where a study's demonstrations are: in it, else where the specification says."""
    inside = StudyFolder(study).demos
    return inside if inside.exists() or not spec.demos else demos_here(spec.demos)


def spec_from_fields(
    name: str,
    game: str | Game | None,
    demos: str | Path | Demonstrations | None,
    fields: dict[str, Any],
) -> StudySpec:
    """Return a specification from its fields, with game and demonstrations as objects or names.

    Raises:
        SpecError: a field is missing or unknown, or has a value it cannot have.
    """
    given = dict(fields)
    if isinstance(demos, str | Path) and game in (None, DATA):
        demos = open_demos(demos_in(demos), verify=False)
    if demos is not None and not isinstance(demos, str | Path):
        if not hasattr(demos, "fingerprint"):
            raise SpecError(f"demos must be a directory or demonstrations, not {shown(demos)}")
        given.setdefault("expert", demos.expert_name)
        game = game or demos.game_name
        given.setdefault("game_options", demos.game_options)
        demos = demos.path
    if demos is not None:
        place = demos_in(demos)
        given["demos"] = address_of(place) or os.path.abspath(place)
    if game is None:
        raise SpecError("a study needs a game")
    if not isinstance(game, str | Game):
        raise SpecError(f"game must be a game or its name, not {shown(game)}")
    if not isinstance(game, str):
        given.setdefault("game_options", game.options())
        game = game.name
    if isinstance(given.get("expert"), Expert):
        raise SpecError("record a live expert's demonstrations first and give the study demos=...")
    chosen = given.get("recipe", "lean")
    if isinstance(chosen, str):
        chosen = recipe(chosen)
    given["recipe"] = chosen.to_json() if hasattr(chosen, "to_json") else chosen
    if "expert" not in given:
        clones = not isinstance(given["recipe"], dict) or imitates(given["recipe"])
        known = given.get("game_options")
        options = known if isinstance(known, dict) else {}  # others are refused with other fields
        given["expert"] = usual_expert(make_game(game, **options)) if clones else NOBODY
    try:
        return StudySpec(name=given.pop("name", name), game=game, **given)
    except TypeError as error:
        raise SpecError(f"study: {error}") from error


def usual_expert(the_game: Game) -> str:
    """Return the expert that plays if none is named: the game's script, else look-ahead."""
    return "scripted" if scripted_variants(the_game) else "lookahead"


def _check_numbers(spec: StudySpec) -> None:
    least = {
        "samples": 1,
        "episodes": 0,
        "dev_samples": 1,
        "forecast_episodes": 0,
        "forecast_seeds": 1,
        "extend": 0,
    }
    for name, minimum in least.items():
        if getattr(spec, name) < minimum:
            raise SpecError(f"{name} must be at least {minimum}, not {getattr(spec, name)}")
    if not 0 < spec.dev_fraction <= 0.5:
        raise SpecError(f"dev_fraction must be above 0 and at most .5, not {spec.dev_fraction}")
    Sampling.parse(spec.sampling)
    if spec.imitates and (spec.clones is not None or spec.ceiling is not None):
        name = "clones (--from)" if spec.clones is not None else "ceiling"
        raise SpecError(f"{name} is for studies of reinforcement (--learn rl, or recipe 'ppo')")
    if not spec.imitates:
        _check_play(spec)
    if spec.rules not in (NARROW, WIDE):
        raise SpecError(f"rules must be '{NARROW}' or '{WIDE}', not {shown(spec.rules)}")
    printable = spec.name.isprintable() and len(spec.name) <= 200
    if not spec.name or not printable or "/" in spec.name or spec.name.startswith("."):
        raise SpecError(f"name {shown(spec.name)} cannot be a directory's name")


def _check_play(spec: StudySpec) -> None:
    """Check what only reinforcement needs: a game to play, and returns to judge by."""
    if not is_playable(spec.make_game()):
        raise SpecError(f"{spec.game} has no environment, so nothing can be learned by playing it")
    if spec.demos is not None:
        raise SpecError("demos are for studies that imitate; a clone is given by clones (--from)")
    if spec.expert != NOBODY or spec.expert_options:
        raise SpecError(
            "expert and expert_options are for studies that imitate; leave them out, or choose "
            "another recipe"
        )
    if not spec.episodes or not spec.forecast_episodes or spec.rules == NARROW:
        raise SpecError(
            "a study of reinforcement is judged by its returns: episodes and forecast_episodes "
            f"must be at least 1, and rules '{WIDE}'"
        )
    if spec.ceiling is not None and not math.isfinite(spec.ceiling):
        raise SpecError(f"ceiling must be a finite number, not {spec.ceiling}")


def _check_grid(spec: StudySpec) -> None:
    widths, budgets = spec.widths, spec.budgets_flops
    if any(not isinstance(w, int) or w < 1 for w in widths):
        raise SpecError(f"widths must be whole numbers of at least 1, not {list(widths)}")
    if len(set(widths)) < 3 or list(widths) != sorted(set(widths)):
        raise SpecError(f"widths must be at least 3, ascending and distinct, not {list(widths)}")
    if not budgets or any(not 0 < b < float("inf") for b in budgets):
        raise SpecError(f"budgets_flops must be positive numbers, not {list(budgets)}")
    if list(budgets) != sorted(set(budgets)):
        raise SpecError(f"budgets_flops must be ascending and distinct, not {list(budgets)}")
    if not spec.seeds or len(set(spec.seeds)) < len(spec.seeds) or min(spec.seeds) < 0:
        raise SpecError(f"seeds must be distinct and not negative, not {list(spec.seeds)}")
    for seed in (*spec.seeds, spec.demos_seed):
        check_seed(seed)
    if not max(budgets) < spec.forecast_budget < float("inf"):
        raise SpecError(
            f"forecast_flops must be above the largest budget {max(budgets):.3g}, "
            f"not {spec.forecast_budget:.3g}"
        )
