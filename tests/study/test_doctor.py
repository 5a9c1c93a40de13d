"""isoclone doctor: what it finds here, what does not fit, exit codes."""

from __future__ import annotations

import json
import os
from collections import namedtuple

import pytest
import torch
from support import tiny_spec

from isoclone.cli import main
from isoclone.study import doctor
from isoclone.study.doctor import NOTE, PROBLEM, available_bytes, examine, matmul_flops
from isoclone.study.study import Study

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(doctor, "GEMM_SECONDS", 0.02)


@pytest.fixture
def roomy(monkeypatch):
    """A machine that has, at this moment, memory and disk to spare."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(2**50, 0, 2**50))
    monkeypatch.setattr(doctor, "available_bytes", lambda: 2.0**50)


def found(findings, what):
    return [f for f in findings if f.what == what]


def test_a_machine_without_a_compiler_is_told_what_it_misses(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    (kernels,) = found(examine(), "kernels")
    assert (kernels.level, kernels.found) == ("note", "no C++ compiler")
    assert "install g++ or clang" in kernels.remedy


def test_this_machine():
    findings = list(examine())
    assert {f.what for f in findings if f.level == PROBLEM} <= {"disk"}  # which may be full
    (cpu,) = found(findings, "cpu")
    assert "FLOP/s float32" in cpu.found
    assert "FLOP/s bfloat16" in cpu.found
    assert found(findings, "extra dev")[0].level == "ok"
    for finding in findings:
        assert finding.found
        assert finding.remedy or finding.level == "ok"


def test_speed_and_memory_are_plausible():
    assert 1e8 < matmul_flops("cpu", torch.float32, 0.05) < 1e13
    assert 1e7 < available_bytes() < 1e14


def test_a_study_that_fits_and_writes_nothing(roomy, tmp_path):
    study = Study(tmp_path / "new", tiny_spec())
    findings = list(examine(study, workers=1))
    assert {f.what for f in findings} >= {"time", "study's disk", "study's memory"}
    assert not [f for f in findings if f.level == PROBLEM]
    assert not os.listdir(tmp_path)


def test_a_study_that_does_not_fit(tmp_path, monkeypatch):
    study = Study(tmp_path / "new", tiny_spec(samples=400_000_000))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(9, 9, 3 * 2**30))
    monkeypatch.setattr(doctor, "available_bytes", lambda: 2.0**30)
    findings = list(examine(study, workers=500))
    (disk,), (memory,) = found(findings, "study's disk"), found(findings, "study's memory")
    assert (disk.level, memory.level) == (PROBLEM, PROBLEM)
    assert "--samples" in disk.remedy
    assert memory.remedy.startswith("--workers ")


def test_what_is_missing_or_of_the_wrong_version_is_named(monkeypatch):
    wanted = ["numpy>=99", "nonsuch>=1", 'ray>=2; extra == "ray"', 'nothere; extra == "ray"']
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: wanted)
    findings = list(examine())
    assert found(findings, "numpy>=99")[0].level == PROBLEM
    assert found(findings, "nonsuch>=1")[0].found == "not installed"
    (extra,) = found(findings, "extra ray")
    assert extra.level == NOTE
    assert "pip install 'isoclone[ray]'" in extra.remedy


def test_a_package_that_is_there_but_cannot_be_imported_is_missing(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ['rich>=1; extra == "shine"'])
    assert found(list(examine()), "extra shine")[0].level == "ok"
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    (extra,) = found(list(examine()), "extra shine")
    assert (extra.level, extra.found) == (NOTE, "no rich")


def test_a_plugin_that_cannot_be_loaded_is_a_problem(monkeypatch):
    monkeypatch.setitem(doctor.BROKEN_PLUGINS, "theirs", "ImportError: no module named nonsuch")
    (plugin,) = found(list(examine()), "plugin theirs")
    assert plugin.level == PROBLEM
    assert "no module named nonsuch" in plugin.found
    assert "uninstall" in plugin.remedy


def test_a_place_that_cannot_be_written(roomy, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryDirectory", refuse)
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert "Permission denied  ->  choose another place" in said.out
    assert said.err == "isoclone: 1 problem found, see above\n"


def test_a_file_in_the_way_of_a_study_is_found(roomy, tmp_path, capsys):
    (tmp_path / "afile").touch()
    for out in ("afile", "afile/x", "afile/x/y"):
        assert main(["doctor", "toy", "--out", str(tmp_path / out)]) == 1
        assert (
            f"{tmp_path / 'afile'} is a file, no directory  ->  choose" in capsys.readouterr().out
        )


def test_the_verb(roomy, finished_study, capsys):
    assert main(["doctor", str(finished_study), "--workers", "1", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"level", "what", "found", "remedy"} == set(findings[0])
    assert main(["doctor", "nonsense"]) == 2
