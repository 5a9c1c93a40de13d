"""Tables of runs: what is read, and what is refused."""

from __future__ import annotations

import pyarrow
import pyarrow.parquet
import pytest
from runs_tables import write

from isoclone.base.errors import DataError, SpecError, UsageError
from isoclone.laws import tables


def test_csv_is_read_and_unknown_columns_are_noticed(tmp_path):
    table = tables.read(write(tmp_path / "runs.csv"))
    assert len(table) == 20
    assert table.notices == ["ignored columns: colour"]
    assert table.columns["params"].dtype == float


def test_an_unknown_column_that_comes_near_one_of_ours_is_asked_about(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(
        "flops,params,samples,dev_loss,hue,mean_reward,dev_loss_sd,params_m,run/uniq_samples\n"
        "1,2,3,4,5,6,7,8,9\n"
    )
    assert tables.read(path).notices == [
        "ignored columns: mean_reward (did you mean return_mean?), dev_loss_sd (did you mean "
        "dev_loss_se?), run/uniq_samples (did you mean unique_samples?), hue, params_m"
    ]


def test_parquet_gives_what_csv_gives(tmp_path):
    table = tables.read(write(tmp_path / "runs.csv"))
    pyarrow.parquet.write_table(pyarrow.table(table.columns), tmp_path / "runs.parquet")
    again = tables.read(tmp_path / "runs.parquet")
    assert (again.columns["dev_loss"] == table.columns["dev_loss"]).all()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("flops,params,samples,dev_loss\n", "no rows"),
        ("flops,params,samples\n1,2,3\n", "lacks the column dev_loss"),
        ("params,samples,dev_loss\n1,2,3\n", "lacks the column flops"),
        (
            "flops,params,samples,val_loss\n1,2,3,4\n",
            "return_mean; .*if 'val_loss' is it, rename it",
        ),
        ("flops,Parms,samples,dev_loss\n1,2,3,4\n", "params; .*if 'Parms' is it, rename it"),
        ("compute,params,samples,dev_loss\n1,2,3,4\n", "flops; .*if 'compute' is it, rename it"),
        ("flops,flops,params,samples,dev_loss\n1,2,3,4,5\n", "occurs twice"),
        ("flops,params,samples,dev_loss\n1,2,3\n", "cannot be read"),
        ("\x00\x01\x02", "cannot be read"),
        ("flops\tparams\tsamples\tdev_loss\n1\t2\t3\t4\n", "separated by tabs; name the file .tsv"),
        ("\0".join(["", *"flops,params,samples,dev_loss"]), "UTF-16"),  # without its mark
        ('flops,params,samples,dev_loss\n1,2,3,"6,42e-01"\n', "commas within numbers"),
    ],
)
def test_bad_files_are_one_line(tmp_path, text, why):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=why) as caught:
        tables.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ['"note, long"', '"note ""quoted"""', '"note\nin two lines"', "note", '"params (M)"']
)
def test_a_header_is_read_as_csv(tmp_path, name):
    path = tmp_path / "runs.csv"
    path.write_text(
        f'params,samples,flops,dev_loss,{name}\n1000,1e6,6e9,1.0,"a, b"\n1000,2e6,9e9,.9,c\n'
    )
    table = tables.read(path)
    assert table.columns["dev_loss"].tolist() == [1.0, 0.9]


HEADER = "flops,params,samples,dev_loss\n"


@pytest.mark.parametrize(
    ("text", "encoding", "why"),
    [
        (HEADER + "1,2,3,4\n", "utf-16", "is UTF-16; save it as UTF-8"),
        (HEADER + "1,2,3,4\n", "utf-16-le", "is UTF-16"),
        (HEADER.replace(",", ";") + "1;2;3;4\n", "utf-8", "separated by semicolons; separate"),
        (HEADER.replace(",", ";") + "1;2;3;0,95\n", "utf-8", "semicolons and .* decimal commas"),
        (HEADER + '1,2,3,"0,95"\n', "utf-8", "dev_loss has commas within numbers, such as '0,95'"),
        (HEADER + '1,"2,000",3,.95\n', "utf-8", "params has commas within numbers"),
    ],
)
def test_other_ways_of_writing_a_table_are_named(tmp_path, text, encoding, why):
    path = tmp_path / "runs.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=why):
        tables.read(path)


def test_other_kinds_and_absent_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        tables.read(tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"is a folder, not a table; .* give .*points\.csv"):
        tables.read(tmp_path)
    (tmp_path / "runs.xlsx").write_text("x")
    with pytest.raises(UsageError, match="expected"):
        tables.read(tmp_path / "runs.xlsx")
    (tmp_path / "runs.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        tables.read(tmp_path / "runs.parquet")


def test_blanks_around_texts_do_not_count(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("flops, params, samples, dev_loss, status\n1e6, 1e2, 1e3, .5, ok\n")
    assert tables.read(path).columns["status"] == ["ok"]


def test_each_of_several_games_is_a_group_of_its_own(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [f"1e6,100,1e3,{i}.5,{game}" for game in ("toy", "recall") for i in range(3)]
    path.write_text("\n".join(["flops,params,samples,return_mean,game", *rows]))
    assert {name: len(group["flops"]) for name, group in tables.read(path).groups().items()} == {
        "toy": 3,
        "recall": 3,
    }
    with pytest.raises(SpecError, match="several groups, each with its own laws: toy, recall"):
        tables.one_group(path)
    path.write_text("\n".join(["flops,params,samples,return_mean,game", *rows[:3]]))
    assert list(tables.read(path).groups()) == [""]
