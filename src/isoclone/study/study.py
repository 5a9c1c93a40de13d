"""A study: a directory, and the only state. This module ties everything together.

One in an object store (`s3://bucket/study`) is worked on in a copy of it, see `isoclone.remote`.

<study>/
  study.json             the specification; its presence makes the directory a study
  demos/                 demonstrations, unless the study uses some from elsewhere
  references.json        mean return of random play and of the expert, with SE
  runs/<id>/             one folder for each run (see `isoclone.study.worker`)
  points.parquet, .csv   every point, one row each
  laws.json              the fitted laws with intervals
  forecast.json          forecast, the agent trained to test it, and how they compare
  rivals.json            (NetHack) whom that agent was measured against
  video.mp4              that agent playing
  report.html            everything, on one page
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from isoclone import laws
from isoclone.base import distributed
from isoclone.base.errors import (
    DataError,
    ExecutionError,
    SpecError,
    SpecMismatchError,
    StoreError,
    TrustError,
    UnknownNameError,
)
from isoclone.base.records import Forecast, Point, Record, Run, shown
from isoclone.base.store import alone, is_free, read_json, sweep_leftovers, write_json, write_rows
from isoclone.demos import Demonstrations, RecordRequest, open_demos, record
from isoclone.demos.demonstrations import DONE
from isoclone.evaluation.baselines import measure_rivals
from isoclone.executors import Executor, Files, SerialExecutor, Task
from isoclone.experts import Expert, expert, expert_names
from isoclone.games import Game
from isoclone.laws import ScalingLaws
from isoclone.nethack.game import NetHack
from isoclone.nethack.recordings import NldDemonstrations
from isoclone.nethack.recordings.record import NldRecordRequest, record_enough
from isoclone.policies import policy_flops, policy_layout, policy_params, width_for
from isoclone.remote import Remote, address_of, local, name_of, remote_of
from isoclone.study.estimate import Estimate, Speed, estimate, measure_speed
from isoclone.study.plan import Cell, Decision, Sweep, flops_spent, grid, grid_flops, next_cells
from isoclone.study.spec import StudySpec
from isoclone.study.worker import (
    STUDY_FILE,
    advance,
    checkpoint_path,
    climb,
    demos_path,
    is_there,
    point_path,
    run_files,
    run_folder,
)
from isoclone.training.data import open_source
from isoclone.training.recipes import Recipe, recipe

FORMAT = 1
REFERENCE_EPISODES = 32
HEAVY = ("demos", "recordings")  # of an object store's study: not needed to look at it
SCRIPTED = ("toy", "atari/Breakout", "nethack", "nethack/NetHackChallenge-v0")
R = TypeVar("R", Run, Point)
INTEGERS = ("params", "samples", "unique_samples", "episodes", "width", "seed")
TEXTS = (
    "run_id",
    "game",
    "policy",
    "recipe",
    "flop_convention",
    "checkpoint",
    "role",
    "status",
    "reason",
)


class Observer:
    """Told what a study does; this one ignores it. `isoclone.cli.console` has one that prints."""

    def phase(self, name: str, detail: str = "") -> None:
        """A new phase begins."""

    def progress(self, what: str, done: float, total: float) -> None:
        """So much of the phase's work is done."""

    def sweep(self, study: Study, cells: Sequence[Cell], sweep: Sweep) -> None:
        """A round of the sweep begins; its runs report in their folders."""

    def runs(self, studies: Sequence[Path], flops: float) -> None:
        """Runs of these studies are worked on, until they have spent so much."""

    def point(self, point: Point, study: str = "") -> None:
        """A point is complete; `study` says of which study, where several are at work."""

    def trouble(self, message: str) -> None:
        """Something that the user should see."""


@dataclass(frozen=True)
class Plan(Record):
    """What `Study.plan` shows before anything runs."""

    name: str
    game: str
    expert: str
    policy: str
    samples: int
    sizes: list[dict[str, Any]]
    budgets_flops: list[float]
    seeds: list[int]
    points: int
    sweep_flops: float
    forecast_flops: float
    speed: Speed
    estimate: Estimate
    done_points: int
    notes: list[str] = field(default_factory=list)


class Study:
    """A study in a directory. Make one with `create`, go on with one by `open`."""

    def __init__(self, path: Path, spec: StudySpec):
        self.path, self.spec = path, spec
        self._vouched = True  # False where only the directory itself says what is to be trusted

    # ------------------------------------------------------------------ making and opening

    @classmethod
    def create(
        cls,
        path: str | Path,
        spec: StudySpec | None = None,
        *,
        game: str | Game | None = None,
        demos: str | Path | Demonstrations | None = None,
        device: str = "cpu",
        **fields: Any,
    ) -> Study:
        """Take a directory for a study, or open it if it holds the very same one.

        Give a `StudySpec`, or its fields one by one; `game` and `demos` may be objects.

        Raises:
            SpecError: a field has a value it cannot have, or the directory is foreign.
            SpecMismatchError: the directory holds a study that differs; the message says how.
        """
        if spec is None:
            spec = _spec_from_fields(name_of(path), game, demos, fields)
        spec.check()
        spec = _with_precision(spec, device)
        place, path = address_of(path) or path, local(path, but=HEAVY)
        if (path / STUDY_FILE).exists():
            study = cls.open(path)
            study._refuse_other(spec)
            study._vouched = True
            return study
        if not is_free(path):
            raise SpecError(f"{place} is not empty and holds no study; choose another directory")
        _check_expert(spec)
        write_json(path / STUDY_FILE, {"format": FORMAT, "spec": spec.to_json()})
        return cls(path, spec)

    @classmethod
    def open(cls, path: str | Path) -> Study:
        """The study in a directory.

        Raises:
            SpecError: there is none.
            StoreError: it is of a newer format, or damaged, or the object store cannot be read.
        """
        place, path = address_of(path) or path, local(path, but=HEAVY)
        if not (path / STUDY_FILE).exists():
            raise SpecError(f"{place} holds no study (no {STUDY_FILE})")
        data = read_json(path / STUDY_FILE)
        number = data.get("format", 0) if isinstance(data, dict) else None
        if not isinstance(number, int) or "spec" not in data:
            raise StoreError(f"{path / STUDY_FILE} is damaged; restore it")
        if number > FORMAT:
            raise StoreError(f"{place} has study format {number}; update isoclone to open it")
        study = cls(path, StudySpec.from_json(data["spec"]))
        study._vouched = False
        return study

    def _check_trust(self) -> None:
        """Refuse an expert made of somebody's code when nobody but the directory asks for it."""
        options = self.spec.expert_options
        if not self._vouched and (options.get("trust") or "path" in options):
            raise TrustError(
                f"{self.path / STUDY_FILE} names an expert that runs code from elsewhere "
                f"({shown(self.spec.expert)}); run the study from its own Python file or command, "
                "or record the demonstrations first: isoclone record, with --trust"
            )

    # ------------------------------------------------------------------ what is there

    @cached_property
    def remote(self) -> Remote | None:
        """The object store that `path` is a copy of, if it is one."""
        return remote_of(self.path)

    @property
    def place(self) -> str:
        """Where the study is, for people: an address or a path."""
        return self.remote.address if self.remote else str(self.path)

    def place_of(self, name: str) -> str:
        """Where a file of the study is, for people."""
        return self.remote.place(name) if self.remote else str(self.path / name)

    def demos(self) -> Demonstrations | NldDemonstrations:
        """The study's demonstrations, verified.

        Raises:
            DataError: not recorded yet, or damaged, or of another game.
        """
        self._fetch_demos()
        demos = open_demos(demos_path(self.path, self.spec))
        the_game = self.spec.make_game()
        if demos.game_name != the_game.name:
            raise DataError(
                f"{demos.path} holds {demos.game_name}, the study is of {self.spec.game}"
            )
        played, mine = (o.get("character") for o in (demos.game_options, the_game.options()))
        if played and mine and "@" not in played + mine and played != mine:  # '@': anybody
            raise DataError(
                f"{demos.path} holds games of {played}, the study is of {mine}; give it "
                f"game_options={{'character': '{played}'}}, or other demonstrations"
            )
        return demos

    def _fetch_demos(self) -> None:
        """Have an object store's demonstrations here."""
        if self.remote and not self.spec.demos and not (self.path / "demos" / DONE).exists():
            self.remote.pull(["demos"])

    def runs(self) -> list[Run]:
        """Every run that has a folder."""
        paths = sorted((self.path / "runs").glob("*/run.json"))
        return [self._read(Run, path) for path in paths]

    def _read(self, kind: type[R], path: Path) -> R:
        """A record from its file, which must be where a record of its contents belongs."""
        try:
            record = kind.from_json(read_json(path))
        except TypeError as error:
            raise StoreError(f"{path} is damaged ({error}); delete it to make it again") from error
        if path not in _places(self.path, record):
            raise StoreError(f"{path} belongs to another run or budget; delete it to make it again")
        return record

    def points(self, role: str | None = "sweep") -> list[Point]:
        """Every complete point of a role ('sweep', 'forecast', None for all), in a fixed order.

        Raises:
            StoreError: a point's file is damaged.
        """
        paths = (self.path / "runs").glob("*/points/*.json")
        found = [self._read(Point, path) for path in paths]
        chosen = [p for p in found if role in (None, p.role)]
        return sorted(chosen, key=lambda p: (p.role, p.budget_flops, p.width, p.seed, p.run_id))

    def sweep(self) -> Sweep:
        """Where the sweep stands."""
        return next_cells(self.spec, self.points())

    def references(self) -> dict[str, dict[str, float]]:
        """{'random' | 'expert': {'mean', 'se', 'episodes'}} as far as measured."""
        path = self.path / "references.json"
        if not path.exists():
            return {}
        known = read_json(path)
        try:
            figures = [row[name] for row in known.values() for name in ("mean", "se", "episodes")]
        except (AttributeError, KeyError, TypeError):
            figures = [None]
        if any(type(figure) not in (int, float) for figure in figures):
            raise StoreError(f"{path} is damaged; delete it to measure it again")
        return known

    def savings(self) -> dict[str, Any]:
        """What a plain grid over the same sizes would have cost, what was spent, and why."""
        sweep, spent = self.sweep(), flops_spent(self.points())
        full = grid_flops(self.spec, sweep.widths)
        return {
            "grid_flops": full,
            "spent_flops": spent,
            "saved_share": 1 - spent / full,
            "grid_points": len(sweep.widths) * len(self.spec.seeds) * len(self.spec.budgets_flops),
            "points": len(self.points()),
            "decisions": [asdict(decision) for decision in sweep.decisions],
        }

    # ------------------------------------------------------------------ planning

    def plan(self, workers: int = 1) -> Plan:
        """Sizes x budgets x seeds, FLOPs, and expected time measured on this machine."""
        spec, the_game = self.spec, self.spec.make_game()
        recorded = self._recorded()
        if recorded is None:
            self._check_trust()
        speed = measure_speed(spec, with_expert=recorded is None)
        costs = {w: self._flops_per_sample(w, the_game) for w in spec.widths}
        usual = recorded.samples / len(recorded.episodes) if recorded else 1000.0
        steps = min(usual, the_game.max_steps)
        return Plan(
            name=spec.name,
            game=spec.game,
            expert=spec.expert,
            policy=spec.policy,
            samples=recorded.samples if recorded else spec.samples,
            sizes=[self._size(w, costs[w], the_game) for w in spec.widths],
            budgets_flops=list(spec.budgets_flops),
            seeds=list(spec.seeds),
            points=len(grid(spec)),
            sweep_flops=grid_flops(spec),
            forecast_flops=spec.forecast_budget,
            speed=speed,
            estimate=estimate(spec, speed, costs, workers, steps),
            done_points=len(self.points()),
            notes=_notes(spec, speed),
        )

    def _recorded(self) -> Demonstrations | NldDemonstrations | None:
        try:
            return self.demos()
        except DataError:
            if self.spec.demos:
                raise
            return None

    def _size(self, width: int, cost: float, the_game: Game) -> dict[str, Any]:
        spec = self.spec
        params = policy_params(
            spec.policy, width, the_game.frame, the_game.n_actions, **spec.policy_options
        )
        last = max(spec.budgets_flops)
        return {
            "width": width,
            "params": params,
            "flops_per_sample": cost,
            "samples_at_largest_budget": last / cost,
        }

    def _flops_per_sample(self, width: int, the_game: Game) -> float:
        spec = self.spec
        return policy_flops(
            spec.policy,
            width,
            the_game.frame,
            the_game.n_actions,
            spec.flop_convention,
            **spec.policy_options,
        )

    # ------------------------------------------------------------------ doing

    def run(
        self,
        executor: Executor | None = None,
        observer: Observer | None = None,
        device: str = "cpu",
    ) -> Study:
        """Everything from demonstrations to report; what is done already is not done again.

        Raises:
            StoreError: another process is at work on this study, or the disk is full.
            ExecutionError: recording failed, or every size failed at a budget.
        """
        observer = observer or Observer()
        with self.driven(observer), executor or SerialExecutor() as workers:
            sweep_leftovers(self.path)
            self.record(workers, observer)
            self._run_sweep(workers, observer, device)
            try:
                self.fit()
                self.test_forecast(workers, observer, device)
            finally:  # a study without laws still has a report, which says what is missing
                observer.phase("report")
                self.report()
                sweep_leftovers(self.path)  # of workers that died while the others went on
        return self

    @contextmanager
    def driven(self, observer: Observer | None = None) -> Iterator[None]:
        """Be the only driver at work here; the lock goes with the process, however it ends.

        Raises:
            StoreError: another is at work.
        """
        if not distributed.leads():  # rank 0 holds it for all
            yield
        elif self.remote is None:
            with alone(self.path / ".driver.lock", str(self.path)):
                yield
        else:
            watching = observer or Observer()
            with self.remote.driven(lambda said: watching.phase("wait", said)):
                self.remote.pull()
                # Somebody else may have begun another study here meanwhile.
                Study.open(self.path)._refuse_other(self.spec)
                with self.remote.kept():
                    yield

    def _refuse_other(self, spec: StudySpec) -> None:
        """Raise SpecMismatchError if another study than this one is wanted."""
        differing = self.spec.difference(spec)
        if differing:
            raise SpecMismatchError(
                f"{self.place} holds a study that differs ({'; '.join(differing)}); choose another "
                "directory, or give the directory alone to resume it"
            )

    def record(self, workers: Executor, observer: Observer) -> Demonstrations | NldDemonstrations:
        """Have the demonstrations recorded, expanded, and both ends of the score measured."""
        spec = self.spec
        if not spec.demos:
            observer.phase("record", f"{spec.expert} plays {spec.game}")
            if not (self.path / "demos" / "demonstrations.json").exists():
                self._check_trust()
            self._record(workers, observer)
        demos = self.demos()
        if len(demos.dev_episodes) < 2:
            observer.trouble("only one dev episode: dev losses have no standard error")
        observer.phase("expand", "frames, once for all runs")
        self.expand(demos, observer)
        self._measure_references(demos, workers)
        return demos

    def expand(self, demos: Demonstrations | NldDemonstrations, observer: Observer) -> None:
        """Have the frames expanded as the study's policies read them, once for all runs."""
        open_source(demos, self.spec.recipe["frames"], self._layout(), observer.progress)

    def _record(self, workers: Executor, observer: Observer) -> None:
        spec, home = self.spec, self.path
        if isinstance(spec.make_game(), NetHack):
            record_enough(
                NldRecordRequest(
                    games=2,
                    expert=spec.expert,
                    seed=spec.demos_seed,
                    game=spec.game,
                    game_options=spec.game_options,
                    expert_options=spec.expert_options,
                ),
                spec.samples,
                home / "recordings",
                home / "demos",
                dev_fraction=spec.dev_fraction,
                executor=workers,
                progress=observer.progress,
            )
            return
        request = RecordRequest(
            game=spec.game,
            expert=spec.expert,
            samples=spec.samples,
            seed=spec.demos_seed,
            dev_fraction=spec.dev_fraction,
            game_options=spec.game_options,
            expert_options=spec.expert_options,
        )
        record(request, home / "demos", workers, observer.progress)

    def _layout(self) -> str:
        spec, the_game = self.spec, self.spec.make_game()
        return policy_layout(
            spec.policy, spec.widths[0], the_game.frame, the_game.n_actions, **spec.policy_options
        )

    def _measure_references(
        self, demos: Demonstrations | NldDemonstrations, workers: Executor
    ) -> None:
        path = self.path / "references.json"
        if path.exists():
            return
        task = Task(measure_random, (self.spec, REFERENCE_EPISODES))
        (outcome,) = workers.run([task])
        if outcome.error:
            raise ExecutionError(f"random play of {self.spec.game} failed: {outcome.error}")
        mean, se = demos.score()
        expert_row = {"mean": mean, "se": se, "episodes": len(demos.episodes)}
        write_json(path, {"random": outcome.result, "expert": expert_row})

    def _run_sweep(self, workers: Executor, observer: Observer, device: str) -> None:
        self._forget_failures()
        observer.phase("sweep")
        fingerprint = self.demos().fingerprint
        while not (sweep := self.sweep()).complete:
            observer.sweep(self, sweep.cells, sweep)
            jobs = [
                (self.spec.run_for(c.width, c.seed, fingerprint, c.budget_flops), c.budget_flops)
                for c in sweep.cells
            ]
            self._advance(jobs, "sweep", workers, observer, device)
            self._write_tables()
        self._write_tables()

    def _advance(
        self,
        jobs: Iterable[tuple[Run, float]],
        role: str,
        workers: Executor,
        observer: Observer,
        device: str,
    ) -> None:
        climb_all([(self, run, (budget,)) for run, budget in jobs], role, workers, observer, device)

    def _task(self, run: Run, budgets: Sequence[float], role: str, device: str, key: Any) -> Task:
        """The work of bringing a run to its budgets."""
        self._declare(run)
        args = (self.path, run.id, tuple(budgets), role, device)
        files = run_files(self.path, self.spec, run.id)
        return Task(climb, args, key, device != "cpu", files)

    def _declare(self, run: Run) -> None:
        """Have the run's folder, with its declared fields in it."""
        path = run_folder(self.path, run.id) / "run.json"
        if not path.exists():
            write_json(path, run.to_json())

    def _write_failure(self, run: Run, budget: float, role: str, reason: str) -> None:
        the_game = self.spec.make_game()
        missing = dict.fromkeys(Point.__dataclass_fields__)
        row = {
            **missing,
            **{k: getattr(run, k) for k in ("game", "policy", "width", "seed", "flop_convention")},
            "run_id": run.id,
            "budget_flops": budget,
            "flops": 0.0,
            "params": self._size(run.width, 1.0, the_game)["params"],
            "samples": 0,
            "unique_samples": 0,
            "epochs": 0.0,
            "episodes": 0,
            "recipe": run.recipe["name"],
            "role": role,
            "status": "failed",
            "reason": reason,
        }
        write_json(point_path(self.path, run.id, budget), row)

    def _forget_failures(self) -> None:
        """Failed points are tried again when the same command is run again.

        What was forecast without them falls: its agent stays as a row, but as an extra one.
        """
        failed = [p for p in self.points(None) if p.status == "failed"]
        if any(p.role == "sweep" for p in failed):
            for p in self.points("forecast"):
                path = point_path(self.path, p.run_id, p.budget_flops)
                write_json(path, {**p.to_json(), "role": "extra"})
            (self.path / "forecast.json").unlink(missing_ok=True)
        for p in failed:
            point_path(self.path, p.run_id, p.budget_flops).unlink(missing_ok=True)

    def _write_tables(self) -> None:
        names = Point.__dataclass_fields__
        kinds = {n: str if n in TEXTS else int if n in INTEGERS else float for n in names}
        write_rows(self.path / "points", [p.to_json() for p in self.points(None)], kinds)

    # ------------------------------------------------------------------ laws and forecast

    def laws(self) -> ScalingLaws:
        """The laws, fitted to the sweep's points.

        Raises:
            FitError: too few usable points.
        """
        return fit(self.points(), self.references())

    def fit(self) -> ScalingLaws:
        """Fit the laws and write `laws.json`."""
        fitted = self.laws()
        write_json(self.path / "laws.json", fitted.to_json())
        return fitted

    def forecast(self, flops: float | None = None) -> Forecast:
        """What to expect at a budget (the study's own forecast budget if none is given)."""
        return self.laws().forecast(flops or self.spec.forecast_budget)

    def test_forecast(
        self, workers: Executor, observer: Observer, device: str = "cpu"
    ) -> dict[str, Any]:
        """Forecast, train the forecast agent, set one against the other, film the agent."""
        path = self.path / "forecast.json"
        if path.exists() and (self.path / "video.mp4").exists():
            return self.tested()
        predicted = self.forecast()
        point = self.train(predicted, workers, observer, device)
        result = {
            "forecast": predicted,
            "point": point,
            "holds": _holds(predicted, point),
        }
        write_json(path, result)
        self._write_tables()
        self._measure_rivals(workers, observer)
        if point.checkpoint:
            names = (STUDY_FILE, point.checkpoint)
            files = Files(self.path, {name: self.path / name for name in names}, ("video.mp4",))
            task = Task(film, (self.path, point.checkpoint), files=files)
            for outcome in workers.run([task]):
                if outcome.error:
                    observer.trouble(f"no video: {outcome.error}")
        return self.tested()

    def tested(self) -> dict[str, Any]:
        """`forecast.json`: the 'forecast', its agent's 'point', and which intervals 'holds'.

        Raises:
            StoreError: it is damaged.
        """
        path = self.path / "forecast.json"
        found = read_json(path)
        try:
            Forecast.from_json(found["forecast"])
            Point.from_json(found["point"])
            whole = {"dev_loss", "return_mean"} <= set(found["holds"])
        except (AttributeError, KeyError, TypeError):
            whole = False
        if not whole:
            raise StoreError(f"{path} is damaged; delete it to test the forecast again")
        return found

    def rivals(self) -> dict[str, dict[str, Any]]:
        """Baselines the forecast agent was measured against, as far as there are any."""
        path = self.path / "rivals.json"
        return read_json(path) if path.exists() else {}

    def _measure_rivals(self, workers: Executor, observer: Observer) -> None:
        demos = self.demos()
        if self.rivals() or not isinstance(demos, NldDemonstrations):
            return
        observer.phase("rivals", "the expert's habits, and the sweep's smallest agent")
        rows = measure_rivals(self.path, demos, self.points(), workers)
        for name, row in rows.items():
            if "reason" in row:
                observer.trouble(f"{name} was not measured: {row['reason']}")
        write_json(self.path / "rivals.json", rows)

    def train(
        self,
        predicted: Forecast,
        workers: Executor | None = None,
        observer: Observer | None = None,
        device: str = "cpu",
    ) -> Point:
        """Train the agent that a forecast describes, and measure it."""
        spec, the_game = self.spec, self.spec.make_game()
        width = width_for(
            predicted.params.value,
            spec.policy,
            the_game.frame,
            the_game.n_actions,
            **spec.policy_options,
        )
        batch = Recipe.from_json(spec.recipe).batch_size
        cost = self._flops_per_sample(width, the_game) * batch
        if cost > predicted.flops:
            raise ExecutionError(
                f"the forecast asks for width {width}, of which one batch costs {cost:.3g} FLOPs, "
                f"more than the budget of {predicted.flops:.3g}: the sweep does not pin down the "
                "best size; add sizes or budgets"
            )
        fingerprint = self.demos().fingerprint
        run = spec.run_for(width, spec.seeds[0], fingerprint, predicted.flops)
        observer = observer or Observer()
        observer.phase("forecast", f"training width {width} to {predicted.flops:.3g} FLOPs")
        jobs = [(run, predicted.flops)]
        self._advance(jobs, "forecast", workers or SerialExecutor(), observer, device)
        return Point.from_json(read_json(point_path(self.path, run.id, predicted.flops)))

    def train_one(self, width: int, flops: float, seed: int = 0, device: str = "cpu") -> Point:
        """Train one size to one budget and measure it; its point's role is 'extra'.

        Raises:
            SpecError: the budget is below one batch of that width.
        """
        run = self.run_of(width, flops, seed, self.demos().fingerprint)
        return self._train_to(run, flops, "extra", device)

    def run_of(self, width: int, flops: float, seed: int, fingerprint: str) -> Run:
        """The run of one size that reaches a budget, on demonstrations of that fingerprint.

        Raises:
            SpecError: the budget is below one batch of that width, or the seed below 0.
        """
        self.spec.replace(
            widths=tuple(sorted({1, 2, 3, width})),
            budgets_flops=(flops,),
            forecast_flops=2 * flops,
            seeds=(seed,),
        )
        return self.spec.run_for(width, seed, fingerprint, flops)

    def train_run(self, run_id: str, flops: float | None = None, device: str = "cpu") -> Point:
        """Train a run that has a folder to a budget, by all processes of a torchrun if this is one.

        Args:
            flops: the budget; the first of the study's, the forecast's included, that the run has
                no point at, if None. A point that the sweep waits for joins it.

        Raises:
            UnknownNameError: no such run.
            SpecError: nothing is left for it to do.
        """
        runs = {run.id: run for run in self.runs()}
        if run_id not in runs:
            raise UnknownNameError("run", run_id, list(runs))
        run = runs[run_id]
        budgets = [*self.spec.budgets_flops, self.spec.forecast_budget]
        left = [b for b in budgets if not point_path(self.path, run_id, b).exists()]
        if flops is None and not left:
            raise SpecError(f"run {run_id} has a point at every budget; give it another by --flops")
        budget = left[0] if flops is None else flops
        wanted = Cell(run.width, run.seed, budget) in self.sweep().cells
        if budget == self.spec.forecast_budget:
            return self._train_to(run, budget, "forecast", device)
        return self._train_to(run, budget, "sweep" if wanted else "extra", device)

    def _train_to(self, run: Run, budget: float, role: str, device: str) -> Point:
        with self.driven():
            if distributed.size() == 1:
                self._advance([(run, budget)], role, SerialExecutor(), Observer(), device)
            else:
                self._advance_together(run, budget, role, device)
            if distributed.leads():
                self._write_tables()
        return Point.from_json(read_json(point_path(self.path, run.id, budget)))

    def _advance_together(self, run: Run, budget: float, role: str, device: str) -> None:
        """All ranks of a torchrun: an error on one ends them all, and the same command goes on."""
        if distributed.leads():
            self._declare(run)
        distributed.wait()
        advance(self.path, run.id, budget, role, device)
        distributed.wait()

    def report(self) -> Path:
        """Write `report.html` and return its path."""
        from isoclone.report import write_report

        self._fetch_demos()
        path = write_report(self)
        if self.remote:
            self.remote.push([path.name])
        return path


def climb_all(
    jobs: Sequence[tuple[Study, Run, Sequence[float]]],
    role: str,
    workers: Executor,
    observer: Observer,
    device: str,
) -> None:
    """Bring runs, of one study or several, to their budgets, ascending.

    A run that keeps failing gets a row that says why, at each budget it did not reach.
    """
    tasks = [s._task(run, budgets, role, device, key) for key, (s, run, budgets) in enumerate(jobs)]
    several = len({study.path for study, _, _ in jobs}) > 1
    for outcome in workers.run(tasks):
        study, run, budgets = jobs[outcome.task.key]
        for budget in budgets:
            path = point_path(study.path, run.id, budget)
            if outcome.error and not is_there(path, role):
                study._write_failure(run, budget, role, outcome.error)
                observer.trouble(f"{run.label} at {budget:.3g} FLOPs failed: {outcome.error}")
            name = study.spec.name if several else ""
            observer.point(Point.from_json(read_json(path)), name)


def fit(
    points: Iterable[Point], references: dict[str, dict[str, float]] | None = None
) -> ScalingLaws:
    """Fit every law to points; the references set the ceiling and the floor of returns.

    Raises:
        FitError: too few usable points.
    """
    rows = [p.to_json() for p in points]
    table = {name: [row[name] for row in rows] for name in Point.__dataclass_fields__}
    known = references or {}
    return laws.fit(
        table,
        expert_return=known.get("expert", {}).get("mean"),
        random_return=known.get("random", {}).get("mean"),
    )


def measure_random(spec: StudySpec, episodes: int) -> dict[str, float]:
    """Mean return of random play with its SE, as a row of `references.json`."""
    from isoclone.evaluation.rollout import random_returns

    played = random_returns(spec.make_game(), episodes, seed=1)
    return {"mean": played.mean, "se": played.se or 0.0, "episodes": episodes}


def film(study: Path, checkpoint: str) -> None:
    """Write the study's video from one of its checkpoints."""
    from isoclone.evaluation.video import write_video
    from isoclone.training.checkpoint import load_checkpoint

    spec = Study.open(study).spec
    policy = load_checkpoint(study / checkpoint)
    write_video(policy, spec.make_game(), study / "video.mp4", sampling=spec.sampling)


def _holds(predicted: Forecast, point: Point) -> dict[str, bool | None]:
    """Whether the measured figures lie in the forecast's intervals; None where one is missing."""
    answer: dict[str, bool | None] = {}
    for name in ("dev_loss", "return_mean"):
        interval, value = getattr(predicted, name), getattr(point, name)
        answer[name] = None if interval is None or value is None else interval.holds(value)
    return answer


def _places(study: Path, record: Run | Point) -> list[Path]:
    """Where a record's file must be; none if the checkpoint it names is not the run's own."""
    if isinstance(record, Run):
        return [run_folder(study, record.id) / "run.json"]
    own = checkpoint_path(study, record.run_id, record.budget_flops)
    if record.checkpoint not in (None, own.relative_to(study).as_posix()):
        return []
    return [point_path(study, record.run_id, record.budget_flops)]


def _spec_from_fields(
    name: str,
    game: str | Game | None,
    demos: str | Path | Demonstrations | None,
    fields: dict[str, Any],
) -> StudySpec:
    """A specification from what `Study.create` was given."""
    given = dict(fields)
    if not isinstance(demos, str | Path | Demonstrations | None):
        raise SpecError(f"demos must be a directory or demonstrations, not {shown(demos)}")
    if isinstance(demos, Demonstrations):
        given.setdefault("expert", demos.expert_name)
        game = game or demos.game_name
        given.setdefault("game_options", demos.game_options)
    if demos is not None:
        where = demos.path if isinstance(demos, Demonstrations) else Path(demos)
        given["demos"] = address_of(where) or os.path.abspath(where)
    if game is None:
        raise SpecError("a study needs a game")
    if not isinstance(game, str | Game):
        raise SpecError(f"game must be a game or its name, not {shown(game)}")
    if not isinstance(game, str):
        given.setdefault("game_options", game.options())
        game = game.name
    if isinstance(given.get("expert"), Expert):
        raise SpecError("record a live expert's demonstrations first and give the study demos=...")
    given.setdefault("expert", "scripted" if game in SCRIPTED else "lookahead")
    chosen = given.get("recipe", "lean")
    if isinstance(chosen, str):
        chosen = recipe(chosen)
    given["recipe"] = chosen.to_json() if isinstance(chosen, Recipe) else chosen
    try:
        return StudySpec(name=given.pop("name", name), game=game, **given)
    except TypeError as error:
        raise SpecError(f"study: {error}") from error


def _check_expert(spec: StudySpec) -> None:
    """Refuse an expert that is not there before the directory is taken.

    One that has to be loaded from a file or the hub is met when recording begins.
    """
    if spec.demos is None and spec.expert in expert_names():
        expert(spec.expert, spec.make_game(), **spec.expert_options)
    elif spec.demos is None and not os.path.exists(spec.expert) and "/" not in spec.expert:
        raise UnknownNameError("expert", spec.expert, expert_names())


def _with_precision(spec: StudySpec, device: str) -> StudySpec:
    """'auto' settled once and for all, so that resuming elsewhere gives the same numbers."""
    chosen = Recipe.from_json(spec.recipe)
    if chosen.precision != "auto":
        return spec
    from isoclone.training.loop import precision_for

    return spec.replace(recipe={**spec.recipe, "precision": precision_for(chosen, device)})


def _notes(spec: StudySpec, speed: Speed) -> list[str]:
    notes = []
    if spec.expert == "lookahead" and speed.expert_steps_per_s:
        hours = spec.samples / speed.expert_steps_per_s / 3600
        notes.append(
            "no better expert was named, so look-ahead plays: "
            f"{speed.expert_steps_per_s:.0f} steps per core-second, {hours:.1f} core-hours "
            f"for {spec.samples:,} samples"
        )
    if spec.adaptive:
        notes.append("adaptive: hopeless sizes stop early, so the sweep takes less than the grid")
    return notes


__all__ = ["Cell", "Decision", "Observer", "Plan", "Study", "checkpoint_path", "fit"]
