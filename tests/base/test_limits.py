"""Small files that unpack large are refused by what their headers say, and take no memory."""

from __future__ import annotations

import bz2
import gzip
import resource
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from isoclone.base import parquet
from isoclone.base.errors import DataError, IsocloneError, SpecError
from isoclone.base.limits import check_array, check_zip, limited, parse_size
from isoclone.cli import main
from isoclone.demos.episode import read_episode
from isoclone.experts import expert
from isoclone.games import FrameSpec, game
from isoclone.laws.tables import read
from isoclone.published.saved import load

MEGABYTE = 1 << 20


def one_value(value: object, rows: int, kind: pa.DataType | None = None) -> pa.Array:
    """A column whose value stands in the file once."""
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int32)), pa.array([value], kind)
    )


def runs(rows: int, **others: pa.Array) -> pa.Table:
    columns = {n: one_value(1.0, rows) for n in ("flops", "params", "samples", "dev_loss")}
    return pa.table({**columns, **others})


# ---------------------------------------------------------------------- Parquet


@pytest.mark.parametrize("packed", ["zstd", "snappy", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_what_fits_is_read_as_arrow_reads_it(tmp_path, packed, version):
    n = 3_000
    table = pa.table(
        {
            "number": np.arange(n),
            "text": [f"run {i % 7}" for i in range(n)],
            "missing": [None, "x", ""] * (n // 3),
            "distinct": [f"{i:0900d}" for i in range(n)],  # too long for a dictionary
            "fixed": pa.array([b"abc"] * n, pa.binary(3)),
            "list": [[1, 2], None, []] * (n // 3),
            "inside": [{"bytes": b"ab" * (i % 9), "path": None} for i in range(n)],
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(
        table, path, compression=packed, data_page_version=version, row_group_size=900,
        data_page_size=500, dictionary_pagesize_limit=20_000,
    )  # fmt: skip
    assert parquet.read_table(path).equals(table)
    assert parquet.read_table(path, ["text", "list"]).equals(table.select(["text", "list"]))


BOMBS = {
    "text": lambda: runs(400, group=one_value("x" * MEGABYTE, 400)),
    "numbers": lambda: runs(3_000_000),
    "frames": lambda: pa.table({"frame": one_value(bytes(7056), 12_000, pa.binary(7056))}),
    "inner text": lambda: pa.table(
        {"q": pa.StructArray.from_arrays([one_value("x" * MEGABYTE, 400)], ["bytes"])}
    ),
}


def test_a_column_with_a_dot_in_its_name_is_counted(tmp_path, monkeypatch):
    pq.write_table(pa.table({"a.b": [[0.0] * 1000] * 100, "c": [1] * 100}), tmp_path / "t.parquet")
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "100k")
    for ask in (parquet.check, parquet.read_table, parquet.groups):
        with pytest.raises(DataError, match="--unpack-limit"):
            ask(tmp_path / "t.parquet", ["a.b"])
        ask(tmp_path / "t.parquet", ["c"])


@pytest.mark.parametrize("kind", BOMBS)
def test_a_parquet_bomb_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "64M")
    path = tmp_path / "t.parquet"
    pq.write_table(BOMBS[kind](), path, compression="zstd")
    assert path.stat().st_size < 2 * MEGABYTE
    with pytest.raises(DataError, match=r"would unpack to .* MiB, and 64\.0 MiB is the limit"):
        parquet.read_table(path)


@pytest.mark.parametrize("table", [runs(12_000, group=one_value("x" * MEGABYTE, 12_000))])
def test_refusing_a_table_takes_no_memory(tmp_path, table):
    """In a process of its own, since memory once taken is not given back to the system."""
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, compression="zstd")
    script = """
        import resource, sys
        import pyarrow.compute, pyarrow.parquet
        from isoclone.cli import main
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        code = main(["laws", "fit", sys.argv[1]])
        print(code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    code, megabytes = map(int, done.stdout.split())
    assert (code, megabytes < 200) == (1, True), megabytes
    assert "--unpack-limit raises it" in done.stderr


def test_the_flag_raises_the_limit(tmp_path, capsys):
    """The advice of the refusal, followed."""
    path = tmp_path / "t.parquet"
    pq.write_table(runs(3, group=one_value("x" * MEGABYTE, 3)), path, compression="zstd")
    assert main(["laws", "fit", str(path), "--unpack-limit", "1M"]) == 1
    assert "would unpack to" in capsys.readouterr().err
    assert main(["laws", "fit", str(path), "--unpack-limit=5MiB"]) == 1
    assert "would unpack to" not in capsys.readouterr().err
    assert main(["laws", "fit", str(path), "--unpack-limit", "lots"]) == 2
    assert "--unpack-limit wants a size such as 8GiB, not 'lots'" in capsys.readouterr().err


def test_a_footer_that_says_less_than_its_pages_is_not_believed(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["x" * 300]}), path, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    page = parquet.read_header(bytes(data[4:]))
    at = data.index(parquet_number(page.unpacked_bytes), 4)
    data[at : at + 2] = parquet_number(8191)  # as many bytes as before
    path.write_bytes(data)
    with pytest.raises(DataError, match="would unpack to 0"):
        limit_of_one_page(path)


def parquet_number(value: int) -> bytes:
    """A number below 8,192 as Thrift writes it, in two bytes."""
    return bytes([(value << 1 & 127) | 128, value << 1 >> 7])


def limit_of_one_page(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOCLONE_UNPACK_LIMIT", "4K")
        parquet.check(path)


def test_an_episode_is_refused_before_its_frames_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "64M")
    path, n = tmp_path / "000000.parquet", 12_000
    columns = {"frame": one_value(bytes(7056), n, pa.binary(7056)), "action": one_value(0, n)}
    pq.write_table(pa.table({**columns, "reward": one_value(0.0, n)}), path, compression="zstd")
    with pytest.raises(DataError, match=r"would unpack to .* limit"):
        read_episode(path, FrameSpec((84, 84), "uint8", 4))


def test_a_columns_name_that_occurs_twice_is_refused(tmp_path):
    path, column = tmp_path / "t.parquet", pa.array([1.0])
    pq.write_table(pa.Table.from_arrays([column, column], ["flops", "flops"]), path)
    with pytest.raises(DataError, match="'flops' occurs twice"):
        read(path)


# ---------------------------------------------------------------------- torch, zip, streams


def shrunk(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_strided((16_000, 16_000), (0, 0))


def laughs(levels: int = 40) -> list:
    tree: list = [0]
    for _ in range(levels):
        tree = [tree, tree]
    return tree


@pytest.mark.parametrize(
    "held",
    [shrunk(torch.zeros(1)), {"a": [shrunk(torch.zeros(1))]}, laughs(), torch.zeros(5_000_000)],
    ids=["strides", "inside", "laughs", "zeros"],
)
def test_a_saved_tree_that_comes_to_too_much_is_refused(tmp_path, held, monkeypatch):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "16M")
    path = tmp_path / "results.pt"
    torch.save(held, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "p.pt", "w", 8) as packed:
        for info in plain.infolist():
            packed.writestr(info, plain.read(info), 8)
    with pytest.raises(DataError, match=r"would unpack to .*16\.0 MiB is the limit"):
        load(path)


def test_a_zip_is_refused_by_its_directory(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x", "w") as out:
        for _ in range(64):
            out.write(bytes(1 << 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOCLONE_UNPACK_LIMIT", "63MiB")
        with pytest.raises(DataError, match="64"):
            check_zip(path)
        patch.setenv("ISOCLONE_UNPACK_LIMIT", "64MiB")
        check_zip(path)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="no zip archive"):
        check_zip(path)


@pytest.mark.parametrize("name", ["agent.zip", "agent.pt", "agent.pt2"])
def test_an_expert_that_unpacks_large_is_refused(tmp_path, name, monkeypatch):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "4M")
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b"{}" + bytes(5 << 20))
    with pytest.raises(DataError, match=r"would unpack to 5\.0 MiB"):
        expert(str(path), game("gym/CartPole-v1"), trust=True)


@pytest.mark.parametrize("kind", [gzip, bz2])
def test_a_stream_is_read_up_to_the_limit(tmp_path, kind, monkeypatch):
    path = tmp_path / "a.packed"
    path.write_bytes(kind.compress(bytes(8 << 20)))
    assert path.stat().st_size < 20_000
    with kind.open(path) as stream:
        assert sum(map(len, limited(stream, path))) == 8 << 20
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "5M")
    with kind.open(path) as stream, pytest.raises(DataError, match=r"5\.0 MiB is the limit"):
        sum(map(len, limited(stream, path)))


def test_shapes_and_sizes():
    check_array("video.mp4", (1_000, 84, 84), "uint8")
    with pytest.raises(DataError, match=r"video\.mp4 would unpack to"):
        check_array("video.mp4", (10**6, 1080, 1920, 3), "uint8")
    assert parse_size("1 kB", "-") == 1024
    for wrong in ("", "0", "-1G", "1e9", "8 PB", "x" * 200):
        with pytest.raises(SpecError, match="wants a size"):
            parse_size(wrong, "--unpack-limit")


# ---------------------------------------------------------------------- checkpoints


def test_a_checkpoint_of_a_policy_that_no_memory_holds_is_refused(study_copy):
    from isoclone.agents.checkpoint import load_checkpoint, load_tensors, save_tensors

    path = sorted(study_copy.glob("runs/*/checkpoints/*.safetensors"))[0]
    tensors, about = load_tensors(path)
    save_tensors(path, tensors, about | {"run": about["run"] | {"width": 10**6}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IsocloneError, match="does not hold the policy it says it is"):
        load_checkpoint(path)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < 200
