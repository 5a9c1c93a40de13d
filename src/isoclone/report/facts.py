"""Everything the page tells, gathered from a study; what is not there yet is named, not guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isoclone.base.errors import IsocloneError
from isoclone.base.records import Forecast, Point, jsonable
from isoclone.base.store import read_json
from isoclone.demos import open_demos
from isoclone.laws import FittedLaw
from isoclone.study.plan import Sweep
from isoclone.study.spec import StudySpec, demos_path

if TYPE_CHECKING:
    from isoclone.study.study import Study

GRID = 96  # points of a drawn law
MARGIN = 0.08  # decades drawn beyond the forecast


@dataclass(frozen=True)
class Tested:
    """A forecast, the agent trained to test it, and whether its figures lie in the intervals."""

    forecast: Forecast
    point: Point | None
    holds: dict[str, bool | None] = field(default_factory=dict)


@dataclass(frozen=True)
class DemosFacts:
    """What the demonstrations are, in numbers."""

    fingerprint: str
    expert: str
    episodes: dict[str, int]  # by split
    samples: dict[str, int]
    ends: dict[str, int]  # how episodes ended
    mean: float
    se: float


@dataclass(frozen=True)
class Facts:
    """A study as the page sees it. `missing` says in whole sentences what is not there."""

    folder: str
    spec: StudySpec
    points: list[Point]  # of the sweep
    references: dict[str, dict[str, float]]
    sweep: Sweep
    savings: dict[str, Any]
    laws: dict[str, Any] | None = None
    isoflops: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, Any] | None = None
    tested: Tested | None = None
    demos: DemosFacts | None = None
    video: bytes | None = None
    rivals: dict[str, dict[str, Any]] = field(default_factory=dict)
    went: dict[str, Any] = field(default_factory=dict)  # how the agent's games went
    missing: tuple[str, ...] = ()

    @property
    def measured(self) -> list[Point]:
        """The sweep's points that have a dev loss."""
        return [p for p in self.points if p.dev_loss is not None]

    @property
    def budgets(self) -> list[float]:
        """The sweep's budgets, ascending."""
        return list(self.spec.budgets_flops)

    @property
    def forecast(self) -> Forecast | None:
        """The forecast at the study's forecast budget."""
        return self.tested.forecast if self.tested else None

    @property
    def agent(self) -> Point | None:
        """The agent that was trained to test the forecast."""
        return self.tested.point if self.tested else None

    @property
    def has_returns(self) -> bool:
        """Whether any policy was played."""
        return any(p.return_mean is not None for p in self.points)

    @property
    def plays_nethack(self) -> bool:
        """Whether the study is of NetHack, which the paper has figures for."""
        return self.spec.game.split("/")[0] == "nethack"

    @property
    def flops_rise(self) -> float:
        """d log f / d log N of the FLOPs per sample f: how an error of N becomes one of D."""
        known = [p for p in self.points if p.samples and p.flops]
        sizes = np.log([p.params for p in known])
        if len(np.unique(sizes)) < 2:
            return 1.0
        return float(np.polyfit(sizes, np.log([p.flops / p.samples for p in known]), 1)[0])

    @property
    def frontiers(self) -> list[str]:
        """Which quantities can be drawn against compute: one budget alone makes no frontier."""
        if len({p.budget_flops for p in self.measured}) < 2:
            return []
        optima = ["params", "samples"] if self.isoflops or self.curves else []
        return [*optima, "dev_loss", *(["return_mean"] if self.has_returns else [])]

    def score(self, who: str) -> float | None:
        """Mean return of 'random' or of 'expert', if measured."""
        return self.references.get(who, {}).get("mean")

    @property
    def held(self) -> dict[str, bool | None]:
        """Whether the agent's loss and return lie in the forecast's intervals."""
        known = self.tested.holds if self.tested else {}
        return {key: known.get(key) for key in ("dev_loss", "return_mean")}

    def exponent(self, key: str) -> dict[str, Any] | None:
        """A law's exponent with its interval: of the law itself, else of the isoFLOP optima."""
        found = self.laws or {}
        law = (found.get("laws") or {}).get(key)
        if law:
            return law["exponent"]
        return ((found.get("exponents") or {}).get("isoflop_optima") or {}).get(key)

    def best_at(self, budget: float) -> Point | None:
        """The point with the lowest dev loss at a budget."""
        here = [p for p in self.measured if p.budget_flops == budget]
        return min(here, key=lambda p: p.dev_loss or 0.0, default=None)


def _isoflops(fitted: FittedLaw) -> list[dict[str, Any]]:
    """Return each budget's points and parabola, for drawing."""
    return [
        {"budget_flops": c.budget, "points": c.to_json(), "curve": jsonable(c.curve())}
        for c in fitted.isoflop_curves()
    ]


def gather(study: Study) -> Facts:
    """Read a study; nothing that is missing or damaged stops the page from being written."""
    missing: list[str] = []
    facts = Facts(
        folder=study.path.resolve().name,
        spec=study.spec,
        points=study.points("sweep"),
        references=jsonable(_try(study.references, missing, "Reference scores") or {}),
        sweep=study.sweep(),
        savings=study.savings().to_json(),
    )
    missing += _sweep_gaps(facts)
    found: dict[str, Any] = {"demos": _try(lambda: _demos(study), missing, "Demonstrations")}
    fitted = _try(study.laws, missing, "Laws")
    found["tested"] = _tested(study, fitted, missing)
    if fitted is not None:
        last = max([*facts.budgets, *([found["tested"].forecast.flops] if found["tested"] else [])])
        grid = np.logspace(np.log10(facts.budgets[0]), np.log10(last) + MARGIN, GRID)
        found["laws"] = _try(fitted.to_json, missing, "Laws")
        found["isoflops"] = _try(lambda: _isoflops(fitted), missing, "Curves") or []
        found["curves"] = _try(lambda: fitted.curves(grid).to_json(), missing, "Bands")
    found["rivals"] = jsonable(_try(study.baselines, missing, "Baselines") or {})
    found["went"] = _try(lambda: _went(study, found["tested"]), missing, "Episodes") or {}
    video = study.path / "video.mp4"
    found["video"] = video.read_bytes() if video.exists() else None
    if found["video"] is None:
        missing.append("Video: the forecast agent was not filmed.")
    # The page may travel: it names the study's folder, not where that happens to lie.
    told = tuple(text.replace(str(study.path), facts.folder) for text in missing)
    return Facts(**{**facts.__dict__, **found, "missing": told})


def _try(read: Callable[[], Any], missing: list[str], what: str) -> Any:
    """What `read` returns; on trouble None, and a sentence that says why."""
    try:
        return read()
    except IsocloneError as error:
        missing.append(f"{what}: {error}.")
        return None


def _sweep_gaps(facts: Facts) -> list[str]:
    gaps = []
    if not facts.sweep.complete:
        gaps.append(
            f"Sweep: unfinished, {len(facts.points)} points so far and {len(facts.sweep.cells)} "
            "to go at the current budget; the same command goes on."
        )
    lost = [p for p in facts.points if p.status != "ok"]
    if lost:
        kinds = ", ".join(
            f"{n} {kind}" for kind, n in sorted(Counter(p.status for p in lost).items())
        )
        gaps.append(f"Points without figures: {kinds}; each is a row below, with its reason.")
    if facts.points and not facts.has_returns:
        gaps.append("Returns: no policy was played (episodes = 0), so no return is shown.")
    return gaps


def _demos(study: Study) -> DemosFacts:
    # Not verified here: every run that used them has done so, and hashing takes its time.
    demos = open_demos(demos_path(study.path, study.spec), verify=False)
    mean, se = demos.score()
    splits = Counter(
        "dev" if info.index in demos.dev_episodes else "train" for info in demos.episodes
    )
    return DemosFacts(
        fingerprint=demos.fingerprint,
        expert=demos.expert_name,
        episodes={split: splits[split] for split in ("train", "dev")},
        samples={split: demos.samples_in(split) for split in ("train", "dev")},
        ends=dict(sorted(Counter(info.end for info in demos.episodes).items())),
        mean=mean,
        se=se,
    )


def _tested(study: Study, fitted: Any, missing: list[str]) -> Tested | None:
    """The forecast and its test; the forecast alone while the test is still to come."""
    path = study.path / "forecast.json"
    if path.exists():
        told = _try(study.tested, missing, "Forecast")
        if told is not None:
            point = told.point
            if point is None:
                missing.append("Test: the forecast agent has not been trained yet.")
            elif point.status != "ok":
                missing.append(f"Forecast agent: not measured ({point.reason}).")
            return Tested(told.forecast, point, told.holds)
    else:
        missing.append("Test: the forecast agent has not been trained yet.")
    if fitted is None:
        return None
    budget = study.spec.forecast_budget
    predicted = _try(lambda: fitted.forecast(budget), missing, "Forecast")
    return Tested(predicted, None) if predicted else None


def _went(study: Study, tested: Tested | None) -> dict[str, Any]:
    """How the forecast agent's episodes went, where the game tells."""
    from isoclone.evaluation.rollout import summary

    agent = tested.point if tested else None
    if agent is None:
        return {}
    path = study.folder.run(agent.run_id).episodes(agent.budget_flops)
    return summary(read_json(path)) if path.exists() else {}
