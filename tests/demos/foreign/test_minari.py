"""Minari's datasets, made and read by its own library."""

from __future__ import annotations

import numpy as np
import pytest
from foreign_play import cartpole, check_same

import isoclone as ic
from isoclone.base.errors import DataError, SpecError
from isoclone.cli import main

PLAY = cartpole()
minari = pytest.importorskip("minari", reason="the extra 'minari' is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Minari wants authors


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A dataset of CartPole in Minari's own place."""
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    buffers = []
    for k, one in enumerate(PLAY):
        ends = np.zeros((2, len(one.actions)), bool)
        ends[:, -1] = one.terminated, one.truncated
        buffers.append(EpisodeBuffer(k, None, None, *one[:3], *ends))
    minari.create_dataset_from_buffers(
        "cartpole/rules-v0", buffers, env="CartPole-v1", algorithm_name="two rules"
    )
    return "cartpole/rules-v0"


def test_a_dataset_is_read_by_id_and_by_folder(tmp_path, dataset):
    told: list[str] = []
    demos = ic.import_demos("minari", dataset, path=tmp_path / "a", tell=told.append)
    check_same(demos, PLAY)
    assert demos.expert_name == "two rules"
    assert told == [
        "recorded in CartPole-v1: with --game gym/CartPole-v1 returns can be measured, too"
    ]
    ends = [info.end for info in demos.episodes]
    assert ends == ["terminated" if one.terminated else "truncated" for one in PLAY]
    folder = tmp_path / "minari" / dataset
    same = ic.import_demos("minari", str(folder), path=tmp_path / "b")
    assert same.fingerprint == demos.fingerprint


def test_export_and_import_give_the_same_fingerprint(tmp_path, dataset, capsys):
    first, again = str(tmp_path / "first"), str(tmp_path / "again")
    game = ["--game", "gym/CartPole-v1", "--json"]
    assert main(["demos", "import", "minari", dataset, "--out", first, *game]) == 0
    assert main(["demos", "export", "minari", first, "cartpole/again-v1"]) == 0
    capsys.readouterr()
    assert main(["demos", "import", "minari", "cartpole/again-v1", "--out", again, *game]) == 0
    assert ic.demos_from(PLAY, path=tmp_path / "c", game="gym/CartPole-v1").fingerprint in (
        capsys.readouterr().out
    )
    found = minari.load_dataset("cartpole/again-v1")
    assert found.total_episodes == len(PLAY)
    assert np.array_equal(found[1].observations[-1], found[1].observations[-2])
    assert main(["demos", "export", "minari", first, "cartpole/again-v1"]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["demos", "export", "minari", first, "no version at all!"]) == 2


def test_what_is_not_there_or_damaged_is_one_line(tmp_path, dataset):
    with pytest.raises(DataError, match="not found locally"):
        ic.import_demos("minari", "cartpole/none-v0", path=tmp_path / "a")
    file = tmp_path / "minari" / dataset / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DataError):
        ic.import_demos("minari", dataset, path=tmp_path / "a")
    with pytest.raises(SpecError, match="import minari"):
        ic.import_demos("minari", dataset, path=tmp_path / "a", options={"wobble": 1})
