"""What reaches a terminal: text only, in characters that it has, or one line that says why not."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isoclone.base.errors import StoreError
from isoclone.base.store import alone
from isoclone.cli import console, main
from isoclone.cli.output import Canvas
from isoclone.cli.screen import Screen, styled, table

SOURCE = Path(__file__).resolve().parents[2] / "src" / "isoclone"
PRINTERS = {"cli/output.py", "cli/screen.py", "__main__.py"}
HOSTILE = "a\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\x7f\u202eb[bold]:smile:"
SHOWN = r"a\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\x7f\u202eb[bold]:smile:"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OURS = re.compile(r"\x1b\[[0-9;]*[mKAHJ]|\x1b\[\?(?:25|1049)[hl]|\r")  # styles, bars, the canvas


def test_all_printing_is_in_one_place():
    """No `print`, no stream, no console of its own in any other file."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())) if name not in PRINTERS else ():
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in ("print", "Console"):
                found.append(f"{name}:{node.lineno}: {called.id}")
            written = isinstance(called, ast.Attribute) and called.attr in ("write", "writelines")
            if written and ast.unparse(called.value).startswith(("sys.std", "sys.__std")):
                found.append(f"{name}:{node.lineno}: {ast.unparse(called)}")
            if isinstance(node, ast.ImportFrom) and node.module == "rich.markup":
                found.append(f"{name}:{node.lineno}: markup")
    assert not found


def drawn(force_terminal: bool) -> tuple[Screen, io.StringIO]:
    screen, out = Screen(), io.StringIO()
    screen.file, screen._force_terminal = out, force_terminal
    return screen, out


@pytest.mark.parametrize("terminal", [False, True])
def test_texts_tables_and_styles_are_shown_as_text(terminal):
    screen, out = drawn(terminal)
    screen.say(HOSTILE)
    screen.say((HOSTILE, "yellow"), styled(HOSTILE))
    rows = table((HOSTILE, "value"))
    rows.add_row(HOSTILE, "1")
    screen.print(rows)
    said = OURS.sub("", out.getvalue())
    assert not OBEYED.search(said.replace("\n", ""))
    assert said.count(SHOWN) == 5


def test_a_bar_shows_its_words_as_text(monkeypatch):
    screen, out = drawn(True)
    screen.width = 240
    monkeypatch.setattr(console, "STDERR", screen)
    with console.ConsoleObserver() as observer:
        observer.phase(HOSTILE, HOSTILE)
        observer._show(1.0, 2.0, HOSTILE, HOSTILE)
        observer.trouble(HOSTILE)
    said = OURS.sub("", out.getvalue())
    assert not OBEYED.search(said.replace("\n", ""))
    assert SHOWN in said


def test_the_canvas_draws_text():
    out = io.StringIO()
    with Canvas(out) as canvas:
        canvas.draw([[(HOSTILE, "0;31"), ("x", "0")]])
    said = OURS.sub("", out.getvalue())
    assert said == f"{SHOWN}x"


def test_a_group_of_a_table_cannot_speak_to_the_terminal(tmp_path, capfd):
    lines = ["group,params,samples,flops,dev_loss"]
    for budget in (1e8, 1e9, 1e10):
        for n in (1e3, 3e3, 1e4, 3e4):
            loss = 0.5 + (400 / n) ** 0.4 + (6 * n * 1e4 / budget) ** 0.4
            lines.append(f"{HOSTILE},{n},{budget / 6 / n},{budget},{loss}")
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n")
    for words in (["fit"], ["forecast", "--flops", "1e11"], ["backtest"]):
        main(["laws", words[0], str(tmp_path / "runs.csv"), *words[1:]])
    said = capfd.readouterr()
    assert not OBEYED.search((said.out + said.err).replace("\n", ""))
    assert SHOWN in said.out


def test_an_error_quotes_as_text(capfd):
    assert main(["run", HOSTILE]) == 2
    assert SHOWN in capfd.readouterr().err


# ---------------------------------------------------------------------- a process's streams


PRINTS = (
    "from isoclone.cli import output; output.prepare(); output.print_plain('0.5 ± 0.1 … ✓ \\xff')"
)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"LC_ALL": "C"}, rb"0.5 +- 0.1 ... \u2713 \xff"),
        ({"PYTHONIOENCODING": "ascii"}, rb"0.5 +- 0.1 ... \u2713 \xff"),
        ({"PYTHONIOENCODING": "latin-1"}, b"0.5 \xb1 0.1 ... \\u2713 \xff"),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, "0.5 ± 0.1 … ✓ ÿ".encode()),
    ],
)
def test_a_terminal_that_is_not_utf8_gets_characters_that_it_has(env, said):
    environment = {**os.environ, **env}
    done = subprocess.run([sys.executable, "-c", PRINTS], capture_output=True, env=environment)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, b"", said)


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        (">&-", 1, "standard output is closed"),
        (">/dev/full", 1, "standard output cannot be written: No space left on device"),
        ("| true; exit ${PIPESTATUS[0]}", 1, "standard output was closed before all was written"),
        ("2>&-", 0, ""),
    ],
)
def test_lost_output_is_said_in_one_line(shell, code, said):
    words = f"{sys.executable} -m isoclone --version {shell}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=100)
    assert done.returncode == code
    assert [said in line for line in done.stderr.splitlines()] == [True] * bool(said)


INTERRUPTED = """
import os, signal, sys
class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
sys.argv = ["isoclone", "plan", "toy"]
from isoclone.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["isoclone.cli", "tyro", "isoclone.cli.usage", "torch"])
def test_ctrl_c_is_quiet_from_the_first_line_on(module):
    """Whatever is being imported just then."""
    command = [sys.executable, "-c", INTERRUPTED.format(module=module)]
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, **heard)
    said = "isoclone: stopped; the same command goes on from here\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


def test_ctrl_c_stays_ignored_where_it_was():
    """As for what a shell runs in the background."""
    code = INTERRUPTED.format(module="tyro").replace('"plan", "toy"', '"--version"')
    with_ignored = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, **with_ignored)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_path_that_is_not_utf8_is_refused_in_one_line(capfd):
    for words in (["run", "toy", "--out", "x\udcff"], ["status", "x\udcff"], ["games", "\udc80"]):
        assert main(words) == 2
        (said,) = capfd.readouterr().err.splitlines()
        assert said.endswith("is not UTF-8; give it another name")


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="no place here that root cannot write")
def test_a_study_that_cannot_be_written_is_told_what_to_do():
    with (
        pytest.raises(StoreError, match=r"^here cannot be written \(.*\); copy it to a place"),
        alone(Path("/sys/kernel/isoclone.lock"), "here"),
    ):
        pass


NOISY = """
import os
import gymnasium as gym
import numpy as np

print("imported")

class Noisy(gym.Env):
    observation_space = gym.spaces.Box(-9, 9, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("python says reset")
        return np.zeros(3, np.float32), {}

    def step(self, action):
        os.write(1, b"a library says step\\n")
        return np.ones(3, np.float32), 1.0, True, False, {}

gym.register("Noisy-v0", entry_point=Noisy)
"""


@pytest.mark.parametrize("verb", ["score", "record"])
def test_json_is_alone_on_standard_output_whatever_a_game_prints(verb, tmp_path):
    (tmp_path / "noisy.py").write_text(NOISY)
    words = {
        "score": ["expert", "score", "random", "gym/Noisy-v0", "--episodes", "2"],
        "record": ["demos", "record", "gym/Noisy-v0", "--expert", "random", "--samples", "20",
                   "--executor", "processes", "--workers", "1"],
    }[verb]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "isoclone", *words, "--import", "noisy", "--json"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ":".join(
            [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)
    assert {"imported", "python says reset", "a library says step"} <= set(done.stderr.splitlines())
