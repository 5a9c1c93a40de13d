"""What a study is measured against: random play, its expert's score, the entropy of its actions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from isoclone.base.errors import ExecutionError
from isoclone.base.store import write_json
from isoclone.demos import Demonstrations
from isoclone.executors import Outcome, Task
from isoclone.experts.entropy import entropy_of
from isoclone.games import is_playable
from isoclone.study.estimate import ENTROPY_EPISODES, REFERENCE_EPISODES
from isoclone.study.session import Session
from isoclone.study.study import Study
from isoclone.study.worker import ask_expert, play_random


def measure_references(study: Study, demos: Demonstrations | None, session: Session) -> None:
    """Measure random play and the expert, and write `references.json`.

    Raises:
        ExecutionError: random play failed.
    """
    spec, tasks = study.spec, []
    if is_playable(spec.make_game()):
        tasks.append(Task(play_random, (spec, REFERENCE_EPISODES), "random"))
    asked = []
    if demos and spec.records:
        length = demos.samples // len(demos.episodes)
        episodes = range(ENTROPY_EPISODES)
        asked = [Task(ask_expert, (spec, n, length), f"entropy-{n}") for n in episodes]
    found: dict[str, Outcome] = {}
    for outcome in session.executor.run([*tasks, *asked]):
        found[outcome.task.key] = outcome
        session.observer.progress("references", len(found), len(tasks) + len(asked))
    measured: dict[str, Any] = {}
    if "random" in found:
        if found["random"].error:
            raise ExecutionError(f"random play of {spec.game} failed: {found['random'].error}")
        measured["random"] = found["random"].result
    mean, se = demos.score() if demos else (math.nan, math.nan)
    if demos and not math.isnan(mean):  # of imported play, rewards may be unknown
        told = {"mean": mean, "se": se, "episodes": len(demos.episodes)}
        entropy = _entropy(study, [found[task.key] for task in asked], session)
        measured["expert"] = {**told, **entropy}
    write_json(study.folder.references, measured)


def _entropy(study: Study, asked: list[Outcome], session: Session) -> dict[str, Any]:
    """Return the entropy of the expert's answers, as columns of `references.json`."""
    failed = next((outcome.error for outcome in asked if outcome.error), None)
    if failed:
        session.trouble(study, f"the expert's entropy: {failed}")
    if failed or not asked or asked[0].result is None:
        return {}
    answers = [np.array(outcome.result, np.int64) for outcome in asked]
    found = entropy_of(study.spec.expert, study.spec.game, answers)
    return {"entropy_nats": found.nats, "entropy_se": found.se}
