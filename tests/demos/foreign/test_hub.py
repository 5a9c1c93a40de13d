"""Datasets of the Hugging Face hub, by its own client, from a stand-in on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_play import cartpole, ends_of, steps
from hub_standin import Hub, served

import isoclone as ic

PLAY = cartpole()
pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")


def imported(address: str, *words: str, folder: Path) -> dict:
    """Import from an address in a process of its own, as the client reads it once."""
    place = {"HF_ENDPOINT": address, "HF_HOME": str(folder / "hf")}
    place |= {"MINARI_DATASETS_PATH": str(folder / "minari"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "isoclone", "demos", "import", *words, "--json"]
    done = subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def contents(told: dict) -> list[str]:
    return [row["content_sha256"] for row in told["episodes"]]


def expected(tmp_path: Path) -> list[str]:
    return [row.content_sha256 for row in ic.demos_from(PLAY, path=tmp_path / "direct").episodes]


def test_parquet_of_a_folder_of_a_dataset(tmp_path):
    columns = steps(PLAY)
    seen = pa.array(columns.pop("observations").tolist(), pa.list_(pa.float32()))
    numbers = np.repeat(np.arange(len(PLAY)), np.diff(ends_of(PLAY), prepend=0))
    pq.write_table(pa.table({"obs": seen, **columns, "ep": numbers}), tmp_path / "a.parquet")
    hub = Hub()
    hub.files["datasets", "ada/play"] = {
        "README.md": b"x",
        "cart/a.parquet": (tmp_path / "a.parquet").read_bytes(),
        "other/b.parquet": b"not fetched",
    }
    with served(hub.answer) as address:
        words = ("parquet", "hf://ada/play/cart", "--episode", "ep", "--out", str(tmp_path / "o"))
        assert contents(imported(address, *words, folder=tmp_path)) == expected(tmp_path)
    fetched = {p.name for p in (tmp_path / "hf").rglob("*") if p.is_symlink()}
    assert fetched == {"a.parquet"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_minari_by_an_address(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari", reason="the extra 'minari' is not installed")
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "theirs"))
    buffers = []
    for k, one in enumerate(PLAY):
        ends = np.zeros((2, len(one.actions)), bool)
        ends[:, -1] = one.terminated, one.truncated
        buffers.append(EpisodeBuffer(k, None, None, *one[:3], *ends))
    minari.create_dataset_from_buffers("cartpole/rules-v0", buffers, env="CartPole-v1")
    theirs = tmp_path / "theirs" / "cartpole"
    files = {p.relative_to(theirs).as_posix(): p for p in theirs.rglob("*") if p.is_file()}
    hub = Hub()
    hub.files["datasets", "farama/cartpole"] = {n: p.read_bytes() for n, p in files.items()} | {
        "namespace_metadata.json": json.dumps({"datasets": ["cartpole/rules-v0"]}).encode()
    }
    with served(hub.answer) as address:
        words = ("minari", "hf://farama/cartpole/rules-v0", "--out", str(tmp_path / "o"))
        assert contents(imported(address, *words, folder=tmp_path)) == expected(tmp_path)
