"""The code on the pages runs: the tutorial, and each file of the extending page as a study."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from agents_made import made

from isoclone.agents.checkpoint import save_checkpoint
from isoclone.games import game

DOCS = Path(__file__).parent.parent / "docs"
LONGEST = 30  # lines of an example, blank ones aside


def blocks_of(page: str) -> list[str]:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks, f"{page} has no code"
    return blocks


FILES = {
    re.match(r"# (\w+\.py)\n", block)[1]: block  # type: ignore[index]
    for block in blocks_of("extending.md")
}
SCRIPTS = {"make_arrays.py": "arrays.py"}  # a script, and the study that needs what it makes
STUDIES = sorted(FILES.keys() - SCRIPTS.keys() - {"rates.py", "two_toys.py"})


def run_page(page: str) -> None:
    """Run all the code of a page, in this folder."""
    code = "\n".join(blocks_of(page))
    exec(compile(code, page, "exec"), {"__name__": "docs"})


def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_page("tutorial.md")
    assert (tmp_path / "studies/toy/report.html").exists()
    assert "dev loss" in capsys.readouterr().out


def test_the_tutorial_of_reinforcement_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_page("rl.md")
    assert (tmp_path / "studies/cartpole-rl/report.html").exists()
    assert "return Interval" in capsys.readouterr().out


def python(folder: Path, *words: str, **variables: str) -> str:
    """Run Python in a folder as a user would; returns what it prints."""
    command, there = [sys.executable, *words], {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=there)
    assert done.returncode == 0, done.stderr
    return done.stdout


def save_a_cartpole_agent(folder: Path) -> None:
    """A checkpoint of untrained weights, where the pages look for a study's."""
    policy = made("mlp", game("gym/CartPole-v1").frame, 2, game="gym/CartPole-v1")
    about = {"run": policy.run.to_json(), "samples": 0, "n_actions": 2, "precision": "float32"}
    place = folder / "studies-out/cartpole/checkpoints/1e9.safetensors"
    save_checkpoint(place, policy.module.state_dict(), policy.encoder, about)


@pytest.mark.parametrize("page", ["../README.md", "agents.md"])
def test_an_agent_acts_in_ones_own_loop_without_training_code(page, tmp_path):
    save_a_cartpole_agent(tmp_path)
    code = next(block for block in blocks_of(page) if "agent.act(observation)" in block)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 5
    look = "import sys; print(*(n for n in sys.modules if n.startswith('isoclone.')))"
    rooms = {name.split(".")[1] for name in python(tmp_path, "-c", f"{code}\n{look}").split()}
    assert "agents" in rooms
    assert not rooms & {"training", "demos", "evaluation", "experts", "executors", "laws"}


def test_examples_are_short():
    for name, code in FILES.items():
        lines = [line for line in code.splitlines()[1:] if line.strip()]
        assert len(lines) <= LONGEST, f"{name} has {len(lines)} lines"


def test_the_example_of_a_suite_runs(tmp_path):
    (tmp_path / "two_toys.py").write_text(FILES["two_toys.py"])
    words = ("-m", "isoclone", "run", "two_toys.py", "--out", "out", "--executor", "serial")
    told = json.loads(python(tmp_path, *words, "--json"))
    assert [row["phase"] for row in told["studies"]] == ["finished", "finished"]
    assert (tmp_path / "out/suite.html").exists()


# In one process: to start another takes longer than to plan.
BOTH = """
from isoclone.cli import main
assert main({}) == 0
assert main({}) == 0
"""


def documents(text: str) -> list[dict]:
    """Return the JSON documents printed one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_an_example_is_a_whole_study(name, tmp_path):
    for script in [s for s, needed_by in SCRIPTS.items() if needed_by == name]:
        (tmp_path / script).write_text(FILES[script])
        python(tmp_path, script)
    (tmp_path / name).write_text(FILES[name])
    crew = ("--executor", "processes", "--workers", "1")
    run = ["run", name, "--out", "out", *crew, "--json"]
    planned, done = documents(python(tmp_path, "-c", BOTH.format(["plan", name, "--json"], run)))
    assert planned["points"] == 3 * len(planned["budgets_flops"]) >= 6
    assert done["point"]["status"] == "ok"
    words = ("-m", "isoclone", "evaluate", "out", "--episodes", "2", "--json")
    played = json.loads(python(tmp_path, *words, ISOCLONE_STUDY_FILE=name))
    assert played
