"""The recipes of docs/foreign-experts.md, run against files made with networks of their shapes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import isoclone as ic
from isoclone.experts import score_expert

PAGE = Path(__file__).parents[2] / "docs" / "foreign-experts.md"
LONGEST = 20  # lines of a recipe, without blank ones, imports and the line with its file's name
RECIPES = {
    block.split("\n", 1)[0].removeprefix("# "): block
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
}


def made(name: str, folder: Path):
    """Write a recipe to a file and return the path."""
    (folder / name).write_text(RECIPES[name], "utf-8")
    return folder / name


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_short(name):
    lines = [line for line in RECIPES[name].splitlines()[1:] if line.strip()]
    lines = [line for line in lines if not line.startswith(("import", "from"))]
    assert len(lines) <= LONGEST


class CleanAgent(nn.Module):
    """The shape of CleanRL's agent for Atari."""

    def __init__(self, actions):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512),
            nn.ReLU(),
        )  # fmt: skip
        self.actor, self.critic = nn.Linear(512, actions), nn.Linear(512, 1)


def test_cleanrl(tmp_path):
    agent, pong = CleanAgent(6), ic.game("atari/Pong", sticky=0, max_steps=4)
    torch.save(agent.state_dict(), tmp_path / "ppo.cleanrl_model")
    path = str(tmp_path / "ppo.cleanrl_model")
    player = ic.expert(f"{made('cleanrl.py', tmp_path)}:CleanRL", pong, path=path)
    score = score_expert(player, pong, episodes=2)
    assert score.steps == 8
    assert score.action_frequencies[1] >= 0.25  # FIRE, pressed at the start of each
    stacks = np.random.default_rng(0).integers(0, 256, (2, 4, 84, 84), np.uint8)
    wanted = agent.actor(agent.network(torch.from_numpy(stacks) / 255))
    assert torch.allclose(player.player.act(stacks), wanted, atol=1e-6)


class FactoryModel(nn.Module):
    """The shape of a recurrent policy of Sample Factory 2 on vectors, by its parameters' names."""

    def __init__(self, size, actions, width=16):
        super().__init__()
        inner = nn.Module()
        inner.register_buffer("running_mean", torch.randn(size, dtype=torch.float64))
        inner.register_buffer("running_var", torch.rand(size, dtype=torch.float64) + 0.5)
        inner.register_buffer("count", torch.ones(1, dtype=torch.float64))
        self.obs_normalizer = nested("running_mean_std.running_mean_std.obs", inner)
        layers = nn.Sequential(nn.Linear(size, width), nn.ELU(), nn.Linear(width, 12), nn.ELU())
        self.encoder = nested("encoders.obs.mlp_head", layers)
        self.core = nested("core", nn.GRU(12, 20))
        self.critic_linear = nn.Linear(20, 1)
        self.action_parameterization = nested("distribution_linear", nn.Linear(20, actions))
        self.parts = [inner, layers, self.core.core]  # for `forward`; not in the file

    def forward(self, seen, state):
        inner, layers, core = self.parts
        x = (seen - inner.running_mean) / torch.sqrt(inner.running_var + 1e-5)
        x, state = core(layers(x.float().clamp(-5, 5))[None], state)
        return self.action_parameterization.distribution_linear(x[0]), state


def nested(names: str, module: nn.Module) -> nn.Module:
    """Return modules within modules, by their names."""
    for name in reversed(names.split(".")):
        outer = nn.Module()
        outer.add_module(name, module)
        module = outer
    return module


def test_sample_factory(tmp_path):
    model, cart = FactoryModel(4, 2), ic.game("gym/CartPole-v1", max_steps=30)
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("parts.")}
    state = {"train_step": 7, "env_steps": 100, "best_performance": -1.5, "model": weights}
    torch.save({**state, "optimizer": {}, "curr_lr": 1e-4}, tmp_path / "checkpoint.pth")
    path = str(tmp_path / "checkpoint.pth")
    player = ic.expert(f"{made('factory.py', tmp_path)}:Factory", cart, path=path)
    assert score_expert(player, cart, episodes=2).episodes == 2
    player.player.reset(3)
    state = torch.zeros(1, 3, 20)
    for _ in range(3):
        seen = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
        wanted, state = model(torch.from_numpy(seen), state)
        assert torch.allclose(player.player.act(seen), wanted, atol=1e-6)


def test_a_recurrent_network_on_small_pictures(tmp_path):
    convs = {f"conv{k}": nn.Conv2d(1 if k == 1 else 32, 32, 3, 2, 1) for k in range(1, 5)}
    more = {"gru": nn.GRUCell(800, 256), "critic_linear": nn.Linear(256, 1)}
    model = nn.ModuleDict({**convs, **more, "actor_linear": nn.Linear(256, 6)})
    torch.save(model.state_dict(), tmp_path / "m.tar", _use_new_zipfile_serialization=False)
    pong = ic.game("atari/Pong", sticky=0, frame_skip="2-4", max_steps=4)
    path = str(tmp_path / "m.tar")
    player = ic.expert(f"{made('baby.py', tmp_path)}:Baby", pong, path=path)
    alone = score_expert(player, pong, episodes=1)
    assert score_expert(player, pong, episodes=3).scores[0] == alone.scores[0]
    screens = np.random.default_rng(0).integers(0, 256, (1, 210, 160, 3), np.uint8)
    player.player.reset(1)
    first = player.player.act(screens)
    assert not torch.allclose(player.player.act(screens), first)  # it remembers
    player.player.reset(1)
    assert torch.allclose(player.player.act(screens), first)
