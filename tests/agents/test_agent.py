"""Agents in somebody's own loop: raw observations in, actions out, and no training code."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from agents_made import made

import isoclone as ic
from isoclone.base.errors import DataError, SpecError
from isoclone.evaluation.rollout import rollout
from isoclone.games import FrameSpec, game, make_env, vector_env

ATARI = FrameSpec((84, 84), "uint8", 4)
VECTOR = FrameSpec((4,), "float32", 1)
LOADED = """
import sys, numpy as np, isoclone as ic
agent = ic.load(sys.argv[1], sampling="argmax")
agent.reset()
print(agent.act(np.load(sys.argv[2])))
print(*sorted(name for name in sys.modules if name.startswith("isoclone.")))
"""


def frame_of(agent, seed=0):
    return make_env(game(agent.run.game)).reset(seed)


def test_a_study_a_run_and_a_file_are_loaded_without_training_code(finished_study, tmp_path):
    study = ic.Study.open(finished_study)
    point = study.points("forecast")[0]
    run = study.folder.run(point.run_id).path
    agents = [ic.load(p) for p in (finished_study, run, finished_study / point.checkpoint)]
    assert {a.run.id for a in agents} == {point.run_id}
    greedy = ic.load(finished_study, sampling="argmax")
    np.save(tmp_path / "frame.npy", frame_of(greedy))
    words = [sys.executable, "-c", LOADED, str(finished_study), str(tmp_path / "frame.npy")]
    said = subprocess.run(words, capture_output=True, text=True, check=True)
    action, modules = said.stdout.splitlines()
    assert int(action) == greedy.act(frame_of(greedy))
    assert not said.stderr
    rooms = {name.split(".")[1] for name in modules.split()}
    assert not rooms & {"training", "demos", "experts", "executors", "evaluation", "laws", "cli"}
    assert {n for n in modules.split() if n.startswith("isoclone.study.")} == {
        "isoclone.study.checkpoints",
        "isoclone.study.folder",
    }


@pytest.mark.parametrize("name", ["mlp", "mlp-lstm"])
def test_in_ones_own_loop_it_plays_as_in_rollouts(name):
    """Stacks, the action before and the state are kept."""
    toy = game("toy")
    policy = made(name, toy.frame, toy.n_actions)
    played = rollout(policy, toy, 3, seed=3, sampling="argmax", slots=1)
    agent = ic.Agent(**vars(policy), sampling="argmax")
    env, slot, returns = vector_env(toy, 1, 3), np.array([0]), []
    for _ in range(3):
        agent.reset()
        frame, total, ended = env.reset(slot)[0], 0.0, False
        while not ended:
            frames, rewards, *ends = env.step(np.array([agent.act(frame)]))
            frame, ended = frames[0], bool(ends[0][0] or ends[1][0])
            total += float(rewards[0])
        returns.append(total)
    assert returns == played.returns.tolist()


@pytest.mark.parametrize("name", ["cnn", "cnn-lstm"])
def test_a_batch_is_each_by_itself(name):
    policy = made(name, ATARI, 5)
    frames = np.random.default_rng(1).integers(0, 256, (7, 3, 84, 84)).astype(np.uint8)
    alone = []
    for lane in range(3):
        agent = ic.Agent(**vars(policy), sampling="argmax")
        actions = []
        for t in range(7):
            if (lane, t) == (1, 4):
                agent.reset()
            actions.append(int(agent.choose(frames[t, lane : lane + 1])[0]))
        alone.append(actions)
    together = ic.Agent(**vars(policy), sampling="argmax")
    together.reset(3)
    for t in range(7):
        starts = np.array([False, t == 4, False])
        chosen = together.choose(frames[t], starts).tolist()
        assert chosen == [actions[t] for actions in alone]


def test_what_is_drawn_follows_the_seed():
    policy = made("mlp", VECTOR, 5, game="gym/CartPole-v1")

    def drawn(**how):
        agent = ic.Agent(**vars(policy), **how)
        return [int(agent.choose(np.zeros((1, 4), np.float32))[0]) for _ in range(30)]

    assert drawn(seed=1) == drawn(seed=1) != drawn(seed=2)
    assert len(set(drawn(sampling="argmax"))) == 1
    assert len(set(drawn(sampling="temperature=0"))) == 1
    with pytest.raises(SpecError, match="sampling"):
        drawn(sampling="greedy")


def test_atari_takes_what_the_emulator_shows():
    """Frames are those of recording: of the RGB screen, of grey ones, of the last two."""
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    agent = ic.Agent(**vars(made("cnn", ATARI, 4, game="atari/Breakout")), sampling="argmax")
    env = make_env(game("atari/Breakout"))
    frame = env.reset(0)
    assert np.array_equal(agent._frame(env.screen_rgb()), frame)
    assert np.array_equal(agent._frame(env.ale.getScreenGrayscale()), frame)
    for _ in range(30):
        frame = env.step(1)[0]
        assert np.array_equal(agent._frame(env._screens), frame)
    theirs = gymnasium.make("ALE/Breakout-v5")
    assert agent.act(theirs.reset(seed=0)[0]) in range(4)
    theirs.close()
    with pytest.raises(DataError, match="no Atari screen"):
        agent.act(np.zeros((3, 84, 84), np.uint8))


def test_gymnasium_observations_go_in_and_its_actions_come_out():
    """Entries of a Dict are read, and an index among several factors is an action of the space."""
    import gymnasium
    from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

    class Mixed(gymnasium.Env):
        observation_space = Dict({"x": Box(-1, 1, (2,)), "at": Discrete(3)})
        action_space = MultiDiscrete([2, 3], start=[5, 0])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return {"x": np.zeros(2, np.float32), "at": np.int64(1)}, {}

        def step(self, action):
            assert self.action_space.contains(action), action
            return self.reset()[0], 1.0, False, False, {}

    gymnasium.register("Mixed-v0", Mixed)
    try:
        mixed = game("gym/Mixed-v0")
        policy = made("mlp", mixed.frame, mixed.n_actions, game="gym/Mixed-v0")
        policy.action_sizes = mixed.action_sizes
        agent, env = ic.Agent(**vars(policy)), gymnasium.make("Mixed-v0")
        observation, _ = env.reset(seed=0)
        for _ in range(5):
            observation = env.step(agent.act(observation))[0]
        agent.reset(2)
        both = {key: np.stack([value, value]) for key, value in observation.items()}
        assert all(env.action_space.contains(action) for action in agent.act(both))
    finally:
        del gymnasium.registry["Mixed-v0"]


def test_observations_that_are_none_are_refused(finished_study):
    agent = ic.load(finished_study)
    with pytest.raises(DataError, match="has frames of shape"):
        agent.act(np.zeros(3, np.float32))
    with pytest.raises(SpecError, match="n must be at least 1"):
        agent.reset(0)
    agent.reset(2)
    with pytest.raises(DataError, match="3 observations for 2 games"):
        agent.act([frame_of(agent)] * 3)
    assert len(agent.act([frame_of(agent)] * 2)) == 2


def test_a_game_that_is_not_here_still_gets_frames():
    agent = ic.Agent(**vars(made("mlp", VECTOR, 5, game="elsewhere")))
    assert agent.act(np.zeros(4, np.float32)) in range(5)
    with pytest.raises(DataError, match="only its frames are understood: unknown game"):
        agent.act(np.zeros(5, np.float32))


def test_an_agent_is_a_policy(finished_study):
    agent = ic.load(finished_study)
    assert ic.rollout(agent, "toy", 2).returns.shape == (2,)
    assert repr(agent).startswith("Agent(mlp-w")
    assert not torch.is_inference_mode_enabled()
