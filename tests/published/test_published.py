"""The reader of released runs: plain containers only, partial folders, and what is in the files."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from isoclone.base.errors import DataError, UsageError
from isoclone.cli import main
from isoclone.laws.tables import from_columns
from isoclone.published import tuyls2023
from isoclone.published.recount import recount_table
from isoclone.published.report import build, page
from isoclone.published.saved import load

SHARED = Path(os.environ.get("ISOCLONE_SHARED", Path(__file__).parents[3] / "shared"))
FILES = SHARED / "tuyls2023"
needs_files = pytest.mark.skipif(not FILES.is_dir(), reason="the released runs are not here")


def archive(path: Path, body: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", body)
        file.writestr("x/version", "3\n")  # as torch.save does
    return path


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch /tmp/isoclone-was-here",))


def test_plain_containers_are_read(tmp_path):
    saved = {"1e13": {725: 1.5, 2575: 2}, "list": [1, (2, "three"), None, True]}
    assert load(archive(tmp_path / "a.tar", pickle.dumps(saved, 2))) == saved


def test_torch_tensors_are_read_without_torch(tmp_path):
    torch = pytest.importorskip("torch")
    from collections import defaultdict

    saved = defaultdict(dict)
    saved["1e13"][725] = torch.tensor(1.25)
    saved["m"][1] = torch.arange(6, dtype=torch.int64).reshape(2, 3).T
    torch.save(saved, tmp_path / "t.tar")
    found = load(tmp_path / "t.tar")
    assert float(found["1e13"][725]) == 1.25
    assert (found["m"][1] == np.arange(6).reshape(2, 3).T).all()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, protocol):
    path = archive(tmp_path / "evil.tar", pickle.dumps({"a": Hostile()}, protocol))
    with pytest.raises(DataError, match="refused") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/isoclone-was-here").exists()


def test_names_inside_allowed_modules_are_refused_too(tmp_path):
    body = b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R."
    with pytest.raises(DataError, match=r"refused: it asks for builtins\.eval"):
        load(archive(tmp_path / "e.tar", body))


@pytest.mark.parametrize("body", [b"", b"\x80\x02", b"garbage", b"\x80\x02}q\x00(X"])
def test_a_damaged_pickle_is_one_line(tmp_path, body):
    with pytest.raises(DataError) as caught:
        load(archive(tmp_path / "d.tar", body))
    assert "\n" not in str(caught.value)


def test_other_files_are_one_line(tmp_path):
    (tmp_path / "n.tar").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="not a torch-saved"):
        load(tmp_path / "n.tar")
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    (tmp_path / "e.tar").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"data\.pkl"):
        load(tmp_path / "e.tar")


def fake(folder: Path, games: tuple[str, ...] = ("Toy",)) -> Path:
    """A small folder in the authors' layout, made of synthetic numbers."""
    from isoclone.policies.flops import cnn_flops_per_sample, cnn_params

    for game in games:
        losses, samples, returns = {}, {}, {}
        for budget in ("1e14", "2e14", "5e14", "1e15", "2e15", "5e15", "1e16", "2e16"):
            rows = {}
            for width in (1, 3, 5, 8, 13, 23):
                n = cnn_params(width, 4)
                d = float(budget) / cnn_flops_per_sample(width, 4, "tuyls2023-atari")
                rows[n] = (0.05 + 3 / n**0.3 + 30 / d**0.35, int(d))
            losses[budget] = {n: v[0] for n, v in rows.items()}
            samples[budget] = {n: v[1] for n, v in rows.items()}
            returns[budget] = {n: 10 / v[0] for n, v in rows.items()}
        for kind, table in (("eval_loss", losses), ("eval_return", returns)):
            (folder / "atari" / kind).mkdir(parents=True, exist_ok=True)
            archive(folder / "atari" / kind / f"{kind}_{game}.tar", pickle.dumps(table, 2))
        kind = "flop_params_to_samples"
        (folder / "atari" / kind).mkdir(parents=True, exist_ok=True)
        archive(folder / "atari" / kind / f"{kind}_{game}.tar", pickle.dumps(samples, 2))
    return folder


def test_a_folder_is_read_and_a_damaged_file_is_a_notice(tmp_path):
    folder = fake(tmp_path, ("One", "Two"))
    (folder / "atari/eval_loss/eval_loss_Two.tar").write_bytes(b"damaged")
    (folder / "atari/eval_return/eval_return_One.tar").unlink()
    found = tuyls2023.read(folder)
    rows = list(zip(*(found.points[k] for k in ("group", "dev_loss", "return_mean")), strict=True))
    assert {g for g, loss, returned in rows if loss is not None and returned is None} == {"One"}
    assert {g for g, loss, returned in rows if loss is None and returned is not None} == {"Two"}
    assert found.groups() == ["One", "Two"]
    assert any("Two" in n for n in found.notices)
    assert any("eval_return_One.tar is missing" in n for n in found.notices)


def test_missing_sample_counts_are_derived_and_said(tmp_path):
    folder = fake(tmp_path)
    (folder / "atari/flop_params_to_samples/flop_params_to_samples_Toy.tar").unlink()
    found = tuyls2023.read(folder)
    assert all(d > 0 for d in found.points["samples"])
    assert any("sample counts are missing" in n for n in found.notices)


def test_a_game_whose_losses_are_empty_keeps_its_returns(tmp_path):
    folder = fake(tmp_path, ("One", "Two"))
    archive(folder / "atari/eval_loss/eval_loss_Two.tar", pickle.dumps({"1e14": {}}, 2))
    found = tuyls2023.read(folder)
    assert found.groups() == ["One", "Two"]
    two = [i for i, group in enumerate(found.points["group"]) if group == "Two"]
    assert len(two) == 48
    assert all(found.points["return_mean"][i] > 0 for i in two)
    assert {found.points["reason"][i] for i in two} == {"eval_loss_Two.tar has no loss of it"}
    assert "eval_loss_Two.tar is empty" in found.notices
    (said,) = build(found, True)["status"]
    assert said["code"] == "not_fitted"
    assert said["message"].startswith("Two: no usable row in the table")
    assert said["message"].endswith("eval_loss_Two.tar has no loss of it")


def test_a_return_is_the_mean_over_seeds_with_the_error_of_that_mean(tmp_path):
    folder = fake(tmp_path)
    path = folder / "atari/eval_return/eval_return_Toy.tar"
    main = load(path)
    for seed, shift in enumerate((2.0, 4.0, float("nan"))):
        table = {b: {n: v + shift for n, v in rows.items()} for b, rows in main.items()}
        archive(path.with_name(f"eval_return_Toy_{seed}.tar"), pickle.dumps(table, 2))
    found = tuyls2023.read(folder)
    budget, params = "1e14", next(iter(main["1e14"]))
    row = found.points["params"].index(params)
    assert found.points["return_mean"][row] == pytest.approx(main[budget][params] + 2)
    assert found.points["return_se"][row] == pytest.approx(2 / 3**0.5)
    assert found.points["evaluation_seeds"][row] == 3
    assert any("48 returns are no numbers" in n for n in found.notices)


def test_no_file_is_passed_over_in_silence(tmp_path):
    folder = fake(tmp_path)
    (folder / "atari/eval_score").mkdir()
    (folder / "atari/eval_score/eval_score_Toy.tar").write_bytes(b"x")
    (notice,) = [n for n in tuyls2023.read(folder).notices if "no reader knows" in n]
    assert "1 files, the first eval_score/eval_score_Toy.tar" in notice


def fake_nethack(folder: Path) -> Path:
    """NetHack's runs in the authors' layout, from a synthetic surface, with two agents beyond."""

    def saved(run: str, mark: str, params: int, flops: float, study="llama_iso_flop") -> Path:
        at = folder / "nethack" / study / run
        at.mkdir(parents=True, exist_ok=True)
        samples = round(flops / 6 / params)
        loss = 0.2 + 30 / params**0.4 + 60 / samples**0.35
        body = {"eval_loss": loss, "eval_se": 1e-3, "params": params, "samples": samples}
        archive(at / f"eval_loss_overlap_0_model_{mark}.tar", pickle.dumps(body, 2))
        (at / f"eval_returns_model_{mark}.txt").write_text(f"{90 / loss}\n{110 / loss}\n")
        (at / f"eval_lens_model_{mark}.txt").write_text("30\n50\n")
        return at

    for mark in ("5e15", "1e16", "2e16", "5e16", "1e17", "2e17"):
        for params in (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000):
            saved(f"run{params}", mark, params, float(mark))
    saved("beyond", "2e18", 10_000_000, 2e18)
    agent = folder / "nethack/llama_return_prediction/agent"
    agent.mkdir(parents=True)
    (agent / "eval_returns_model_1e18.txt").write_text("300\n340\n")
    (agent / "eval_dlvls_model_1e18.txt").write_text("1\n3\n")
    return folder


def test_the_authors_agents_are_no_evidence_but_set_against_the_forecast(tmp_path):
    found = tuyls2023.read(fake_nethack(tmp_path))
    assert not found.notices
    assert found.points["length_mean"][0] == 40
    assert found.agents["run_id"] == ["llama_return_prediction/agent"]
    assert found.agents["dungeon_level_mean"] == [2.0]
    assert found.points["role"].count("forecast") == 1
    body = build(found, True)
    assert max(c["budget"] for c in body["groups"]["nethack"]["laws"]["isoflops"]) < 1e18
    loss, returns = body["agents"]
    assert loss["run_id"] == "beyond"
    assert loss["forecast_dev_loss"]["value"] == pytest.approx(loss["dev_loss"], rel=0.05)
    assert (returns["flops"], returns["return_mean"], returns["return_se"]) == (1e18, 320, 20)
    assert returns["dev_loss"] is None
    assert returns["forecast_return"]["value"] > 0
    assert "The authors' forecast agents" in page(body)


def test_a_folder_of_something_else_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        tuyls2023.read(tmp_path / "none")
    with pytest.raises(DataError, match="neither atari/ nor nethack/"):
        tuyls2023.read(tmp_path)
    (tmp_path / "atari").mkdir()
    with pytest.raises(DataError, match="no readable runs"):
        tuyls2023.read(tmp_path)


def test_recount_recovers_widths_and_keeps_rows(tmp_path):
    found = tuyls2023.read(fake(tmp_path))
    table = from_columns(found.points).columns
    result = recount_table(table, "exact")
    assert result["n_actions"] == 4
    assert len(result["table"]["flops"]) == len(table["flops"])
    ratios = [result["ratio"][k] for k in sorted(result["ratio"], key=float)]
    assert ratios[0] == pytest.approx(1 / 24.96, rel=0.01)
    assert ratios == sorted(ratios)  # the paper's counter exaggerates small nets most
    assert set(result["exponents"]) == {"params", "samples"}


def test_published_and_recount_print_one_document(tmp_path, capsys):
    folder, out = fake(tmp_path / "data"), tmp_path / "out"
    assert main(["published", "tuyls2023", str(folder), "--out", str(out), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["of"] for row in body["exponents"]] == ["N", "D"]
    assert body["exponents"][0]["window"]["to_flops"] == pytest.approx(2e16)
    assert (out / "report.html").exists()
    table = str(out / "points.csv")
    assert main(["laws", "recount", table, "--to", "exact", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"]["Toy"]["exponents"]
    assert main(["published", "tuyls2023", str(folder)]) == 0
    assert "best run" in capsys.readouterr().out


def test_the_report_stands_alone(tmp_path):
    body = build(tuyls2023.read(fake(tmp_path)), cap_returns=True)
    assert body["groups"]["Toy"]["recount"]["params"]["after"]["value"] > 0
    text = page(body)
    assert text.startswith("<!doctype html>")
    assert 'src="http' not in text


@needs_files
def test_the_released_runs():
    found = tuyls2023.read(FILES)
    assert set(found.groups()) >= {"Breakout", "BattleZone", "nethack"}
    rows = [
        loss
        for group, budget, n, loss in zip(
            *(found.points[k] for k in ("group", "budget_flops", "params", "dev_loss")), strict=True
        )
        if (group, budget, n) == ("Breakout", 1e13, 725)
    ]
    assert rows == [pytest.approx(1.1734, abs=1e-4)]
    assert len(set(found.return_seeds["seed"])) >= 6
    assert set(found.ablations["group"]) >= {"llama_lr_sensitivity", "llama_partial_obs"}


@needs_files
def test_the_parabola_gives_the_published_exponents_within_its_window():
    from isoclone.laws.points import Points
    from isoclone.laws.published_way import published_way

    points = Points.from_table(from_columns(tuyls2023.read(FILES).points).groups()["nethack"])
    way = published_way(points, from_flops=5e15)
    near = way["parabola_near"]
    assert near["params"]["exponent"]["value"] == pytest.approx(0.61, abs=0.01)
    assert near["samples"]["exponent"]["value"] == pytest.approx(0.39, abs=0.011)
    for name, within in (("parabola", np.inf), ("parabola_near", way["loss_within"])):
        by_hand = exponent_by_hand(points, 5e15, within)
        assert way[name]["params"]["exponent"]["value"] == pytest.approx(by_hand, abs=1e-6)


def exponent_by_hand(points, from_flops, within):
    """The same computation in five lines of NumPy: a parabola per budget, a line through them."""
    x, y = [], []
    for budget in points.budgets[points.budgets >= from_flops]:
        here = points.budget == budget
        here &= points.loss <= within * points.loss[here].min()
        n, loss = np.log10(points.params[here]), np.log10(points.loss[here])
        bend, slope, _ = np.polyfit(n, loss, 2)
        x, y = [*x, np.log10(budget)], [*y, -slope / (2 * bend)]
    return np.polyfit(x, y, 1)[0]


def test_a_family_of_somebody_else_is_read(tmp_path):
    def read(folder, found):
        for k, budget in enumerate((1e12, 2e12, 4e12)):
            row = {"params": 100 + k, "samples": 10 + k, "budget_flops": budget, "flops": budget}
            tuyls2023.append(found.points, **row, **tuyls2023.checked(1.0 / (k + 1)), group="go")

    (tmp_path / "board").mkdir()
    tuyls2023.FAMILIES.add("board", tuyls2023.Family(read, {"go": {"params": 0.5}}))
    try:
        found = tuyls2023.read(tmp_path)
        with pytest.raises(DataError, match="neither atari/ nor board/ nor"):
            tuyls2023.read(tmp_path / "board")
    finally:
        tuyls2023.FAMILIES.remove("board")
    assert found.groups() == ["go"]
    assert found.families["go"].exponents["go"] == {"params": 0.5}
