"""trace.jsonl: who did what when; and the report's words on where the time went."""

from __future__ import annotations

import pytest

from isoclone.base.trace import Span, add_spans, read_spans, span, take_spans
from isoclone.executors import SerialExecutor, Task
from isoclone.executors import executor as make_executor
from isoclone.executors.base import Outcome
from isoclone.report.time import shares_of
from isoclone.study.folder import StudyFolder


def work(seconds: float) -> float:
    import time

    with span("train", "a run"):
        time.sleep(seconds)
    return seconds


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_an_executor_tells_what_its_workers_did(name):
    seen: list[Outcome] = []
    with make_executor(name, 1) as executor:
        executor.seen = seen.append
        outcomes = list(executor.run([Task(work, (0.05,), name="one"), Task(work, (0.01,))]))
    assert seen == outcomes
    first, second = (outcome.spans for outcome in outcomes)
    assert [s.kind for s in first] == [s.kind for s in second] == ["train", "task"]
    inner, outer = first
    assert outer.name == "one"
    assert outer.begin <= inner.begin <= inner.end <= outer.end <= second[0].begin
    assert inner.seconds >= 0.05


def test_spans_of_a_task_that_failed_are_kept():
    (outcome,) = SerialExecutor().run([Task(work, ("no number",))])
    assert outcome.error
    assert [s.kind for s in outcome.spans][-1] == "task"
    assert take_spans() == ()


def test_a_torn_line_costs_that_line_alone(tmp_path):
    path = tmp_path / "trace.jsonl"
    one, other = Span("task", 1.0, 2.0, "here:1"), Span("task", 3.0, 4.0, "here:1")
    add_spans(path, [one])
    with path.open("a") as file:
        file.write('{"kind": "tas\n[]\n{"kind": 3}\n')
    add_spans(path, [other])
    assert read_spans(path) == [one, other]
    assert read_spans(tmp_path / "none") == []
    add_spans(tmp_path / "no" / "folder", [one])  # stops nothing


def test_shares_add_up_to_the_workers_time():
    spans = [
        Span("drive", 0.0, 10.0, "here:1", "sweep", 2),
        Span("task", 1.0, 9.0, "here:2"),  # alone until 5, with another to 8
        Span("train", 2.0, 8.0, "here:2"),
        Span("task", 5.0, 8.0, "here:3"),
        Span("evaluate", 5.0, 8.0, "here:3"),
    ]
    shares = shares_of(spans)
    assert shares == {"train": 6.0, "evaluate": 3.0, "other work": 4.0, "wait": 7.0}
    assert sum(shares.values()) == 20.0
    assert shares_of([]) == shares_of(spans[:1]) == {}


def test_a_study_has_its_trace_and_the_report_tells_of_it(finished_study):
    folder = StudyFolder(finished_study)
    spans = read_spans(folder.trace)
    kinds = {s.kind for s in spans}
    assert {"record", "train", "evaluate", "film", "task", "drive"} <= kinds
    assert {"record", "expand", "sweep", "forecast"} <= {s.name for s in spans if s.kind == "drive"}
    page = folder.report.read_text()
    assert "Where the time went" in page
