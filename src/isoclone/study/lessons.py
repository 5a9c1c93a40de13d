"""What the runs of a study learn from: demonstrations of an expert, or their own play.

A worker knows nothing else of it: a lesson makes the learner, counts what its samples are worth,
and judges what was learned.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isoclone.agents.checkpoint import TrainedPolicy, load_checkpoint
from isoclone.base.errors import DataError
from isoclone.base.records import Run
from isoclone.demos import open_demos
from isoclone.demos.base import unique_samples, unique_seen
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.games.actions import several
from isoclone.policies import policy_layout
from isoclone.study.folder import StudyFolder
from isoclone.study.spec import StudySpec, demos_path
from isoclone.training.learner import Learner
from isoclone.training.recipes import imitates


class Lesson(Protocol):
    """What a run learns from."""

    def learner(self, folder: Path, device: str) -> Learner:
        """Return the run at its beginning; its state is kept in a folder."""
        ...

    def counts(self, samples: int) -> dict[str, Any]:
        """Return what so many samples are worth, as columns of a point."""
        ...

    def judged(self, policy: TrainedPolicy) -> dict[str, Any]:
        """Return the dev loss as columns of a point; none where nothing is imitated."""
        ...


def lesson_of(study: Path, spec: StudySpec, run: Run) -> Lesson:
    """Return what a run of a study learns from."""
    return Imitation(study, spec, run) if imitates(run.recipe) else Play(study, spec, run)


class Imitation:
    """Demonstrations of an expert."""

    def __init__(self, study: Path, spec: StudySpec, run: Run):
        self._spec, self._run = spec, run
        self._demos = demos = open_demos(demos_path(study, spec), verify=False)
        shape = (run.policy, run.width, demos.frame, demos.n_actions)
        layout = policy_layout(*shape, **run.policy_options)
        self._source = demos.source(run.recipe["frames"], layout)

    def learner(self, folder: Path, device: str) -> Learner:
        """Return the run at its beginning."""
        from isoclone.training.loop import Trainer

        demos = self._demos
        return Trainer(self._run, self._source, demos.n_actions, folder, device, several(demos))

    def counts(self, samples: int) -> dict[str, Any]:
        """Return how many of the samples differ, and how often each was seen."""
        unique = unique_samples(self._demos, "train")
        epochs = float(np.round(samples / unique, 4))
        return {"unique_samples": unique_seen(self._demos, samples), "epochs": epochs}

    def judged(self, policy: TrainedPolicy) -> dict[str, Any]:
        """Return the dev loss, or the reason why there is none."""
        loss = dev_loss(policy, self._source, self._spec.dev_samples)
        if not math.isfinite(loss.mean):
            said = f"dev loss was {loss.mean} after {policy.samples:,} samples"
            return {"status": "diverged", "reason": said}
        return loss.columns()


class Play:
    """The run's own play; it may start from a clone, which may teach it."""

    def __init__(self, study: Path, spec: StudySpec, run: Run):
        self._run, self._game = run, spec.make_game()
        self._clone = clone_of(study, run)

    def learner(self, folder: Path, device: str) -> Learner:
        """Return the run at its beginning."""
        from isoclone.training.reinforcement.loop import PpoTrainer

        clone = load_checkpoint(self._clone, device) if self._clone else None
        return PpoTrainer(self._run, self._game, folder, device, clone)

    def counts(self, samples: int) -> dict[str, Any]:
        """Return the environment steps, each of which is new; the learner counts its passes."""
        return {"unique_samples": samples}

    def judged(self, policy: TrainedPolicy) -> dict[str, Any]:
        """Return nothing: there are no actions of an expert to foretell."""
        return {}


def clone_of(study: Path, run: Run) -> Path | None:
    """Return the weights that a run starts from, None if from nothing.

    Raises:
        DataError: they are not in the study.
    """
    if not run.demos:
        return None
    path = StudyFolder(study).clone(run.width)
    if not path.exists():
        raise DataError(f"{path}, the clone that run {run.id} starts from, is missing")
    return path
