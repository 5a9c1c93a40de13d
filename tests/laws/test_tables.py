"""Tables of runs: what is read, what is refused, and that nothing a user brings ends in a trace."""

from __future__ import annotations

import io
import json
import math
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoclone.base.errors import DataError, FitError, IsocloneError, UsageError
from isoclone.cli import laws as verbs
from isoclone.cli import main
from isoclone.laws import tables

HEAD = "run_id,flops,params,samples,dev_loss,return_mean,colour\n"


def row(run: str, c: float, n: float, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    loss = 0.2 + 30 / n**0.4 + 20 / (c / 6 / n) ** 0.3
    return f"{run},{c:.6g},{n:.6g},{c / 6 / n:.6g},{loss * math.exp(rng.normal(0, 0.01)):.6g},"


def write(path: Path, extra: str = "") -> Path:
    lines = [
        row(f"r{i}", c, n, seed=100 * i + j) + f"{i + j},red"
        for i, n in enumerate([1e4, 3e4, 1e5, 3e5, 1e6])
        for j, c in enumerate([1e12, 3e12, 1e13, 3e13])
    ]
    path.write_text(HEAD + "\n".join(lines) + "\n" + extra)
    return path


def run(verb, *args, **options):
    """(stdout as JSON, stderr) of a verb."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        verb(*args, json=True, **options)
    return json.loads(out.getvalue()), err.getvalue()


def test_csv_is_read_and_unknown_columns_are_noticed(tmp_path):
    table = tables.read(write(tmp_path / "runs.csv"))
    assert len(table) == 20
    assert table.notices == ["ignored columns: colour"]
    assert table.columns["params"].dtype == float


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
        ("flops,flops,params,samples,dev_loss\n1,2,3,4,5\n", "occurs twice"),
        ("flops,params,samples,dev_loss\n1,2,3\n", "cannot be read"),
        ("\x00\x01\x02", "cannot be read"),
    ],
)
def test_bad_files_are_one_line(tmp_path, text, why):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=why) as caught:
        tables.read(path)
    assert "\n" not in str(caught.value)


def test_other_kinds_and_absent_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        tables.read(tmp_path / "none.csv")
    (tmp_path / "runs.xlsx").write_text("x")
    with pytest.raises(UsageError, match="expected"):
        tables.read(tmp_path / "runs.xlsx")
    (tmp_path / "runs.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        tables.read(tmp_path / "runs.parquet")


def test_words_in_number_columns_are_counted(tmp_path):
    path = write(tmp_path / "runs.csv", extra="r9,1e13,soon,1e8,0.4,1,red\n")
    table = tables.read(path)
    assert any("1 cells are not numbers, such as 'soon'" in n for n in table.notices)
    body, err = run(verbs.fit, path)
    assert body["groups"][""]["dropped"] == {"params is missing or not a finite number": 1}
    assert "soon" in err


def test_forecast_keeps_its_contract(tmp_path):
    body, _ = run(verbs.forecast, write(tmp_path / "runs.csv"), flops=1e14)
    assert {"flops", "params", "samples", "dev_loss", "return_mean", "method", "status"} <= set(
        body
    )
    assert set(body["dev_loss"]) >= {"value", "low", "high"}
    assert all(set(s) == {"code", "message"} for s in body["status"])


def test_groups_are_fitted_apart_and_picked_by_name(tmp_path):
    one = write(tmp_path / "one.csv").read_text().splitlines()
    lines = [f"group,{one[0]}"] + [f"{g},{line}" for g in ("a", "b") for line in one[1:]]
    path = tmp_path / "two.csv"
    path.write_text("\n".join(lines) + "\n")
    both, _ = run(verbs.forecast, path, flops=1e14)
    only, _ = run(verbs.forecast, path, flops=1e14, group="b")
    assert both["groups"]["b"] == only
    with pytest.raises(UsageError, match="unknown group 'c'"):
        run(verbs.forecast, path, flops=1e14, group="c")


def test_backtest_keeps_its_contract(tmp_path):
    lines = [
        row(f"r{i}", c, n, seed=50 * i + j) + f"{i + j},red"
        for i, n in enumerate(np.logspace(4, 6, 6))
        for j, c in enumerate(np.logspace(12, 15, 9))
    ]
    path = tmp_path / "runs.csv"
    path.write_text(HEAD + "\n".join(lines) + "\n")
    body, _ = run(verbs.backtest, path)
    want = {"group", "target", "horizon", "method", "n", "rmse", "rmse_ratio_to_paper"}
    assert want | {"coverage", "mean_log_width"} <= set(body["rows"][0])
    assert {r["method"] for r in body["rows"]} >= {"paper", "default", "persistence", "last-slope"}
    assert body["chosen"]
    few, _ = run(verbs.backtest, write(tmp_path / "few.csv"))
    assert few["rows"] == []
    assert few["status"][0]["code"] == "not_backtested"


def document(capsys, *words):
    """The one JSON document a command line prints to stdout."""
    assert main([str(word) for word in words]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_verb_on_tables_prints_one_document(tmp_path, capsys):
    path = write(tmp_path / "runs.csv")
    assert document(capsys, "laws", "fit", path, "--json")["groups"]
    assert document(capsys, "laws", "forecast", path, "--flops", "1e14", "--json")["dev_loss"]
    assert document(capsys, "laws", "backtest", path, "--min-train", "3", "--json")["rows"]


def repeated(path: Path) -> Path:
    """Runs that see 3e4, 1e5 or 3e5 unique samples up to thirty times."""
    lines = []
    for u in (3e4, 1e5, 3e5):
        for n in (1e3, 1e4, 1e5):
            for d in (u, 3 * u, 10 * u, 30 * u):
                seen = u + 4 * u * -math.expm1(-(d / u - 1) / 4)
                loss = 0.2 + 8 / n**0.4 + 25 / seen**0.35
                lines.append(f"{u}-{n},{6 * n * d},{n},{d},{loss},{u}")
    head = "run_id,flops,params,samples,dev_loss,unique_samples\n"
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def test_how_many_demonstrations_are_needed(tmp_path, capsys):
    path = repeated(tmp_path / "runs.csv")
    body = document(capsys, "laws", "needed", path, "--flops", "3e10", "--json")
    many = body["unique_samples"]
    assert 1e4 < many["value"] < 1e7
    assert many["low"] <= many["value"]
    assert body["repeats"]["value"] == pytest.approx(4.0, rel=0.3)
    verbs._show_demos_needed(body)
    assert "unique samples to collect" in capsys.readouterr().out


def test_demonstrations_needed_say_what_the_table_lacks(tmp_path):
    path = write(tmp_path / "runs.csv")
    with pytest.raises(DataError, match="lacks the column unique_samples"):
        run(verbs.demos_needed, path, flops=1e14)
    path = repeated(tmp_path / "again.csv")
    with pytest.raises(FitError, match="no number of samples reaches"):
        run(verbs.demos_needed, path, flops=1e10, target_loss=0.1)


def test_a_table_that_fails_is_said_once(tmp_path, capsys):
    path = tmp_path / "one.csv"
    path.write_text("flops,params,samples,dev_loss\n1e10,1e3,1e6,1\n1e10,1e4,1e5,2\n")
    assert main(["laws", "fit", str(path)]) == 1
    said = capsys.readouterr().err
    assert said.count("two budgets") == 1
    skipped = document(capsys, "laws", "backtest", path, "--json")["status"][0]["message"]
    assert "only one budget: a back-test needs at least three" in skipped


def test_a_plan_from_a_table(tmp_path):
    path = write(tmp_path / "runs.csv")
    loss = run(verbs.forecast, path, flops=1e14)[0]["dev_loss"]["value"]
    body, _ = run(verbs.plan_from_table, path, target_loss=loss, device="a100", price_per_hour=1.0)
    assert body["flops"]["value"] == pytest.approx(1e14, rel=0.2)
    assert body["device"]["hours"]["value"] == pytest.approx(body["device"]["dollars"]["value"])
    with pytest.raises(UsageError, match="exactly one target"):
        run(verbs.plan_from_table, path)


def test_200_000_rows_are_answered(tmp_path):
    path = write(tmp_path / "runs.csv")
    lines = path.read_text().splitlines()
    with path.open("w") as file:
        file.write(lines[0] + "\n")
        for copy in range(10_000):
            for line in lines[1:]:
                name, rest = line.split(",", 1)
                file.write(f"{name}c{copy},{rest}\n")
    body, _ = run(verbs.forecast, path, flops=1e14)
    assert body["dev_loss"]["value"] > 0


cell = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["", "x", "1e300", "-3", "0", "nan", "1e-300", "1,5", "'", "1e13", "5e5"]),
    st.integers(-(10**6), 10**20),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.lists(cell, min_size=6, max_size=6), max_size=6),
    scale=st.sampled_from([1.0, 1e-6, 1e6, 1e200]),
    copies=st.integers(1, 2),
    budgets=st.integers(0, 4),
    sizes=st.integers(0, 5),
)
def test_no_table_ends_in_a_traceback(tmp_path, rows, scale, copies, budgets, sizes):
    """Whatever comes in, out comes JSON or one line; and every row is used or counted."""
    lines = [
        [*row(f"r{i}", c * scale, n).split(",")[1:5], str(i - 2)]
        for i, n in enumerate([1e4, 1e5, 1e6, 3e6, 1e7][:sizes])
        for c in [1e12, 1e13, 1e14, 1e15][:budgets]
    ] * copies
    lines += [[str(c).replace(",", ".") for c in r[1:]] for r in rows]
    text = HEAD.replace(",colour", "")
    text += "".join(f"r{k % 7},{','.join(r)}\n" for k, r in enumerate(lines))
    path = tmp_path / "fuzz.csv"
    path.write_text(text)
    for verb, options in ((verbs.fit, {}), (verbs.forecast, {"flops": 1e15})):
        said = ""
        try:
            body, _ = run(verb, path, **options)
        except IsocloneError as error:
            body, said = None, str(error)
        assert "\n" not in said
        assert len(said) < 600
        if verb is verbs.fit and body is not None:
            group = body["groups"][""]
            assert group["points"] + sum(group["dropped"].values()) == len(lines)
