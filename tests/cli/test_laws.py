"""The verbs on tables: documents, lines, and that nothing a user brings ends in a trace."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws_truth import study
from runs_tables import HEAD, repeated, row, write

from isoclone import laws
from isoclone.base.errors import DataError, FitError, IsocloneError, UsageError
from isoclone.base.records import Forecast, Interval
from isoclone.cli import laws as verbs
from isoclone.cli import main, show_laws
from isoclone.laws import tables


def run(verb, *args, **options):
    """(stdout as JSON, stderr) of a verb."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        verb(*args, json=True, **options)
    return json.loads(out.getvalue()), err.getvalue()


def document(capsys, *words):
    """The one JSON document a command line prints to stdout."""
    assert main([str(word) for word in words]) == 0
    return json.loads(capsys.readouterr().out)


def test_words_in_number_columns_are_counted(tmp_path):
    path = write(tmp_path / "runs.csv", extra="r9,1e13,soon,1e8,0.4,1,red\n")
    table = tables.read(path)
    assert any("1 cell is not a number, such as 'soon'" in n for n in table.notices)
    body, err = run(verbs.fit, path)
    assert body["groups"][""]["dropped"] == {"params is missing or not a finite number": 1}
    assert "soon" in err


def test_a_studys_table_gives_the_studys_laws(finished_study):
    """The forecast's own agent is no evidence: it is left out, and counted."""
    body, _ = run(verbs.fit, finished_study / "points.csv")
    group = body["groups"][""]
    assert group["dropped"] == {"role is 'forecast', not 'sweep'": 1}
    wanted = json.loads((finished_study / "laws.json").read_text())
    assert group["exponents"] == wanted["exponents"]
    assert group["isoflops"] == wanted["isoflops"]


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


def test_every_verb_on_tables_prints_one_document(tmp_path, capsys):
    path = write(tmp_path / "runs.csv")
    assert document(capsys, "laws", "fit", path, "--json")["groups"]
    assert document(capsys, "laws", "forecast", path, "--flops", "1e14", "--json")["dev_loss"]
    assert document(capsys, "laws", "backtest", path, "--min-train", "3", "--json")["rows"]


def test_how_many_demonstrations_are_needed(tmp_path, capsys):
    path = repeated(tmp_path / "runs.csv")
    body = document(capsys, "laws", "needed", path, "--flops", "3e10", "--json")
    many = body["unique_samples"]
    assert 1e4 < many["value"] < 1e7
    assert many["low"] <= many["value"]
    assert body["repeats"]["value"] == pytest.approx(4.0, rel=0.3)
    show_laws.show_demos_needed(body)
    assert "unique samples to collect" in capsys.readouterr().out


def test_demonstrations_needed_say_what_the_table_lacks(tmp_path):
    path = write(tmp_path / "runs.csv")
    with pytest.raises(DataError, match="lacks the column unique_samples"):
        run(verbs.needed, path, flops=1e14)
    path = repeated(tmp_path / "again.csv")
    with pytest.raises(FitError, match="no number of samples reaches"):
        run(verbs.needed, path, flops=1e10, target_loss=0.1)


@pytest.mark.parametrize(
    "words", [["fit"], ["forecast", "--flops", "1e9"], ["needed", "--flops", "1e9"]]
)
def test_a_figure_that_cannot_be_names_file_and_row(tmp_path, capsys, words):
    path = repeated(tmp_path / "again.csv")
    lines = path.read_text().splitlines()
    lines[3] = lines[3].rpartition(",")[0] + ",0"
    path.write_text("\n".join(lines) + "\n")
    assert main(["laws", words[0], str(path), *words[1:]]) == 1
    assert f"{path}: unique_samples of row 3 is 0" in capsys.readouterr().err


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
    body, _ = run(verbs.plan, path, target_loss=loss, device="a100", price_per_hour=1.0)
    assert body["flops"]["value"] == pytest.approx(1e14, rel=0.2)
    assert body["device"]["hours"]["value"] == pytest.approx(body["device"]["dollars"]["value"])
    with pytest.raises(UsageError, match="exactly one target"):
        run(verbs.plan, path)


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


class Flat:
    """The lowest loss so far, for ever."""

    def __init__(self, table):
        self.loss = float(table["dev_loss"].min())

    def forecast(self, flops):
        one, loss = Interval(1e4, None, None), self.loss
        return Forecast(flops, one, one, Interval(loss, 0.99 * loss, 1.01 * loss), None, 0.0)


@pytest.fixture
def flat():
    laws.LAWS.add("flat", Flat)
    laws.LAWS.add("broken", lambda table: 1 / 0)
    yield "flat"
    laws.LAWS.remove("flat")
    laws.LAWS.remove("broken")


def test_a_law_of_ones_own_answers_by_name(tmp_path, capsys, flat):
    path = write(tmp_path / "runs.csv")
    mine = document(capsys, "laws", "forecast", path, "--flops", "1e14", "--law", flat, "--json")
    assert mine["method"] == {"law": "flat"}
    assert mine["dev_loss"]["value"] == tables.read(path).columns["dev_loss"].min()
    body = document(capsys, "laws", "fit", path, "--law", flat, "--json")["groups"][""]
    assert body["law"] == "flat"
    assert main(["laws", "fit", str(path), "--law", flat]) == 0
    assert "a decade of its forecasts" in capsys.readouterr().out


def test_a_law_is_back_tested_beside_the_default(tmp_path, capsys, flat):
    path = write(tmp_path / "runs.csv")
    words = ("laws", "backtest", path, "--min-train", "3", "--law")
    rows = document(capsys, *words, flat, "--json")["laws"]
    assert [(r["law"], r["horizon"]) for r in rows] == [("isoclone", 1), ("flat", 1)]
    assert all(r["forecasts"] == 1 and r["reason"] is None for r in rows)
    assert main([*map(str, words), "broken"]) == 0
    said = capsys.readouterr().out
    assert "RMS log error" in said
    assert said.count("law_failed: law 'broken' failed: ZeroDivisionError") == 1


def test_a_law_that_fails_leaves_the_default_and_a_reason(tmp_path, capsys, flat):
    path = write(tmp_path / "runs.csv")
    words = ("laws", "forecast", path, "--flops", "1e14", "--json")
    broken = document(capsys, *words, "--law", "broken")
    assert broken["status"].pop(0)["code"] == "law_failed"
    assert broken == document(capsys, *words)


def test_a_law_of_a_module_needs_no_other_leave(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_flat_law.py").write_text("from isoclone.laws import fit as mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ISOCLONE_IMPORT", "")
    path = write(tmp_path / "runs.csv")
    words = ("laws", "forecast", path, "--flops", "1e14", "--json", "--law", "my_flat_law:mine")
    assert document(capsys, *words)["method"]["law"] == "my_flat_law:mine"


def test_a_wrong_law_and_a_run_of_its_own_are_one_line(tmp_path, capsys, flat):
    path = str(write(tmp_path / "runs.csv"))
    assert main(["laws", "fit", path, "--law", "flatt"]) == 2
    assert "unknown law 'flatt'; did you mean flat?" in capsys.readouterr().err
    words = ["laws", "forecast", path, "--flops", "1e14", "--params", "1e5", "--law", flat]
    assert main(words) == 2
    assert "--params and --samples need the built-in law" in capsys.readouterr().err
    off = document(capsys, *words[:-2], "--json")
    assert off["params"]["value"] == 1e5


def test_every_setting_of_a_plan_has_a_flag(tmp_path, capsys):
    path = write(tmp_path / "runs.csv")
    words = ("laws", "plan", path, "--target-return", "6", "--expert-return", "9")
    words += ("--random-return", "0", "--seed", "1")
    body = document(capsys, *words, "--most-runs", "2", "--json")
    assert len(body["next_runs"]["runs"]) <= 2
    assert body["forecast"]["return_mean"]["high"] <= 9
    assert main([*map(str, words), "--most-runs", "-1"]) == 2
    assert "--most-runs must not be negative" in capsys.readouterr().err
    assert main([*map(str, words)]) == 0
    assert "hours on cpu-core" in capsys.readouterr().out


def test_beside_an_exponent_with_a_prior_stands_least_squares_alone(tmp_path, capsys):
    path, count = tmp_path / "runs.csv", {}
    for budgets in (3, 8):
        table = study(noise=0.005, budgets=budgets)
        rows = zip(*table.values(), strict=True)
        path.write_text("\n".join(",".join(map(str, row)) for row in (table, *rows)))
        assert main(["laws", "fit", str(path), "--json"]) == 0
        body = json.loads(capsys.readouterr().out)["groups"][""]
        assert main(["laws", "fit", str(path)]) == 0
        out = " ".join(capsys.readouterr().out.split())
        plain = body["exponents"].get("isoflop_optima_plain")
        assert body["laws"]["params"]["plain"] == plain
        count[budgets] = plain is not None, "least squares alone" in out, "with a prior" in out
        optima = [c for c in body["isoflops"] if c["interior"]]
        if plain:
            x, n = np.log10([[c["budget"], c["params"]] for c in optima]).T
            assert plain["params"]["value"] == pytest.approx(np.polyfit(x, n, 1)[0])
    assert count == {3: (True, True, True), 8: (False, False, False)}


def test_a_good_interval_around_a_return_near_zero_is_printed(tmp_path, capsys):
    path, rng = tmp_path / "runs.csv", np.random.default_rng(0)
    lines = []
    for i, n in enumerate(np.logspace(4, 6, 5)):
        for c in np.logspace(12, 14, 7):
            loss = 0.2 + 30 / n**0.4 + 20 / (c / 6 / n) ** 0.3
            back = np.log10(c) - 15 + rng.normal(0, 0.01)  # -1 at the last budget, 0 a decade on
            lines.append(f"r{i},{c},{n},{c / 6 / n},{loss},{back},0.01")
    head = "run_id,flops,params,samples,dev_loss,return_mean,return_se"
    path.write_text("\n".join([head, *lines]))
    flags = ["--flops", "1e15", "--random-return", "-20", "--expert-return", "20"]
    assert main(["laws", "forecast", str(path), *flags]) == 0
    told = next(x for x in capsys.readouterr().out.splitlines() if "mean return" in x)
    assert "not determined" not in told
    assert "[" in told
