"""Show runs in TensorBoard or Weights & Biases while a study goes on: `--track NAME`.

Whoever trains a run, its curve and points come home with its folder. The driver hands them on from
there, after each point: workers know nothing of trackers, and what was handed on once is not again,
also after an interruption.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from isoclone.base.curves import CurveRow, read_curve
from isoclone.base.errors import MissingExtraError, SpecError
from isoclone.base.records import Point, Run
from isoclone.base.schema import columns
from isoclone.base.store import read_json, write_json
from isoclone.base.tables import TRACKERS
from isoclone.study.folder import StudyFolder

EXTRA = "logging"
TRAINING = ("train_loss", "learning_rate", "gradient_norm", "samples_per_s")
MEASURED = ("dev_loss", "dev_accuracy", "return_mean")  # TensorBoard has a chart of each


class Tracker(Protocol):
    """Shows runs elsewhere."""

    def show(self, run: Run, rows: Sequence[CurveRow], points: Sequence[Point]) -> None:
        """Show what is known of a run by now: its whole curve, and its points in order."""
        ...

    def close(self) -> None:
        """Finish; nothing follows."""
        ...


@contextmanager
def tracking(names: Sequence[str], folder: StudyFolder, project: str) -> Iterator[Tracker | None]:
    """Make the trackers of these names, as one, and close them at the end; None of no name.

    Raises:
        UnknownNameError: there is none of a name.
        MissingExtraError: the package of one is not installed.
    """
    if not names:
        yield None
        return
    made: list[Tracker] = [TRACKERS.make(name, folder, project) for name in names]
    try:
        yield _Several(made)
    finally:
        for each in made:
            each.close()


class _Several:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]):
        self._trackers = trackers

    def show(self, run: Run, rows: Sequence[CurveRow], points: Sequence[Point]) -> None:
        for each in self._trackers:
            each.show(run, rows, points)

    def close(self) -> None:
        for each in self._trackers:
            each.close()


def show_run(shown: Tracker, folder: StudyFolder, run: Run) -> None:
    """Hand a run's curve and points to a tracker."""
    path = folder.run(run.id).curve
    rows = read_curve(path) if path.exists() else []
    points = sorted(
        (p for p in folder.read_points() if p.run_id == run.id), key=lambda p: p.budget_flops
    )
    shown.show(run, rows, points)


def settings_of(run: Run, points: Sequence[Point]) -> dict[str, Any]:
    """Return what identifies a run, as plain values: its fields, and its parameters."""
    known = {"params": points[-1].params} if points else {}
    return {**run.to_json(), "recipe": run.recipe["name"], "run_id": run.id, **known}


def figures_of(point: Point) -> dict[str, Any]:
    """Return a point's columns that are known."""
    row = point.to_json()
    return {c.name: row[c.name] for c in columns(Point) if row[c.name] is not None}


# ---------------------------------------------------------------------- TensorBoard


class TensorBoard:
    """One folder of event files for each run, under `tracking/tensorboard`.

    A run's folder is written anew when it is first shown by a process, so nothing is there twice.
    The steps of all charts are training samples.
    """

    def __init__(self, folder: StudyFolder, project: str):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("--track tensorboard", EXTRA) from error
        self._make, self._home = SummaryWriter, folder.tracking / "tensorboard"
        self._open: dict[str, tuple[Any, set[tuple[str, int]]]] = {}

    def show(self, run: Run, rows: Sequence[CurveRow], points: Sequence[Point]) -> None:
        """Add what is new of a run."""
        if run.id not in self._open:
            place = self._home / run.label
            shutil.rmtree(place, ignore_errors=True)
            self._open[run.id] = self._make(str(place)), set()
        writer, done = self._open[run.id]

        def add(tag: str, value: float | None, samples: int) -> None:
            if value is not None and (tag, samples) not in done:
                done.add((tag, samples))
                writer.add_scalar(tag, value, samples)

        for row in rows:
            for name in TRAINING:
                add(f"train/{name}", getattr(row, name), row.samples)
        for point in points:
            for name in MEASURED:
                add(f"point/{name}", getattr(point, name), point.samples)
        if points:
            self._add_to_table(writer, run, points)
        writer.flush()

    def _add_to_table(self, writer: Any, run: Run, points: Sequence[Point]) -> None:
        """Add the run's last point to the table of the HPARAMS page, which exports CSV."""
        from torch.utils.tensorboard.summary import hparams

        plain = (str, int, float, bool)
        settings = settings_of(run, points)
        given = {name: value for name, value in settings.items() if isinstance(value, plain)}
        told = figures_of(points[-1])
        metrics = {k: v for k, v in told.items() if isinstance(v, int | float) and k not in given}
        for part in hparams(given, metrics):
            writer.file_writer.add_summary(part)
        for name, value in metrics.items():
            writer.add_scalar(name, value, points[-1].samples)

    def close(self) -> None:
        """Close the event files."""
        for writer, _ in self._open.values():
            writer.close()


# ---------------------------------------------------------------------- Weights & Biases


class WeightsAndBiases:
    """One W&B run for each run, of the same id, in the project of the study's name.

    It is as online or offline as W&B is told to be (`WANDB_MODE=offline`); its files lie in
    `tracking/wandb`. What a run had told before an interruption is in `tracking/wandb.json`.
    """

    def __init__(self, folder: StudyFolder, project: str):
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("--track wandb", EXTRA) from error
        self._wandb, self._project, self._home = wandb, project, folder.tracking
        self._ledger = folder.tracking / "wandb.json"
        self._told: dict[str, int] = read_json(self._ledger) if self._ledger.exists() else {}
        self._open: dict[str, Any] = {}

    def show(self, run: Run, rows: Sequence[CurveRow], points: Sequence[Point]) -> None:
        """Log what is new of a run, at steps that are training samples."""
        last = self._told.get(run.id, -1)
        steps: dict[int, dict[str, Any]] = {}
        for row in rows:
            known = {name: getattr(row, name) for name in TRAINING}
            told = {f"train/{name}": v for name, v in known.items() if v is not None}
            steps[row.samples] = {"samples": row.samples, "flops": row.flops, **told}
        for point in points:
            told = {f"point/{name}": value for name, value in figures_of(point).items()}
            steps.setdefault(point.samples, {}).update(told)
        new = {samples: steps[samples] for samples in sorted(steps) if samples > last}
        if not new:
            return
        there = self._run(run, points)
        for samples, told in new.items():
            there.log(told, step=samples)
        there.config.update(settings_of(run, points), allow_val_change=True)
        self._told[run.id] = max(new)
        write_json(self._ledger, self._told)

    def _run(self, run: Run, points: Sequence[Point]) -> Any:
        if run.id in self._open:
            return self._open[run.id]
        quiet = self._wandb.Settings(silent=True, console="off", disable_git=True)
        self._home.mkdir(parents=True, exist_ok=True)
        try:
            self._open[run.id] = self._wandb.init(
                project=self._project, id=run.id, name=run.label, dir=str(self._home),
                config=settings_of(run, points), resume="allow", reinit="create_new",
                settings=quiet,
            )  # fmt: skip
        except (self._wandb.Error, OSError) as error:
            said = " ".join(str(error).split())[:160]
            raise SpecError(
                f"--track wandb: {said}; log in by `wandb login`, or set WANDB_MODE=offline"
            ) from error
        return self._open[run.id]

    def close(self) -> None:
        """Finish the runs that were shown."""
        for each in self._open.values():
            each.finish()


TRACKERS.add("tensorboard", "isoclone.study.track:TensorBoard")
TRACKERS.add("wandb", "isoclone.study.track:WeightsAndBiases")
