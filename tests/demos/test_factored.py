"""Actions with several factors, from an expert's hands to the policy's and back."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import CheckpointError, DataError
from isoclone.base.records import Run
from isoclone.demos import RecordRequest, record
from isoclone.demos.episode import exact, read_actions
from isoclone.evaluation.baselines import action_shares
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.evaluation.rollout import marginal_returns, random_returns, rollout
from isoclone.experts import CallableExpert, expert, score_expert, train_expert
from isoclone.games import EnvAction, action_sizes, game
from isoclone.testing import check_demonstrations, check_game
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe


class Aim(gymnasium.Env):
    """Give back the numbers that are shown, in the form that the action space wants."""

    def __init__(self, kind="levers"):
        self.action_space = {
            "levers": MultiDiscrete([2, 5, 3]),
            "switches": MultiBinary(4),
            "real": Box(-1, 1, (2,)),
            "both": Dict(fire=Discrete(2), aim=Box(-1, 1, (1,))),
        }[kind]
        self.observation_space = Box(-1, 1, (4,))

    def draw(self):
        self.x = self.np_random.uniform(-1, 1, 4).astype(np.float32)
        return self.x

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.draw(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        paid = 1 - float(np.abs(np.ravel(hits(action)) - wanted(self.action_space, self.x)).mean())
        self.t += 1
        return self.draw(), paid, self.t == 20, False, {}


def hits(action):
    return list(action.values())[1] if isinstance(action, dict) else action


def wanted(space, x):
    if isinstance(space, MultiDiscrete):
        return np.floor((x[:3] + 1) / 2.0001 * space.nvec)
    if isinstance(space, MultiBinary):
        return x > 0
    return x[:2] if isinstance(space, Box) else x[:1]


def teacher(space):
    def act(observation):
        x = observation.reshape(-1)
        if isinstance(space, Dict):
            return {"fire": int(x[1] > 0), "aim": x[:1]}
        found = wanted(space, x)
        return found if isinstance(space, Box) else found.astype(int)

    return act


gymnasium.register("Aim-v0", Aim)
KINDS = ["levers", "switches", "real", "both"]


def aim(kind):
    return game("gym/Aim-v0", make={"kind": kind}, bins=8)


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    made = {}
    for kind in KINDS:
        the_game = aim(kind)
        player = CallableExpert(teacher(the_game.make_env().env.action_space), name="teacher")
        request = RecordRequest(
            the_game.name, player, 500, game_options=the_game.options(), dev_fraction=0.2
        )
        made[kind] = record(request, tmp_path_factory.mktemp("factored") / kind)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_recorded_and_read_back(demos, kind):
    check_game(aim(kind))
    held, sizes = demos[kind], aim(kind).action_sizes
    check_demonstrations(held)
    assert held.action_sizes == sizes
    episode = held.read(0)
    assert episode.actions.shape == (20, len(sizes))
    assert episode.actions.dtype == np.int16
    assert (read_actions(held.episode_path(0)) == episode.actions).all()
    counts = held.action_counts("train")
    assert len(counts) == sum(sizes)
    assert counts.sum() == len(sizes) * held.samples_in("train")
    assert (held.action_error() is not None) == (kind in ("real", "both"))


def test_the_distance_to_the_bins_is_told(demos):
    held = demos["real"]
    assert held.action_error() == pytest.approx(2 / 8 / 4, rel=0.1)
    assert held.summary()["action_error"] == held.action_error()
    assert any("actions were cut into bins: on average 0.06" in line for line in held.lines())
    assert held.score()[0] == pytest.approx(20 * (1 - 2 / 8 / 4), rel=0.02)  # what was played


@pytest.mark.parametrize(
    ("kind", "policy"), [*((kind, "mlp") for kind in KINDS), ("levers", "mlp-lstm")]
)
def test_policies_learn_them(demos, tmp_path, kind, policy):
    """A policy that has seen some thousand samples beats the expert's habits, and is itself."""
    held, the_game = demos[kind], aim(kind)
    source = held.source("standardise", "rows")
    options = {"unroll": 8} if policy == "mlp-lstm" else {}
    settings = recipe("lean", precision="float32", learning_rate=0.01, batch_size=64).to_json()
    run = Run(the_game.name, held.fingerprint, policy, 24, options, settings, 0)
    trainer = Trainer(
        run, source, held.n_actions, tmp_path, action_sizes=action_sizes(held)
    ).resume()
    before = dev_loss(trainer.trained(), source)
    trainer.train_until(10_000 * trainer.flops_per_sample)
    after = dev_loss(trainer.trained(), source)
    uniform = sum(np.log(n) for n in held.action_sizes)
    assert before.mean == pytest.approx(uniform, rel=0.35)
    assert after.mean < 0.75 * uniform
    top3 = after.accuracy_top3
    assert (top3 is None) == (max(held.action_sizes) <= 3)
    assert 0 <= after.accuracy <= (1 if top3 is None else top3) <= 1
    assert after.accuracy > before.accuracy
    trainer.save_checkpoint(tmp_path / "policy.safetensors")
    again = load_checkpoint(tmp_path / "policy.safetensors")
    assert again.action_sizes == held.action_sizes
    assert dev_loss(again, source) == after
    played = rollout(again, the_game, 16).mean
    habits = marginal_returns(the_game, action_shares(held), 16).mean
    assert played > habits
    trainer.save()
    resumed = Trainer(run, source, held.n_actions, tmp_path, action_sizes=held.action_sizes)
    torch.testing.assert_close(resumed.resume().weights(), trainer.weights())


def test_a_policy_is_held_to_the_factors(demos, tmp_path):
    held = demos["levers"]
    source = held.source("unit", "rows")
    run = Run(held.game_name, held.fingerprint, "mlp", 4, {}, recipe("lean").to_json(), 0)
    trainer = Trainer(run, source, held.n_actions, tmp_path, action_sizes=held.action_sizes)
    other = game("gym/Aim-v0", make={"kind": "real"}, bins=5)  # as many logits
    assert other.n_actions == held.n_actions
    with pytest.raises(CheckpointError, match=r"chooses among 2x5x3 actions.* has 5x5 actions"):
        rollout(trainer.trained(), other, 1)


def test_habits_are_drawn_factor_by_factor():
    levers = aim("levers")
    only = np.zeros(10)
    only[[1, 4, 9]] = 1  # 1 of 2, 2 of 5, 2 of 3
    seen = []
    env_step = Aim.step

    def step(self, action):
        seen.append(tuple(action))
        return env_step(self, action)

    Aim.step = step
    try:
        marginal_returns(levers, only, 2)
        assert set(seen) == {(1, 2, 2)}
        seen.clear()
        random_returns(levers, 8)
        assert len(set(seen)) > 20
    finally:
        Aim.step = env_step


def test_experts_may_act_as_the_environment_or_by_index():
    real = aim("real")
    by_value = score_expert(CallableExpert(lambda o: np.array([0.3, -1.0])), real, 2)
    by_index = score_expert(CallableExpert(lambda o: np.array([5, 0])), real, 2)
    whole = score_expert(CallableExpert(lambda o: EnvAction(np.array([1, 0]))), real, 2)
    assert by_value.scores == by_index.scores
    assert np.reshape(by_value.action_frequencies, (2, 8)).argmax(1).tolist() == [5, 0]
    assert np.reshape(whole.action_frequencies, (2, 8)).argmax(1).tolist() == [7, 4]
    assert by_value.steps == 40
    assert sum(score_expert(expert("random", real), real, 2).action_frequencies) == pytest.approx(2)


@pytest.mark.parametrize(
    ("kind", "action", "why"),
    [
        ("levers", [0, 5, 0], "chose 5 as number 1 of its action; .* 0 to 4 there"),
        ("levers", [0, 1], "wants 3 whole numbers"),
        ("levers", [0.5, 1, 1], "is not one of the game's"),
        ("real", [np.nan, 0.0], "is not finite"),
        ("real", "left", r"has not the shape \(2,\)"),
        ("both", {"fire": 1}, "no entry 'aim'"),
    ],
)
def test_actions_that_are_none_are_refused(kind, action, why):
    with pytest.raises(DataError, match=f"expert 'wild'.*{why}"):
        score_expert(CallableExpert(lambda o: action, "wild"), aim(kind), 1)


def test_experts_are_not_trained_on_them(tmp_path):
    pytest.importorskip("stable_baselines3")
    with pytest.raises(Exception, match=r"several factors .2x5x3., which `expert train`"):
        train_expert(aim("levers"), tmp_path / "x")


def test_rewards_are_kept_as_they_were_paid():
    assert exact([1.0, -2.5]).dtype == np.float32
    tenths = exact([0.1] * 1_000)
    assert tenths.sum(dtype=np.float64) == pytest.approx(100, abs=1e-9)
    assert exact([1e300, 1.0]).dtype == np.float64
