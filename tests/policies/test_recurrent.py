"""Recurrent policies of every game: steps at once or one by one, in rollouts, resumed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import tiny_spec

from isoclone.agents.runners import runner_for
from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.evaluation.rollout import rollout
from isoclone.games import FrameSpec, game
from isoclone.policies import (
    is_recurrent,
    make_policy,
    policy_flops,
    policy_layout,
    policy_params,
    width_for,
)
from isoclone.policies.observe import observe
from isoclone.study import pipeline
from isoclone.study.study import Study
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe

IMAGE, VECTOR = FrameSpec((84, 84), "uint8", 4), FrameSpec((4,), "float32", 1)
LEAN = recipe("lean", precision="float32", batch_size=32)
MADE = [("cnn-lstm", IMAGE), ("cnn-transformer", IMAGE), ("mlp-lstm", VECTOR)]


pytestmark = pytest.mark.usefixtures("one_thread")


def observations(module, frame, steps, lanes):
    shape = (21, 21, 64) if module.layout == "blocks4" else (frame.stack, *frame.shape)
    return torch.randn(steps, lanes, *shape)


@pytest.mark.parametrize(("name", "frame"), MADE)
def test_steps_at_once_equal_steps_one_by_one(name, frame):
    """Also where episodes start in the middle, and no lane knows of another."""
    torch.manual_seed(0)
    module = make_policy(name, 3, frame, 5)
    assert is_recurrent(module)
    seen = observations(module, frame, 7, 2)
    previous = torch.randint(0, 6, (7, 2))
    starts = torch.zeros(7, 2, dtype=torch.bool)
    starts[0], starts[3, 1] = True, True
    whole, last = module(seen, previous, starts, module.initial_state(2))
    state, parts = module.initial_state(2), []
    for t in range(7):
        logits, state = module(seen[t : t + 1], previous[t : t + 1], starts[t : t + 1], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-4)
    alone, _ = module(seen[3:, 1:], previous[3:, 1:], starts[3:, 1:], module.initial_state(1))
    torch.testing.assert_close(alone[:, 0], whole[3:, 1], atol=1e-5, rtol=1e-4)
    for name_, value in last.items():
        torch.testing.assert_close(state[name_], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "frame"), MADE)
def test_flops_are_those_of_the_trunk_and_more(name, frame):
    trunk = name.split("-")[0]
    assert policy_flops(name, 4, frame, 5) > policy_flops(trunk, 4, frame, 5)


def test_options_that_cannot_be():
    for options, said in (
        ({"unroll": 0}, "unroll must be at least 1, not 0"),
        ({"layers": 0}, "layers must be at least 1, not 0"),
        ({"layers": 2, "aspect": 8}, "layers and aspect"),
        ({"aspect": -1}, "aspect must be a positive number"),
    ):
        with pytest.raises(SpecError, match=said):
            make_policy("cnn-lstm", 4, IMAGE, 5, **options)


def test_depth_grows_with_width_where_an_aspect_is_given():
    def depth(width, **options):
        core = make_policy("cnn-transformer", width, IMAGE, 5, **options).core
        return len(core.layers)

    assert [depth(width) for width in (1, 8)] == [2, 2]
    assert [depth(width, aspect=16) for width in (1, 2, 4, 8)] == [1, 1, 2, 4]  # of 8 x width
    params = policy_params("cnn-lstm", 9, IMAGE, 5, aspect=16)
    assert width_for(params, "cnn-lstm", IMAGE, 5, aspect=16) == 9


def trainer(demos, folder, name, kind="standardise"):
    run = Run(demos.game_name, demos.fingerprint, name, 3, {}, LEAN.to_json(), 0)
    layout = policy_layout(name, 3, demos.frame, demos.n_actions)
    return Trainer(run, demos.source(kind, layout), demos.n_actions, folder).resume()


@pytest.mark.parametrize("name", ["cnn-lstm", "cnn-transformer"])
def test_killed_and_resumed_gives_the_same_bits(breakout_demos, tmp_path, name):
    whole = trainer(breakout_demos, tmp_path / "whole", name)
    budgets = [whole.flops_per_sample * LEAN.batch_size * n for n in (4, 9)]
    whole.train_until(budgets[1])
    first = trainer(breakout_demos, tmp_path / "parts", name)
    first.train_until(budgets[0])
    first.save()
    second = trainer(breakout_demos, tmp_path / "parts", name)
    assert second.progress.step == 4
    second.train_until(budgets[1])
    assert torch.equal(second.average, whole.average)
    for key, value in whole.carried[0].items():
        assert torch.equal(second.carried[0][key], value)


def test_a_rollout_shows_a_policy_what_training_did(breakout_demos, tmp_path):
    """Frame by frame through a runner, and as one unroll: the same logits."""
    made = trainer(breakout_demos, tmp_path, "cnn-lstm")
    made.train_until(made.flops_per_sample * 200)
    policy, played = made.trained(), breakout_demos.read(0)
    runner, slot, told = runner_for(policy, 1), np.array([0]), []
    for t, frame in enumerate(played.frames[:40]):
        (runner.start if t == 0 else runner.push)(slot, frame[None])
        told.append(runner.logits(slot))
        runner.chose(slot, played.actions[t : t + 1].astype(np.int64))
    codes = policy.encoder.encode(played.frames[:40])
    rows = np.maximum(np.arange(40)[:, None] + np.arange(-3, 1), 0)
    stacks = torch.from_numpy(codes[rows])[:, None].contiguous()
    seen = observe(policy.module, stacks, policy.encoder, torch.float32)
    before = torch.from_numpy(played.actions[:39].astype(np.int64))
    previous = torch.cat([torch.tensor([policy.n_actions]), before])[:, None]
    starts = torch.zeros(40, 1, dtype=torch.bool)
    starts[0] = True
    wanted, _ = policy.step(seen, previous, starts, state=policy.initial_state(1))
    np.testing.assert_allclose(np.concatenate(told), wanted[:, 0].numpy(), atol=1e-4)


def test_a_real_game_is_played_and_judged(breakout_demos, tmp_path):
    made = trainer(breakout_demos, tmp_path, "cnn-lstm")
    made.train_until(made.flops_per_sample * 200)
    policy = made.trained()
    assert np.isfinite(dev_loss(policy, made.source, 200).mean)
    played = rollout(policy, game("atari/Breakout", max_steps=40), 5, slots=2)
    again = rollout(policy, game("atari/Breakout", max_steps=40), 5, slots=2)
    assert (played.returns == again.returns).all()
    assert (played.lengths <= 40).all()


def test_a_whole_study_of_a_recurrent_policy(tmp_path, finished_study):
    """From demonstrations to report, with an agent that remembers."""
    spec = tiny_spec(policy="mlp-lstm", demos=str(finished_study / "demos"))
    study = pipeline.run(Study.create(tmp_path / "lstm", spec))
    assert {p.status for p in study.points(None)} == {"ok"}
    assert study.tested().point.policy == "mlp-lstm"
    assert set(study.baselines()) == {"marginal", "smallest"}
    assert study.folder.video.stat().st_size
