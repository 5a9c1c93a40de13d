"""Train one run of a study to a budget, and write the point into the run's folder.

A worker gets a study directory, a run id and a budget, and writes only that run's folder (see
`study.folder`). Doing it twice is harmless: what is there is not done again.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isoclone.agents.checkpoint import TrainedPolicy, load_checkpoint
from isoclone.base import distributed
from isoclone.base.curves import CurveRow, read_curve, write_curve
from isoclone.base.errors import FOREIGN, CheckpointError, StoreError
from isoclone.base.provenance import made_by
from isoclone.base.records import Point, Run
from isoclone.base.results import mean_cost
from isoclone.base.store import read_json, write_bytes, write_json
from isoclone.base.trace import span
from isoclone.evaluation.rollout import marginal_returns, random_returns, rollout
from isoclone.experts import expert
from isoclone.experts.entropy import ask_in_episode, can_be_asked
from isoclone.games import is_playable
from isoclone.policies import policy_params
from isoclone.study.folder import RunFolder, StudyFolder, is_there
from isoclone.study.lessons import lesson_of
from isoclone.study.spec import StudySpec, read_spec
from isoclone.training.learner import Diverged, Learner

PROGRESS_SECONDS = 1.0
COLLAPSE, COLLAPSE_SES = 0.5, 3.0  # of what a run had gained over random play; sure by so many SEs
BASELINE_SEED = 2
ENTROPY_SEED = 3


def train_to_budget(study: Path, run_id: str, budget_flops: float, role: str, device: str) -> None:
    """Train a run to a budget, evaluate the policy, and write its point, unless it is there.

    All processes of a torchrun call it together; the first one evaluates and writes.
    """
    run = StudyFolder(study).run(run_id)
    if is_there(run.point(budget_flops), role):
        return
    job = _Job(study, run, budget_flops, role, device)
    reason = job.diverged_before()
    if reason is not None:
        job.write(job.point(None, status="diverged", reason=reason))
        return
    trainer = job.resumed()
    with closing(trainer):
        _train(job, trainer)


def _train(job: _Job, trainer: Learner) -> None:
    """Train to the job's budget, and measure; what diverges is a point, too."""
    try:
        with span("train", job.run.id):
            trainer.train_until(job.budget, lambda samples: job.report("train", trainer))
    except Diverged as diverged:
        job.write_curve(trainer)
        job.write(job.point(trainer, status="diverged", reason=str(diverged)))
        return
    job.keep(trainer)
    if distributed.leads():
        with span("evaluate", job.run.id):
            point = job.point(trainer, **job.measured(trainer))
        job.write_curve(trainer, point)
        job.write(point)
        job.report("done", trainer, now=True)


def train_to_budgets(
    study: Path, run_id: str, budgets_flops: Sequence[float], role: str, device: str
) -> None:
    """Train a run from budget to budget, in ascending order; a failure leaves its traceback."""
    torch.set_num_threads(1)
    folder = StudyFolder(study).run(run_id)
    try:
        for budget_flops in budgets_flops:
            train_to_budget(study, run_id, budget_flops, role, device)
    except FOREIGN:
        write_bytes(folder.failure, traceback.format_exc().encode())
        raise
    folder.failure.unlink(missing_ok=True)


class _Job:
    """The work of one call of `train_to_budget`."""

    def __init__(self, study: Path, folder: RunFolder, budget: float, role: str, device: str):
        self.study, self.folder, self.budget = study, folder, budget
        self.role, self.device = role, device
        self.spec: StudySpec = read_spec(study)
        self.run = run = Run.from_json(read_json(folder.file))
        if run.id != folder.path.name:
            raise StoreError(f"{folder.file} was edited: its id is now {run.id}")
        self.lesson = lesson_of(study, self.spec, run)
        self.game = self.spec.make_game()
        shape = (run.policy, run.width, self.game.frame, self.game.n_actions)
        self.params = policy_params(*shape, **run.policy_options)
        self._reported = 0.0

    def points(self) -> list[Point]:
        """Read the run's complete points."""
        paths = sorted((self.folder.path / "points").glob("*.json"))
        return [Point.from_json(read_json(path)) for path in paths]

    def diverged_before(self) -> str | None:
        """Return the reason, if this run diverged at an earlier budget."""
        for point in self.points():
            if point.status == "diverged" and point.budget_flops < self.budget:
                return point.reason
        return None

    def resumed(self) -> Learner:
        """Return the run as it was left; from its beginning if that is damaged or too far."""
        trainer, why = self.lesson.learner(self.folder.path, self.device), ""
        try:
            trainer.resume()
        except CheckpointError as error:
            why = str(error)
        if trainer.is_beyond(self.budget):
            why = f"its state was beyond {self.budget:.3g} FLOPs"
        if not distributed.any_of(bool(why)):
            return trainer
        trainer.close()
        if distributed.leads():
            self.folder.state.unlink(missing_ok=True)
            write_json(self.folder.restarted, {"why": why})
        distributed.wait()
        return self.lesson.learner(self.folder.path, self.device)

    def keep(self, trainer: Learner) -> None:
        """Write the checkpoint of the budget, the state to go on from, and the time it took."""
        trainer.save_checkpoint(self.folder.checkpoint(self.budget))
        trainer.save()
        if distributed.leads():
            write_json(self.folder.seconds(self.budget), trainer.progress.seconds)

    def measured(self, trainer: Learner) -> dict[str, Any]:
        """Evaluate the policy; return the figures of its point, or why it has none."""
        policy = trainer.trained()
        self.report("dev loss" if self.spec.imitates else "rollouts", trainer, now=True)
        judged = self.lesson.judged(policy)
        if judged.get("status", "ok") != "ok":
            return judged
        path = self.folder.checkpoint(self.budget)
        played = self._played(policy, trainer)
        return {
            "checkpoint": path.relative_to(self.study).as_posix(),
            **judged,
            **played,
            **({} if self.spec.imitates else self._collapsed(played)),
        }

    def _collapsed(self, played: dict[str, Any]) -> dict[str, Any]:
        """Return status and reason where the run scored far more at an earlier budget."""
        before = [p for p in self.points() if p.status == "ok" and p.budget_flops < self.budget]
        best = min(before, key=lambda p: mean_cost([p]), default=None)
        random = read_random(self.study)
        if best is None or random is None or best.return_mean is None:
            return {}
        now, noise = played["return_mean"], played["return_se"] or 0.0
        gained, left = best.return_mean - random, now - random
        surely = best.return_mean - now > COLLAPSE_SES * math.hypot(noise, best.return_se or 0.0)
        if gained <= 0 or left > COLLAPSE * gained or not surely:
            return {}
        said = f"the return fell from {best.return_mean:.4g} at {best.budget_flops:.3g} FLOPs"
        return {"status": "collapsed", "reason": f"{said} to {now:.4g}"}

    def _played(self, policy: TrainedPolicy, trainer: Learner) -> dict[str, Any]:
        """Play whole episodes; return the figures about them."""
        sweeps = self.spec.episodes_at(self.budget) if self.role == "sweep" else self.spec.episodes
        episodes = agent_episodes(self.study, self.spec) if self.role == "forecast" else sweeps
        if not episodes or not is_playable(self.game):
            return {}
        self.report("rollouts", trainer, now=True)
        played = rollout(
            policy,
            self.game,
            episodes,
            self.run.seed,
            self.spec.sampling,
            progress=lambda finished: self.report("rollouts", trainer),
        )
        if played.facts:
            write_json(self.folder.episodes(self.budget), played.facts)
        return {
            "return_mean": played.mean,
            "return_se": played.se,
            "return_median": played.median,
            "episodes": episodes,
        }

    def point(self, trainer: Learner | None, **measured: Any) -> Point:
        """Return the point: the run's fields, its cost, and what was measured."""
        cost: dict[str, Any] = {}
        if trainer is not None:
            samples = trainer.progress.samples
            cost = {"flops": trainer.flops, "samples": samples}
            cost |= {**self.lesson.counts(samples), **trainer.costs()}
        made = made_by(self.device, self.run.recipe["precision"])
        return Point.of_run(
            self.run, self.budget, self.params, self.role, **cost, **made, **measured
        )

    def write_curve(self, trainer: Learner, point: Point | None = None) -> None:
        """Write the training curve, with the dev losses of the run's points and of a new one.

        Rows are found by their samples, so none is there twice. Of a run that had to begin again,
        what was written of its later part stays until training has come there.
        """
        if not distributed.leads():
            return
        rows = {row.samples: row for row in trainer.rows()}
        with suppress(StoreError):
            later = (
                r for r in read_curve(self.folder.curve) if r.samples > trainer.progress.samples
            )
            rows |= {row.samples: row for row in later}
        for each in [*self.points(), *([point] if point else [])]:
            if each.samples and each.dev_loss is not None:
                row = rows.get(each.samples, CurveRow(each.samples, each.flops))
                rows[each.samples] = replace(row, dev_loss=each.dev_loss)
        write_curve(self.folder.curve, [rows[samples] for samples in sorted(rows)])

    def write(self, point: Point) -> None:
        """Write the point; this is the last step."""
        if distributed.leads():
            write_json(self.folder.point(self.budget), point.to_json())

    def report(self, phase: str, trainer: Learner, now: bool = False) -> None:
        """Write the progress for watchers, at most once a second."""
        if not distributed.leads():
            return
        if not now and time.monotonic() - self._reported < PROGRESS_SECONDS:
            return
        self._reported = time.monotonic()
        write_json(
            self.folder.progress,
            {
                "phase": phase,
                "label": self.run.label,
                "budget_flops": self.budget,
                "flops": trainer.flops,
                "samples": trainer.progress.samples,
            },
        )


# ---------------------------------------------------------------------- other work of a study


def read_random(study: Path) -> float | None:
    """Return the mean return of random play, if a study has measured it."""
    path = StudyFolder(study).references
    row = read_json(path).get("random") if path.exists() else None
    return None if row is None else float(row["mean"])


def agent_episodes(study: Path, spec: StudySpec) -> int:
    """Return how many episodes each of the forecast's agents plays: as many as it is made for."""
    path = StudyFolder(study).forecast
    said = read_json(path)["forecast"].get("episodes") if path.exists() else None
    return spec.agent_episodes if said is None else int(said)


def play_random(spec: StudySpec, episodes: int) -> dict[str, float]:
    """Play at random; return the mean return and its SE, as a row of `references.json`."""
    with span("evaluate"):
        played = random_returns(spec.make_game(), episodes, seed=1)
    return {"mean": played.mean, "se": played.se or 0.0, "episodes": episodes}


def ask_expert(spec: StudySpec, number: int, length: int) -> list[Any] | None:
    """Ask a study's expert in an episode; return the answers, None if it cannot be asked.

    Args:
        number: of the episode.
        length: steps that it is expected to have.

    Returns:
        (states, asks, factors), for `entropy_of`.
    """
    the_game = spec.make_game()
    player = expert(spec.expert, the_game, **spec.expert_options)
    if not can_be_asked(player):
        return None
    with span("evaluate"):
        found = ask_in_episode(player, the_game, number, seed=ENTROPY_SEED, length=length)
    return list(found.tolist())


def play_baseline(
    study: Path, shares: Sequence[float] | None, checkpoint: str | None
) -> dict[str, Any]:
    """Play as many episodes as the forecast agent with one of its seeds.

    Args:
        shares: how often the expert takes each action, for a player that knows nothing else.
        checkpoint: a policy of the study, if no shares are given.

    Returns:
        The mean return, its SE, and the number of episodes.
    """
    torch.set_num_threads(1)
    spec = read_spec(study)
    the_game, episodes = spec.make_game(), agent_episodes(study, spec)
    with span("evaluate"):
        if checkpoint is None:
            played = marginal_returns(the_game, np.array(shares), episodes, BASELINE_SEED)
        else:
            policy = load_checkpoint(study / checkpoint)
            played = rollout(policy, the_game, episodes, BASELINE_SEED, spec.sampling)
    return {"mean": played.mean, "se": played.se, "episodes": episodes}


def film(study: Path, checkpoint: str) -> list[str]:
    """Write the study's video from one of its checkpoints; return what there is to say of it."""
    from isoclone.evaluation.video import write_video

    spec = read_spec(study)
    policy = load_checkpoint(study / checkpoint)
    said: list[str] = []
    video = StudyFolder(study).video
    with span("film"):
        write_video(policy, spec.make_game(), video, sampling=spec.sampling, tell=said.append)
    return said
