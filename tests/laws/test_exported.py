"""Runs tables as W&B and TensorBoard export them are read under our names."""

from __future__ import annotations

import pytest

from isoclone.laws.exported import with_our_names
from isoclone.laws.tables import KINDS, read

WANDB = """"Name","State","Notes","User","Tags","Created","Runtime","width","params","point/flops",\
"samples","point/dev_loss","point/return_mean"
"mlp-w2","finished","-","me","","2026-11-26T23:00:00.000Z","12","2","593","1e8","3392","1.01","1.9"
"mlp-w4","crashed","-","me","","2026-11-26T23:00:00.000Z","12","4","1191","1e8","1696","1.00",""
"""
TENSORBOARD = """Trial ID,width,hparam/params,hparam/flops,hparam/samples,dev_loss
a1,2,593,100000000,3392,1.01
b2,4,1191,100000000,1696,1.00
"""


@pytest.mark.parametrize("text", [WANDB, TENSORBOARD], ids=["wandb", "tensorboard"])
def test_an_exported_table_is_read(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    table = read(path)
    assert table.columns["params"].tolist() == [593, 1191]
    assert table.columns["flops"].tolist() == [1e8, 1e8]
    assert table.columns["dev_loss"].tolist() == [1.01, 1.0]
    assert table.columns["run_id"][0] in ("mlp-w2", "a1")
    if text is WANDB:
        assert table.columns["status"] == ["ok", "crashed"]
        assert table.columns["return_mean"].tolist()[0] == 1.9
    assert any("read under another name" in notice for notice in table.notices)


def test_our_own_names_are_left_alone():
    mine = {"run_id": ["a"], "dev_loss": [1.0], "point/dev_loss": [2.0], "ID": ["b"]}
    assert with_our_names(mine, KINDS) == (mine, [])
    told, notices = with_our_names({"config.params.value": [5], "State": ["finished"]}, KINDS)
    assert told == {"params": [5], "status": ["ok"]}
    assert len(notices) == 1
