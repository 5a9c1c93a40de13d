"""A study whose game a Python file registers is opened by its directory, once told the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from isoclone.base.userfile import found_in_file, packed, run_packed

FILE = """
from dataclasses import dataclass
from isoclone.study.builtins import builtin
import isoclone as ic
from isoclone.games.toy import Toy

@dataclass(frozen=True)
class Mine(Toy):
    name: str = "mine"

ic.register_game("mine", Mine)
study = builtin("toy").replace(name="mine", game="mine", samples=2000, widths=(2, 4, 8),
    budgets_flops=(3e6, 1e7, 3e7), expert="random", episodes=2, forecast_episodes=2)
"""


def isoclone(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isoclone", *map(str, words)]
    there = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=there, timeout=200)


def test_a_study_file_imports_its_neighbours_in_workers_too(tmp_path: Path):
    """From another folder, as a script may; `lazy` is imported when it is first needed."""
    folder = tmp_path / "mine"
    (folder / "inner").mkdir(parents=True)
    (folder / "parts.py").write_text("from isoclone.games.toy import Toy\n")
    (folder / "inner" / "lazy.py").write_text("NAME = 'mine'\n")
    body = FILE.replace("from isoclone.games.toy import Toy", "from parts import Toy")
    late = "    def make_env(self):\n        import inner.lazy\n        return super().make_env()\n"
    (folder / "mine.py").write_text(body.replace('"mine"\n', f'"mine"\n{late}', 1))
    done = isoclone("run", folder / "mine.py", "--out", tmp_path / "study", "--workers", 2)
    assert done.returncode == 0, done.stderr


def test_a_file_and_its_neighbours_are_packed_for_machines_without_them(tmp_path, monkeypatch):
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    (home / "neighbour_of_packed.py").write_text("VALUE = 5\n")
    file = home / "packed_study.py"
    file.write_text("from neighbour_of_packed import VALUE\nexpert = VALUE\n")
    assert found_in_file(f"{file}:expert", "expert") == 5
    texts = packed(file)
    assert set(texts) == {"packed_study.py", "neighbour_of_packed.py"}
    for place in home.iterdir():
        if place.is_file():
            place.unlink()
    monkeypatch.delitem(sys.modules, "neighbour_of_packed")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(home)])
    run_packed(str(file), texts, away)
    assert found_in_file(f"{file}:expert", "expert") == 5
    monkeypatch.delitem(sys.modules, "neighbour_of_packed")


def test_resuming_by_directory_says_which_file_registers_the_game(tmp_path: Path):
    file, study = tmp_path / "mine.py", tmp_path / "study"
    file.write_text(FILE)
    done = isoclone("run", file, "--out", study, "--workers", 2, "--json")
    assert done.returncode == 0, done.stderr  # the workers knew the game
    refused = isoclone("status", study)
    assert refused.returncode == 2
    assert f"{study} was made by {file}: set ISOCLONE_STUDY_FILE={file}" in refused.stderr
    assert isoclone("status", study, ISOCLONE_STUDY_FILE=str(file)).returncode == 0
    gone = isoclone("status", study, ISOCLONE_STUDY_FILE=f"{file}x")
    assert (gone.returncode, gone.stderr) == (2, f"isoclone: {file}x does not exist\n")
