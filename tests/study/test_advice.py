"""The advice of errors: whatever file is ruined, doing what is said ends with the same study."""

from __future__ import annotations

import itertools
import random
import re
import shutil
from pathlib import Path

import pytest

from isoclone.cli import main
from isoclone.study.examine import examine

RUINS = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "other JSON": lambda data: b'{"wobble": [1]}',
    "a list": lambda data: b"[]",
    "null": lambda data: b"null",
    "noise": lambda data: random.Random(0).randbytes(len(data)),
}
TRIES = 3  # one error may hide behind another


def kinds_of_files(study: Path) -> dict[str, Path]:
    """A file of each kind: the first of each folder and ending, by its name for people."""
    found: dict[str, Path] = {}
    for path in sorted(p for p in study.rglob("*") if p.is_file()):
        parts = path.relative_to(study).parts
        if "cache" in parts or parts[-1].startswith("."):
            continue
        many = parts[0] == "runs" or "episodes" in parts
        name = "/".join([p for p in parts[:-1] if p != parts[1] or len(parts) < 3])
        found.setdefault(f"{name}/{path.suffix if many else parts[-1]}", path)
    return found


def follow(said: str) -> None:
    """Delete what an error says to delete.

    Raises:
        AssertionError: it says to delete nothing.
    """
    advised = re.search(r"(\S+) (?:is|belongs|does|has|cannot)[^;]*; .*\bdelete (it|\S+)", said)
    assert advised, said
    place = Path(advised[1] if advised[2] == "it" else advised[2])
    shutil.rmtree(place) if place.is_dir() else place.unlink()


def test_following_an_error_leads_to_the_same_study(finished_study, tmp_path, capsys):
    """A file of each kind, the ruins in turn."""
    for (name, first), ruin in zip(
        kinds_of_files(finished_study).items(), itertools.cycle(RUINS.values()), strict=False
    ):
        study = Path(shutil.copytree(finished_study, tmp_path / "tiny"))
        path = study / first.relative_to(finished_study)
        path.write_bytes(ruin(path.read_bytes()))
        for _ in range(TRIES):
            if main(["run", str(study), "--executor", "serial"]) == 0:
                break
            follow(capsys.readouterr().err.strip().splitlines()[-1])
        else:
            pytest.fail(f"{name}: still refused after {TRIES} pieces of advice")
        assert not examine(study), name
        for table in ("points.csv", "demos/episodes.csv"):
            assert (study / table).read_bytes() == (finished_study / table).read_bytes(), name
        shutil.rmtree(study)


@pytest.mark.parametrize("text", ["[]", "null", '{"wobble": [1]}', "{", ""])
def test_a_ruined_table_of_demonstrations_is_made_again(text, study_copy):
    (study_copy / "demos" / "demonstrations.json").write_text(text)
    assert main(["run", str(study_copy), "--executor", "serial"]) == 0
    assert not examine(study_copy)
