"""Studies: whole, killed, resumed, refused; the same points whatever happens on the way."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import tiny_spec

from isoclone.base.errors import SpecError, SpecMismatchError, StoreError, UnknownNameError
from isoclone.base.records import Point
from isoclone.base.store import read_json, this_host, write_json
from isoclone.cli.source import write_python
from isoclone.executors import executor
from isoclone.study import pipeline
from isoclone.study.driving import driven
from isoclone.study.folder import StudyFolder, budget_key
from isoclone.study.jobs import Job, _write_failure
from isoclone.study.recording import record
from isoclone.study.session import Observer, Session
from isoclone.study.study import Study
from isoclone.training.recipes import recipe


def without(path: Path, *names: str) -> None:
    for name in names:
        (path / name).unlink()


# ---------------------------------------------------------------------- a finished one


def test_a_finished_study_has_everything(finished_study):
    names = {p.name for p in finished_study.iterdir()}
    assert names >= {
        "study.json",
        "demos",
        "runs",
        "references.json",
        "points.csv",
        "points.parquet",
        "laws.json",
        "forecast.json",
        "video.mp4",
        "report.html",
    }
    assert not list(finished_study.rglob(".*.tmp"))


def test_what_a_worker_left_while_others_went_on_is_swept_at_the_end(study_copy):
    left = study_copy / "runs" / f".progress.json.{this_host()}.4194999.tmp"

    class Killer(Observer):
        def phase(self, name: str, detail: str = "") -> None:
            left.touch()

    pipeline.run(Study.open(study_copy), Session(observer=Killer()))
    assert not left.exists()


def test_both_tables_say_what_the_runs_folders_say(finished_study):
    study = Study.open(finished_study)
    points = study.points(None)
    assert [Point(**row) for row in pq.read_table(finished_study / "points.parquet").to_pylist()] \
        == points  # fmt: skip
    rows = list(csv.DictReader((finished_study / "points.csv").open()))
    assert [float(row["dev_loss"]) for row in rows] == [p.dev_loss for p in points]
    assert {row["role"] for row in rows} == {"sweep", "forecast"}


def test_every_point_adds_up(finished_study):
    study = Study.open(finished_study)
    train = study.demos().samples_in("train")
    for p in study.points(None):
        assert p.status == "ok"
        cost = study.spec.batch_flops(p.width) / study.spec.recipe["batch_size"]
        assert p.flops == p.samples * cost
        assert p.budget_flops <= p.flops < p.budget_flops + study.spec.recipe["batch_size"] * cost
        assert p.unique_samples == min(p.samples, train)
        assert p.epochs == pytest.approx(p.samples / train, abs=1e-4)
        assert p.dev_loss > 0
        assert p.episodes == 4
        assert (finished_study / p.checkpoint).is_file()


def test_one_run_serves_all_budgets_of_a_constant_rate(finished_study):
    study = Study.open(finished_study)
    ids = {(p.width, p.seed): set() for p in study.points()}
    for p in study.points():
        ids[p.width, p.seed].add(p.run_id)
    assert all(len(found) == 1 for found in ids.values())
    assert {run.id for run in study.runs()} >= {i for found in ids.values() for i in found}


def test_doing_it_again_does_nothing(study_copy):
    class NoNewPoints(Observer):
        def point(self, point, study=""):
            raise AssertionError(point)

    before = {p: p.read_bytes() for p in study_copy.glob("points.*")}
    pipeline.run(Study.open(study_copy), Session(observer=NoNewPoints()))
    assert {p: p.read_bytes() for p in study_copy.glob("points.*")} == before


def test_two_processes_measure_what_one_does(finished_study, tmp_path):
    with executor("processes", 2) as workers:
        study = pipeline.run(Study.create(tmp_path / "tiny", tiny_spec()), Session(workers))
    for name in ("points.csv", "laws.json", "demos/episodes.csv"):
        assert (study.path / name).read_bytes() == (finished_study / name).read_bytes()


def test_a_study_picks_up_what_was_lost(study_copy):
    """Points, a state, a checkpoint, a cache: made again, to the same numbers."""
    study = Study.open(study_copy)
    table = (study_copy / "points.csv").read_bytes()
    for run in study.runs()[:2]:
        folder = study_copy / "runs" / run.id
        last = sorted((folder / "points").iterdir())[-1]
        last.unlink()
        (folder / "state.safetensors").write_bytes(b"torn")
    without(study_copy, "points.csv", "laws.json", "forecast.json")
    for path in (study_copy / "demos" / "cache").rglob("done.json"):
        path.unlink()
    pipeline.run(Study.open(study_copy))
    assert (study_copy / "points.csv").read_bytes() == table


# ---------------------------------------------------------------------- drivers

# Killed ones are in tests/faults.


def test_a_second_driver_is_refused_while_the_first_is_at_work(study_copy):
    study = Study.open(study_copy)
    with driven(study):
        with pytest.raises(StoreError, match="another isoclone process is at work"):
            pipeline.run(Study.open(study_copy))
        with pytest.raises(StoreError, match="another isoclone process is at work"):
            pipeline.train_size(Study.open(study_copy), 4, 1e6)
    pipeline.run(study)


OWN_GAME = """
import dataclasses
import isoclone
from isoclone.study.builtins import builtin
from isoclone.experts import CallableExpert
from isoclone.games.toy import Toy

isoclone.register_game("own", lambda **o: dataclasses.replace(Toy(**o), name="own"))
isoclone.register_expert("stay", lambda game: CallableExpert(lambda seen: int(seen.sum()) % 3))
study = builtin("toy").replace(
    name="own", game="own", expert="stay", samples=1_000, widths=(2, 4, 8), adaptive=False,
    budgets_flops=(3e6, 1e7, 3e7), episodes=2, forecast_episodes=2, dev_samples=100,
)
"""


def test_what_a_study_file_registers_is_known_to_the_workers(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN_GAME)
    command = [sys.executable, "-m", "isoclone", "run", file, "--workers", "1", "--json", "--out"]
    done = subprocess.run([*command, tmp_path / "out"], capture_output=True, text=True)
    rows = list(csv.DictReader((tmp_path / "out" / "points.csv").open()))
    assert {row["status"] for row in rows} == {"ok"}, done.stderr
    assert {row["game"] for row in rows} == {"own"}


# ---------------------------------------------------------------------- refused


def test_a_study_that_differs_is_refused_with_the_difference(finished_study):
    with pytest.raises(SpecMismatchError, match=r"episodes: 4 -> 5") as caught:
        Study.create(finished_study, tiny_spec(episodes=5, seeds=(0, 1)))
    assert "seeds: [0] -> [0, 1]" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Study.create(finished_study, tiny_spec()).path == finished_study


def test_a_foreign_directory_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SpecError, match="holds no study"):
        Study.create(tmp_path, tiny_spec())
    with pytest.raises(SpecError, match="holds no study"):
        Study.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="holds no study"):
        Study.create(tmp_path / "file", tiny_spec())


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a file stands where a directory should be"):
        Study.create(tmp_path / "file" / "study", tiny_spec())


def test_a_kill_before_the_specification_is_written_leaves_a_usable_directory(tmp_path):
    (tmp_path / ".study.json.999999.tmp").write_bytes(b"{")
    assert Study.create(tmp_path, tiny_spec()).points() == []


def test_a_newer_format_and_a_damaged_specification_are_told_apart(study_copy):
    data = read_json(study_copy / "study.json")
    write_json(study_copy / "study.json", {**data, "format": 99})
    with pytest.raises(StoreError, match="update isoclone"):
        Study.open(study_copy)
    (study_copy / "study.json").write_text("{")
    assert Study.open(study_copy).spec.to_json() == data["spec"]  # as its copy says
    (study_copy / "study.copy.json").unlink()
    with pytest.raises(StoreError, match=r"study\.json is damaged .* choose another directory"):
        Study.open(study_copy)
    write_json(study_copy / "study.json", {"format": 1, "spec": {**data["spec"], "wobble": 1}})
    with pytest.raises(SpecError, match="wobble"):
        Study.open(study_copy)


def test_a_damaged_point_is_named(study_copy):
    study = Study.open(study_copy)
    point = study.points()[0]
    path = study.folder.run(point.run_id).point(point.budget_flops)
    for text in ("", "{}", '{"wobble": 1}'):
        path.write_text(text)
        with pytest.raises(StoreError, match=path.name.replace("+", r"\+")):
            study.points()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"widths": (0, 2, 4)}, "widths must be whole numbers of at least 1"),
        ({"widths": (2, 4)}, "widths must be at least 3"),
        ({"widths": (4, 2, 8)}, "ascending"),
        ({"budgets_flops": (1e7, 3e6)}, "budgets_flops must be ascending"),
        ({"budgets_flops": ()}, "budgets_flops"),
        ({"budgets_flops": (1e3, 1e7)}, "less than one batch"),
        ({"budgets_flops": (math.nan,)}, "budgets_flops must be positive"),
        ({"forecast_flops": 1e7}, "forecast_flops must be above"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (-1,)}, "seeds"),
        ({"samples": 0}, "samples"),
        ({"dev_fraction": 0.0}, "dev_fraction"),
        ({"sampling": "guess"}, "sampling"),
        ({"name": "a/b"}, "name"),
        ({"wobble": 1}, "wobble"),
        ({"game_options": {"wobble": 1}}, "wobble"),
        ({"policy_options": {"wobble": 1}}, "wobble"),
    ],
)
def test_what_cannot_be_studied_is_named(change, said):
    with pytest.raises(SpecError, match=said):
        tiny_spec(**change)


@pytest.mark.parametrize("field", ["game", "policy"])
def test_unknown_names_are_refused_with_a_hint(field):
    with pytest.raises(UnknownNameError, match=f"unknown {field} 'to'"):
        tiny_spec(**{field: "to"})


def test_an_unknown_expert_does_not_take_the_directory(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean scripted"):
        Study.create(tmp_path / "s", tiny_spec(expert="scriptd"))
    assert not (tmp_path / "s").exists()


# ---------------------------------------------------------------------- runs that go wrong


def test_a_diverged_run_is_a_row_with_its_reason(finished_study, tmp_path):
    wild = recipe("lean", learning_rate=1e30, warmup_samples=0).to_json()
    spec = tiny_spec(recipe=wild, demos=str(finished_study / "demos"), episodes=0)
    study = Study.create(tmp_path / "wild", spec)
    record(study, Session())
    pipeline.sweep(study, Session())
    rows = list(csv.DictReader((study.path / "points.csv").open()))
    assert len(rows) == 9
    for row in rows:
        assert row["status"] == "diverged"
        assert "loss was" in row["reason"]
        assert row["dev_loss"] == row["return_mean"] == ""


def test_a_run_that_fails_is_a_row_and_is_tried_again(study_copy):
    study = Study.open(study_copy)
    table = (study_copy / "points.csv").read_bytes()
    point = study.points()[-1]
    path = study.folder.run(point.run_id).point(point.budget_flops)
    path.unlink()
    run_file = study_copy / "runs" / point.run_id / "run.json"
    good = run_file.read_text()
    write_json(run_file, {**read_json(run_file), "seed": 7})
    with pytest.raises(StoreError, match="was edited"):
        pipeline.sweep(study, Session())
    run_file.write_text(good)
    path.parent.mkdir(exist_ok=True)
    job = Job(study, replace_run(study, point), (point.budget_flops,))
    _write_failure(job, point.budget_flops, "sweep", "a worker died")
    assert [p.status for p in study.points()].count("failed") == 1
    without(study_copy, "forecast.json")
    pipeline.run(study)
    assert (study_copy / "points.csv").read_bytes() == table


def replace_run(study, point):
    return next(run for run in study.runs() if run.id == point.run_id)


def test_a_point_measured_on_the_side_does_not_stand_for_the_sweeps(finished_study, tmp_path):
    spec = tiny_spec(demos=str(finished_study / "demos"))
    study = Study.create(tmp_path / "tiny", spec)
    extra = pipeline.train_size(study, 4, 1e7)
    assert (extra.role, extra.status) == ("extra", "ok")
    pipeline.run(study)
    again = Study.open(finished_study).points()
    assert [(p.width, p.dev_loss) for p in study.points()] == [(p.width, p.dev_loss) for p in again]
    assert pipeline.train_size(study, 4, 1e7).role == "sweep"


def test_a_budget_below_one_batch_cannot_be_trained(study_copy):
    with pytest.raises(SpecError, match="less than one batch"):
        pipeline.train_size(Study.open(study_copy), 4, 10)
    with pytest.raises(SpecError, match="width"):
        pipeline.train_size(Study.open(study_copy), 0, 1e7)


def test_budgets_that_differ_have_different_files():
    assert budget_key(1e8) == "1.000000e+08"
    assert budget_key(1e9 / 3) != budget_key(333_333_300.0)


def test_a_plan_says_what_will_run_and_writes_nothing(finished_study, tmp_path):
    study = Study(tmp_path / "nowhere", tiny_spec())
    plan = study.plan(workers=2)
    assert not (tmp_path / "nowhere").exists()
    assert (plan.points, plan.done_points) == (9, 0)
    assert plan.sweep_flops == 3 * 3e7
    assert plan.estimate.total_s > 0
    assert json.dumps(plan.to_json())
    assert Study.open(finished_study).plan().done_points >= 9


def test_the_expert_is_whoever_played_the_demonstrations(toy_demos, tmp_path):
    spec = tiny_spec(expert="random", demos=str(toy_demos.path))
    assert Study.create(tmp_path, spec).plan().expert == toy_demos.expert_name == "scripted"


def test_a_cosine_study_has_a_run_for_each_budget(finished_study, tmp_path):
    falling = recipe("lean", schedule="cosine").to_json()
    spec = tiny_spec(recipe=falling, demos=str(finished_study / "demos"), episodes=0)
    study = Study.create(tmp_path / "cosine", replace(spec, budgets_flops=(3e6, 1e7)))
    pipeline.sweep(study, Session())
    points = study.points()
    assert len({p.run_id for p in points}) == len(points) >= 6


def test_demonstrations_of_another_game_are_refused(breakout_demos, tmp_path):
    from isoclone.base.errors import DataError

    study = Study.create(tmp_path / "s", tiny_spec(demos=str(breakout_demos.path)))
    with pytest.raises(DataError, match=r"holds atari/Breakout, the study is of toy"):
        pipeline.run(study)


def test_what_a_study_was_made_with_is_named_where_it_lacks(study_copy, monkeypatch):
    folder = StudyFolder(study_copy)
    declared = folder.read_spec()
    elsewhere = {**declared["spec"], "game": "gym/Nowhere-v0", "game_options": {}}
    folder.write_spec({**declared, "spec": elsewhere, "imports": ["nowhere"]})
    with pytest.raises(SpecError, match="made with --import nowhere: give that again"):
        Study.open(study_copy)


def test_modules_that_were_imported_stand_in_study_and_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOCLONE_IMPORT", "json")
    study = Study.create(tmp_path / "s", tiny_spec())
    assert study.folder.read_spec()["imports"] == ["json"]
    write_python(tmp_path / "mine.py", study.spec)
    assert "import json  # as --import json did\n" in (tmp_path / "mine.py").read_text()
