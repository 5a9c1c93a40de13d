"""What a worker does: bring one run to one budget, and leave the point in the run's folder.

A worker is told a study directory, a run id and a budget, and writes only that run's folder:

    runs/<id>/run.json                    the declared fields
    runs/<id>/state.safetensors           where training can go on from
    runs/<id>/checkpoints/<budget>.safetensors
    runs/<id>/episodes/<budget>.json      how each episode went, where the game tells
    runs/<id>/seconds/<budget>.json       how long training took (see `train.TrainProgress`)
    runs/<id>/points/<budget>.json        written last: without it the point did not happen
    runs/<id>/progress.json               for whoever watches

Doing it twice is harmless: what is there is not done again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclone.base import distributed
from isoclone.base.errors import CheckpointError, StoreError
from isoclone.base.provenance import made_by
from isoclone.base.records import Point, Run
from isoclone.base.store import read_json, write_json
from isoclone.executors import Files
from isoclone.study.spec import StudySpec

if TYPE_CHECKING:
    from isoclone.training.checkpoint import TrainedPolicy
    from isoclone.training.loop import Trainer

PROGRESS_SECONDS = 1.0
STUDY_FILE = "study.json"


def budget_key(budget_flops: float) -> str:
    """A budget as part of a file name: exact, and sorted by eye."""
    short = f"{budget_flops:.6e}"
    return short if float(short) == budget_flops else f"{budget_flops:.16e}"


def run_folder(study: Path, run_id: str) -> Path:
    """The folder of one run."""
    return study / "runs" / run_id


def point_path(study: Path, run_id: str, budget_flops: float) -> Path:
    """The file whose presence says that the point is complete."""
    return run_folder(study, run_id) / "points" / f"{budget_key(budget_flops)}.json"


def checkpoint_path(study: Path, run_id: str, budget_flops: float) -> Path:
    """The weights the point was measured with."""
    return run_folder(study, run_id) / "checkpoints" / f"{budget_key(budget_flops)}.safetensors"


def episodes_path(study: Path, run_id: str, budget_flops: float) -> Path:
    """What the game told of each episode that the point's policy played, where it tells anything.

    A list with a row for each: score, depth, turns, length, death and so on.
    """
    return run_folder(study, run_id) / "episodes" / f"{budget_key(budget_flops)}.json"


def seconds_path(study: Path, run_id: str, budget_flops: float) -> Path:
    """How long the training up to the budget took.

    No part of the point: the same run gives the same point on any machine, and never the same time.
    """
    return run_folder(study, run_id) / "seconds" / f"{budget_key(budget_flops)}.json"


def train_seconds(study: Path, run_id: str, budget_flops: float) -> float | None:
    """Seconds of training up to a budget, if they are known.

    Raises:
        StoreError: the file is damaged.
    """
    path = seconds_path(study, run_id, budget_flops)
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, float):
        raise StoreError(f"{path} is damaged; delete it")
    return found


def read_spec(study: Path) -> StudySpec:
    """The specification in a study directory."""
    return StudySpec.from_json(read_json(study / STUDY_FILE)["spec"])


def demos_path(study: Path, spec: StudySpec) -> Path:
    """Where the study's demonstrations are: in it, or, unless a copy came with it, elsewhere."""
    from isoclone.demos import demos_here

    inside = study / "demos"
    return inside if inside.exists() or not spec.demos else demos_here(spec.demos)


def run_files(study: Path, spec: StudySpec, run_id: str) -> Files:
    """What `advance` reads and writes of a run, where no disk is shared."""
    demos, run = demos_path(study, spec), f"runs/{run_id}"
    reads = {STUDY_FILE: study / STUDY_FILE, run: study / run}
    parts = ("demonstrations.json", "episodes", "games")
    reads |= {f"demos/{name}": demos / name for name in parts if (demos / name).exists()}
    return Files(study, reads, (run,))


def advance(study: Path, run_id: str, budget_flops: float, role: str, device: str) -> None:
    """Train the run to the budget, evaluate it, write its point. Does nothing if it is there."""
    if is_there(point_path(study, run_id, budget_flops), role):
        return
    job = _Job(study, run_id, budget_flops, role, device)
    reason = job.already_diverged()
    if reason is None:
        reason = job.train()
    if reason is not None:
        job.write(job.point(None, status="diverged", reason=reason))
        return
    job.measure()


def climb(study: Path, run_id: str, budgets_flops: Sequence[float], role: str, device: str) -> None:
    """`advance` from budget to budget, in ascending order."""
    for budget_flops in budgets_flops:
        advance(study, run_id, budget_flops, role, device)


def is_there(path: Path, role: str) -> bool:
    """Whether the point is measured; one measured on the side does not stand for the sweep's."""
    return path.exists() and (role == "extra" or read_json(path)["role"] == role)


class _Job:
    """One call of `advance`, with what it needs at hand."""

    def __init__(self, study: Path, run_id: str, budget_flops: float, role: str, device: str):
        import torch

        from isoclone.demos import open_demos
        from isoclone.policies import policy_layout
        from isoclone.training.data import open_source

        torch.set_num_threads(1)
        self.study, self.budget, self.role, self.device = study, budget_flops, role, device
        self.folder = run_folder(study, run_id)
        self.spec = read_spec(study)
        self.run = Run.from_json(read_json(self.folder / "run.json"))
        if self.run.id != run_id:
            raise StoreError(f"{self.folder / 'run.json'} was edited: its id is now {self.run.id}")
        self.game = self.spec.make_game()
        self.demos = demos = open_demos(demos_path(study, self.spec), verify=False)
        layout = policy_layout(
            self.run.policy,
            self.run.width,
            demos.frame,
            demos.n_actions,
            **self.run.policy_options,
        )
        self.source = open_source(demos, self.run.recipe["frames"], layout)
        self.n_actions = demos.n_actions
        self._reported = 0.0

    def already_diverged(self) -> str | None:
        """The reason, if this run diverged at an earlier budget."""
        for path in sorted((self.folder / "points").glob("*.json")):
            point = Point.from_json(read_json(path))
            if point.status == "diverged":
                return point.reason
        return None

    def train(self) -> str | None:
        """Bring the run to its budget; returns why it diverged, if it did."""
        from isoclone.training.loop import Diverged

        self.trainer = self._trainer()
        try:
            self.trainer.train_until(self.budget, lambda samples: self.report("train", samples))
        except Diverged as diverged:
            return str(diverged)
        self.trainer.save_checkpoint(checkpoint_path(self.study, self.run.id, self.budget))
        self.trainer.save()
        if distributed.leads():
            path = seconds_path(self.study, self.run.id, self.budget)
            write_json(path, self.trainer.progressed.seconds)
        return None

    def _trainer(self) -> Trainer:
        """The run as it was left; from its beginning if that is damaged or already too far."""
        from isoclone.training.loop import Trainer

        def start() -> Trainer:
            return Trainer(self.run, self.source, self.n_actions, self.folder, self.device)

        try:
            trainer = start()
            # Training stops with the batch that reaches the budget; masked samples make it less.
            wanted = math.ceil(self.budget / trainer.flops_per_sample)
            if trainer.progressed.samples < wanted + trainer.recipe.batch_size:
                note = ""
            else:
                note = f"its state was beyond {self.budget:.3g} FLOPs"
        except (CheckpointError, KeyError, ValueError, RuntimeError, TypeError) as error:
            note = " ".join(str(error).split()) or type(error).__name__
        if not distributed.any_of(bool(note)):
            return trainer
        if distributed.leads():
            (self.folder / "state.safetensors").unlink(missing_ok=True)
            write_json(self.folder / "restarted.json", {"why": note})
        distributed.wait()
        return start()

    def measure(self) -> None:
        """Evaluate the policy and write its point; one rank does it, the others wait for it."""
        if not distributed.leads():
            return
        from isoclone.evaluation.dev_loss import dev_loss
        from isoclone.evaluation.rollout import rollout

        trained: TrainedPolicy = self.trainer.trained()
        self.report("dev loss", trained.samples, now=True)
        loss = dev_loss(trained, self.source, self.spec.dev_samples)
        if not math.isfinite(loss.mean):
            reason = f"dev loss was {loss.mean} after {trained.samples:,} samples"
            self.write(self.point(None, status="diverged", reason=reason))
            return
        episodes = self.spec.episodes if self.role == "sweep" else self.spec.forecast_episodes
        figures: dict[str, Any] = {
            "dev_loss": loss.mean,
            "dev_loss_se": loss.se,
            "dev_accuracy": loss.accuracy,
            "dev_accuracy_top3": loss.accuracy_top3,
        }
        if episodes:
            self.report("rollouts", trained.samples, now=True)
            played = rollout(
                trained,
                self.game,
                episodes,
                self.run.seed,
                self.spec.sampling,
                progress=lambda finished: self.report("rollouts", trained.samples),
            )
            figures |= {"return_mean": played.mean, "return_se": played.se, "episodes": episodes}
            if played.facts:
                write_json(episodes_path(self.study, self.run.id, self.budget), played.facts)
        self.write(self.point(checkpoint_path(self.study, self.run.id, self.budget), **figures))

    def point(self, checkpoint: Path | None, **figures: Any) -> Point:
        """The row: what the run says of itself, and the figures that were measured."""
        from isoclone.policies import policy_params
        from isoclone.training.loop import epochs

        run, (samples, train_loss, per_sample) = self.run, self.trainer_progress()
        unique = self.demos.samples_in("train")
        params = policy_params(
            run.policy, run.width, self.demos.frame, self.n_actions, **run.policy_options
        )
        done: dict[str, Any] = {
            "flops": samples * per_sample,
            "samples": samples,
            "unique_samples": min(samples, unique),
            "epochs": epochs(samples, unique),
            "train_loss": train_loss,
            "checkpoint": str(checkpoint.relative_to(self.study)) if checkpoint else None,
            **made_by(self.device, run.recipe["precision"]),
        }
        return Point.of_run(run, self.budget, params, self.role, **done, **figures)

    def trainer_progress(self) -> tuple[int, float | None, float]:
        """(samples, recent training loss, FLOPs per sample) of the run so far."""
        trainer = getattr(self, "trainer", None)
        if trainer is None:
            return 0, None, 0.0
        done = trainer.progressed
        return done.samples, done.train_loss if done.step else None, trainer.flops_per_sample

    def write(self, point: Point) -> None:
        """Write the point, the last thing that is done."""
        if not distributed.leads():
            return
        write_json(point_path(self.study, self.run.id, self.budget), point.to_json())
        self.report("done", point.samples, now=True)

    def report(self, phase: str, samples: int, now: bool = False) -> None:
        """Tell whoever watches, at most once a second."""
        if not distributed.leads():
            return
        if not now and time.monotonic() - self._reported < PROGRESS_SECONDS:
            return
        self._reported = time.monotonic()
        per_sample = self.trainer_progress()[2]
        write_json(
            self.folder / "progress.json",
            {
                "phase": phase,
                "label": self.run.label,
                "budget_flops": self.budget,
                "flops": samples * per_sample,
                "samples": samples,
            },
        )
