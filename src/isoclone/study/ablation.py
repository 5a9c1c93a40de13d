"""Ablations: variants of one study, trained alike and compared on one page.

A Python file names the variants (`docs/extending.md` shows one):

    isoclone ablate studies/depth.py --demos demos/mine
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclone.base.errors import ExecutionError, SpecError, UsageError
from isoclone.base.records import Point, Run, conform, shown
from isoclone.base.schema import kinds
from isoclone.base.store import read_json, write_json, write_rows
from isoclone.demos import open_demos
from isoclone.laws.points import SWEEP
from isoclone.laws.saved import Worth, worth
from isoclone.remote import address_of
from isoclone.report.ablation import write_ablation
from isoclone.report.measured import Along, Costs, Measured
from isoclone.study.driving import driven
from isoclone.study.jobs import Job, costs_task, train_all
from isoclone.study.pipeline import run_of
from isoclone.study.recording import expand, record
from isoclone.study.session import Session
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study

TABLE = {"variant": str, **kinds(Point), "train_seconds": float}
COSTS = "costs.json"  # of one run of each variant, by its id
OURS = {  # what a variant may set besides fields of its study
    "width": ((int,), "a whole number"),
    "where": ((str,), "a condition"),
    "budgets_flops": ((list,), "a sequence of FLOPs"),
}
FOR_ALL = ("seeds", "episodes", "forecast_episodes")  # every variant is measured alike
UNUSED = ("name", "widths", "forecast_flops", "adaptive", "rules", "extend")  # fields of the sweep


@dataclass(frozen=True)
class Ablation:
    """A question, and the variants that answer it.

    Attributes:
        base: the study whose demonstrations, game and recipe all variants share.
        variants: what to change, by label: fields of `StudySpec`, 'width', 'budgets_flops', and
            'where' (only the train games that meet a condition, see `isoclone demos select`).
        width: of variants that do not set one.
        budgets_flops: of variants that do not set them; under the base's convention, ascending.
        seeds: training seeds of each variant.
        episodes: episodes each policy plays at each budget; 0 for none.
        axis, along: a number that the variants differ by, and for each label the line of the chart
            that it belongs to and its place on the axis, which is logarithmic.
        costs: whether to measure the memory of each variant's training and the time of its play.
        against: label of the variant whose compute the others' is compared with; the one that
            changes nothing unless given, else the first.
    """

    name: str
    question: str
    base: StudySpec
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    width: int = 48
    budgets_flops: tuple[float, ...] = (1e11, 2e11, 5e11, 1e12)
    seeds: tuple[int, ...] = (0,)
    episodes: int = 64
    against: str | None = None
    axis: str = ""
    along: dict[str, tuple[str, float]] = field(default_factory=dict)
    costs: bool = False

    def __post_init__(self) -> None:
        try:
            conform(self)
        except TypeError as error:
            raise SpecError(f"ablation: {error}") from error

    def run(
        self,
        out: str | Path,
        demos: str | Path | None = None,
        session: Session | None = None,
    ) -> list[Measured]:
        """Train every variant that is not there yet; returns what was measured of each.

        Each variant is a study in a folder of its own under `out`, and can be looked at like one.
        Writes `ablation.html`, `ablation.csv` and `ablation.parquet`.

        Args:
            demos: demonstrations; if None, they are recorded once, as the base study asks.

        Raises:
            SpecError: no variants, or one with a field it cannot have; budgets out of order.
            ExecutionError: every variant failed.
            StoreError: another process is at work on `out`, or the disk is full.
        """
        if address_of(out):
            raise SpecError(f"{out}: an ablation is written to a directory of this machine")
        self._check()
        out, session = Path(out), session or Session()
        with session.executor, ExitStack() as stack:
            home = self._demos(out, demos, session)
            studies = {
                label: self._study(out, label, home, session.device) for label in self.variants
            }
            if home is not None:
                session.observer.phase("expand", "frames, once for all runs")
            jobs: list[tuple[str, Job]] = []
            for label, study in studies.items():
                stack.enter_context(driven(study, session))
                if home is not None:
                    expand(study, study.demos(), session)
                jobs += [(label, job) for job in self._jobs(label, study)]
            session.observer.phase("train", f"{len(studies)} variants")
            total = sum(max(job.budgets_flops) for _, job in jobs)
            session.observer.runs([study.path for study in studies.values()], total)
            train_all([job for _, job in jobs], "extra", session)
            if self.costs:
                session.observer.phase("costs", "memory of training, time of play")
                self._measure_costs(out, jobs, session)
        rows = [row for label, study in studies.items() for row in self._measured(label, study)]
        by = Along(self.axis, self.along) if self.along else None
        told = (self.name, self.question, rows, self.worths(rows), by, self._costs(out, rows))
        write_ablation(out / "ablation.html", *told)
        table = [
            {**m.point.to_json(), "variant": m.label, "train_seconds": m.train_seconds}
            for m in rows
        ]
        write_rows(out / "ablation", table, TABLE)
        if not any(m.point.status == "ok" for m in rows):
            raise ExecutionError(f"every variant failed: {rows[0].point.reason}")
        return rows

    def worths(self, rows: Sequence[Measured]) -> list[Worth]:
        """Return the compute multiplier of every variant but the one it is compared with.

        Args:
            rows: what `run` returned.
        """
        base = self._against()
        tables = {
            label: _table(m.point for m in rows if m.label == label) for label in self.variants
        }
        others = [label for label in self.variants if label != base]
        return [worth(label, tables[label], base, tables[base]) for label in others]

    def _against(self) -> str:
        """Return the label of the variant that others are compared with."""
        if self.against is not None:
            return self.against
        return next((label for label, changes in self.variants.items() if not changes), None) or (
            next(iter(self.variants))
        )

    def _check(self) -> None:
        """Refuse budgets, seeds and episodes that no study could have, before anything is begun."""
        if not self.variants:
            raise SpecError(f"ablation '{self.name}' has no variants")
        if self._against() not in self.variants:
            labels = ", ".join(map(repr, self.variants))
            raise SpecError(f"ablation '{self.name}': against must be one of {labels}")
        if unknown := self.along.keys() - self.variants.keys():
            raise SpecError(f"ablation '{self.name}': along names no variant {min(unknown)!r}")
        for label, changes in self.variants.items():
            with self._named(label):
                _check_variant(changes)
                budgets = self._budgets(label)
                self.base.replace(
                    widths=(1, 2, 3),
                    seeds=self.seeds,
                    budgets_flops=budgets,
                    forecast_flops=2 * max(budgets, default=1.0),
                    forecast_episodes=self.episodes,
                )

    @contextmanager
    def _named(self, label: str) -> Iterator[None]:
        """Raise a user's error as SpecError that names the variant."""
        try:
            yield
        except UsageError as error:
            raise SpecError(f"variant {label!r} of ablation '{self.name}': {error}") from error

    def _demos(self, out: Path, demos: str | Path | None, session: Session) -> Path | None:
        """Return where the demonstrations of all variants are; the base records them if need be.

        None where variants learn by their own play.
        """
        if not self.base.imitates:
            if demos is not None:
                raise SpecError(f"ablation '{self.name}' learns by play, and imitates no demos")
            return None
        given = demos or self.base.demos
        if given is not None:
            return open_demos(given).path.resolve()
        study = Study.create(out / "demos-of-all", self.base, device=session.device)
        return record(study, session).path.resolve()

    def _study(self, out: Path, label: str, demos: Path | None, device: str) -> Study:
        """Make the variant's study, or open it."""
        changes = {k: v for k, v in self.variants[label].items() if k not in OURS}
        folder = "".join(c if c.isalnum() or c in ".-+" else "-" for c in label)
        fields: dict[str, Any] = {"name": folder, "episodes": self.episodes}
        if demos is not None:
            where = self.variants[label].get("where")
            home = self._selected(out, folder, demos, where) if where else demos
            expert = open_demos(home, verify=False).expert_name
            fields |= {"demos": str(home), "expert": expert}
        with self._named(label):
            spec = self.base.replace(**{**fields, **changes})
        return Study.create(out / folder, spec, device=device)

    def _selected(self, out: Path, folder: str, demos: Path, where: str) -> Path:
        found = open_demos(demos, verify=False)
        select = getattr(found, "select", None)
        if select is None:
            raise SpecError(
                f"--where filters recordings of whole games only; {demos} holds recorded frames"
            )
        chosen: Path = select(out / f"{folder}-demos", where).path
        return chosen.resolve()

    def _jobs(self, label: str, study: Study) -> list[Job]:
        """Return the variant's runs, each with its budgets.

        One run for each seed passes all budgets; a schedule that ends at a budget needs one run
        for each.
        """
        runs: dict[str, tuple[Run, list[float]]] = {}
        fingerprint = study.origins()(self._width(label))
        for seed in self.seeds:
            for budget in self._budgets(label):
                with self._named(label):
                    run = run_of(study, self._width(label), budget, seed, fingerprint)
                runs.setdefault(run.id, (run, []))[1].append(budget)
        return [Job(study, run, tuple(budgets)) for run, budgets in runs.values()]

    def _measure_costs(self, out: Path, jobs: Sequence[tuple[str, Job]], session: Session) -> None:
        """Measure what one run of each variant costs beside FLOPs, where that is not there yet."""
        known = _known_costs(out)
        first = dict(reversed(jobs)).values()  # by label
        missing = [job for job in first if job.run.id not in known]
        tasks = [costs_task(job.study, job.run, session.device, job.run.id) for job in missing]
        for outcome in session.executor.run(tasks):
            if outcome.error:
                session.observer.trouble(f"{outcome.task.name}: {outcome.error}")
                continue
            known[outcome.task.key] = outcome.result
            write_json(out / COSTS, known)

    def _costs(self, out: Path, rows: Sequence[Measured]) -> list[Costs]:
        """Return what each variant costs beside FLOPs; none where that was not to be measured."""
        if not self.costs:
            return []
        known, found = _known_costs(out), []
        for label in self.variants:
            mine = [m for m in rows if m.label == label]
            measured = next((known[m.point.run_id] for m in mine if m.point.run_id in known), {})
            found.append(Costs(label, *_rates(mine), **measured))
        return found

    def _width(self, label: str) -> int:
        return self.variants[label].get("width", self.width)

    def _budgets(self, label: str) -> tuple[float, ...]:
        return tuple(self.variants[label].get("budgets_flops", self.budgets_flops))

    def _measured(self, label: str, study: Study) -> list[Measured]:
        """Return the variant's points, without those that were trained by hand in its study."""
        return [
            Measured(label, p, study.folder.run(p.run_id).train_seconds(p.budget_flops))
            for p in study.points("extra")
            if p.budget_flops in self._budgets(label)
            and (p.width, p.seed in self.seeds) == (self._width(label), True)
        ]


def _known_costs(out: Path) -> dict[str, dict[str, float | None]]:
    """Return what was measured of the costs of runs so far, by their ids."""
    return read_json(out / COSTS) if (out / COSTS).exists() else {}


def _rates(rows: Sequence[Measured]) -> tuple[float | None, float | None]:
    """Return FLOPs of a sample and samples of a core-second, of a variant's last points."""
    last = max((m.point.budget_flops for m in rows), default=0.0)
    done = [
        (m.point.flops or 0.0, m.point.samples, m.train_seconds)
        for m in rows
        if m.point.budget_flops == last and m.point.samples and m.train_seconds
    ]
    if not done:
        return None, None
    flops, samples, seconds = map(sum, zip(*done, strict=True))
    return flops / samples, samples / seconds


def _table(points: Iterable[Point]) -> dict[str, list[Any]]:
    """Return points as columns for comparing their groups; the runs of a seed count as one.

    A schedule that ends at a budget needs a run for each, and a seed's luck is in all of them.
    """
    rows = [{**p.to_json(), "run_id": f"{p.width}-{p.seed}", "role": SWEEP} for p in points]
    return {name: [row[name] for row in rows] for name in kinds(Point)}


def _check_variant(changes: object) -> None:
    """Raise SpecError for a variant that is no dictionary, or has a field it cannot set."""
    if not isinstance(changes, dict):
        raise SpecError(f"must be a dictionary of what it changes, not {shown(changes)}")
    for name, (types, wanted) in OURS.items():
        if name in changes and type(changes[name]) not in types:
            raise SpecError(f"'{name}' must be {wanted}, not {shown(changes[name])}")
    for budget in changes.get("budgets_flops", ()):
        if type(budget) not in (int, float):
            raise SpecError(f"'budgets_flops' must be numbers, not {shown(budget)}")
    for name in FOR_ALL:
        if name in changes:
            raise SpecError(f"'{name}' is the same for all variants; set it on the Ablation")
    for name in UNUSED:
        if name in changes:
            raise SpecError(f"'{name}' cannot be set in a variant; set width or budgets_flops")
