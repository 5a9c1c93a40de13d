"""What the terminal tells while a study is at work."""

from __future__ import annotations

import os

from isoclone.base.store import read_json, write_json
from isoclone.cli import console
from isoclone.cli.console import ConsoleObserver, read_progress
from isoclone.study.study import Study


def test_time_left_does_not_stand_still_in_silence(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    observer, said = ConsoleObserver(), []
    observer.phase("sweep")
    for passed, seen in ((1, 1.0), (20, 1.0), (15, 1.0), (60, 1.0), (1, 2.0)):
        clock[0] += passed
        said.append(observer._still((seen, "w4 train")))
    assert said == ["", "", ", nothing new for 35 s", ", nothing new for 1 min 35 s", ""]


def test_the_time_left_of_the_forecast_agent_is_its_own(study_copy, monkeypatch):
    """At the pace it has had since it was first seen, whatever the sweep had to do."""
    study = Study.open(study_copy)
    budget, clock = study.spec.forecast_budget, [100.0]
    agent = study_copy / "runs" / study.points("forecast")[0].run_id / "progress.json"
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    observer = ConsoleObserver()
    observer.sweep(study, study.sweep())
    observer.phase("forecast")
    said = []
    os.utime(agent, (0, 0))  # it stands as an earlier life left it
    said.append(observer._look()[2])
    clock[0] += 10.0
    for share in (0.25, 0.5, 0.75, 1.0):
        row = {**read_json(agent), "flops": share * budget, "phase": "train"}
        write_json(agent, row)
        assert [p["label"] for p in read_progress(study_copy) if p["live"]] == [row["label"]]
        said.append(observer._look()[2])
        clock[0] += 10.0
    assert said == ["", "", ", about 20 s left", ", about 10 s left", ""]
