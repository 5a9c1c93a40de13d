"""A study whose game a Python file registers is opened by its directory, once told the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
