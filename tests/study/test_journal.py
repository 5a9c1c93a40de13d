"""study.log: who did what, and when; and what is said of points that others made."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import isoclone
from isoclone.base import provenance
from isoclone.cli import main
from isoclone.study import worker
from isoclone.study.journal import Journal
from isoclone.study.study import Study

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+:\d+ \S")


def lines(study: Path) -> list[str]:
    found = (study / "study.log").read_text().splitlines()
    assert all(LINE.match(line) for line in found)
    return [line.split(" ", 2)[2] for line in found]


def lose_a_point(path: Path) -> None:
    study = Study.open(path)
    point = study.points()[-1]
    study.folder.run(point.run_id).point(point.budget_flops).unlink()


def test_a_finished_study_has_a_log_of_all_it_did(finished_study):
    said, study = lines(finished_study), Study.open(finished_study)
    assert said[0].startswith(f"begins: isoclone {isoclone.__version__}, torch ")
    assert said[-1].startswith("done after ")
    for phase in ("record", "expand", "sweep", "forecast", "report"):
        assert any(line.startswith(phase) for line in said), phase
    for point in study.points(None):
        head = rf"\S+-w{point.width}-s{point.seed}-{point.run_id[:6]} at {point.budget_flops:.3g} "
        assert sum(bool(re.match(re.escape(head).replace(r"\\S\+", r"\S+"), line)) for line in said)


def test_lines_survive_a_kill_and_a_torn_one_is_closed(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from isoclone.study.journal import Journal; log = Journal(Path(sys.argv[1])); "
        "log.write('one'); log.write('two\\x1b[2J'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "study.log"
    done = subprocess.run([sys.executable, "-c", code, path])
    assert done.returncode == -signal.SIGKILL
    with path.open("a") as file:
        file.write("2026-11-26T10:00")
    Journal(path).write("three\nand four")
    said = path.read_text().splitlines()
    assert [line.split(" ", 2)[-1] for line in said] == [
        "one", r"two\x1b[2J", "2026-11-26T10:00", "three and four",
    ]  # fmt: skip


def test_points_that_fail_are_exit_code_1_with_their_reasons(study_copy, monkeypatch, capsys):
    lose_a_point(study_copy)

    def breaks(*job: object) -> None:
        if "sweep" in job:
            raise KeyError("no such batch")
        train(*job)

    train = worker.train_to_budget
    monkeypatch.setattr(worker, "train_to_budget", breaks)
    assert main(["run", str(study_copy), "--executor", "serial"]) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "isoclone: " in line]
    assert "1 point failed (width " in said
    assert "KeyError: 'no such batch'" in said
    failure = re.search(r"traceback in (runs/\w+/failure\.txt)", said)
    assert "in breaks" in (study_copy / failure[1]).read_text()
    assert sum("failed: KeyError: 'no such batch'" in line for line in lines(study_copy)) >= 1
    monkeypatch.undo()
    assert main(["run", str(study_copy), "--executor", "serial"]) == 0
    assert not (study_copy / failure[1]).exists()


# ---------------------------------------------------------------------- other versions


def test_another_version_is_refused_before_it_does_anything(study_copy, tmp_path):
    """Really another: the package again, with another version in it."""
    source = shutil.copytree(Path(isoclone.__file__).parent, tmp_path / "src" / "isoclone")
    (source / "base" / "version.py").write_text('"""Other."""\n\nVERSION = "99.0"\n')
    lose_a_point(study_copy)
    before = sorted(study_copy.rglob("points/*.json"))
    done = subprocess.run(
        [sys.executable, "-m", "isoclone", "run", study_copy, "--executor", "serial"],
        env={**os.environ, "PYTHONPATH": str(source.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    said = f"points were made by isoclone {isoclone.__version__} ({len(before)}); this is 99.0"
    assert said in done.stderr.splitlines()[-1]
    assert "--allow-other-version" in done.stderr.splitlines()[-1]
    assert sorted(study_copy.rglob("points/*.json")) == before


def test_another_version_goes_on_if_it_is_allowed_and_is_told_of(study_copy, monkeypatch, capsys):
    lose_a_point(study_copy)
    monkeypatch.setattr(provenance, "VERSION", "99.0")
    words = ["run", str(study_copy), "--executor", "serial"]
    assert main(words) == 2
    assert main([*words, "--allow-other-version"]) == 0
    assert "this is 99.0" in capsys.readouterr().err
    assert any("this is 99.0" in line for line in lines(study_copy))
    assert main(["status", str(study_copy)]) == 0
    assert "note: points were made" in capsys.readouterr().out
    assert "99.0" in (study_copy / "points.csv").read_text()
    assert "99.0" in (study_copy / "report.html").read_text()


def test_a_finished_study_is_looked_at_by_any_version(study_copy, monkeypatch):
    monkeypatch.setattr(provenance, "VERSION", "99.0")
    assert main(["run", str(study_copy), "--executor", "serial"]) == 0
