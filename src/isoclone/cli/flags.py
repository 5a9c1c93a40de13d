"""Flags that several verbs have, each said once."""

from __future__ import annotations

import json as json_text
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from isoclone.base.errors import DataError, SpecError

if TYPE_CHECKING:
    from isoclone.executors import Executor
    from isoclone.study.spec import StudySpec

FLAT = tyro.conf.arg(name="")  # the flags are the verb's own: --workers, not --crew.workers


@dataclass(frozen=True)
class Crew:
    """who does the work"""

    executor: str = "processes"
    """processes, serial, ray, slurm."""
    workers: int | None = None
    """how many at once; unless said, one a core, or what the cluster has room for."""
    address: str | None = None
    """(ray) the cluster, as host:port or auto; Ray is started here unless said."""
    cpus: float | None = None
    """(ray, slurm) CPUs each run asks for; 1 unless said."""
    gpus: float | None = None
    """GPUs each run on cuda asks for, or the share of one: 10 runs of 0.1 share one GPU."""
    executor_options: tuple[str, ...] = ()
    """the executor's other options, as name=value; see docs/cluster.md."""

    def gathered(self) -> Executor:
        """Return the executor that was asked for.

        Raises:
            SpecError: options it does not have, or cannot have here.
        """
        from isoclone.executors import executor

        flags = ("workers", "address", "cpus", "gpus")
        given = {name: getattr(self, name) for name in flags}
        named = {name: value for name, value in given.items() if value is not None}
        others = parse_options(self.executor_options, "--executor-options")
        if "name" in others:
            raise SpecError("--executor-options name=...: an executor is named by --executor")
        for name in named.keys() & others.keys():
            raise SpecError(f"--{name} and --executor-options {name}=... are one: leave one out")
        return executor(self.executor, **named | others)


def with_frames(game_options: tuple[str, ...], frames: str | None) -> tuple[str, ...]:
    """Return a game's options as typed, with --frames as the one it stands for."""
    return game_options if frames is None else (*game_options, f"frames={frames}")


@dataclass(frozen=True)
class Changes:
    """what to change in the study's specification"""

    demos: Path | None = None
    """use these demonstrations instead of recording some; a ready-made study then plays the game
    with the settings that they ask for."""
    expert: str | None = None
    """who is imitated: an expert's name, an SB3 zip, or FILE.py:Name."""
    trust: bool = False
    """load a pickled expert: it can run any code, so trust its author."""
    game_options: tuple[str, ...] = ()
    """settings of the game, as name=value; see docs/games.md for those of Gymnasium's."""
    frames: str | None = None
    """how a Gymnasium game's pictures are shown: auto, grey, rgb, raw or onehot (`frames`)."""
    options: tuple[str, ...] = ()
    """settings of the expert, as name=value."""
    seeds: tuple[int, ...] | None = None
    """training seeds."""
    samples: int | None = None
    """demonstrations to record, in samples."""
    widths: tuple[int, ...] | None = None
    """sizes of the grid, ascending."""
    budgets: tuple[float, ...] | None = None
    """compute budgets in FLOPs, ascending."""
    episodes: int | None = None
    """episodes played for each point's mean return."""
    policy: str | None = None
    """policy by name; `isoclone games` lists them."""
    policy_options: tuple[str, ...] = ()
    """settings of the policy, as name=value."""
    recipe: str | None = None
    """training recipe by name; `isoclone games` lists them."""
    learn: str | None = None
    """bc to clone an expert, as usual, or rl to learn by playing (PPO), with no expert at all."""
    start_from: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """(rl) a study whose agents runs start from, each width from its own; they also teach, by a
    term that fades."""
    ceiling: float | None = None
    """(rl) the highest return there can be, where it is known: no forecast exceeds it."""
    law: str | None = None
    """the law that forecasts, by name; `isoclone games` lists them."""
    minutes: float | None = None
    """(a game without a ready-made study) what the whole study may take; 5 unless said. Its sizes
    and budgets come from a calibration."""
    forecast_flops: float | None = None
    """where the forecast is put to the test; with --budgets, 3.3x the largest unless said."""
    forecast_seeds: int | None = None
    """with how many seeds the agent that tests it is trained; two unless said, in studies that
    come with isoclone and where two workers are free."""

    def applied_to(self, spec: StudySpec, own: bool) -> StudySpec:
        """Return the specification with what was given.

        A forecast budget stays what it is of other budgets only. Unless the specification is the
        user's `own`, the game takes from the demonstrations what it has to.
        """
        from isoclone.study.spec import NOBODY

        if self.expert is not None and self.demos is not None:
            raise SpecError("--expert and --demos: demonstrations have their expert; give one")
        given = {
            **self._of_demos(spec, own),
            **self._of_expert(spec),
            "seeds": self.seeds,
            "samples": self.samples,
            "widths": self.widths,
            "budgets_flops": self.budgets,
            "episodes": self.episodes,
            "policy": self.policy,
            "recipe": self._recipe(spec),
            "clones": None if self.start_from is None else str(self.start_from.resolve()),
            "ceiling": self.ceiling,
            "law": self.law,
            "forecast_flops": self.forecast_flops,
            "forecast_seeds": self.forecast_seeds,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        if self.budgets is not None:
            changes.setdefault("forecast_flops", None)
        if self.expert is not None:
            changes["demos"] = None  # it is to play
        if self.learns_by_play and spec.imitates:
            changes |= {
                "expert": NOBODY,
                "expert_options": {},
                "demos": None,
                "expert_identity": {},
            }
        if self.policy is not None:
            changes["policy_options"] = {}  # another policy's settings mean nothing to it
        for name, words, flag in (
            ("game_options", self._of_game(), "--game-options"),
            ("expert_options", self.options, "--options"),
            ("policy_options", self.policy_options, "--policy-options"),
        ):
            if words:
                before = changes.get(name, getattr(spec, name))
                changes[name] = before | parse_options(words, flag)
        return spec.replace(**changes) if changes else spec

    @property
    def learns_by_play(self) -> bool:
        """Whether a study of reinforcement was asked for, by --learn or by a recipe of play.

        Raises:
            SpecError: flags that contradict each other.
        """
        if self.learn not in (None, "bc", "rl"):
            raise SpecError(f"--learn must be bc or rl, not {self.learn}")
        plays = self._recipe_plays()
        if None not in (plays, self.learn) and plays != (self.learn == "rl"):
            raise SpecError(f"--recipe {self.recipe} is not one for --learn {self.learn}")
        asked = self.learn == "rl" or bool(plays)
        named = {
            "--expert": self.expert,
            "--demos": self.demos,
            "--samples": self.samples,
            "--options": self.options or None,
            "--trust": self.trust or None,
        }
        given = [flag for flag, value in named.items() if value is not None]
        if asked and given:
            how = "--learn rl" if self.learn else f"--recipe {self.recipe}"
            raise SpecError(f"{given[0]} is for cloning: with {how} nobody is imitated")
        return asked

    def _recipe_plays(self) -> bool | None:
        """Return whether the recipe that was named is one of play; None if none was named."""
        from isoclone.training.recipes import imitates, recipe

        return None if self.recipe is None else not imitates(recipe(self.recipe).to_json())

    def check_minutes(self, settled: str = "") -> None:
        """Raise SpecError unless the minutes that were given are some, and choose something.

        Args:
            settled: what has sizes and budgets of its own, if something has.
        """
        if self.minutes is None:
            return
        if settled:
            raise SpecError(
                f"--minutes chooses sizes and budgets, and {settled} has them: leave it out"
            )
        if not 0 < self.minutes < math.inf:
            raise SpecError(f"--minutes must be a number above 0, not {self.minutes:g}")

    def _recipe(self, spec: StudySpec) -> dict[str, Any] | None:
        """Return the recipe that was named, or the one that suits what is to be learned."""
        from isoclone.training.recipes import recipe, suited_to_play

        if self.recipe is not None:
            named: dict[str, Any] = recipe(self.recipe).to_json()
            return named
        if not self.learns_by_play or not spec.imitates:
            return None
        return suited_to_play(spec.make_game(), taught=self.start_from is not None).to_json()

    def begun(self, name: str) -> dict[str, Any]:
        """Return the fields with which the study of a game begins, its sizes aside."""
        from isoclone.demos import demos_in, open_demos

        fields: dict[str, Any] = {
            "game_options": parse_options(self._of_game(), "--game-options"),
            "policy_options": parse_options(self.policy_options, "--policy-options"),
        }
        if self.policy is not None:
            fields["policy"] = self.policy
        if self.expert is not None:
            fields["expert"] = typed_expert(self.expert)
            fields["expert_options"] = self._expert_options()
        if self.demos is not None:
            found = open_demos(demos_in(self.demos), verify=False)
            if found.game_name != name:
                raise DataError(f"--demos {self.demos} holds {found.game_name}, not {name}")
            fields |= {"demos": self._demos_place(), "expert": found.expert_name}
            fields["game_options"] = found.game_options | fields["game_options"]
        return fields

    def _of_game(self) -> tuple[str, ...]:
        return with_frames(self.game_options, self.frames)

    def _expert_options(self) -> dict[str, Any]:
        return parse_options(self.options) | ({"trust": True} if self.trust else {})

    def _of_expert(self, spec: StudySpec) -> dict[str, Any]:
        """Return what naming an expert changes; another one's settings mean nothing to it."""
        if self.expert is not None:
            options = self._expert_options()
            return {"expert": typed_expert(self.expert), "expert_options": options}
        return {"expert_options": spec.expert_options | {"trust": True}} if self.trust else {}

    def _demos_place(self) -> str:
        """Return where the demonstrations are, for the specification."""
        from isoclone.demos import demos_in
        from isoclone.remote import address_of

        inside = demos_in(self.demos or Path())
        return address_of(inside) or str(Path(inside).resolve())

    def _of_demos(self, spec: StudySpec, own: bool) -> dict[str, Any]:
        """Return what demonstrations say of the study they are used in."""
        from isoclone.demos import open_demos

        if self.demos is None:
            return {}
        where = self._demos_place()
        found = open_demos(where, verify=False)
        said = {"demos": where, "expert": found.expert_name}
        adopt = getattr(spec.make_game(), "adopt", None)
        if own or adopt is None or found.game_name != spec.make_game().name:
            return said
        return said | {"game_options": spec.game_options | adopt(found.game_options)}


CREW, CHANGES = Crew(), Changes()


def typed_expert(text: str) -> str:
    """Return an expert that a user typed as a specification has it: files by their whole path.

    Workers run the Python file of 'players.py:Name' first, for what else it registers.
    """
    from isoclone.base.tables import EXPERTS
    from isoclone.base.userfile import is_file_reference, split_reference
    from isoclone.executors.setup import STUDY_FILE_VARIABLE

    if is_file_reference(text):
        file, name = split_reference(text)
        os.environ.setdefault(STUDY_FILE_VARIABLE, os.path.abspath(file))
        return os.path.abspath(file) + (f":{name}" if name else "")
    if EXPERTS.knows(text) or not os.path.exists(text):
        return text
    return os.path.abspath(text)


def parse_options(words: tuple[str, ...], flag: str = "--options") -> dict[str, Any]:
    """Return `("depth=20", "variant=ace")` as {"depth": 20, "variant": "ace"}: JSON, or text.

    Raises:
        SpecError: a word without '=', or a name twice.
    """
    options: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name):
            raise SpecError(f"{flag} takes name=value, not '{word}'")
        if name in options:
            raise SpecError(f"{flag}: {name} is given twice")
        try:
            options[name] = json_text.loads(value)
        except ValueError:
            options[name] = value
    return options
