"""Evaluation: errors by episode, every episode counted once, actions drawn as the policy says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.demos import FrameDemonstrations
from isoclone.demos.feed import dev_rows
from isoclone.evaluation.dev_loss import dev_loss, mean_by_episode
from isoclone.evaluation.rollout import random_returns, rollout
from isoclone.evaluation.summary import summary
from isoclone.games import FrameSpec, game
from isoclone.games.base import slot_seeds
from isoclone.policies.sampling import Sampling
from isoclone.study.study import Study
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe

LEAN = recipe("lean")


@pytest.fixture(scope="module")
def policy(finished_study):
    point = Study.open(finished_study).points()[-1]
    return load_checkpoint(finished_study / point.checkpoint)


@pytest.fixture(scope="module")
def source(finished_study, policy):
    demos = FrameDemonstrations.open(finished_study / "demos")
    return demos.source(policy.encoder.kind, policy.encoder.layout)


@pytest.fixture(scope="module")
def cache(source):
    return source.cache


def test_dev_loss_is_the_mean_cross_entropy(policy, source, cache):
    """Against a loop over single samples with the frames themselves."""
    found = dev_loss(policy, source, samples=60)
    rows, losses, hits = dev_rows(cache, 60), [], []
    for row in rows:
        stack = [max(row - 1, cache.starts[row]), row]
        fed = torch.from_numpy(cache.codes[stack].astype(np.float32)) * cache.encoder.scale
        logits = policy.logits(fed.view(1, 2, 12, 12).to(policy.dtype))[0]
        action = int(cache.actions[row])
        losses.append(-functional.log_softmax(logits.double(), 0)[action].item())
        hits.append(int(logits.argmax()) == action)
    assert found.mean == pytest.approx(np.mean(losses), abs=2e-3)
    assert found.accuracy == pytest.approx(np.mean(hits), abs=0.04)
    assert found.samples == len(rows) <= 60
    assert found.episodes == len(set(cache.episodes[rows]))


def test_dev_samples_are_thinned_alike_in_every_episode(cache):
    every = dev_rows(cache, len(cache.dev))
    assert (every == cache.dev).all()
    few = dev_rows(cache, 50)
    assert len(few) <= 50
    assert set(cache.episodes[few]) == set(cache.episodes[cache.dev])


def test_se_with_the_episode_as_the_unit():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 60, size=40)
    episodes = np.repeat(np.arange(40), lengths)
    values = rng.normal(size=40)[episodes] + 0.1 * rng.normal(size=len(episodes))
    mean, se = mean_by_episode(values, episodes)
    sums = [values[episodes == e].sum() - np.sum(episodes == e) * values.mean() for e in range(40)]
    assert mean == pytest.approx(values.mean())
    assert se == pytest.approx(np.sqrt(40 / 39 * np.sum(np.square(sums))) / len(values))
    assert se > 3 * values.std() / np.sqrt(len(values))  # samples of an episode are correlated


def test_one_episode_has_a_mean_and_no_se():
    assert mean_by_episode(np.array([1.0, 2.0]), np.array([5, 5])) == (1.5, None)


def test_sampled_actions_have_the_policys_frequencies():
    logits = np.log(np.array([0.1, 0.6, 0.3])) + 7.0
    uniforms = (np.arange(10_000) + 0.5) / 10_000
    chosen = Sampling.parse("sample").choose(np.tile(logits, (10_000, 1)), uniforms)
    np.testing.assert_allclose(np.bincount(chosen) / 10_000, [0.1, 0.6, 0.3], atol=1e-3)


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1.0, 0.0)])
def test_no_draw_leaves_the_actions_there_are(uniform):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 30, (500, 7)).astype(np.float32)
    chosen = Sampling.parse("sample").choose(logits, np.full(500, uniform))
    assert ((chosen >= 0) & (chosen < 7)).all()


def test_an_impossible_action_is_never_drawn():
    logits = np.array([[-np.inf, 0.0, -np.inf]])
    for uniform in (0.0, 0.5, 0.9999):
        assert Sampling.parse("sample").choose(logits, np.array([uniform]))[0] == 1


def test_argmax_takes_the_likeliest():
    logits = np.array([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert Sampling.parse("argmax").choose(logits, np.zeros(2)).tolist() == [1, 0]


class UnevenEnv:
    """An episode lasts 1 to 40 steps, drawn from its seed; its return is its length."""

    def reset(self, seed):
        self._left = int(np.random.default_rng(seed).integers(1, 41))
        return np.zeros((12, 12), np.uint8)

    def step(self, action):
        self._left -= 1
        return np.zeros((12, 12), np.uint8), 1.0, self._left == 0, False


@dataclass(frozen=True)
class Uneven:
    name: str = "uneven"
    n_actions: int = 3
    frame: FrameSpec = game("toy").frame
    max_steps: int = 100
    random_score: float | None = None
    expert_score: float | None = None

    def make_env(self):
        return UnevenEnv()

    def options(self):
        return {}


@pytest.mark.parametrize("slots", [1, 3, 16])
@pytest.mark.parametrize("episodes", [1, 5, 40])
def test_every_episode_begun_is_finished_and_counted(policy, slots, episodes):
    played = rollout(policy, Uneven(), episodes, slots=slots)
    assert len(played.returns) == episodes
    assert (played.returns == played.lengths).all()
    assert played.lengths.min() >= 1
    assert not played.truncated.any()


def test_short_episodes_are_not_over_represented(policy):
    """With more slots than can be filled the first to end are the short ones: all still count."""
    lengths = rollout(policy, Uneven(), 600, slots=16).lengths
    assert lengths.mean() == pytest.approx(20.5, abs=4 * lengths.std() / np.sqrt(600))
    assert lengths.max() > 38


def test_rollouts_repeat_with_their_seed(policy):
    one, two, other = (rollout(policy, game("toy"), 6, seed=s) for s in (1, 1, 2))
    assert (one.returns == two.returns).all()
    assert (one.lengths == two.lengths).all()
    assert (one.returns != other.returns).any()
    assert one.se == pytest.approx(one.returns.std(ddof=1) / np.sqrt(6))


def test_truncated_episodes_are_marked(policy):
    played = rollout(policy, game("toy", max_steps=9), 5)
    assert played.truncated.all()
    assert (played.lengths == 9).all()


def test_a_rollout_feeds_the_policy_what_training_did(policy):
    """One episode by hand: stacks made from frames, encoded as the cache encodes them."""
    toy, seed = game("toy"), 3
    played = rollout(policy, toy, 1, seed=seed, sampling="argmax", slots=1)
    env = toy.make_env()
    slot_seed = np.random.default_rng(slot_seeds(seed, 1)[0]).integers(2**31)
    frames, score, ended = [env.reset(int(slot_seed))], 0.0, False
    while not ended:
        stack = np.stack([frames[max(len(frames) - 2, 0)], frames[-1]])
        codes = torch.from_numpy(policy.encoder.encode(stack).astype(np.float32))
        fed = (codes * policy.encoder.scale).view(1, 2, 12, 12).to(policy.dtype)
        frame, reward, terminated, truncated = env.step(int(policy.logits(fed).argmax()))
        frames.append(frame)
        score += reward
        ended = terminated or truncated
    assert played.returns[0] == score
    assert played.lengths[0] == len(frames) - 1


def test_real_atari_rollouts_count_their_episodes(breakout_demos, tmp_path):
    cnn = Run("atari/Breakout", breakout_demos.fingerprint, "cnn", 2, {}, LEAN.to_json(), 0)
    source = breakout_demos.source("standardise", "blocks4")
    policy = Trainer(cnn, source, breakout_demos.n_actions, tmp_path).trained()
    played = rollout(policy, game("atari/Breakout", max_steps=60), 5, slots=2)
    assert len(played.returns) == 5
    assert (played.lengths <= 60).all()


def test_random_play_is_the_floor():
    played = random_returns(game("toy"), 64)
    known = game("toy").random_score
    assert played.mean == pytest.approx(known, abs=4 * played.se + 0.1)


def test_what_cannot_be_played_is_refused(policy):
    with pytest.raises(SpecError, match="episodes must be at least 1, not 0"):
        rollout(policy, game("toy"), 0)
    with pytest.raises(SpecError, match="sampling must be 'sample', 'argmax' or"):
        rollout(policy, game("toy"), 1, sampling="guess")


def test_numbers_of_episodes_have_a_mean_and_texts_are_counted():
    rows = [{"score": 4, "end": "won", "who": None}, {"score": 8.0, "end": "lost"}, {"end": "lost"}]
    assert summary(rows) == {
        "score": {"mean": 6.0, "se": 2.0},
        "ends": {"lost": 2, "won": 1},
        "whos": {},
    }
    assert list(summary(rows, ("end", "score"))) == ["ends", "score"]
    assert summary(rows[:1], ("score",)) == {"score": {"mean": 4.0, "se": None}}
    assert summary([]) == {}
