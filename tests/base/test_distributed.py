"""One run by two processes: the numbers of one process, and resumed by another number of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import tiny_nethack_spec, tiny_spec

from isoclone.base import distributed
from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.base.records import Point
from isoclone.nethack.recordings import GameInfo, NldDemonstrations
from isoclone.nethack.recordings.importer import Played, finish
from isoclone.nethack.recordings.store import UNKNOWN
from isoclone.study import pipeline
from isoclone.study.jobs import declare
from isoclone.study.study import Study
from isoclone.training.recipes import recipe

FIRST, SECOND = 1e7, 2e7


def together(study: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """`isoclone train` by two processes of torchrun."""
    return torchrun("-m", "isoclone", "train", study, *words)


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    there = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, "-m", *launcher, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=there, timeout=280)


def test_no_thread_of_the_group_outlives_it(tmp_path):
    """One that did could abort the process as the interpreter ends."""
    script = tmp_path / "trains.py"
    script.write_text("""
import os, torch
from isoclone.base import distributed

with distributed.joined("cpu"):
    layer = torch.nn.Linear(2, 2)
    torch.optim.AdamW(layer.parameters()).step()
    distributed.wait()
tasks = [f"/proc/self/task/{one}/comm" for one in os.listdir("/proc/self/task")]
names = [open(task).read().strip() for task in tasks]
assert not [name for name in names if "gloo" in name], names
""")
    if not Path("/proc/self/task").exists():
        pytest.skip("this system does not list threads in /proc")
    done = torchrun(script)
    assert done.returncode == 0, done.stderr


def a_study(path: Path, finished: Path, policy: str = "mlp") -> Study:
    exact = recipe("lean", precision="float32").to_json()
    demos = str(finished / "demos")
    return Study.create(path, tiny_spec(policy=policy, recipe=exact, demos=demos, episodes=0))


def agree(one: Point, other: Point) -> None:
    """D and C to the bit; losses but for the order in which gradients were added."""
    exact = ("run_id", "samples", "flops", "params", "unique_samples", "epochs", "budget_flops")
    assert [getattr(one, n) for n in exact] == [getattr(other, n) for n in exact]
    assert one.dev_loss == pytest.approx(other.dev_loss, abs=1e-5)
    assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)


def test_two_ranks_give_the_numbers_of_one_and_either_resumes_the_other(finished_study, tmp_path):
    alone = a_study(tmp_path / "alone", finished_study)
    first, second = (pipeline.train_size(alone, 8, budget) for budget in (FIRST, SECOND))
    both = a_study(tmp_path / "both", finished_study)

    done = together(both.path, "--width", 8, "--flops", FIRST, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)  # one of them speaks
    assert said["run_id"] == first.run_id
    agree(Point.from_json(said), first)
    agree(pipeline.train_size(both, 8, SECOND), second)  # one goes on where two had come to

    other = a_study(tmp_path / "other", finished_study)
    agree(pipeline.train_size(other, 8, FIRST), first)
    done = together(other.path, "--run-id", first.run_id, "--flops", SECOND, "--json")
    assert done.returncode == 0, done.stderr
    agree(Point.from_json(json.loads(done.stdout)), second)
    assert (other.path / "points.csv").read_text().count("\n") == 3


def masked(demos: NldDemonstrations, path: Path) -> NldDemonstrations:
    """The same games, in which the key pressed most often is no action: nothing to learn there."""
    shutil.copytree(demos.path / "games", path / "games")
    shutil.copy(demos.path / "request.json", path)
    pressed = [_keys(demos, info) for info in demos.episodes]
    table = np.array(demos.action_of_key)
    table[np.bincount(np.concatenate(pressed)).argmax()] = UNKNOWN
    counts = [int((table[keys] == UNKNOWN).sum()) for keys in pressed]
    games = [replace(i, unknown_keys=n) for i, n in zip(demos.episodes, counts, strict=True)]
    assert all(counts)
    finish(
        path,
        games,
        sorted(demos.dev_episodes),
        [],
        "masked",
        Played.of(demos)._replace(action_of_key=tuple(table.tolist())),
    )
    return NldDemonstrations.open(path)


def _keys(demos: NldDemonstrations, info: GameInfo) -> np.ndarray:
    play = slice(info.cut_opening, info.cut_opening + info.length)
    return demos.open_game(info.index).moves()[0][play]


def test_two_ranks_share_games_whose_state_is_carried(nethack_demos, tmp_path):
    """Five games side by side, three and two; some samples masked; then one rank goes on."""
    demos = masked(nethack_demos, tmp_path / "demos")
    exact = recipe("nethack", batch_size=60, precision="float32").to_json()
    spec = tiny_nethack_spec(demos=str(demos.path), recipe=exact, episodes=0)
    alone, both = (Study.create(tmp_path / name, spec) for name in ("alone", "both"))
    first, second = (pipeline.train_size(alone, 4, budget) for budget in spec.budgets_flops)
    assert first.samples % 60  # masked ones are not counted

    done = together(both.path, "--width", 4, "--flops", spec.budgets_flops[0], "--json")
    assert done.returncode == 0, done.stderr
    agree(Point.from_json(json.loads(done.stdout)), first)
    agree(pipeline.train_size(both, 4, spec.budgets_flops[1]), second)


def test_a_run_is_brought_to_its_next_budget(finished_study, tmp_path):
    study = a_study(tmp_path / "study", finished_study)
    spec = study.spec
    run = spec.run_for(2, 0, study.demos().fingerprint, spec.budgets_flops[0])
    with pytest.raises(UnknownNameError, match="unknown run"):
        pipeline.train_run(study, run.id)
    declare(study, run)
    point = pipeline.train_run(study, run.id)
    assert (point.budget_flops, point.role) == (spec.budgets_flops[0], "sweep")
    assert pipeline.train_run(study, run.id).role == "extra"  # the sweep is not yet there
    assert pipeline.train_run(study, run.id, 5e6).budget_flops == 5e6
    for _ in range(2):
        point = pipeline.train_run(study, run.id)
    assert (point.budget_flops, point.role) == (spec.forecast_budget, "forecast")
    with pytest.raises(SpecError, match="a point at every budget"):
        pipeline.train_run(study, run.id)


def test_alone_nothing_is_shared():
    assert (distributed.size(), distributed.rank(), distributed.leads()) == (1, 0, True)
    assert list(range(7))[distributed.share(7)] == list(range(7))
    assert distributed.total(2.5) == 2.5


def test_shares_make_up_the_whole(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    parts = []
    for i in range(3):
        monkeypatch.setattr(distributed, "rank", lambda i=i: i)
        parts.append(list(range(8))[distributed.share(8)])
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7]]
