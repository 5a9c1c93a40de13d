"""Have a study's demonstrations recorded and expanded, and both ends of its score measured."""

from __future__ import annotations

from contextlib import suppress

from isoclone.base.errors import DataError, SpecMismatchError
from isoclone.demos import Demonstrations, RecordRequest, record_demonstrations
from isoclone.demos.base import Progress
from isoclone.demos.cache import EXPAND_AGAIN
from isoclone.policies import policy_layout
from isoclone.study.driving import phase
from isoclone.study.session import Session
from isoclone.study.study import Study


def record(study: Study, session: Session) -> Demonstrations:
    """Have the demonstrations recorded and expanded, and both ends of the score measured."""
    have_recorded(study, session)
    demos = study.demos()
    _refuse_others(study, demos)
    if len(demos.dev_episodes) < 2:
        session.trouble(study, "only one dev episode: dev losses have no standard error")
    phase(study, session, "expand", "frames, once for all runs")
    expand(study, demos, session)
    have_references(study, demos, session)
    return demos


def have_references(study: Study, demos: Demonstrations | None, session: Session) -> None:
    """Have both ends of the score measured, unless they are."""
    if not study.folder.references.exists():
        from isoclone.study.references import measure_references

        asked = ", the expert asked" if study.spec.records else ""
        phase(study, session, "references", f"random play{asked}")
        measure_references(study, demos, session)


def have_recorded(study: Study, session: Session) -> None:
    """Have the study's own demonstrations recorded, as far as they are missing or damaged."""
    spec, observer = study.spec, session.observer
    if spec.demos:
        return
    phase(study, session, "record", f"{spec.expert} plays {spec.game}")
    if not _has_sound_demos(study):
        study.check_trust()
    request, place = request_of(study), study.folder.demos
    record_demonstrations(request, place, session.executor, observer.progress)


def _has_sound_demos(study: Study) -> bool:
    with suppress(DataError):
        study.demos()
        return True
    return False


def _refuse_others(study: Study, demos: Demonstrations) -> None:
    """Raise SpecMismatchError if runs of the study were trained on other demonstrations."""
    others = {run.demos for run in study.runs()} - {demos.fingerprint}
    if others:
        again = "" if study.spec.demos else f", delete {demos.path} to record it again"
        raise SpecMismatchError(
            f"{demos.path} is not what runs of {study.place} were trained on (fingerprint "
            f"{demos.fingerprint}, then {', '.join(sorted(others))}): restore it{again}, or "
            "choose another directory for a new study"
        )


def request_of(study: Study) -> RecordRequest:
    """Return the request to record a study's demonstrations."""
    spec = study.spec
    return RecordRequest(
        game=spec.game,
        expert=spec.expert,
        samples=spec.samples,
        seed=spec.demos_seed,
        dev_fraction=spec.dev_fraction,
        game_options=spec.game_options,
        expert_options=spec.expert_options,
        identity=spec.expert_identity or None,
    )


def expand(study: Study, demos: Demonstrations, session: Session) -> None:
    """Have the frames expanded as the study's policies read them, once for all runs."""
    spec, the_game = study.spec, study.spec.make_game()
    layout = policy_layout(
        spec.policy, spec.widths[0], the_game.frame, the_game.n_actions, **spec.policy_options
    )
    expanded = getattr(demos, "expand", demos.source)
    expanded(spec.recipe["frames"], layout, _told_of_repairs(study, session))


def _told_of_repairs(study: Study, session: Session) -> Progress:
    """Return the observer's progress; it is told in a line if a damaged cache is made again."""
    told: list[str] = []

    def progress(what: str, done: float, total: float) -> None:
        if what == EXPAND_AGAIN and not told:
            told.append(what)
            session.trouble(study, "the cache of frames was damaged: it is made again")
        session.observer.progress(what, done, total)

    return progress
