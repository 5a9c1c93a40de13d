"""What libraries say of their own workings does not reach a user who can do nothing about it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import warnings
from isoclone.base.quiet import hush
hush()
warnings.warn("of a library")
"""


def test_an_outdated_game_is_recorded_without_a_word_of_the_library(tmp_path):
    words = ("demos", "record", "gym/CartPole-v0", "--expert", "random", "--samples", "40")
    command = [sys.executable, "-m", "isoclone", *words, "--out", str(tmp_path / "d"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "arn" not in done.stderr
    assert "pygame" not in done.stdout + done.stderr


def test_pythons_own_switch_brings_warnings_back():
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    there = {**os.environ, "PYTHONWARNINGS": "default"}
    said = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=there
    )
    assert "of a library" in said.stderr


FILM = """
import sys
from isoclone.games import game, make_env
env = make_env(game("gym/CartPole-v1").filmed())
env.reset(0)
print(env.screen_rgb().shape)
env.close()
"""


def test_drawing_needs_no_screen_and_says_nothing():
    pytest.importorskip("pygame", reason="Gymnasium's games draw themselves by pygame")
    quiet = {"PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    there = {k: v for k, v in os.environ.items() if not k.startswith(("SDL", "XDG", "DISPLAY"))}
    said = subprocess.run(
        [sys.executable, "-c", FILM], capture_output=True, text=True, env={**there, **quiet}
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "(400, 600, 3)\n", "")
