"""Who the forecast agent of a study of whole games is measured against.

`marginal` looks at nothing and draws actions as often as the expert; `smallest` is the sweep's
smallest policy at the largest budget it was trained to. Both play as many episodes as the agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.records import Point
from isoclone.executors import Executor, Files, Task
from isoclone.nethack.recordings import NldDemonstrations
from isoclone.study.spec import StudySpec
from isoclone.study.worker import STUDY_FILE, read_spec

SEED = 2


def action_shares(demos: NldDemonstrations) -> np.ndarray:
    """How often the expert takes each action in the training games, (n_actions,) float64."""
    table = np.array(demos.action_of_key)
    counts = np.zeros(demos.n_actions)
    for info in demos.in_split("train"):
        keys, _ = demos.open_game(info.index).moves()
        actions = table[keys[info.cut_opening :][: info.length]]
        counts += np.bincount(actions[actions >= 0], minlength=demos.n_actions)
    return counts / counts.sum()


def smallest_of(points: Sequence[Point]) -> Point | None:
    """The sweep's smallest policy, at the largest budget it was trained to."""
    played = [p for p in points if p.checkpoint is not None]
    return min(played, key=lambda p: (p.params, -p.budget_flops, p.seed), default=None)


def measure_rivals(
    study: Path, demos: NldDemonstrations, points: Sequence[Point], workers: Executor
) -> dict[str, dict[str, Any]]:
    """{'marginal' | 'smallest': its row}, as far as they could be measured; see `play_rival`."""
    spec = read_spec(study)
    shares = [float(share) for share in action_shares(demos)]
    here = {STUDY_FILE: study / STUDY_FILE}
    tasks = [Task(play_rival, (study, shares, None), "marginal", files=Files(study, here, ()))]
    small = smallest_of(points)
    if small is not None and small.checkpoint is not None:
        files = Files(study, {**here, small.checkpoint: study / small.checkpoint}, ())
        tasks.append(Task(play_rival, (study, None, small.checkpoint), "smallest", files=files))
    rows: dict[str, dict[str, Any]] = {}
    if spec.forecast_episodes:
        for outcome in workers.run(tasks):
            told = {"reason": outcome.error} if outcome.error else outcome.result
            rows[outcome.task.key] = told
    if small is not None and "smallest" in rows:
        rows["smallest"] |= {"run_id": small.run_id, "params": small.params, "width": small.width}
    return rows


def play_rival(
    study: Path, shares: Sequence[float] | None, checkpoint: str | None
) -> dict[str, Any]:
    """Mean return, its SE and the episodes played, by a player of habits or by a checkpoint."""
    import torch

    from isoclone.evaluation.rollout import marginal_returns, rollout
    from isoclone.training.checkpoint import load_checkpoint

    torch.set_num_threads(1)
    spec: StudySpec = read_spec(study)
    the_game, episodes = spec.make_game(), spec.forecast_episodes
    if checkpoint is None:
        played = marginal_returns(the_game, np.array(shares), episodes, SEED)
    else:
        policy = load_checkpoint(study / checkpoint)
        played = rollout(policy, the_game, episodes, SEED, spec.sampling)
    return {"mean": played.mean, "se": played.se, "episodes": episodes}
