"""A study: a directory that holds all of its state. Make one, open one, read from it.

The work of a study is done by `isoclone.study.pipeline`; the directory's files are listed in
`isoclone.study.folder`. A study in an object store (`s3://bucket/study`) is worked on in a copy of
it, see `isoclone.remote`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from isoclone.base.errors import (
    DataError,
    SpecError,
    StoreError,
    TrustError,
    UnknownNameError,
)
from isoclone.base.records import Forecast, Point, Run, shown
from isoclone.base.registry import trusted_modules
from isoclone.base.results import Baseline, Reference, Savings, Tested
from isoclone.base.store import is_free, read_json
from isoclone.base.userfile import is_file_reference
from isoclone.demos import Demonstrations, open_demos
from isoclone.demos.base import check_held_out
from isoclone.demos.demonstrations import DONE
from isoclone.games import Game
from isoclone.remote import Remote, address_of, local, name_of, remote_of
from isoclone.study.clones import bring_clones, check_clones, clone_fingerprint, settled
from isoclone.study.compiled import KernelTimes, said_of_kernels
from isoclone.study.estimate import Plan, plan
from isoclone.study.fit import compare_laws, fit_law, forecast_agents
from isoclone.study.folder import HEAVY, STUDY_FILE, StudyFolder
from isoclone.study.journal import Journal
from isoclone.study.memory_format import FormatTimes, said_of_formats
from isoclone.study.plan import Sweep, flops_spent, grid_flops, next_cells
from isoclone.study.precision import keep_settled, said_of, settle
from isoclone.study.spec import StudySpec, demos_path, spec_from_fields, with_identity

if TYPE_CHECKING:
    from isoclone.laws import FittedLaw, LawComparison

FORMAT = 1
R = TypeVar("R", Reference, Baseline)
T = TypeVar("T", FormatTimes, KernelTimes)


def _check_imports(spec: StudySpec, modules: Sequence[str]) -> None:
    """Raise SpecError if the game is unknown without modules that the study was made with.

    They are not imported: a directory from elsewhere would run code of its choice.
    """
    lacking = [name for name in modules if name not in trusted_modules()]
    if not lacking:
        return
    try:
        spec.make_game()
    except UnknownNameError as error:
        flags = " ".join(f"--import {name}" for name in lacking)
        raise SpecError(f"{error}; the study was made with {flags}: give that again") from error


def _rows(path: Path, data: dict[str, Any], name: str, kind: type[T]) -> list[T]:
    """Return what a study's file holds by a name, as records of a kind."""
    try:
        return [kind.from_json(row) for row in data.get(name, [])]
    except TypeError as error:
        raise StoreError(f"{path / STUDY_FILE} is damaged: {name}: {error}") from error


class Study:
    """A study in a directory. Make one with `create`, go on with one by `open`."""

    def __init__(
        self,
        path: Path,
        spec: StudySpec,
        times: dict[str, float] | None = None,
        formats: Sequence[FormatTimes] = (),
        kernels: Sequence[KernelTimes] = (),
    ):
        self.path, self.spec = path, spec
        self.times = times or {}  # seconds of all training by precision, if both were timed
        self.formats = list(formats)  # what memory formats were chosen by, if they were timed
        self.kernels = list(kernels)  # what kernels were chosen by, if they were timed
        self.folder = StudyFolder(path)
        self._vouched = True  # False if the specification comes from the directory alone
        self._fitted: tuple[Any, FittedLaw] | None = None  # the laws, and what they were fitted to

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
            spec = spec_from_fields(name_of(path), game, demos, fields)
        spec.trust().check()
        spec = settled(spec)
        if len(spec.budgets_flops) < 2:
            raise SpecError("budgets_flops: give at least two budgets; laws are fitted to several")
        place, path = address_of(path) or path, local(path, but=HEAVY)
        if StudyFolder(path).holds_study():
            study = cls.open(path)
            spec = keep_settled(spec, study.spec)
            study.spec.refuse_other(with_identity(spec, study.spec), study.place)
            bring_clones(path, study.spec)  # if whoever made the study was killed before
            study._vouched = True
            return study
        if not is_free(path):
            raise SpecError(f"{place} is not empty and holds no study; choose another directory")
        check_clones(spec)
        spec.check_expert()
        made = settle(with_identity(spec), device)
        more = {
            "train_seconds": made.times,
            "sample_seconds": [row.to_json() for row in made.formats],
            "kernel_seconds": [row.to_json() for row in made.kernels],
            "imports": list(trusted_modules()),
        }
        told = {name: value for name, value in more.items() if value}
        StudyFolder(path).write_spec({"format": FORMAT, "spec": made.spec.to_json(), **told})
        bring_clones(path, made.spec)
        return cls(path, made.spec, made.times, made.formats, made.kernels)

    @classmethod
    def open(cls, path: str | Path) -> Study:
        """Open the study in a directory.

        Raises:
            SpecError: there is none.
            StoreError: it is of a newer format, or damaged, or the object store cannot be read.
        """
        place, path = address_of(path) or path, local(path, but=HEAVY)
        if not StudyFolder(path).holds_study():
            raise SpecError(f"{place} holds no study (no {STUDY_FILE})")
        data = StudyFolder(path).read_spec()
        number = data.get("format", 0) if isinstance(data, dict) else None
        if not isinstance(number, int) or "spec" not in data:
            raise StoreError(
                f"{path / STUDY_FILE} is damaged; restore it, or choose another directory"
            )
        if number > FORMAT:
            raise StoreError(f"{place} has study format {number}; update isoclone to open it")
        spec = StudySpec.from_json(data["spec"], costs=False)
        _check_imports(spec, data.get("imports", []))
        formats = _rows(path, data, "sample_seconds", FormatTimes)
        kernels = _rows(path, data, "kernel_seconds", KernelTimes)
        study = cls(path, spec, data.get("train_seconds", {}), formats, kernels)
        study._vouched = False
        return study

    def check_trust(self) -> None:
        """Raise TrustError if the expert runs foreign code and only the directory names it.

        Raises:
            TrustError: the specification comes from the directory alone, and names such an expert.
        """
        options = self.spec.expert_options
        foreign = options.get("trust") or "path" in options or is_file_reference(self.spec.expert)
        if not self._vouched and foreign:
            raise TrustError(
                f"{self.folder.spec} names an expert that runs code from elsewhere "
                f"({shown(self.spec.expert)}); run the study from its own Python file or command, "
                "or record the demonstrations first: isoclone demos record, with --trust"
            )

    # ------------------------------------------------------------------ its place

    @cached_property
    def journal(self) -> Journal:
        """The study's log, to write in."""
        return Journal(self.folder.log)

    @cached_property
    def remote(self) -> Remote | None:
        """The object store that `path` is a copy of, if it is one."""
        return remote_of(self.path)

    @property
    def place(self) -> str:
        """Where the study is, for people: an address or a path."""
        return self.remote.address if self.remote else str(self.path)

    def place_of(self, name: str) -> str:
        """Return where a file of the study is, for people."""
        return self.remote.place(name) if self.remote else str(self.path / name)

    # ------------------------------------------------------------------ reading

    def demos(self, verify: bool = True) -> Demonstrations:
        """Open the study's demonstrations; `verify` every file against its hash, once a run.

        Raises:
            DataError: not recorded yet, or damaged, or of another game.
        """
        self.fetch_demos()
        demos = open_demos(demos_path(self.path, self.spec), verify)
        the_game = self.spec.make_game()
        if demos.game_name != the_game.name:
            raise DataError(
                f"{demos.path} holds {demos.game_name}, the study is of {self.spec.game}"
            )
        check_held_out(demos)
        refuse = getattr(the_game, "fits_demonstrations", None)
        reason = refuse(demos.game_options) if refuse else None
        if reason:
            raise DataError(f"{demos.path} {reason}")
        return demos

    def fetch_demos(self) -> None:
        """Bring an object store's demonstrations here, unless they are here."""
        if self.remote and not self.spec.demos and not (self.folder.demos / DONE).exists():
            self.remote.pull(["demos"])

    def origins(self) -> Callable[[int], str]:
        """Return a function from a width to the fingerprint of what its runs learn from.

        That of the demonstrations; of reinforcement that of the clone, '' if there is none.

        Raises:
            DataError: it is not there.
        """
        if self.spec.imitates:
            fingerprint = self.demos(verify=False).fingerprint  # `record` verifies them
            return lambda width: fingerprint
        if self.spec.clones is None:
            return lambda width: ""
        return lambda width: clone_fingerprint(self.path, width)

    def runs(self) -> list[Run]:
        """Read every run that has a folder."""
        return self.folder.read_runs()

    def points(self, role: str | None = "sweep") -> list[Point]:
        """Read every complete point of a role ('sweep', 'forecast', 'extra', None for all).

        Raises:
            StoreError: a point's file is damaged.
        """
        chosen = [p for p in self.folder.read_points() if role in (None, p.role)]
        return sorted(chosen, key=lambda p: (p.role, p.budget_flops, p.width, p.seed, p.run_id))

    def sweep(self, points: Sequence[Point] | None = None) -> Sweep:
        """Return the state of the sweep: missing cells and decisions.

        Args:
            points: those of the sweep, if they were read before.
        """
        return next_cells(self.spec, self.points() if points is None else points)

    def references(self) -> dict[str, Reference]:
        """Read the mean returns of 'random' play and of the 'expert', as far as measured."""
        return self._rows(self.folder.references, Reference)

    def baselines(self) -> dict[str, Baseline]:
        """Read the returns of the players 'marginal' and 'smallest', to compare the agent with."""
        return self._rows(self.folder.baselines, Baseline)

    def _rows(self, path: Path, kind: type[R]) -> dict[str, R]:
        """Read named records from a file; none if it is not there.

        Raises:
            StoreError: the file is damaged.
        """
        if not path.exists():
            return {}
        try:
            return {name: kind.from_json(row) for name, row in read_json(path).items()}
        except (AttributeError, TypeError) as error:
            raise StoreError(f"{path} is damaged; delete it to measure it again") from error

    def tested(self) -> Tested:
        """Read the forecast, the agent trained to test it, and which intervals held.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = self.folder.forecast
        try:
            return Tested.from_json(read_json(path))
        except TypeError as error:
            raise StoreError(
                f"{path} is damaged ({error}); delete it, and the study makes another, which "
                "is no test of an agent that is measured already"
            ) from error

    def noted(self) -> dict[str, Any]:
        """Return when the forecast was `written` and its `sha256`; nothing that is not known.

        Raises:
            StoreError: the file is damaged.
        """
        path = self.folder.forecast_seconds
        return (read_json(path) or {}) if path.exists() else {}

    def savings(self, points: Sequence[Point] | None = None) -> Savings:
        """Compare what a plain grid over the same sizes would have cost with what was spent.

        Args:
            points: those of the sweep, if they were read before.
        """
        points = self.points() if points is None else points
        sweep = self.sweep(points)
        full, spent = grid_flops(self.spec, sweep.widths), flops_spent(points)
        return Savings(
            grid_flops=full,
            spent_flops=spent,
            saved_share=1 - spent / full,
            grid_points=len(sweep.widths) * len(self.spec.seeds) * len(self.spec.budgets_flops),
            points=len(points),
            decisions=sweep.decisions,
        )

    # ------------------------------------------------------------------ plan, laws, forecast

    def plan(self, workers: int = 1) -> Plan:
        """Return sizes x budgets x seeds, FLOPs, and the time expected on this machine."""
        self.spec.check()
        recorded = self._recorded()
        if recorded is None:
            self.check_trust()
        points = self._readable_points()
        sweep = self.sweep([point for point in points if point.role == "sweep"])
        finished = sweep.complete and any(point.role == "forecast" for point in points)
        planned = plan(self.spec, recorded, points, workers, finished)
        planned.notes.extend(self.chosen())
        return planned

    def chosen(self) -> list[str]:
        """Return in words what was chosen by measurement when the study was made, and by what."""
        precision, said = self.spec.recipe["precision"], []
        if self.times:
            said.append(said_of(self.times, precision))
        if self.formats:
            said.append(said_of_formats(self.formats, precision))
        if self.kernels:
            to = self.spec.recipe.get("compiled_to", 0)
            said.append(said_of_kernels(self.kernels, precision, to))
        return said

    def _recorded(self) -> Demonstrations | None:
        """Return the demonstrations, unless `run` has to record them, or their table, first."""
        if not self.spec.demos and not (self.folder.demos / DONE).exists():
            return None
        try:
            return self.demos(verify=False)  # `run` verifies them
        except DataError:
            if self.spec.demos:
                raise
            return None

    def _readable_points(self) -> Sequence[Point]:
        try:
            return self.points(None)
        except StoreError:  # one is torn, which `run` makes again
            return []

    def laws(self) -> FittedLaw:
        """Fit the study's law to the sweep's points; the default stands in for one that fails.

        Raises:
            FitError: too few usable points.
        """
        fitted_to = self.spec.law, self.points(), self.bounds()
        if self._fitted is None or self._fitted[0] != fitted_to:
            self._fitted = fitted_to, fit_law(*fitted_to)
        return self._fitted[1]

    def bounds(self) -> dict[str, Reference]:
        """Return the references, with the highest return there can be in the expert's place."""
        references = self.references()
        if self.spec.ceiling is None:
            return references
        return {**references, "expert": Reference(self.spec.ceiling, 0.0, 0)}

    def compare_laws(self) -> list[LawComparison]:
        """Compare the study's law with the default by back-tests; none if it is the default."""
        return compare_laws(self.spec.law, self.points(), self.bounds())

    def forecast(self, flops: float | None = None, episodes: int | None = None) -> Forecast:
        """Forecast a budget (the study's own forecast budget if none is given).

        The intervals are those of the mean of as many agents as the spec has train, each of so many
        episodes; of as many as they need if none is given (see `fit.forecast_agents`).
        """
        return forecast_agents(self.laws(), self.spec, flops, episodes)
