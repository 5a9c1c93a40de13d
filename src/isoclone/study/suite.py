"""Suites: one study a game, in one folder, compared on one page.

A Python file names the studies (`studies/atari8.py` is one):

    isoclone run studies/atari8.py

The folder holds `suite.json`, a study for each name, `suite.html`, and `failures.json` with the
reasons of those that ended by an error. What the page tells is read from the studies' own folders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclone.base.errors import ExecutionError, IsocloneError, SpecError, SpecMismatchError
from isoclone.base.records import conform
from isoclone.base.store import is_free, read_json, write_json
from isoclone.demos.demonstrations import DONE
from isoclone.remote import address_of
from isoclone.report.compared import Compared, compared
from isoclone.report.suite import write_suite
from isoclone.study import repair
from isoclone.study.folder import SUITE_FILE, is_suite
from isoclone.study.jobs import failures
from isoclone.study.session import Session
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study

PAGE, FAILURES = "suite.html", "failures.json"
FORMAT = 1


@dataclass(frozen=True)
class Suite:
    """Studies to be carried out one after the other and compared.

    Attributes:
        name: of the suite; its folder is studies-out/<name> unless said.
        question: what the comparison is to answer, the heading of its page.
        studies: at least one; their names are those of their folders, and differ.
    """

    name: str
    question: str
    studies: tuple[StudySpec, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "studies", tuple(self.studies))
        try:
            conform(self)
        except TypeError as error:
            raise SpecError(f"suite: {error}") from error
        names = [spec.name for spec in self.studies]
        if not names:
            raise SpecError(f"suite '{self.name}' has no studies")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SpecError(f"suite '{self.name}': the study name '{twice[0]}' is there twice")

    def create(self, out: str | Path, device: str = "cpu") -> SuiteFolder:
        """Make the folder with all its studies, or open it if it holds the very same suite.

        Raises:
            SpecError: the folder holds something else, or a study cannot be made.
            SpecMismatchError: a suite, or a study in it, that differs.
        """
        if address_of(out):
            raise SpecError(f"{out}: a suite is written to a directory of this machine")
        out, file = Path(out), Path(out) / SUITE_FILE
        names = [spec.name for spec in self.studies]
        if file.exists():
            there = SuiteFolder.open(out)
            if (there.name, list(there.names)) != (self.name, names):
                raise SpecMismatchError(
                    f"{out} holds the suite '{there.name}' of {', '.join(there.names)}; choose "
                    "another directory, or give the directory alone to resume it"
                )
        elif not is_free(out):
            raise SpecError(f"{out} is not empty and holds no suite; choose another directory")
        told = {"name": self.name, "question": self.question, "studies": names}
        for spec in self.studies:
            spec.trust().check()
            spec.check_expert()
        write_json(file, {"format": FORMAT, **told})
        for spec in self.studies:
            Study.create(out / spec.name, spec, device=device)
        return SuiteFolder.open(out)

    def run(self, out: str | Path, session: Session | None = None) -> list[Compared]:
        """Carry out every study in a folder under `out`; return what is known of each.

        Run it again to go on after an interruption; finished studies are left as they are.

        Raises:
            SpecError: as `create`.
            ExecutionError: every study ended by an error.
        """
        done = session or Session()
        return self.create(out, done.device).run(lambda study: done)


@dataclass(frozen=True)
class SuiteFolder:
    """A suite in its folder: run it, or read how far it is."""

    path: Path
    name: str
    question: str
    names: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path) -> SuiteFolder:
        """Open the suite in a folder.

        Raises:
            SpecError: there is none.
            StoreError: its file is damaged.
        """
        path = Path(path)
        if not is_suite(path):
            raise SpecError(f"{path} holds no suite (no {SUITE_FILE})")
        told = read_json(path / SUITE_FILE, remedy="run the suite's Python file again")
        try:
            return cls(path, told["name"], told["question"], tuple(told["studies"]))
        except (KeyError, TypeError) as error:
            raise SpecError(
                f"{path / SUITE_FILE} lacks {error}; run its Python file again"
            ) from error

    def study(self, name: str) -> Study | None:
        """Return one of its studies; None if it was not made yet."""
        holds = (self.path / name / "study.json").exists()
        return Study.open(self.path / name) if holds else None

    @property
    def studies(self) -> list[Study]:
        """Return its studies as far as they are made, in their order."""
        return [study for study in map(self.study, self.names) if study is not None]

    def run(self, session_of: Callable[[Study], Session] | None = None) -> list[Compared]:
        """Carry out what is not finished or had errors, one study after the other; return all.

        A study that ends by an error does not stop the others: its reason is on the page. The page
        is written after each study.

        Args:
            session_of: who does the work of a study; this process unless said.

        Raises:
            ExecutionError: every study ended by an error.
        """
        for study in self.studies:
            if _phase(study) != "finished" or study.spec.name in self._reasons():
                self._carry_out(study, session_of(study) if session_of else Session())
            self.write()
        rows = self.rows()
        bad = [row for row in rows if row.reason is not None]
        if len(bad) == len(rows):
            raise ExecutionError(f"every study ended by an error: {bad[0].name}: {bad[0].reason}")
        return rows

    def _carry_out(self, study: Study, session: Session) -> None:
        reasons = self._reasons()
        reasons.pop(study.spec.name, None)
        try:
            repair.run(study, session)
            failed = failures(study)
            tested = study.tested().point
            if tested is not None and tested.status == "failed":
                failed = f"the forecast agent failed: {tested.reason}"
        except IsocloneError as error:
            failed = " ".join(str(error).split())
            session.observer.trouble(f"{study.spec.name}: {failed}")
        if failed:
            reasons[study.spec.name] = failed
        write_json(self.path / FAILURES, reasons)

    def _reasons(self) -> dict[str, str]:
        file = self.path / FAILURES
        return read_json(file) if file.exists() else {}

    def rows(self) -> list[Compared]:
        """Return every study in figures, in their order; those not made yet have none."""
        return [self._row(name) for name in self.names]

    def _row(self, name: str) -> Compared:
        study = self.study(name)
        if study is None:
            return compared(name, "", "not made", [], None, None, {})
        reason = self._reasons().get(name)
        phase, game = _phase(study), study.spec.game
        try:
            folder = study.folder
            laws = read_json(folder.laws) if folder.laws.exists() else None
            tested = study.tested() if folder.forecast.exists() else None
            points, known = study.points(), study.references()
        except IsocloneError as error:
            said = " ".join(str(error).split())
            return compared(name, game, phase, [], None, None, {}, reason or said)
        return compared(name, game, phase, points, laws, tested, known, reason)

    def write(self) -> Path:
        """Write the page that compares the studies; return its path."""
        return write_suite(self.path / PAGE, self.name, self.question, self.rows())


def _phase(study: Study) -> str:
    """Return how far a study is, in words; 'finished' once its forecast is tested."""
    folder = study.folder
    try:
        if folder.forecast.exists():
            point = study.tested().point
            done = point is not None and point.status != "failed" and folder.report.exists()
            return "finished" if done else "testing the forecast"
        points = study.points()
    except IsocloneError:
        return "damaged"
    if points:
        return "sweep done" if study.sweep(points).complete else "in its sweep"
    if study.spec.records and not (folder.demos / DONE).exists():
        return "recording" if folder.demos.exists() else "not begun"
    return "not begun" if not folder.references.exists() else "in its sweep"


def total_seconds(plans: Sequence[Any]) -> float:
    """Return the time that plans expect, one after the other, in seconds."""
    return float(sum(plan.estimate.total_s for plan in plans))
