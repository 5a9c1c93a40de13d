"""Agents and demonstrations go to the hub: through huggingface_hub, to a local stand-in of it."""

from __future__ import annotations

import json

import pytest
from hub_standin import Hub, served

import isoclone as ic
from isoclone.base.errors import SpecError, StoreError
from isoclone.cli import main
from isoclone.demos import open_demos


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    made = Hub()
    with served(made.answer) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)
        yield made


def test_a_study_is_pushed_and_loaded_again(hub, finished_study, capsys):
    words = ["push", str(finished_study), "hf://me/tiny", "--licence", "mit", "--json"]
    assert main(words) == 0
    page = json.loads(capsys.readouterr().out)["page"]
    assert page.endswith("/me/tiny")
    files = hub.files["models", "me/tiny"]
    assert set(files) == {
        "README.md", "agent.safetensors", "config.json",
        "report.html", "points.csv", "laws.json", "forecast.json",
    }  # fmt: skip
    agent, ours = ic.load("hf://me/tiny"), ic.load(finished_study)
    assert agent.run == ours.run
    card = files["README.md"].decode()
    point = ic.Study.open(finished_study).points("forecast")[0]
    assert 'license: "mit"' in card
    assert 'agent = ic.load("hf://me/tiny")' in card
    assert "the expert `scripted`" in card
    assert f"| mean return, 4 episodes | {point.return_mean:.2f} ± {point.return_se:.2f} |" in card
    for heading in ("## Laws", "## Forecast", "## Licence", "## How to load"):
        assert heading in card
    assert str(finished_study) not in b"".join(files.values()).decode("utf-8", "ignore")


def test_the_cards_heading_is_what_the_hub_reads(hub, finished_study):
    from huggingface_hub import ModelCard

    assert main(["push", str(finished_study), "hf://me/tiny"]) == 0
    card = ModelCard(hub.files["models", "me/tiny"]["README.md"].decode())
    assert card.data.license == "unknown"
    assert card.data.library_name == "isoclone"
    (result,) = card.data.eval_results
    point = ic.Study.open(finished_study).points("forecast")[0]
    assert result.metric_value == point.return_mean


def test_demonstrations_are_pushed_whole(hub, toy_demos, tmp_path, capsys):
    toy_demos.source("standardise", "rows")  # a cache, which is not pushed
    assert main(["demos", "push", str(toy_demos.path), "hf://me/toy-demos", "--private"]) == 0
    files = hub.files["datasets", "me/toy-demos"]
    assert hub.private["me/toy-demos"]
    assert not any("cache" in name for name in files)
    for name, data in files.items():
        path = tmp_path / "again" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert open_demos(tmp_path / "again").fingerprint == toy_demos.fingerprint
    assert "Demonstrations of toy" in files["README.md"].decode()
    assert "/datasets/me/toy-demos" in capsys.readouterr().out


def test_what_the_hub_says_is_one_line(hub, finished_study, capsys):
    hub.refuses = 403
    with pytest.raises(StoreError, match="hf auth login"):
        ic.load("hf://me/other")
    assert main(["push", str(finished_study), "hf://me/tiny"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("isoclone: hf://me/tiny: ")
    assert said.count("\n") == 1
    for wrong in ("hf://tiny", "tiny", "hf://me/tiny/more"):
        assert main(["push", str(finished_study), wrong]) == 2
        assert "write hf://USER/NAME" in capsys.readouterr().err
    with pytest.raises(SpecError):
        ic.load("hf://tiny")
