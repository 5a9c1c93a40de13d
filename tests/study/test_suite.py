"""Suites: created, stopped and resumed, with a study that fails, and what their page says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, tiny_spec

from isoclone.base.errors import ExecutionError, SpecError, SpecMismatchError
from isoclone.base.records import Interval, Status
from isoclone.base.results import Reference
from isoclone.base.results import Tested as Trial  # pytest would take the name for a test's
from isoclone.base.store import read_json
from isoclone.cli import main
from isoclone.executors.setup import run_file
from isoclone.report.compared import (
    DOUBTS,
    Compared,
    above_floor,
    compared,
    failings_of,
    no_better,
    share_of,
)
from isoclone.study.session import Observer, Session
from isoclone.study.study import Study
from isoclone.study.suite import Suite, SuiteFolder

SMALL = {"widths": (2, 3, 4), "budgets_flops": (3e6, 6e6), "samples": 600, "extend": 0}
FEW_GAMES = {"episodes": 2, "forecast_episodes": 2, "dev_samples": 100}


def small(name: str, **changes: object):
    return tiny_spec(**{"name": name, **SMALL, **FEW_GAMES, **changes})


def suite_of(*specs) -> Suite:
    return Suite("tried", "Does it hold?", specs)


class Stopper(Observer):
    """Stops the process, as Ctrl-C does, at so many points."""

    def __init__(self, points: int):
        self.left = points

    def point(self, point, study: str = "") -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def suite() -> Suite:
    return suite_of(small("first"), small("broken", demos="nowhere"), small("last", seeds=(1,)))


@pytest.fixture(scope="module")
def done(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> SuiteFolder:
    """A suite that was carried out without a stop."""
    out = tmp_path_factory.mktemp("suite") / "out"
    suite.run(out)
    return SuiteFolder.open(out)


def test_a_study_that_fails_does_not_stop_the_others(done: SuiteFolder):
    first, broken, last = done.rows()
    assert (first.phase, last.phase) == ("finished", "finished")
    assert broken.verdict == "failed"
    assert "nowhere" in broken.reason
    page = (done.path / "suite.html").read_text()
    assert "It ended early" in page
    assert 'href="last/report.html"' in page


def test_a_suite_stopped_in_the_middle_goes_on_to_the_same_points(suite, done, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        suite.run(tmp_path / "out", Session(observer=Stopper(9)))
    stopped = SuiteFolder.open(tmp_path / "out")
    phases = [row.phase for row in stopped.rows()]
    assert phases[0] == "finished"
    assert phases[2] != "finished"
    report = stopped.path / "first" / "report.html"
    before = report.stat().st_mtime_ns
    stopped.run()
    assert report.stat().st_mtime_ns == before
    for name in ("first", "last"):
        ours, theirs = (Study.open(each.path / name).points(None) for each in (stopped, done))
        assert [p.to_json() for p in ours] == [p.to_json() for p in theirs]


def test_status_plan_and_report_take_the_folder(done: SuiteFolder, tmp_path, capsys):
    folder = shutil.copytree(done.path, tmp_path / "out")
    (folder / "suite.html").unlink()
    assert main(["status", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in told["studies"]][1] == "failed"
    assert main(["status", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "broken: failed:" in shown
    assert main(["report", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(folder / "suite.html")
    assert (folder / "suite.html").exists()
    shutil.rmtree(folder / "broken")  # not made yet, as far as anybody can see
    assert main(["plan", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [plan["name"] for plan in told["studies"]] == ["first", "last"]
    assert SuiteFolder.open(folder).rows()[1].phase == "not made"


def test_what_a_suite_cannot_do_is_said(done: SuiteFolder, tmp_path, capsys):
    folder = str(done.path)
    assert main(["run", folder, "--samples", "7"]) == 2
    assert "is a suite already" in capsys.readouterr().err
    assert main(["run", folder, "--track", "wandb"]) == 2
    assert "--track is for one study" in capsys.readouterr().err
    with pytest.raises(SpecError, match="'one' is there twice"):
        suite_of(small("one"), small("one"))
    with pytest.raises(SpecError, match="has no studies"):
        suite_of()
    with pytest.raises(SpecMismatchError, match="holds the suite 'tried' of first"):
        suite_of(small("other")).create(done.path)
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(SpecError, match="holds no suite"):
        suite_of(small("one")).create(tmp_path)
    with pytest.raises(ExecutionError, match="every study ended by an error: broken"):
        suite_of(small("broken", demos="nowhere")).run(tmp_path / "out")


FILE = """
import isoclone as ic
from isoclone.study.builtins import builtin
small = dict(widths=(2, 3, 4), budgets_flops=(3e6, 6e6), extend=0)
suite = ic.Suite("two", "Which?", [builtin("toy").replace(name=n, **small) for n in ("one", "two")])
print("run")
"""


def test_changes_are_made_to_every_study_and_demonstrations_found_by_name(
    toy_demos, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("two.py").write_text(FILE)
    shutil.copytree(toy_demos.path, "given/two")
    words = ["plan", "two.py", "--demos", "given", "--seeds", "0", "1", "--json"]
    assert main(words) == 0
    out = capsys.readouterr()
    told = json.loads(out.out)
    assert [plan["seeds"] for plan in told["studies"]] == [[0, 1], [0, 1]]
    one, two = told["studies"]
    assert one["samples"] == 100_000  # its own, still to be recorded
    assert two["samples"] < 2_000
    assert out.err.count("run") == 1  # the file is run once
    assert main(["plan", "two.py", "--demos", "."]) == 2
    assert "no folder named after a study (one, two)" in capsys.readouterr().err


def test_the_papers_eight_games_are_a_suite():
    eight = run_file(ROOT / "studies" / "atari8.py")["suite"]
    assert len(eight.studies) == 8
    assert {spec.samples for spec in eight.studies} == {300_000}
    assert {spec.expert for spec in eight.studies} == {"scripted"}


# ---------------------------------------------------------------------- where the law fails


def codes(laws: dict | None, tested: Trial | None = None, **exponents: Interval) -> list[str]:
    known = dict.fromkeys(("params", "samples", "dev_loss", "return_mean"))
    return [status.code for status in failings_of(laws, {**known, **exponents}, tested)]


GOOD = {"isoflops": [{"interior": True}, {"interior": False}], "status": []}
FALLS = Interval(-0.2, -0.3, -0.1)


def test_a_law_fails_by_a_code_for_each_of_its_failings():
    assert codes(GOOD, dev_loss=FALLS) == []
    assert codes(None) == ["no_law"]
    edges = {**GOOD, "isoflops": [{"interior": False}]}
    assert codes(edges, dev_loss=FALLS) == ["no_interior_optima"]
    few = {**GOOD, "status": [{"code": "few_optima", "message": "only 1"}]}
    assert codes(few, dev_loss=FALLS) == ["few_optima"]
    assert codes(GOOD, dev_loss=Interval(0.0, -0.2, 0.2)) == ["loss_does_not_fall"]
    assert codes(GOOD, dev_loss=Interval(-0.1, -0.3, 0.1)) == ["loss_may_not_fall"]
    assert codes(GOOD, return_mean=Interval(-0.1, None, None)) == ["return_does_not_rise"]
    assert codes(GOOD, return_mean=Interval(0.1, -0.1, 0.3)) == ["return_may_not_rise"]
    assert {"loss_may_not_fall", "return_may_not_rise"} <= set(DOUBTS)
    blind = {**GOOD, "status": [{"code": "loss_no_guide", "message": "no"}]}
    assert codes(blind, dev_loss=FALLS) == ["loss_no_guide"]


@pytest.mark.parametrize(
    ("share", "error", "code"),
    [
        (-0.2, 0.16, "agent_is_no_better"),
        (0.0, None, "agent_is_no_better"),
        (0.1, 0.06, "agent_may_be_no_better"),
        (0.04, 0.013, None),
        (0.5, None, None),
        (None, None, None),
    ],
)
def test_an_agent_no_better_than_random_play_is_said(share, error, code):
    assert [status.code for status in no_better(share, error)] == ([code] if code else [])
    assert "agent_may_be_no_better" in DOUBTS
    assert "agent_is_no_better" not in DOUBTS


def with_loss(study: Study, loss: float | None, excludes: float) -> Trial:
    found = study.tested()
    forecast = replace(found.forecast, excludes={"dev_loss": excludes}, return_mean=None, status=())
    assert found.point is not None
    return Trial.of(forecast, [replace(found.point, dev_loss=loss)])


def test_a_forecast_fails_if_it_is_missed_or_could_not_have_been(finished_study: Path):
    study = Study.open(finished_study)
    interval = study.tested().forecast.dev_loss
    inside, outside = interval.value, 100 * interval.value
    assert codes(GOOD, with_loss(study, inside, 1.0), dev_loss=FALLS) == []
    assert codes(GOOD, with_loss(study, outside, 1.0), dev_loss=FALLS) == ["forecast_outside"]
    vague = with_loss(study, inside, 0.01)
    assert codes(GOOD, vague, dev_loss=FALLS) == ["forecast_says_nothing"]
    assert codes(GOOD, with_loss(study, None, 1.0), dev_loss=FALLS) == ["forecast_not_tested"]


def row_of(study: Study, phase: str = "finished", reason: str | None = None) -> Compared:
    told = with_loss(study, study.tested().forecast.dev_loss.value, 1.0)
    laws = {**GOOD, "laws": {"dev_loss": {"exponent": FALLS.to_json()}}}
    return compared("x", "toy", phase, study.points(), laws, told, {}, reason)


def test_a_law_holds_only_of_a_study_that_is_finished(finished_study: Path):
    study = Study.open(finished_study)
    assert row_of(study).verdict == "holds"
    assert row_of(study, "in its sweep").verdict == "unfinished"
    assert row_of(study, reason="the disk is full").verdict == "failed"
    nothing = compared("x", "toy", "not begun", [], None, None, {})
    assert (nothing.verdict, nothing.failings) == ("unfinished", ())


def test_what_a_study_cannot_tell_is_no_failing_of_the_law(finished_study: Path):
    study = Study.open(finished_study)
    loss = study.tested().forecast.dev_loss.value
    laws = {**GOOD, "laws": {"dev_loss": {"exponent": FALLS.to_json()}}}
    few = {**laws, "status": [{"code": "few_optima", "message": "only 1"}]}

    def verdict(laws: dict[str, Any], loss: float, excludes: float) -> str:
        told = with_loss(study, loss, excludes)
        return compared("x", "toy", "finished", study.points(), laws, told, {}).verdict

    assert verdict(few, loss, 1.0) == "not shown"
    assert verdict(laws, loss, 0.01) == "not shown"
    assert verdict(few, 100 * loss, 1.0) == "fails"


def test_a_point_that_failed_is_told(finished_study: Path):
    study = Study.open(finished_study)
    points = [replace(study.points()[0], status="failed", reason="killed", dev_loss=None)]
    found = compared("x", "toy", "finished", points, GOOD, study.tested(), {})
    assert Status("points_failed", "1 points failed (killed)") in found.failings


def test_losses_are_compared_above_the_experts_own_entropy(finished_study: Path):
    agent = replace(Study.open(finished_study).tested().point, dev_loss=0.75, dev_loss_se=0.03)
    asked = Reference(10.0, 0.4, 9, entropy_nats=0.5, entropy_se=0.04)
    assert above_floor(agent, asked) == (0.25, 0.05)
    assert above_floor(agent, Reference(10.0, 0.4, 9)) == above_floor(None, asked) == (None, None)


def test_the_share_of_the_way_has_the_error_of_three_means(finished_study: Path):
    agent = replace(Study.open(finished_study).tested().point, return_mean=6.0, return_se=0.5)
    low, high = Reference(2.0, 0.0, 9), Reference(10.0, 0.0, 9)
    assert share_of(agent, low, high) == (0.5, 0.5 / 8)
    share, error = share_of(agent, Reference(2.0, 0.4, 9), Reference(10.0, 0.4, 9))
    assert error == pytest.approx((0.5**2 + 2 * 0.2**2) ** 0.5 / 8)
    assert share == 0.5
    assert share_of(agent, high, low) == share_of(agent, None, high) == (None, None)
    assert share_of(agent, Reference(2.0, 4.0, 9), Reference(10.0, 4.0, 9)) == (None, None)
    assert share_of(replace(agent, return_se=None), low, high) == (0.5, None)


def test_the_reason_of_an_error_is_forgotten_once_it_is_mended(done, tmp_path):
    folder = shutil.copytree(done.path, tmp_path / "out")
    assert list(read_json(folder / "failures.json")) == ["broken"]
    shutil.copytree(folder / "first" / "demos", folder / "broken" / "demos")
    rows = SuiteFolder.open(folder).run()
    assert (rows[1].phase, rows[1].reason) == ("finished", None)
    assert read_json(folder / "failures.json") == {}
