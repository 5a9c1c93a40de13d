"""Files that are whole or absent; records that come back; ids that do not change."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import platform
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoclone.base.errors import StoreError
from isoclone.base.records import (
    Forecast,
    Interval,
    Run,
    Status,
    canonical_json,
    jsonable,
    stable_id,
)
from isoclone.base.store import (
    is_free,
    read_json,
    rename_folder,
    replacing,
    sweep_leftovers,
    this_host,
    write_bytes,
    write_json,
    write_parquet,
    write_rows,
)
from isoclone.demos import RecordRequest, record

RUN = Run("toy", "abc", "mlp", 4, {}, {"name": "lean"}, 0)


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})

    def half_way():
        with replacing(path) as temporary:
            temporary.write_text("{")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_way()
    assert read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.fixture
def told(monkeypatch) -> list[tuple[str, Path]]:
    """What is asked of the disk, in turn: ('file' or 'folder', flushed), ('name', given)."""
    asked: list[tuple[str, Path]] = []
    fsync, replace = os.fsync, os.replace

    def flushed(number):
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        asked.append(("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file", path))
        fsync(number)

    def named(old, new):
        asked.append(("name", Path(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", named)
    return asked


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="descriptors are told by /proc"
)


@needs_proc
def test_a_name_is_flushed_with_its_folder_and_with_each_folder_that_was_made(tmp_path, told):
    path = tmp_path / "a" / "b" / "c.json"
    write_json(path, 1)
    assert [(kind, at) for kind, at in told if kind != "file"] == [
        ("folder", tmp_path),  # holds the name of a
        ("folder", tmp_path / "a"),
        ("name", path),
        ("folder", path.parent),
    ]
    assert [kind for kind, _ in told] == ["folder", "folder", "file", "name", "folder"]
    told.clear()
    write_json(path, 2)
    assert [kind for kind, _ in told] == ["file", "name", "folder"]


@needs_proc
def test_a_folder_gets_its_name_after_all_that_is_in_it_is_flushed(tmp_path, told):
    part = tmp_path / ".part"
    (part / "inner").mkdir(parents=True)
    for name in ("x", "inner/y"):
        (part / name).write_text(name)
    rename_folder(part, tmp_path / "whole")
    kinds = [kind for kind, _ in told]
    assert (kinds[-2:], kinds.count("file"), kinds.count("folder")) == (["name", "folder"], 2, 3)
    assert (tmp_path / "whole" / "inner" / "y").read_text() == "inner/y"
    part.mkdir()
    with pytest.raises(StoreError, match="whole"):  # the name is taken by a folder with files
        rename_folder(part, tmp_path / "whole")


@needs_proc
def test_a_whole_recording_gives_no_name_without_flushing_its_folder(tmp_path, told):
    record(RecordRequest("toy", "scripted", 300), tmp_path / "demos")
    names = [i for i, (kind, _) in enumerate(told) if kind == "name"]
    assert len(names) > 3
    for i in names:
        assert told[i - 1][0] == "file"
        assert told[i + 1] == ("folder", told[i][1].parent)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_file_system_without_flush_of_folders_is_borne_and_a_broken_disk_told(
    tmp_path, monkeypatch, code
):
    fsync = os.fsync

    def failing(number):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(number)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreError, match=r"a\.json") if code == errno.EIO else nullcontext():
        write_json(tmp_path / "a.json", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_a_dead_writer_left_is_swept_and_a_living_ones_is_kept(tmp_path):
    dead = tmp_path / f".a.{this_host()}.4194999.tmp"
    alive = tmp_path / f".b.{this_host()}.{os.getpid()}.tmp"
    dead.touch()
    alive.touch()
    sweep_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [alive.name]
    assert is_free(tmp_path)
    write_bytes(tmp_path / "c", b"")
    assert not is_free(tmp_path)
    assert not is_free(tmp_path / "c")
    assert is_free(tmp_path / "nowhere")


def test_what_another_host_writes_is_swept_when_it_is_a_day_old(tmp_path):
    """Whether its process lives cannot be seen from here, be its number in use here or not."""
    young, old = time.time() - 23 * 3600, time.time() - 25 * 3600
    for name, age in (("a.elsewhere", young), ("b.elsewhere", old), ("c.json", young)):
        for pid in (4194999, os.getpid()):
            path = tmp_path / f".{name}.{pid}.tmp"
            path.touch()
            os.utime(path, (age, age))
    (tmp_path / ".tmp").touch()
    sweep_leftovers(tmp_path)
    assert {p.name.split(".")[1] for p in tmp_path.iterdir()} == {"a", "c", "tmp"}


@pytest.mark.parametrize("name", ["node-7", "node.example.org", "../é", "n" * 300, ""])
def test_a_temporary_file_tells_its_writers_host(tmp_path, monkeypatch, name):
    monkeypatch.setattr(platform, "node", lambda: name)
    this_host.cache_clear()
    try:
        with replacing(tmp_path / "a.json") as temporary:
            host, pid = temporary.name.split(".")[-3:-1]
            assert (host, int(pid)) == (this_host(), os.getpid())
            assert (host == name) is (name in ("node-7", ""))
            assert len(host) < 40
            temporary.touch()
        assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    finally:
        this_host.cache_clear()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="zombies are told by /proc")
def test_a_killed_writer_that_nobody_has_buried_is_dead(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    left = tmp_path / f".a.{this_host()}.{writer.pid}.tmp"
    left.touch()
    sweep_leftovers(tmp_path)
    assert left.exists()
    writer.kill()
    while "Z" not in Path(f"/proc/{writer.pid}/stat").read_text().rpartition(")")[2].split()[0]:
        time.sleep(0.01)
    sweep_leftovers(tmp_path)
    assert not left.exists()
    writer.wait()


def test_missing_and_damaged_json_are_told_apart(tmp_path):
    with pytest.raises(StoreError, match="is missing"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xff{")
    with pytest.raises(StoreError, match="is damaged"):
        read_json(tmp_path / "a.json")


def test_tables_hold_exact_numbers_and_keep_what_is_missing_missing(tmp_path):
    rows = [{"a": 1, "b": 0.1 + 0.2, "c": "x"}, {"a": 2, "b": None, "c": None}]
    write_rows(tmp_path / "t", rows, {"a": int, "b": float, "c": str})
    assert pq.read_table(tmp_path / "t.parquet").to_pylist() == rows
    read = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert float(read[0]["b"]) == 0.1 + 0.2
    assert (read[1]["b"], read[1]["c"]) == ("", "")
    with pytest.raises(TypeError):
        write_rows(tmp_path / "u", [{"a": 1.5}], {"a": int})


KINDS = {"a": int, "b": float, "c": str}
ROWS = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(-(2**63), 2**63 - 1),
        "b": st.none() | st.floats() | st.integers(-(2**53), 2**53),
        "c": st.none() | st.text('aé𝄞\0\n,"', max_size=8),
    }
)


@given(st.lists(ROWS, max_size=20))
def test_tables_are_what_arrow_makes_of_the_rows_to_the_byte(rows):
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (Path(folder) / f"{name}.parquet" for name in ("ours", "theirs"))
        write_parquet(ours, rows, KINDS)
        schema = pa.schema([("a", pa.int64()), ("b", pa.float64()), ("c", pa.string())])
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(table, theirs, compression="zstd", write_page_checksum=True)
        assert ours.read_bytes() == theirs.read_bytes()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(JSON)
def test_canonical_json_comes_back_and_ignores_the_order_of_keys(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


def test_a_runs_id_depends_on_every_declared_field_and_never_changes():
    assert RUN.id == Run.from_json(json.loads(json.dumps(RUN.to_json()))).id == "f576bceb3b15"
    changes = {
        "game": "atari/Pong",
        "demos": "abd",
        "policy": "cnn",
        "width": 5,
        "policy_options": {"depth": 2},
        "recipe": {"name": "paper"},
        "seed": 1,
        "flop_convention": "6nd",
        "horizon_flops": 1e9,
        "game_options": {"max_steps": 5},
    }
    assert changes.keys() == RUN.to_json().keys()
    ids = {Run(**{**RUN.to_json(), name: value}).id for name, value in changes.items()}
    assert len(ids | {RUN.id}) == 11


def test_what_is_not_finite_travels_as_missing():
    assert jsonable({"a": math.nan, "b": np.array([1.0, np.inf]), "c": (np.int64(3),)}) == {
        "a": None,
        "b": [1.0, None],
        "c": [3],
    }
    assert len(stable_id({"x": 1})) == 12


def test_a_forecast_comes_back_from_json():
    sure = Interval(2.0, 1.0, None)
    forecast = Forecast(1e9, sure, sure, sure, None, 0.5, {"k": 1}, (Status("edge", "At it."),))
    assert Forecast.from_json(json.loads(json.dumps(forecast.to_json()))) == forecast


def test_an_interval_holds_its_ends_and_is_open_where_unbounded():
    assert Interval(2, 1, 3).holds(1)
    assert Interval(2, 1, 3).holds(3)
    assert not Interval(2, 1, 3).holds(3.1)
    assert Interval(2, None, 3).holds(-1e9)
    assert Interval(2, 1, None).holds(1e9)
