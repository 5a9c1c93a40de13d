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
    assert found.groups() == ["One"]
    assert set(found.points["return_mean"]) == {None}
    assert any("Two" in n for n in found.notices)
    assert any("eval_return_One.tar is missing" in n for n in found.notices)


def test_missing_sample_counts_are_derived_and_said(tmp_path):
    folder = fake(tmp_path)
    (folder / "atari/flop_params_to_samples/flop_params_to_samples_Toy.tar").unlink()
    found = tuyls2023.read(folder)
    assert all(d > 0 for d in found.points["samples"])
    assert any("sample counts are missing" in n for n in found.notices)


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
    assert ratios[0] == pytest.approx(1 / 17.0, rel=0.01)
    assert ratios == sorted(ratios)  # the paper's counter exaggerates small nets most
    assert set(result["exponents"]) == {"params", "samples"}


def test_published_and_recount_print_one_document(tmp_path, capsys):
    folder, out = fake(tmp_path / "data"), tmp_path / "out"
    assert main(["published", "tuyls2023", str(folder), "--out", str(out), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["of"] for row in body["exponents"]] == ["N", "D"]
    assert body["exponents"][0]["window"]["to_flops"] == 2e16
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
