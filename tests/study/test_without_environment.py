"""A study of demonstrations alone: everything but returns, and nothing pretends to have them."""

from __future__ import annotations

import json

import pytest
from foreign_play import cartpole

import isoclone as ic
from isoclone.base.errors import SpecError
from isoclone.base.store import read_json
from isoclone.cli import main
from isoclone.study.examine import examine
from isoclone.study.spec import StudySpec

GRID = {"widths": (2, 3, 4), "budgets_flops": (1e5, 3e5), "adaptive": False, "extend": 0}
FIELDS = {**GRID, "policy": "mlp", "dev_samples": 100}


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return ic.demos_from(cartpole(16), path=tmp_path_factory.mktemp("data") / "demos", expert="two")


@pytest.fixture(scope="module")
def study(demos, tmp_path_factory):
    made = ic.Study.create(tmp_path_factory.mktemp("study") / "s", demos=demos, **FIELDS)
    return ic.run(made)


def test_it_is_whole(study):
    assert len(study.points()) == 6
    assert study.tested().point.dev_loss is not None
    assert study.tested().holds["return_mean"] is None
    assert not examine(study.path)
    assert read_json(study.folder.laws)
    page = study.folder.report.read_text()
    assert "Returns: unmeasured, as there is no environment to play in" in page


def test_nothing_is_played(study):
    for point in study.points(None):
        assert (point.return_mean, point.return_se, point.episodes) == (None, None, 0)
    assert set(study.references()) == {"expert"}  # as its rewards say
    assert not study.folder.video.exists()
    assert not study.folder.baselines.exists()
    assert study.forecast().return_mean is None


def test_a_checkpoint_has_a_dev_loss_and_is_not_played(study, demos, capsys):
    assert main(["evaluate", str(study.path), "--demos", str(demos.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dev_loss"] > 0
    assert (told["return_mean"], told["episodes"]) == (None, 0)
    for words in (["evaluate", str(study.path)], ["play", str(study.path)]):
        assert main(words) == 2
        assert "has no environment" in capsys.readouterr().err


def test_a_specification_takes_the_spaces_of_its_demonstrations(demos):
    spec = StudySpec("s", "data", "two", demos=str(demos.path), **FIELDS)
    assert spec.game_options == demos.game_options
    assert (spec.episodes, spec.forecast_episodes) == (0, 0)
    spec.check()
    assert StudySpec.from_json(spec.to_json()) == spec
    with pytest.raises(SpecError, match="made from its demonstrations"):
        StudySpec("s", "data", "two", **FIELDS).check()


def test_the_plan_says_so(demos, tmp_path):
    plan = ic.Study.create(tmp_path / "s", demos=demos.path, **FIELDS).plan()
    assert "data has no environment: losses are measured, and no returns" in plan.notes
    assert plan.estimate.total_s < 60


def test_without_rewards_no_score_is_made_up(tmp_path):
    unpaid = [one._replace(rewards=None) for one in cartpole(8)]
    demos = ic.demos_from(unpaid, path=tmp_path / "d", game="gym/CartPole-v1")
    made = ic.Study.create(tmp_path / "s", demos=demos, **{**FIELDS, "episodes": 1})
    ic.run(made.open(made.path))
    assert set(made.references()) == {"random"}
    assert "its rewards are not known" in made.folder.report.read_text()


def test_demonstrations_alone_say_what_is_studied(demos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()  # a folder of that name is no study
    grid = ["--widths", "2", "3", "4", "--budgets", "1e5", "3e5", "--json"]
    for named in ([], ["data"]):
        assert main(["plan", *named, "--demos", str(demos.path), *grid]) == 0
        planned = json.loads(capsys.readouterr().out)
        assert (planned["name"], planned["game"], planned["expert"]) == ("demos", "data", "two")
    assert main(["plan", *grid]) == 2
    assert "--demos DIRECTORY alone" in capsys.readouterr().err
