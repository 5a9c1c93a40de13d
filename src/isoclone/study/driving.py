"""Drive a study: hold its lock, and write into its log and trace what is done when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from isoclone.base import distributed
from isoclone.base.provenance import made_by
from isoclone.base.store import alone
from isoclone.base.trace import Span, add_spans, this_process
from isoclone.executors import Outcome
from isoclone.study.folder import StudyFolder
from isoclone.study.session import Session
from isoclone.study.study import Study


@contextmanager
def driven(study: Study, session: Session | None = None) -> Iterator[None]:
    """Hold the lock of a study's only driver; it is released however the process ends.

    Raises:
        StoreError: another is at work.
    """
    if not distributed.leads():  # the first process holds the lock for all
        yield
    elif study.remote is None:
        with alone(study.folder.lock, str(study.path)), _told(study, session):
            yield
    else:
        observer = (session or Session()).observer
        with study.remote.driven(lambda said: observer.phase("wait", said)):
            study.remote.pull()
            # Another process may have made another study here in the meantime.
            Study.open(study.path).spec.refuse_other(study.spec, study.place)
            with study.remote.kept(), _told(study, session):
                yield


@contextmanager
def _told(study: Study, session: Session | None) -> Iterator[None]:
    """Write into the study's log how the work of a driver begins and ends."""
    session = session or Session()
    if hasattr(session.executor, "tell"):
        session.executor.tell = lambda said: session.trouble(study, said)
    if hasattr(session.executor, "seen"):
        session.executor.seen = partial(_keep_spans, study)
    made = made_by(session.device, study.spec.recipe["precision"])
    by = f"isoclone {made['isoclone_version']}, torch {made['torch_version']}, {made['device']}"
    pool = f"{session.executor.workers} x {type(session.executor).__name__}"
    with study.journal.told(f"{by}, {pool}"):
        try:
            yield
        finally:
            _end_phase(session)


def phase(study: Study, session: Session, name: str, detail: str = "") -> None:
    """Say, and write into the study's log, that a phase begins."""
    _end_phase(session)
    session.phase = study.folder.trace, name, time.time()
    session.observer.phase(name, detail)
    study.journal.write(f"{name} {detail}")


def _end_phase(session: Session) -> None:
    """Write the phase under way, if there is one, into the trace of its study."""
    if session.phase is not None:
        (trace, name, begin), workers = session.phase, session.executor.workers
        add_spans(trace, [Span("drive", begin, time.time(), this_process(), name, workers)])
    session.phase = None


def _keep_spans(study: Study, outcome: Outcome) -> None:
    """Write what a worker did into the trace of the study it did it for."""
    home = StudyFolder(outcome.task.files.home) if outcome.task.files else study.folder
    folder = home if home.holds_study() else study.folder
    add_spans(folder.trace, outcome.spans)
