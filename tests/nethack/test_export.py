"""Our agents as bots of the contract of `nethackers`."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("nle", reason="the extra 'nethack' is not installed")

import isoclone as ic
from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.cli import main
from isoclone.experts import score_expert
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe


@pytest.fixture
def agent(nethack_demos, tmp_path):
    """The checkpoint of a small agent."""
    fields = recipe("nethack", batch_size=48, warmup_samples=100, precision="float32").to_json()
    options = {"core": "lstm", "unroll": 12, "context": 10}
    demos = nethack_demos
    run = Run(demos.game_name, demos.fingerprint, "nethack", 8, options, fields, 0)
    made = Trainer(run, demos.source("unit", "raw"), demos.n_actions, tmp_path / "run")
    made.train_until(made.flops_per_sample * 50)
    made.save_checkpoint(tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_an_exported_agent_plays_as_the_agent_does(tmp_path, agent):
    """The bot's keys are those of the agent at play, when both take the likeliest action."""
    from isoclone.nethack.experts.contract import observed
    from isoclone.nethack.export import AGENT, Bot
    from isoclone.nethack.watch import played

    policy = load_checkpoint(agent)
    ic.export(policy, "nethackers", tmp_path / "bot")
    nethack = ic.game("nethack", max_steps=15)
    shots = list(played(policy, nethack, 3, "argmax"))
    env, bot = nethack.make_env(), Bot(tmp_path / "bot" / AGENT, "argmax")
    env.reset(3)
    bot.reset(observed(env.observation))
    for shot in shots[:-1]:
        action = bot.act(observed(env.observation))
        assert env.nle.actions[action] == shot.key
        env.step(action)
    env.close()
    player = ic.expert(f"nethackers/{tmp_path / 'bot'}", nethack, trust=True)
    assert score_expert(player, nethack, 1).steps == 15
    assert np.isfinite(score_expert(player, nethack, 1).mean)
    with pytest.raises(SpecError, match="is there already"):
        ic.export(policy, "nethackers", tmp_path / "bot")
    out = str(tmp_path / "again")
    assert main(["export", str(agent), "--to", "nethackers", "--out", out]) == 0
    assert (tmp_path / "again" / "bot.py").read_text() == (tmp_path / "bot/bot.py").read_text()


def test_the_packages_own_arena_plays_an_exported_agent(tmp_path, agent):
    """Its sandboxed process and its environment, for a few steps; its container aside."""
    pytest.importorskip("nethackers", reason="the extra 'autoascend' is not installed")
    from nethackers.arena.seeds import trajectory_spec
    from nethackers.arena.trajectory import run_trajectory
    from nethackers.contracts.models import Objective

    ic.export(load_checkpoint(agent), "nethackers", tmp_path / "bot")
    objective = Objective("mon-hum-neu-mal", 20, 1000, 60.0, "runtime")
    spec = trajectory_spec("public", "local", 1)
    result = run_trajectory(tmp_path / "bot", spec, objective, "mon-hum-neu-mal")
    assert result.error is None
    assert (result.steps, result.status) == (20, "completed")
