"""Everything on a study's page, as plain data; missing parts are listed with the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from isoclone.base.curves import CurveRow
from isoclone.base.records import Forecast, Point
from isoclone.base.results import Baseline, Reference, Savings, Tested
from isoclone.base.trace import Span
from isoclone.laws import DEFAULT_LAW, Curves, IsoFlopCurve, LawComparison


class SpecFacts(Protocol):
    """The fields of a study's specification that are on the page."""

    @property
    def name(self) -> str: ...
    @property
    def game(self) -> str: ...
    @property
    def expert(self) -> str: ...
    @property
    def demos(self) -> str | None: ...
    @property
    def demos_seed(self) -> int: ...
    @property
    def budgets_flops(self) -> Sequence[float]: ...
    @property
    def seeds(self) -> Sequence[int]: ...
    @property
    def recipe(self) -> dict[str, Any]: ...
    @property
    def flop_convention(self) -> str: ...
    @property
    def adaptive(self) -> bool: ...
    @property
    def extend(self) -> int: ...
    @property
    def dev_samples(self) -> int: ...
    @property
    def episodes(self) -> int: ...
    @property
    def played_budgets(self) -> int: ...
    @property
    def forecast_episodes(self) -> int: ...
    @property
    def sampling(self) -> str: ...

    def to_json(self) -> dict[str, Any]:
        """Return every field as plain JSON values."""
        ...


@dataclass(frozen=True)
class DemosFacts:
    """The demonstrations in numbers."""

    fingerprint: str
    expert: str
    episodes: dict[str, int]  # by split
    samples: dict[str, int]
    ends: dict[str, int]  # how episodes ended
    mean: float | None  # None where the play of others came without rewards
    se: float
    copies: int = 0  # episodes that are copies of others
    unique_samples: int = 0  # different ones to train on
    remarks: tuple[str, ...] = ()  # how the game's spaces were read, and what was lost by it


@dataclass(frozen=True)
class TrainingFacts:
    """The training curve of one run, from its first sample to its last."""

    run_id: str
    role: str
    width: int
    params: int
    seed: int
    rows: tuple[CurveRow, ...]


class Rules(Protocol):
    """The numbers in the rules of an adaptive sweep."""

    @property
    def hopeless_steps(self) -> int: ...
    @property
    def hopeless_ses(self) -> float: ...
    @property
    def waiting_steps(self) -> int: ...
    @property
    def waiting_last(self) -> int: ...
    @property
    def narrow(self) -> bool: ...


@dataclass(frozen=True)
class SweepFacts:
    """The sizes of the sweep, the number of points still missing, and its rules."""

    widths: tuple[int, ...]
    cells_left: int
    rules: Rules

    @property
    def complete(self) -> bool:
        """Return whether nothing is left to measure."""
        return not self.cells_left


@dataclass(frozen=True)
class Facts:
    """A study's facts for the page. `missing` has a sentence for each part that is not there.

    Attributes:
        folder: name of the study's directory.
        points: of the sweep.
        references: by player, 'random' and 'expert', as far as measured.
        laws: the fitted law as `laws.json` holds it.
        isoflops: one fitted curve for each budget.
        curves: the law along compute, with its band.
        video: an MP4 file of the forecast agent at play.
        went: facts about the forecast agent's episodes, for games that have any
            (see `evaluation.rollout.summary`).
        episodes: the game's facts about each episode of a point, by run id and budget, for games
            that have any.
        training: the training curves that there are, by size, the forecast agent's included.
        trace: what each process did when, as far as the study's trace tells.
        law_name: the law that the study asks for.
        law_reason: why the default law is used instead; None where it is not.
        law_comparison: back-tests of that law and of the default; empty if it is the default.
        default_forecast: the default law's forecast, if the study's is by another law.
        written: when the forecast was written down, as an ISO 8601 time in UTC; None if not known.
        builtin: whether the study is one that comes with isoclone.
    """

    folder: str
    spec: SpecFacts
    points: list[Point]
    references: dict[str, Reference]
    sweep: SweepFacts
    savings: Savings
    laws: dict[str, Any] | None = None
    isoflops: Sequence[IsoFlopCurve] = ()
    curves: Curves | None = None
    tested: Tested | None = None
    demos: DemosFacts | None = None
    video: bytes | None = None
    baselines: dict[str, Baseline] = field(default_factory=dict)
    went: dict[str, Any] = field(default_factory=dict)
    episodes: dict[tuple[str, float], tuple[dict[str, Any], ...]] = field(default_factory=dict)
    training: tuple[TrainingFacts, ...] = ()
    trace: tuple[Span, ...] = ()
    law_name: str = DEFAULT_LAW
    law_reason: str | None = None
    law_comparison: tuple[LawComparison, ...] = ()
    default_forecast: Forecast | None = None
    written: str | None = None
    builtin: bool = False
    missing: tuple[str, ...] = ()

    @property
    def expert(self) -> str:
        """Return who is imitated: whoever played the demonstrations, where they are there."""
        return self.demos.expert if self.demos else self.spec.expert

    @property
    def by_return(self) -> bool:
        """Return whether laws are of returns: no point has a dev loss, as in reinforcement."""
        return self.has_returns and all(p.dev_loss is None for p in self.points)

    @property
    def measure(self) -> str:
        """Return the figure that the study is judged by, 'dev_loss' or 'return_mean'."""
        return "return_mean" if self.by_return else "dev_loss"

    @property
    def samples_word(self) -> str:
        """Return what a sample is called: a step in the environment, if runs learn by playing."""
        return "environment steps" if self.by_return else "samples"

    @property
    def measured(self) -> list[Point]:
        """Return the sweep's points that have the figure the study is judged by."""
        measure = self.measure
        return [p for p in self.points if getattr(p, measure) is not None]

    @property
    def budgets(self) -> list[float]:
        """Return the sweep's budgets, ascending."""
        return list(self.spec.budgets_flops)

    @property
    def forecast(self) -> Forecast | None:
        """Return the forecast at the study's forecast budget."""
        return self.tested.forecast if self.tested else None

    @property
    def agent(self) -> Point | None:
        """Return the agent that was trained to test the forecast, its figures means over seeds."""
        return self.tested.point if self.tested else None

    @property
    def everyone(self) -> list[Point]:
        """Return every point on the page: the sweep's, and the forecast agent's of each seed."""
        return [*self.points, *(self.tested.by_seed if self.tested else ())]

    @property
    def has_returns(self) -> bool:
        """Return whether any policy was played."""
        return any(p.return_mean is not None for p in self.points)

    @property
    def flops_rise(self) -> float:
        """Return d log f / d log N of the FLOPs per sample f: turns an error of N into one of D."""
        known = [p for p in self.points if p.samples and p.flops]
        sizes = np.log([p.params for p in known])
        if len(np.unique(sizes)) < 2:
            return 1.0
        return float(np.polyfit(sizes, np.log([p.flops / p.samples for p in known]), 1)[0])

    @property
    def frontiers(self) -> list[str]:
        """Return the quantities to draw against compute: none if there is one budget only."""
        if len({p.budget_flops for p in self.measured}) < 2:
            return []
        optima = ["params", "samples"] if self.isoflops or self.curves else []
        losses = [] if self.by_return else ["dev_loss"]
        return [*optima, *losses, *(["return_mean"] if self.has_returns else [])]

    def score(self, who: str) -> float | None:
        """Return the mean return of 'random' or of 'expert', None if it was not measured."""
        known = self.references.get(who)
        return known.mean if known else None

    @property
    def verdicts(self) -> dict[str, str | None]:
        """Return the verdicts on loss and return, see `Tested.verdicts`; None if untested."""
        known = self.tested.verdicts if self.tested else {}
        return {key: known.get(key) for key in ("dev_loss", "return_mean")}

    def exponent(self, key: str) -> dict[str, Any] | None:
        """Return a law's exponent with its interval: its own, else that of the isoFLOP optima."""
        found = self.laws or {}
        law = (found.get("laws") or {}).get(key)
        if law:
            return law["exponent"]
        return ((found.get("exponents") or {}).get("isoflop_optima") or {}).get(key)

    def best_at(self, budget: float) -> Point | None:
        """Return the best point at a budget: of the lowest dev loss, or the highest return."""
        here = [p for p in self.measured if p.budget_flops == budget]
        return min(here, key=self.cost, default=None)

    def cost(self, point: Point) -> float:
        """Return what is the less, the better: the dev loss of a point, or minus its return."""
        value: float | None = getattr(point, self.measure)
        return math.inf if value is None else -value if self.by_return else value

    @property
    def best(self) -> list[Point]:
        """Return the best point at each budget that has one."""
        return [p for p in map(self.best_at, self.budgets) if p is not None]
