"""Experts that isoclone trains itself, and agents that play as experts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isoclone.agents.agent import load_agent
from isoclone.base.errors import CheckpointError, SpecError, SpecMismatchError
from isoclone.base.store import read_json
from isoclone.cli import main
from isoclone.experts import AGENT_FILE, expert
from isoclone.experts.score import Played
from isoclone.games import game
from isoclone.training.device import check_device, found_device
from isoclone.training.reinforcement.expert import train_agent
from isoclone.training.reinforcement.loop import PpoTrainer
from isoclone.training.reinforcement.recipe import PPO

QUICK = dataclasses.replace(PPO, slots=4, rollout_steps=32, batch_size=64, epochs=2)
STEPS = 640


def trained(path: Path, policy: str = "mlp-lstm", **more: Any) -> dict[str, Any]:
    the_game = game("gym/CartPole-v1", max_steps=60)
    return train_agent(the_game, path, STEPS, policy, 4, recipe=QUICK, episodes=3, **more)


@pytest.mark.parametrize("policy", ["mlp", "mlp-lstm"])
def test_an_agent_plays_as_an_expert_as_it_plays_itself(policy: str, tmp_path: Path) -> None:
    """Over two episodes side by side, of which one ends sooner than the other."""
    trained(tmp_path / "made", policy)
    the_game = game("gym/CartPole-v1", max_steps=60)
    for source in (tmp_path / "made", tmp_path / "made" / AGENT_FILE):
        player = expert(str(source), the_game, deterministic=True)
        agent = load_agent(tmp_path / "made" / AGENT_FILE, sampling="argmax")
        episodes = [Played(the_game, the_game.make_env(), 1, i) for i in range(2)]
        last = np.zeros((2, *the_game.frame.shape), the_game.frame.dtype)
        agent.reset(2)
        while live := [episode for episode in episodes if not episode.end]:
            actions = player.act([episode.view for episode in live])
            for episode in live:
                last[episodes.index(episode)] = episode.view.frames[-1]
            wanted = agent.choose(last)
            assert actions == [wanted[episodes.index(episode)] for episode in live]
            for episode, action in zip(live, actions, strict=True):
                episode.step(action)
        assert len({episode.steps for episode in episodes}) == 2
    with pytest.raises(CheckpointError, match="gym/Acrobot-v1 shows"):
        expert(str(tmp_path / "made"), game("gym/Acrobot-v1"))


def test_a_training_that_was_stopped_goes_on_to_the_same_expert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole")
    assert whole["steps_taken"] == STEPS
    assert whole["score"]["episodes"] == 3
    iterate = PpoTrainer.iterate

    def stops(trainer: PpoTrainer) -> list[float]:
        if trainer.progress.step == 2:
            trainer.save()
            raise KeyboardInterrupt
        return iterate(trainer)

    monkeypatch.setattr(PpoTrainer, "iterate", stops)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped")
    monkeypatch.undo()
    told: list[int] = []
    trained(tmp_path / "stopped", progress=lambda now: told.append(now["steps"]))
    assert told == [384, 512, 640]
    files = [(tmp_path / name / AGENT_FILE).read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]
    again = trained(tmp_path / "whole")
    assert again == whole
    with pytest.raises(SpecMismatchError, match="holds another training"):
        trained(tmp_path / "whole", policy="mlp")


def test_training_begins_with_a_clone_and_is_refused_one_of_another_game(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path / "clone")
    clone = tmp_path / "clone" / AGENT_FILE
    words = ["expert", "train", "gym/CartPole-v1", "--from", str(clone), "--steps", "1024"]
    out = ["--out", str(tmp_path / "out"), "--episodes", "2", "--device", "cpu"]
    assert main([*words, *out]) == 0
    run = read_json(tmp_path / "out" / "expert.json")["run"]
    assert (run["policy"], run["width"]) == ("mlp-lstm", 4)
    assert run["game_options"]["max_steps"] == 60  # as the clone was trained
    assert run["recipe"]["teacher_coef"] > 0
    other = [
        "expert",
        "train",
        "gym/Acrobot-v1",
        "--from",
        str(clone),
        "--out",
        str(tmp_path / "x"),
    ]
    assert main(other) != 0
    assert "gym/Acrobot-v1 shows" in capsys.readouterr().err
    assert main([*words, "--algorithm", "a2c"]) != 0
    assert "--algorithm a2c is stable-baselines3's" in capsys.readouterr().err
    assert main([*words, "--width", "8"]) != 0
    assert "--from gives policy and size" in capsys.readouterr().err
    assert main(["expert", "train", "toy", "--from", str(tmp_path)]) != 0
    assert "is neither a checkpoint nor a study" in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"steps": 0}, {"episodes": 0}, {"width": 0}])
def test_numbers_that_are_not_positive_are_refused(changes: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="must be at least 1, not 0"):
        train_agent(game("toy"), tmp_path / "x", **{"steps": 100, **changes})
    assert not (tmp_path / "x").exists()


def test_a_start_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    """What a killed writer left behind is no training of somebody else's."""
    (tmp_path / ".training.json.here.1.tmp").write_text("{")
    assert trained(tmp_path)["steps_taken"] == STEPS
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(SpecError, match="holds no training"):
        trained(tmp_path / "other")


def test_auto_is_a_device_where_one_is_to_be_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found_device("auto") == check_device(found_device("auto"))
    assert main(["run", "toy", "--device", "auto", "--out", str(tmp_path / "out")]) != 0
    assert "device 'auto' is not available here" in capsys.readouterr().err


def test_what_cannot_be_trained_takes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'cnn' needs pictures"):
        trained(tmp_path / "x", policy="cnn")
    trained(tmp_path / "x")
    with pytest.raises(SpecMismatchError, match=r"\(run.seed: 0 there, 5 asked\)"):
        trained(tmp_path / "x", seed=5)


def test_a_lost_expert_is_made_again_and_a_torn_state_is_told(tmp_path: Path) -> None:
    whole = trained(tmp_path / "x")
    agent, state = tmp_path / "x" / AGENT_FILE, tmp_path / "x" / "state.safetensors"
    before = agent.read_bytes()
    agent.write_bytes(before[:-9])
    assert trained(tmp_path / "x")["score"]["mean"] == whole["score"]["mean"]
    assert agent.read_bytes() == before
    agent.unlink()
    state.write_bytes(state.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged.*delete it to begin"):
        trained(tmp_path / "x")
