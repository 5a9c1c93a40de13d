"""Nothing is unpickled without trust, no name leaves its folder, nothing from data is markup."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from support import tiny_spec

from isoclone.base.errors import DataError, StoreError, TrustError
from isoclone.base.store import read_json, write_json
from isoclone.cli import main
from isoclone.demos import FrameDemonstrations, RecordRequest, record
from isoclone.demos.demonstrations import table_digest
from isoclone.experts.pickles import Kept, read_kept
from isoclone.study import pipeline
from isoclone.study.study import Study

SOURCE = Path(__file__).resolve().parents[2] / "src" / "isoclone"
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
READER = "experts/pickles.py"  # reads pickles without looking up any name but NumPy's


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_is_unpickled_but_where_it_is_guarded(path):
    where = path.relative_to(SOURCE).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            found = {name.split(".")[0] for name in names} & UNSAFE
            assert not found or where == READER, f"{where}:{node.lineno} imports {found}"
        if isinstance(node, ast.Call):
            _check_call(node, f"{where}:{node.lineno}")


def _check_call(call: ast.Call, where: str) -> None:
    name, options = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
    assert options.get("allow_pickle", "False") == "False", where
    if name == "torch.load":
        assert options.get("weights_only") == "True", where
    if name.endswith("extractall") or name.endswith(".extract"):
        raise AssertionError(f"{where} unpacks an archive")


class _Runs:
    """Pickled, it asks for a function to be called with a path."""

    def __init__(self, function, path: Path):
        self._asked = function, (str(path),)

    def __reduce__(self):
        return self._asked


@pytest.mark.parametrize("function", [os.mkdir, open, exec, np.load, np.fromfile, pathlib.Path])
def test_the_reader_of_pickles_runs_nothing_of_theirs(function, tmp_path):
    path = tmp_path / "stats.pkl"
    path.write_bytes(pickle.dumps({"mean": _Runs(function, tmp_path / "made"), "n": 3}))
    found = read_kept(path)
    assert (type(found["mean"]), found["n"]) == (Kept, 3)
    assert not (tmp_path / "made").exists()


def test_a_directorys_own_word_is_not_enough_to_unpickle(tmp_path):
    """An SB3 zip beside a study.json that says to trust it."""
    Study.create(tmp_path / "s", tiny_spec())
    path = tmp_path / "s" / "study.json"
    data = read_json(path)
    data["spec"] |= {"expert": str(tmp_path / "evil.zip"), "expert_options": {"trust": True}}
    write_json(path, data)
    (tmp_path / "evil.zip").write_bytes(b"never read")
    for ask in (lambda study: study.plan(), lambda study: pipeline.run(study)):
        with pytest.raises(TrustError, match="runs code from elsewhere"):
            ask(Study.open(tmp_path / "s"))


@pytest.mark.parametrize("field", ["run_id", "checkpoint", "budget_flops"])
def test_a_point_cannot_lead_out_of_its_folder(study_copy, field):
    path = next(study_copy.glob("runs/*/points/*.json"))
    elsewhere = {"run_id": "../../..", "checkpoint": "../../../etc/passwd", "budget_flops": 1.0}
    write_json(path, {**read_json(path), field: elsewhere[field]})
    with pytest.raises(StoreError, match="belongs to another run"):
        Study.open(study_copy).points()


def test_a_run_cannot_lead_out_of_its_folder(study_copy):
    path = next(study_copy.glob("runs/*/run.json"))
    write_json(path, {**read_json(path), "seed": 99})
    with pytest.raises(StoreError, match="belongs to another run"):
        Study.open(study_copy).runs()


@pytest.mark.parametrize("index", ["../../secret", -1, 1.5, None])
def test_an_episode_cannot_lead_out_of_its_folder(tmp_path, index):
    """Even where whoever edited the table has hashed it anew."""
    path = record(RecordRequest("toy", "scripted", 100), tmp_path / "demos").path
    data = read_json(path / "demonstrations.json")
    data["episodes"][0]["index"] = index
    write_json(path / "demonstrations.json", {**data, "table_digest": table_digest(data)})
    with pytest.raises(DataError):
        FrameDemonstrations.open(path)


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "/etc", "a\x00b", "a\nb", "\ud800"])
def test_a_studys_name_is_a_name(name):
    from isoclone.base.errors import SpecError

    with pytest.raises(SpecError, match="cannot be a directory's name"):
        tiny_spec(name=name)


@pytest.mark.parametrize("group", ["[/bold]", "[red]x", "<script>alert(1)</script>"])
def test_a_group_of_a_table_is_never_markup(group, finished_study, tmp_path, capsys):
    lines = (finished_study / "points.csv").read_text().splitlines()
    rows = [f"{lines[0]},group", *(f'{line},"{group}"' for line in lines[1:])]
    (tmp_path / "runs.csv").write_text("\n".join(rows) + "\n")
    assert main(["laws", "fit", str(tmp_path / "runs.csv")]) == 0
    assert group in capsys.readouterr().out


def test_a_study_cannot_say_more_than_json(tmp_path):
    """Python's JSON knows NaN and Infinity; a study's files do not."""
    Study.create(tmp_path, tiny_spec())
    text = json.dumps(read_json(tmp_path / "study.json")).replace("null", "Infinity", 1)
    (tmp_path / "study.json").write_text(text)
    (tmp_path / "study.copy.json").unlink()
    with pytest.raises(StoreError, match="Infinity is not a number"):
        Study.open(tmp_path)
