"""Whatever is lost or torn in a study is noticed, and made again where that can be done."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from isoclone.base.records import Point
from isoclone.base.store import read_json, write_json
from isoclone.cli import main
from isoclone.demos import open_demos
from isoclone.demos.episode import read_info, write_episode
from isoclone.demos.manifest import write_manifest
from isoclone.executors import SerialExecutor
from isoclone.study import pipeline
from isoclone.study.driving import driven
from isoclone.study.examine import Harm, examine
from isoclone.study.folder import StudyFolder
from isoclone.study.jobs import write_tables
from isoclone.study.repair import repair
from isoclone.study.session import Session
from isoclone.study.study import Study

IRRELEVANT = {  # when it is deleted, and why
    "seconds/forecast.json": "tells when a forecast was written, and if one made again is the same",
    "state.safetensors": "the run starts from its beginning if it goes on, to the same bits",
    "study.log": "tells people who did what, and when",
    "trace.jsonl": "tells people how long that took",
    "progress.json": "tells watchers how far a run is while it is trained",
    ".driver.lock": "is locked, never read",
}
NOT_THE_SAME = (  # after a second making, and need not be; a report tells where it was made
    "seconds", "study.log", "trace.jsonl", "progress.json", "state.safetensors", "restarted.json",
    "cache", "report.html", "curve.parquet",
)  # fmt: skip


NOTES = (
    ".driver.lock",
    "study.log",
    "trace.jsonl",
    "progress.json",
    "made_by.json",
)  # change no number


def cut(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def files(study: Path) -> list[Path]:
    """Every file of a study, but for the frames' cache."""
    return sorted(p for p in study.rglob("*") if p.is_file() and "cache" not in p.parts)


def contents(study: Path) -> dict[str, bytes]:
    """What a study holds that a second making must give again, to the last bit."""
    names = {p: p.relative_to(study).as_posix() for p in files(study) if not p.name.startswith(".")}
    return {n: p.read_bytes() for p, n in names.items() if not set(NOT_THE_SAME) & set(p.parts)}


def rows_in(table: Path) -> object:
    return pq.read_table(table).to_pylist() if table.suffix == ".parquet" else table.read_text()


def harm_to(study: Path, path: Path) -> Harm | None:
    return next((harm for harm in examine(study) if harm.path == path), None)


def test_a_sound_study_has_no_harm(finished_study):
    assert examine(finished_study) == []


@pytest.mark.parametrize("act", [cut, Path.unlink], ids=["cut", "deleted"])
def test_each_lost_file_is_noticed_or_irrelevant(study_copy, act: Callable[[Path], None]):
    for path in files(study_copy):
        name, data = path.relative_to(study_copy).as_posix(), path.read_bytes()
        act(path)
        if {path.name, name} & set(IRRELEVANT) and not (act is cut and path.name != ".driver.lock"):
            assert examine(study_copy) == [], name
        else:
            harm = harm_to(study_copy, path)
            assert harm, name
            assert harm.what == ("torn" if act is cut else "missing")
            assert harm.says.startswith(f"{name} is {'empty' if act is cut else 'missing'}; ")
        path.write_bytes(data)
    assert examine(study_copy) == []


def test_a_changed_byte_is_seen_in_whatever_file(study_copy):
    seen = 0
    for path in files(study_copy):
        name, data = path.relative_to(study_copy), path.read_bytes()
        rows = rows_in(path) if path.parent.name != "episodes" and path.suffix == ".parquet" else 0
        if data:  # a lock has nothing to lose
            flip(path)
            assert harm_to(study_copy, path) or rows_in(path) == rows or path.name in NOTES, name
            seen += 1
            path.write_bytes(data)
    assert seen > 100
    assert examine(study_copy) == []


def test_run_makes_changed_files_of_every_kind_again_and_says_so(
    study_copy, finished_study, capsys
):
    for pattern in ONE_OF_EACH:
        flip(sorted(study_copy.glob(pattern))[-1])
    for name in ("study.json", "demos/demonstrations.json"):
        flip(study_copy / name)
    assert main(["run", str(study_copy), "--executor", "serial"]) == 0
    told = capsys.readouterr().err
    assert contents(study_copy) == contents(finished_study)
    assert examine(study_copy) == []
    for name in ("study.json", "demos/demonstrations.json", "forecast.json"):
        assert f"{name} is damaged; `isoclone run {study_copy}` makes it again" in told


@pytest.mark.parametrize("act", [zero, Path.unlink], ids=["zeroed", "deleted"])
def test_points_without_their_checkpoints_are_noticed_and_made_again_by_run(
    study_copy, finished_study, act, capsys
):
    lost = sorted(study_copy.glob("runs/*/checkpoints/*"))
    lost = lost if act is zero else lost[:1]
    for path in lost:
        act(path)
    assert main(["status", str(study_copy)]) == 0
    said = capsys.readouterr().out
    assert all(f"{path.relative_to(study_copy)} is " in said for path in lost)
    assert main(["run", str(study_copy), "--executor", "serial"]) == 0
    assert contents(study_copy) == contents(finished_study)


@pytest.mark.parametrize("act", [cut, Path.unlink], ids=["cut", "deleted"])
def test_all_that_can_be_made_again_is_when_all_is_lost(study_copy, finished_study, act):
    lost = [
        path for path in files(study_copy)
        if "demos" not in path.parts and path.name not in ("study.json", ".driver.lock")
    ]  # fmt: skip
    for path in lost:
        act(path)
    repaired = repair(Study.open(study_copy))
    assert contents(study_copy) == contents(finished_study)
    assert examine(study_copy) == []
    if act is cut:
        assert all(each.made for each in repaired)


ONE_OF_EACH = (
    "runs/*/run.json", "runs/*/points/3.000000e+06.json", "runs/*/points/3.000000e+07.json",
    "runs/*/points/1.000000e+08.json", "runs/*/checkpoints/1.000000e+07.safetensors",
    "runs/*/checkpoints/1.000000e+08.safetensors", "runs/*/state.safetensors", "references.json",
    "forecast.json", "laws.json", "baselines.json", "video.mp4", "report.html", "points.csv",
    "points.parquet", "demos/request.json", "demos/episodes.csv", "demos/episodes.parquet",
)  # fmt: skip


@pytest.mark.parametrize("pattern", ONE_OF_EACH)
def test_a_torn_file_is_made_again_to_the_same_bits(study_copy, finished_study, pattern):
    path = sorted(study_copy.glob(pattern))[0]
    cut(path)
    (harm,) = examine(study_copy)
    assert harm.path == path
    assert harm.made_again_by
    (repaired,) = repair(Study.open(study_copy))
    assert repaired.made
    assert repaired.harm == harm
    assert "differs" not in repaired.says
    assert contents(study_copy) == contents(finished_study)
    assert examine(study_copy) == []


def test_a_torn_report_is_the_same_when_it_is_drawn_again(study_copy):
    study = Study.open(study_copy)
    path = pipeline.write_report(study)
    held = path.read_bytes()
    path.write_bytes(held[:-200])
    trace = study.folder.trace.read_bytes()
    (repaired,) = repair(study)
    assert repaired.made
    study.folder.trace.write_bytes(trace)  # the page tells of the repair's time, too
    pipeline.write_report(study)
    assert path.read_bytes() == held


def test_what_run_makes_again_needs_no_repair(study_copy, finished_study):
    for path in (study_copy / "laws.json", study_copy / "report.html", study_copy / "points.csv"):
        cut(path)
    for name in ("references.json", "forecast.json", "baselines.json", "video.mp4"):
        (study_copy / name).unlink()
    assert {harm.made_again_by for harm in examine(study_copy)} == {"run"}
    pipeline.run(Study.open(study_copy))
    assert contents(study_copy) == contents(finished_study)


def test_a_changed_point_is_measured_again(study_copy, finished_study):
    path = sorted(study_copy.glob("runs/*/points/*.json"))[0]
    write_json(path, {**read_json(path), "dev_loss": 0.125})
    (harm,) = examine(study_copy)
    assert harm.says.startswith(f"{path.relative_to(study_copy)} has other figures than the tables")
    repair(Study.open(study_copy))
    assert contents(study_copy) == contents(finished_study)


def test_a_table_that_differs_from_the_points_and_the_other_table_is_the_torn_one(study_copy):
    path = study_copy / "points.csv"
    loss = next(csv.DictReader(path.open()))["dev_loss"]
    path.write_text(path.read_text().replace(loss, "0.125"))
    (harm,) = examine(study_copy)
    assert (harm.path, harm.made_again_by) == (path, "run")
    assert "has other figures than the points" in harm.says


def test_files_of_other_runs_are_not_taken_for_a_runs_own(study_copy, finished_study):
    first, second = sorted(study_copy.glob("runs/*/checkpoints/3.000000e+07.safetensors"))[:2]
    shutil.copy(first, second)
    folders = sorted((study_copy / "runs").iterdir())
    shutil.copy(folders[0] / "run.json", folders[1] / "run.json")
    harms = examine(study_copy)
    assert {harm.what for harm in harms} == {"belongs elsewhere"}
    assert {harm.path for harm in harms} == {second, folders[1] / "run.json"}
    repair(Study.open(study_copy))
    assert contents(study_copy) == contents(finished_study)


def test_a_damaged_episode_of_its_own_is_played_again_alone(study_copy, finished_study):
    episodes = sorted(study_copy.glob("demos/episodes/*"))
    written = {path: path.stat().st_mtime_ns for path in episodes}
    flip(episodes[3])
    written[episodes[3]] = episodes[3].stat().st_mtime_ns
    (repaired,) = repair(Study.open(study_copy))
    assert repaired.made
    again = {path for path in episodes if path.stat().st_mtime_ns != written[path]}
    assert again == {episodes[3]}
    assert contents(study_copy) == contents(finished_study)


def test_damaged_demonstrations_of_somebody_else_stop_the_repair(study_copy, tmp_path):
    away = (study_copy / "demos").rename(tmp_path / "away")
    spec = read_json(study_copy / "study.json")
    spec["spec"]["demos"] = str(away)
    StudyFolder(study_copy).write_spec(spec)
    torn = study_copy / "references.json"
    flip(away / "episodes/000003.parquet")
    cut(torn)
    repaired = repair(Study.open(study_copy))
    assert [each.made for each in repaired] == [False, False]
    assert not torn.read_bytes()
    said = next(each.says for each in repaired if each.harm.path.is_relative_to(away))
    assert said.endswith("restore it from a copy")


def test_a_time_that_was_measured_once_is_named_and_not_made_up(study_copy):
    path = sorted(study_copy.glob("runs/*/seconds/*.json"))[0]
    cut(path)
    study = Study.open(study_copy)
    (repaired,) = repair(study)
    assert not repaired.made
    assert repaired.says.endswith("now says that the time is not known")
    assert study.folder.run(path.parents[1].name).train_seconds(float(path.stem)) is None
    assert examine(study_copy) == []


def test_a_forecast_is_not_made_again_for_an_agent_that_was_trained_on_another(
    study_copy, monkeypatch
):
    """As when the laws have changed since."""
    cut(study_copy / "forecast.json")
    fit = Study.forecast

    def other(self, flops=None):
        predicted = fit(self, flops)
        return replace(predicted, params=replace(predicted.params, value=50.0, low=10.0))

    monkeypatch.setattr(Study, "forecast", other)
    before = sorted(study_copy.glob("runs/*/points/*.json"))
    (repaired,) = repair(Study.open(study_copy))
    assert not repaired.made
    assert "forecast another agent than the one that was trained" in repaired.says
    assert sorted(study_copy.glob("runs/*/points/*.json")) == before


def test_extra_points_are_made_again_as_extra_ones(study_copy):
    study = Study.open(study_copy)
    point = pipeline.train_size(study, 5, 2e6)
    assert point.role == "extra"
    path = study.folder.run(point.run_id).point(2e6)
    held = path.read_bytes()
    path.unlink()
    (repaired,) = repair(study)
    assert repaired.made
    assert path.read_bytes() == held


def test_an_unfinished_study_lacks_nothing_that_it_has_not_come_to(study_copy):
    folder = StudyFolder(study_copy)
    for path in (folder.forecast, folder.video, folder.report, folder.laws, folder.baselines):
        path.unlink()
    for path in (folder.points.with_suffix(".csv"), folder.points.with_suffix(".parquet")):
        path.unlink()
    points = [Point.from_json(read_json(p)) for p in study_copy.glob("runs/*/points/*.json")]
    for point in points:
        if point.role == "forecast" or point.budget_flops == 3e7:
            folder.run(point.run_id).point(point.budget_flops).unlink()
    assert examine(study_copy) == []


def test_one_driver_at_a_time_repairs(study_copy):
    study = Study.open(study_copy)
    with driven(study), pytest.raises(Exception, match="another isoclone process"):
        repair(study, Session(SerialExecutor()))


def test_a_lost_point_is_not_called_diverged_as_its_run_was_later(study_copy):
    study = Study.open(study_copy)
    first, last = sorted(study_copy.glob("runs/*/points/*.json"))[0:3:2]
    held = first.read_bytes()
    write_json(last, {**read_json(last), "status": "diverged", "reason": "loss was nan"})
    write_tables(study)
    assert examine(study_copy) == []
    first.unlink()
    repair(study)
    assert first.read_bytes() == held


def test_a_run_that_is_known_by_nothing_but_its_place_in_the_grid_is_declared_again(study_copy):
    study = Study.open(study_copy)
    run = next(run for run in study.runs() if run.width in study.spec.widths)
    folder = study.folder.run(run.id)
    held = folder.file.read_bytes()
    for path in (folder.file, folder.state, *folder.path.glob("*/*")):
        cut(path)
    repaired = repair(study)
    assert folder.file.read_bytes() == held
    assert all(each.made for each in repaired)


def test_repairing_a_sound_study_changes_nothing(study_copy, finished_study):
    assert repair(Study.open(study_copy)) == []
    assert contents(study_copy) == contents(finished_study)


def test_a_stray_file_among_the_points_is_cleared_away(study_copy, finished_study):
    stray = sorted(study_copy.glob("runs/*/points"))[0] / "copy.json"
    cut(stray)
    (repaired,) = repair(Study.open(study_copy))
    assert not repaired.made
    assert not stray.exists()
    assert contents(study_copy) == contents(finished_study)


def test_other_demonstrations_than_those_trained_on_are_seen_and_recorded_again(
    study_copy, finished_study, capsys
):
    """Whoever forges them may count every hash anew; the runs know what they were trained on."""
    home = study_copy / "demos"
    demos = open_demos(home)
    path, episode, info = demos.episode_path(2), demos.read(2), read_info(demos.episode_path(2))
    forged = replace(episode, actions=np.roll(episode.actions, 1))
    write_episode(path, forged, replace(info, content_sha256=forged.content_sha256()))
    table = read_json(home / "demonstrations.json")
    kept = ("format", "episodes", "file_sha256", "dev_episodes", "fingerprint", "table_digest")
    facts = {name: value for name, value in table.items() if name not in kept}
    write_manifest(home, facts, len(demos.episodes), facts.get("dev_fraction", 0.1))
    main(["status", str(study_copy)])
    assert "holds other demonstrations than the runs were trained on" in capsys.readouterr().out
    assert main(["run", str(study_copy)]) == 2
    assert f"delete {home} to record it again" in capsys.readouterr().err
    shutil.rmtree(home)
    assert main(["run", str(study_copy)]) == 0
    assert (study_copy / "points.csv").read_bytes() == (finished_study / "points.csv").read_bytes()
