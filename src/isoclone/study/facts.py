"""Gather the facts of a study's report; what is not there yet is listed as missing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from isoclone.base.curves import read_curve
from isoclone.base.errors import IsocloneError
from isoclone.base.records import Forecast, Point
from isoclone.base.results import Tested
from isoclone.base.store import read_json
from isoclone.base.trace import read_spans
from isoclone.demos import open_demos
from isoclone.demos.base import unique_samples
from isoclone.evaluation.summary import summary
from isoclone.games import is_playable
from isoclone.laws import DEFAULT_LAW, FittedLaw
from isoclone.report.facts import DemosFacts, Facts, SweepFacts, TrainingFacts
from isoclone.study.builtins import builtin
from isoclone.study.fit import fit_law, forecast_agents
from isoclone.study.plan import RULES
from isoclone.study.precision import keep_settled
from isoclone.study.spec import StudySpec, demos_path
from isoclone.study.study import Study

GRID = 96  # points of a drawn law
MARGIN = 0.08  # decades drawn beyond the forecast


def gather(study: Study) -> Facts:
    """Return what the page tells of a study.

    Nothing that is missing or damaged stops the page from being written: it is in `missing`.
    """
    missing: list[str] = []
    every = study.points(None)
    points = [point for point in every if point.role == "sweep"]
    sweep = study.sweep(points)
    left, imitates = len(sweep.cells), study.spec.imitates
    missing += _sweep_gaps(points, left, is_playable(study.spec.make_game()))
    fitted = _try(study.laws, missing, "Laws")
    noted: dict[str, Any] = _try(study.noted, missing, "When the forecast was made") or {}
    tested = _tested(study, fitted, bool(noted), missing)
    video = study.folder.video
    facts = Facts(
        folder=study.path.resolve().name,
        spec=study.spec,
        points=points,
        references=_try(study.references, missing, "Reference scores") or {},
        sweep=SweepFacts(sweep.widths, left, RULES[study.spec.rules]),
        savings=study.savings(points),
        demos=_try(lambda: _demos(study), missing, "Demonstrations") if imitates else None,
        tested=tested,
        written=noted.get("written"),
        baselines=_try(study.baselines, missing, "Baselines") or {},
        went=_try(lambda: _went(study, tested), missing, "Episodes") or {},
        episodes=_episodes(study, every, missing),
        training=_training(study, every, missing),
        trace=tuple(read_spans(study.folder.trace)),
        video=video.read_bytes() if video.exists() else None,
        builtin=_is_builtin(study.spec),
        **_drawn(study, fitted, tested, missing),
        **_chosen_law(study, fitted, missing),
    )
    if facts.video is None and is_playable(study.spec.make_game()):
        missing.append("Video: the forecast agent was not filmed.")
    # The page may be sent to others: it names the study's folder, not the path to it.
    told = tuple(text.replace(str(study.path), facts.folder) for text in missing)
    return Facts(**{**facts.__dict__, "missing": told})


def _try(read: Callable[[], Any], missing: list[str], what: str) -> Any:
    """Return what `read` returns; on trouble None, and a sentence that says why."""
    try:
        return read()
    except IsocloneError as error:
        missing.append(f"{what}: {error}.")
        return None


def _sweep_gaps(points: list[Point], left: int, playable: bool) -> list[str]:
    gaps = []
    if left:
        gaps.append(
            f"Sweep: unfinished, {len(points)} points so far and {left} "
            "to go at the current budget; the same command goes on."
        )
    lost = Counter(p.status for p in points if p.status != "ok")
    if lost:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(lost.items()))
        gaps.append(f"Points without figures: {kinds}; each is a row below, with its reason.")
    if not playable:
        gaps.append(
            "Returns: unmeasured, as there is no environment to play in, only demonstrations; "
            "losses, laws and the forecast are of losses alone."
        )
    elif points and all(p.return_mean is None for p in points):
        gaps.append("Returns: no policy was played (episodes = 0), so no return is shown.")
    return gaps


def _drawn(
    study: Study, fitted: FittedLaw | None, tested: Tested | None, missing: list[str]
) -> dict[str, Any]:
    """Return the fitted law, for tables and for charts."""
    if fitted is None:
        return {}
    budgets = study.spec.budgets_flops
    last = max([*budgets, *([tested.forecast.flops] if tested else [])])
    grid = np.logspace(np.log10(budgets[0]), np.log10(last) + MARGIN, GRID)
    return {
        "laws": _try(fitted.to_json, missing, "Laws"),
        "isoflops": _try(fitted.isoflop_curves, missing, "Curves") or [],
        "curves": _try(lambda: fitted.curves(grid), missing, "Bands"),
    }


def _chosen_law(study: Study, fitted: FittedLaw | None, missing: list[str]) -> dict[str, Any]:
    """Return the facts of the law that the study chose: nothing if it is the default."""
    name, budget = study.spec.law, study.spec.forecast_budget
    if name == DEFAULT_LAW or fitted is None:
        return {"law_name": name}
    compared = _try(study.compare_laws, missing, "Comparison of laws") or []
    found: dict[str, Any] = {"law_name": name, "law_comparison": tuple(compared)}
    if fitted.name != name:
        return {**found, "law_reason": fitted.status[0].message}

    asked = fitted.forecast(budget).status
    failed = [status.message for status in asked if status.code == "law_failed"]
    if failed:
        return {**found, "law_reason": failed[0]}

    def usual() -> Forecast:
        laws = fit_law(DEFAULT_LAW, study.points(), study.bounds())
        return forecast_agents(laws, study.spec)

    return {**found, "default_forecast": _try(usual, missing, "Default law")}


def _demos(study: Study) -> DemosFacts:
    # Not verified here: every run that used them has done so, and hashing is slow.
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
        mean=None if math.isnan(mean) else mean,
        se=se,
        copies=getattr(demos, "copies", 0),
        unique_samples=unique_samples(demos, "train"),
        remarks=tuple(getattr(demos, "remarks", list)()),
    )


def _tested(
    study: Study, fitted: FittedLaw | None, noted: bool, missing: list[str]
) -> Tested | None:
    """Return the forecast and its test; the forecast alone while the test is still to come.

    `noted` says that a forecast was made, even if its file is lost.
    """
    written = study.folder.forecast.exists()
    told: Tested | None = _try(study.tested, missing, "Forecast") if written else None
    for point in told.by_seed if told else ():
        if point.status != "ok":
            missing.append(f"Forecast agent, seed {point.seed}: {point.status} ({point.reason}).")
    if noted and not written:
        missing.append("Test: the file of the forecast is lost; the same run writes it anew.")
    elif not (told and told.by_seed) and (told or not written):  # a damaged one is reported
        missing.append("Test: the forecast agent has not been trained yet.")
    if told or fitted is None:
        return told
    predicted: Forecast | None = _try(study.forecast, missing, "Forecast")
    return Tested.of(predicted) if predicted else None


def _went(study: Study, tested: Tested | None) -> dict[str, Any]:
    """Return how the forecast agent's episodes went, where the game tells."""
    agent = tested.point if tested else None
    if agent is None:
        return {}
    path = study.folder.run(agent.run_id).episodes(agent.budget_flops)
    names = getattr(study.spec.make_game(), "episode_summary", None)
    return summary(read_json(path), names) if path.exists() else {}


def _episodes(
    study: Study, points: Sequence[Point], missing: list[str]
) -> dict[tuple[str, float], tuple[Any, ...]]:
    """Return the game's facts about the episodes of every point, where it tells any."""
    found: dict[tuple[str, float], tuple[Any, ...]] = {}
    for point in points:
        path = study.folder.run(point.run_id).episodes(point.budget_flops)
        rows = _try(partial(read_json, path), missing, "Episodes") if path.exists() else None
        if rows:
            found[point.run_id, point.budget_flops] = tuple(rows)
    return found


def _training(
    study: Study, points: Sequence[Point], missing: list[str]
) -> tuple[TrainingFacts, ...]:
    """Return the training curve of every run that has points and a curve, by size."""
    last = {p.run_id: p for p in sorted(points, key=lambda p: p.samples)}
    found = []
    for point in sorted(last.values(), key=lambda p: (p.params, p.seed, p.run_id)):
        path = study.folder.run(point.run_id).curve
        rows = _try(partial(read_curve, path), missing, "Training curve") if path.exists() else None
        if rows:
            about = (point.run_id, point.role, point.width, point.params, point.seed)
            found.append(TrainingFacts(*about, tuple(rows)))
    return tuple(found)


def _is_builtin(spec: StudySpec) -> bool:
    """Return whether the study comes with isoclone, what is settled when it is made aside."""
    try:
        known = builtin(spec.name)
    except IsocloneError:
        return False
    known = keep_settled(known, spec)
    return known.replace(expert_identity=spec.expert_identity) == spec
