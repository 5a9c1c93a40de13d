"""Without NLE everything else works, and the doctor says what is missing and how to get it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HIDE = "import sys\nsys.modules['nle'] = None  # any import of it fails\n"
STUDY = """from support import tiny_spec

study = tiny_spec(samples=2_000, episodes=2, forecast_episodes=2)
"""


@pytest.fixture
def isoclone(tmp_path, monkeypatch):
    """Run the command line where NLE cannot be imported, worker processes included."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    tests = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([str(tmp_path), tests, os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "isoclone", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    return call


def test_a_study_runs_and_the_doctor_tells(isoclone, tmp_path):
    (tmp_path / "small.py").write_text(STUDY)
    out = str(tmp_path / "out")
    said = isoclone("run", "small.py", "--out", out, "--workers", "1")
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "out" / "report.html").exists()
    said = isoclone("doctor", "--json")
    (extra,) = [row for row in json.loads(said.stdout) if row["what"] == "extra nethack"]
    assert extra["level"] == "note"
    assert extra["found"] == "no nle"
    assert "pip install 'isoclone[nethack]'" in extra["remedy"]
    assert not [row for row in json.loads(said.stdout) if row["what"].startswith("plugin")]


def test_the_game_itself_says_what_it_needs(isoclone):
    said = isoclone("plan", "nethack")
    assert said.returncode == 2
    assert said.stderr == (
        "isoclone: NetHack needs the extra 'nethack': pip install 'isoclone[nethack]'\n"
    )
    assert isoclone("games").returncode == 0
