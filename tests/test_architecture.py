"""The shape of the package: imports one way, public names, a light import, docs, a gate."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import FLOOR, FLOORS, PAGE, with_table

import isoclone
from isoclone.cli import verbs

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "isoclone"


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Modules of isoclone that a file imports, anywhere in it, names for type checkers included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{a.name}" for a in node.names}
            found |= names if all(map(is_module, names)) else {node.module, *names}
    return {name for name in found if is_module(name)}


def is_module(name: str) -> bool:
    package, *parts = name.split(".")
    place = SOURCE.joinpath(*parts)
    there = place.is_dir() or place.with_suffix(".py").exists()
    return package == "isoclone" and bool(parts) and there


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports_of(path)}


FILES = sorted(SOURCE.rglob("*.py"))


def test_every_room_has_its_floor():
    assert {room_of(path) for path in FILES} == set(FLOOR)
    assert len(FLOORS) <= 11
    assert len(list(SOURCE.glob("*.py"))) <= 4


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_imports_go_down(path):
    room = room_of(path)
    wrong = {r for r in imported_rooms(path) if r != room and FLOOR[r] >= FLOOR[room]}
    assert not wrong, f"{room} imports {sorted(wrong)}, which lie above or beside it"


def test_no_files_import_each_other_in_a_circle():
    """Within a room as well; a package's __init__ counts as what it hands on."""
    arrows: dict[str, set[str]] = {}
    for path in FILES:
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        arrows[name.removesuffix(".__init__")] = {n for n in imports_of(path) if n != name}
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(arrows.get(name, ())):
                follow(other, (*way, name))
            done.add(name)

    for name in sorted(arrows):
        follow(name, ())


def test_nothing_outside_its_wing_names_nethack():
    """It comes in by the entry point that any package may use; the core needs no special case."""
    word = re.compile(r"nethack|\bnld|\bnle\b|autoascend|ttyrec|\btty", re.IGNORECASE)
    named = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in sorted(SOURCE.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and "nethack" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if word.search(line)
    ]
    assert not named, "\n".join(named)


def test_the_page_shows_the_rooms():
    page = PAGE.read_text()
    assert page == with_table(page), "run: python tests/rooms.py"


def test_no_relative_imports():
    for path in FILES:
        assert not re.search(r"^\s*from \.", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize(
    "room",
    ["laws", "base.errors", "base.records", "training.recipes", "base.store", "policies.flops"],
)
def test_rooms_without_torch(room):
    """Neither torch nor, in the laws, anything that reads files."""
    code = (
        f"import sys, isoclone.{room}; "
        "print(sorted({'torch', 'pyarrow', 'ale_py', 'gymnasium'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_importing_isoclone_does_nothing():
    code = "import sys; before = set(sys.modules); import isoclone; print(*set(sys.modules)-before)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = {name.split(".")[0] for name in said.stdout.split()}
    heavy = {"torch", "numpy", "scipy", "pyarrow", "ale_py", "gymnasium", "plotly", "rich", "cv2"}
    assert not brought & heavy


PUBLIC = [
    "__version__",
    "Ablation",
    "Agent",
    "Demonstrations",
    "ExpertScore",
    "Forecast",
    "FrameSpec",
    "Interval",
    "IsocloneError",
    "Observer",
    "Point",
    "Recipe",
    "Run",
    "ScalingLaws",
    "Session",
    "Study",
    "StudySpec",
    "Suite",
    "TrainedPolicy",
    "demos_from",
    "evaluate",
    "executor",
    "expert",
    "export",
    "fit",
    "game",
    "import_demos",
    "load",
    "mixture",
    "policy_flops",
    "policy_params",
    "recipe",
    "record",
    "register_demonstrations",
    "register_executor",
    "register_expert",
    "register_exporter",
    "register_game",
    "register_import",
    "register_law",
    "register_policy",
    "register_recipe",
    "register_section",
    "register_study",
    "register_verb",
    "rollout",
    "run",
    "score_expert",
    "train",
    "train_expert",
    "width_for",
]


def test_public_names():
    assert isoclone.__all__ == PUBLIC
    assert sorted(dir(isoclone)) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(isoclone, name) is not None
    with pytest.raises(AttributeError, match="no public name 'nonsense'"):
        _ = isoclone.nonsense


@pytest.mark.parametrize("name", PUBLIC[1:])
def test_public_names_are_documented(name):
    assert getattr(isoclone, name).__doc__


EXAMPLES = ["policies.flops", "games.base", "evaluation.dev_loss", "demos.foreign.trees"]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"isoclone.{module}"))
    assert result.attempted
    assert not result.failed


def test_every_verb_has_help_and_a_heading():
    text = (ROOT / "docs" / "cli.md").read_text()
    headings = set(re.findall(r"^#+ `?isoclone ([a-z ]+?)`?$", text, re.MULTILINE))
    assert headings == set(verbs())
    for verb, function in verbs().items():
        assert function.__doc__, verb
        assert "json" in function.__annotations__, f"isoclone {verb} has no --json"


def test_the_gate_lints_and_tests():
    gate = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^make lint$", gate, re.MULTILINE)
    assert re.search(r"^make test$", gate, re.MULTILINE)


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_what_benchmarks_import_is_there(script):
    """They are run by hand and seldom: a name that was changed would not be missed."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("isoclone"):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.util.find_spec(
                    f"{node.module}.{name.name}"
                ), name.name
