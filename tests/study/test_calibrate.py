"""A study of any game without a file: calibrated once, written down, gone on with as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from foreign_play import cartpole

import isoclone as ic
from isoclone.base.errors import DataError, SpecError, SpecMismatchError
from isoclone.cli.flags import Changes
from isoclone.cli.source import object_in, planned_study, study_of, write_python
from isoclone.games import GAMES
from isoclone.games.toy import Toy
from isoclone.study import calibrate
from isoclone.study.calibrate import _Choice, calibrated, marginal_loss, policy_for, unsized
from isoclone.study.estimate import Speed
from isoclone.study.sizes import Curve, frontier
from isoclone.study.spec import StudySpec


@dataclass(frozen=True)
class Catch(Toy):
    """The toy game under a name that has no ready-made study."""

    name: str = "catch"


@pytest.fixture
def catch(monkeypatch):
    GAMES.add("catch", Catch)
    monkeypatch.setattr(calibrate, "GRID_SECONDS", 0.2)
    monkeypatch.setattr(calibrate, "OTHER_WIDTHS", (2, 4, 8))
    monkeypatch.setattr(calibrate, "PLAYED", (600, 1_000))
    yield "catch"
    GAMES.remove("catch")


PLAYER = """
import numpy as np

def under_the_ball(observation):
    picture = observation[-1]
    column = int(np.argwhere(picture == 255)[0][1])
    paddle = int(np.argwhere(picture[-1] == 200).mean())
    return 1 + (column > paddle) - (column < paddle)
"""


@pytest.fixture
def player(tmp_path):
    file = tmp_path / "player.py"
    file.write_text(PLAYER)
    return f"{file}:under_the_ball"


def test_sizes_and_budgets_are_chosen_and_kept(catch, player, tmp_path, monkeypatch):
    changes = Changes(expert=player, samples=2_000)
    study = study_of(catch, tmp_path / "study", changes, "cpu", 2)
    spec = study.spec
    assert (spec.game, spec.policy, spec.samples) == ("catch", "cnn", 2_000)
    assert len(spec.widths) >= 3
    assert len(spec.budgets_flops) >= 4
    assert spec.calibration["seconds"] > 0
    assert spec.expert_identity["qualname"] == "under_the_ball"
    assert any("calibration of" in note for note in study.plan(2).notes)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("calibrated again")

    monkeypatch.setattr(calibrate, "calibrated", never)
    assert study_of(catch, tmp_path / "study", changes, "cpu", 2).spec == spec
    assert planned_study(catch, tmp_path / "study", changes, 4).spec.widths == spec.widths
    with pytest.raises(SpecMismatchError, match="samples: 2000 -> 3000"):
        study_of(catch, tmp_path / "study", Changes(expert=player, samples=3_000), "cpu", 2)


def test_another_expert_under_the_same_name_is_refused(catch, player, tmp_path, monkeypatch):
    changes = Changes(expert=player, widths=(2, 4, 8), budgets=(1e8, 3e8))
    study_of(catch, tmp_path / "study", changes, "cpu", 2)
    file = Path(player.rpartition(":")[0])
    file.write_text(PLAYER.replace("1 + (column", "0 * (column"))
    with pytest.raises(SpecMismatchError, match=r"expert_identity: .*under_the_ball"):
        study_of(catch, tmp_path / "study", changes, "cpu", 2)


def test_with_demonstrations_nobody_plays(catch, player, tmp_path):
    game = ic.game(catch)
    demos = ic.record(player, game, samples=1_500, path=tmp_path / "demos")
    study = planned_study(catch, tmp_path / "study", Changes(demos=demos.path), 2)
    assert study.spec.demos == str(demos.path)
    assert not (tmp_path / "study").exists()
    file = tmp_path / "mine.py"
    write_python(file, study.spec)
    again = object_in(str(file), "study", StudySpec)
    assert (again.widths, again.budgets_flops) == (study.spec.widths, study.spec.budgets_flops)
    with pytest.raises(SpecError, match="it is there already"):
        write_python(file, study.spec)
    with pytest.raises(DataError, match="holds catch, not toy2"):
        Changes(demos=demos.path).begun("toy2")


def test_who_is_imitated_must_be_said():
    with pytest.raises(SpecError, match="say who is to be imitated"):
        unsized("gym/CartPole-v1")
    with pytest.raises(SpecError, match="give one"):
        Changes(expert="random", demos=Path("d")).applied_to(unsized("toy"), own=False)


def test_the_policy_follows_the_observations():
    assert policy_for(ic.game("gym/CartPole-v1")) == "mlp"
    assert policy_for(ic.game("toy")) == "cnn"  # a small picture
    assert policy_for(ic.game("atari/Pong")) == "cnn"


def test_the_loss_of_habits_alone(toy_demos):
    shares = toy_demos.action_counts("train") / toy_demos.samples_in("train")
    assert marginal_loss(toy_demos) == pytest.approx(
        -(shares * [math.log(s) for s in shares]).sum()
    )


@pytest.mark.parametrize("recorded", [10, 10**9])
def test_budgets_end_where_the_agent_would_see_its_samples_too_often(recorded):
    spec = unsized("toy").replace(widths=(2, 4, 8), budgets_flops=(1e9, 3e9))
    costs = {w: spec.batch_flops(w) / spec.recipe["batch_size"] for w in spec.widths}
    curves = [Curve(w, 0, c, 1e-5, [1e3 * c, 1e5 * c], [1, 0.5 / w]) for w, c in costs.items()]
    seen, speed = frontier(curves, math.log(3)), Speed(1e-9, 1e-15, 1e9, None)
    share = _Choice(spec, spec.make_game(), seen, speed, 50.0, 2, 60.0, recorded)._share(spec)
    agent = round(seen.best_width(1e10))
    epochs = 1e10 / spec.batch_flops(agent) * spec.recipe["batch_size"] / recorded
    assert share == pytest.approx(epochs / 4) if recorded == 10 else share < 1


def test_what_only_copies_itself_cannot_be_studied(tmp_path):
    spec = unsized("toy", expert="random").replace(demos=str(tmp_path))
    with pytest.raises(DataError):
        calibrated(spec)


def test_demonstrations_without_an_environment_are_calibrated_too(catch, tmp_path):
    demos = ic.demos_from(cartpole(16), path=tmp_path / "demos", expert="two")
    study = planned_study("data", tmp_path / "study", Changes(demos=demos.path), 2)
    assert study.spec.game_options == demos.game_options
    assert study.spec.calibration["speed"]["rollout_steps_per_s"] is None
    assert study.plan(2).points > 0
