"""A package of somebody else's is installed by pip; its study runs in workers and on Ray."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "plugin_example"


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the plugin into a folder, as pip would into an environment."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, folder / "source")  # building leaves files beside it
    pip("install", "--no-compile", "--target", folder / "site", source)
    return folder / "site"


def pip(verb: str, *words: str | Path) -> None:
    """Have pip do something without asking any index."""
    alone = ("-q", "--no-deps", "--no-index", "--no-build-isolation")
    command = [sys.executable, "-m", "pip", verb, *alone, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def isoclone(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line where the plugin is installed."""
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "isoclone", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=there, cwd=site)


@pytest.fixture(scope="module")
def study(site: Path) -> Path:
    """The plugin's study, run by name in worker processes."""
    out = site.parent / "out"
    done = isoclone(site, "run", "lanterns", "--out", out, "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"] == 6
    return out


def test_a_plugins_study_runs_in_worker_processes(study):
    spec = json.loads((study / "study.json").read_text())["spec"]
    names = ("game", "expert", "policy", "law")
    assert [spec[name] for name in names] == ["lanterns", "watchman", "glance", "straight"]
    assert spec["recipe"]["name"] == "dusk"
    laws = json.loads((study / "laws.json").read_text())
    assert laws["law"] == "straight"
    assert not [s for s in laws["status"] if s["code"] == "law_failed"]


def test_a_plugins_section_is_in_the_report(study):
    page = (study / "report.html").read_text()
    assert "The watch" in page
    assert "Lanterns were pointed at." in page


def test_a_plugins_study_runs_on_ray(site, study):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'isoclone[ray]'")
    out = site.parent / "ray"
    crew = ("--executor", "ray", "--workers", "1")
    done = isoclone(site, "run", "lanterns", "--out", out, *crew, "--json")
    assert done.returncode == 0, done.stderr
    assert (out / "points.csv").read_bytes() == (study / "points.csv").read_bytes()


def test_a_plugins_verb_is_one_of_the_command_line(site):
    done = isoclone(site, "lanterns", "--json")
    assert json.loads(done.stdout) == {"lanterns": 3}, done.stderr


def test_registering_is_light(site):
    code = (
        "import sys; from lanterns import register; register(); "
        "print(sorted({'torch', 'pyarrow', 'gymnasium', 'ale_py'} & set(sys.modules)))"
    )
    there = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=there)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_wheel_holds_every_file(tmp_path):
    """Templates, styles and `py.typed` too: they are found by their names, not imported."""
    source = tmp_path / "source"
    unneeded = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=unneeded)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("isoclone/")}
    files = (p for p in (ROOT / "src").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    there = {p.relative_to(ROOT / "src").as_posix() for p in files}
    assert shipped == {name for name in there if name.startswith("isoclone/")}
    assert "isoclone/py.typed" in shipped
