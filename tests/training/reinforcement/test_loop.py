"""Runs of PPO: the same numbers however often they are killed, memory, counting, trouble."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoclone.agents.checkpoint import load_checkpoint, load_tensors, save_tensors
from isoclone.base.errors import CheckpointError, ExecutionError, SpecError
from isoclone.base.records import Run
from isoclone.evaluation.rollout import rollout
from isoclone.games import FrameSpec, Game, game
from isoclone.policies import policy_params
from isoclone.training.learner import Diverged
from isoclone.training.recipes import imitates, read_recipe, recipe
from isoclone.training.reinforcement.actor_critic import ActorCritic, learning_cost
from isoclone.training.reinforcement.advantages import vtrace
from isoclone.training.reinforcement.batches import Samples
from isoclone.training.reinforcement.loop import PpoTrainer
from isoclone.training.reinforcement.recipe import PPO, PpoRecipe
from isoclone.training.reinforcement.rewards import Rewards

SHORT = dataclasses.replace(PPO, slots=4, rollout_steps=32, batch_size=64, epochs=2)
Start = Callable[..., PpoTrainer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Yield a function that begins a run; environments are closed when the test is over."""
    begun: list[PpoTrainer] = []

    def begin(
        of: Game | str = "gym/CartPole-v1",
        policy: str = "mlp",
        settings: PpoRecipe = SHORT,
        width: int = 4,
        folder: Path = tmp_path,
        clone: Any = None,
        seed: int = 3,
    ) -> PpoTrainer:
        the_game = game(of) if isinstance(of, str) else of
        run = Run(the_game.name, "", policy, width, {}, settings.to_json(), seed)
        begun.append(PpoTrainer(run, the_game, folder, clone=clone))
        return begun[-1]

    yield begin
    for trainer in begun:
        trainer.close()


def timeless(trainer: PpoTrainer) -> list[dict[str, Any]]:
    """Return the curve without the seconds."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.curve]


@pytest.mark.parametrize(
    ("of", "policy", "changes"),
    [
        ("gym/CartPole-v1", "mlp", {}),
        ("gym/CartPole-v1", "mlp-lstm", {"average": 8.0}),
        ("recall", "mlp-lstm", {"rewards": "raw"}),
        ("toy", "mlp", {"frames": "standardise", "critic": "separate", "target_kl": 0.01}),
        ("toy", "cnn-transformer", {"lag": 1, "rewards": "sign"}),
        ("recall", "mlp-lstm", {"lag": 1}),
        ("atari/Breakout", "cnn", {"rewards": "sign", "lives": True}),
    ],
)
def test_a_run_killed_after_every_iteration_has_the_same_weights(
    start: Start, tmp_path: Path, of: str, policy: str, changes: dict[str, Any]
) -> None:
    settings = dataclasses.replace(SHORT, **changes)
    whole = start(of, policy, settings, folder=tmp_path / "whole")
    for _ in range(4):
        whole.iterate()
    folder = tmp_path / "killed"
    folder.mkdir()
    for _ in range(4):
        killed = start(of, policy, settings, folder=folder).resume()
        assert killed.replayed
        killed.iterate()
        killed.save()
        killed.close()
    assert torch.equal(killed.flat.values, whole.flat.values)
    assert torch.equal(killed.average, whole.average)
    assert killed.counts == whole.counts
    assert timeless(killed) == timeless(whole)


@pytest.mark.parametrize(("of", "policy"), [("atari/Breakout", "cnn"), ("recall", "mlp-lstm")])
def test_a_state_written_before_it_told_parameters_apart_goes_on(
    start: Start, of: str, policy: str
) -> None:
    settings = dataclasses.replace(SHORT, average=8.0)
    whole = start(of, policy, settings)
    whole.iterate()
    whole.save()
    tensors, metadata = load_tensors(whole.state_path)
    kept = {name: t for name, t in tensors.items() if not name.startswith(("average", "adam."))}
    adam = {f"adam.{name}": t for name, t in whole.optimiser.state.items()}
    save_tensors(whole.state_path, {**kept, "average": whole.average, **adam}, metadata)
    again = start(of, policy, settings).resume()
    for trainer in (whole, again):
        trainer.iterate()
    assert torch.equal(again.flat.values, whole.flat.values)
    assert torch.equal(again.average, whole.average)


@pytest.mark.parametrize("lives", [False, True])
def test_a_lost_life_is_an_end_where_the_recipe_says_so(start: Start, lives: bool) -> None:
    settings = dataclasses.replace(SHORT, rollout_steps=128, rewards="sign", lives=lives)
    trainer = start("atari/Breakout", "cnn", settings)
    rollouts = [trainer.player.next(False, False) for _ in range(2)]
    ends = sum(int(played.ends.sum()) for played in rollouts)
    episodes = sum(len(played.returns) for played in rollouts)
    assert (ends > 2 * episodes) == lives  # a game of Breakout has five lives
    assert ends > 0
    assert all((played.following[played.ends] == 0).all() for played in rollouts)
    without = start("toy", settings=settings)
    assert without.player.next(False, False).ends.sum() > 0


def test_a_run_is_saved_where_every_episode_has_just_begun(start: Start) -> None:
    settings = dataclasses.replace(SHORT, rollout_steps=112, batch_size=64)  # 16 episodes of 7
    first = start("recall", "mlp-lstm", settings)
    first.iterate()
    first.save()
    again = start("recall", "mlp-lstm", settings).resume()
    assert again.replayed
    for trainer in (first, again):
        trainer.iterate()
    assert torch.equal(first.flat.values, again.flat.values)


class _Forgetful:
    """CartPole that goes on with the chance it has, whatever seed it is given."""

    def __init__(self, env: Any):
        self._env, self._begun = env, 0

    def reset(self, seed: int) -> np.ndarray:
        _Forgetful.count += 1
        return self._env.reset(_Forgetful.count)  # type: ignore[no-any-return]

    def step(self, action: int) -> Any:
        return self._env.step(action)

    count = 0


@dataclasses.dataclass(frozen=True)
class Unseeded:
    """A game whose episodes depend on more than their seed."""

    name: str = "unseeded"
    n_actions: int = 2
    frame: FrameSpec = dataclasses.field(default_factory=lambda: game("gym/CartPole-v1").frame)
    max_steps: int = 500
    random_score: float | None = None
    expert_score: float | None = None

    def make_env(self) -> _Forgetful:
        return _Forgetful(game("gym/CartPole-v1").make_env())

    def options(self) -> dict[str, Any]:
        return {}


def test_a_game_that_went_differently_is_gone_on_with_in_new_episodes(start: Start) -> None:
    first = start(Unseeded())
    first.iterate()
    first.save()
    again = start(Unseeded()).resume()
    assert not again.replayed
    assert torch.equal(again.flat.values, first.flat.values)
    again.iterate()
    assert again.progress.samples == 2 * SHORT.samples_per_iteration


def test_the_state_of_another_run_or_a_damaged_one_is_refused(start: Start, tmp_path: Path) -> None:
    first = start()
    first.iterate()
    first.save()
    with pytest.raises(CheckpointError, match="another run"):
        start(seed=4).resume()
    first.state_path.write_bytes(first.state_path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        start().resume()


@pytest.mark.parametrize(
    ("of", "policy", "changes"),
    [
        ("gym/CartPole-v1", "mlp", {}),
        ("gym/CartPole-v1", "mlp", {"critic": "separate"}),
        ("toy", "cnn", {}),
        ("gym/CartPole-v1", "mlp-lstm", {}),
        ("gym/CartPole-v1", "mlp-lstm", {"lag": 1}),
    ],
)
def test_flops_are_those_that_torch_counts(
    start: Start, of: str, policy: str, changes: dict[str, Any]
) -> None:
    trainer = start(of, policy, dataclasses.replace(SHORT, **changes))
    trainer.player  # noqa: B018  # the first episodes begin
    with FlopCounterMode(display=False) as counter:
        trainer.iterate()
    assert trainer.flops == pytest.approx(counter.get_total_flops(), rel=1e-9)
    assert trainer.play_flops > 0
    assert trainer.learn_flops > 2 * trainer.play_flops
    costs = trainer.costs()
    assert costs["play_flops"] + costs["learn_flops"] == trainer.flops
    assert costs["epochs"] == trainer.recipe.epochs


def test_passes_that_end_early_are_not_counted(start: Start) -> None:
    trainer = start(settings=dataclasses.replace(SHORT, epochs=4, target_kl=1e-9))
    trainer.iterate()
    trainer.iterate()
    assert trainer.costs()["epochs"] < 4
    assert trainer.costs()["epochs"] == trainer.counts.learned / trainer.progress.samples


def test_other_conventions_are_named() -> None:
    shape = ("mlp", 8, game("gym/CartPole-v1").frame, 2, "shared")
    exact, triple = learning_cost(*shape), learning_cost(*shape, "3x-forward")
    assert triple.learn == 3 * exact.play > exact.learn
    params = policy_params("mlp", 8, shape[2], 2)
    assert learning_cost(*shape, "6nd")[:2] == (2 * params, 6 * params)
    with pytest.raises(SpecError, match="tuyls2023-atari"):
        learning_cost(*shape, "tuyls2023-atari")


def test_only_a_memory_solves_recall(start: Start, tmp_path: Path) -> None:
    settings = dataclasses.replace(PPO, learning_rate=3e-3, rollout_steps=64, rewards="raw")
    scores = {}
    for policy in ("mlp", "mlp-lstm"):
        trainer = start("recall", policy, settings, 16, tmp_path / policy)
        while trainer.progress.samples < 40_000:
            trainer.iterate()
        scores[policy] = rollout(trainer.trained(), game("recall"), 200, 0).mean
    assert scores["mlp-lstm"] > 0.9
    assert scores["mlp"] < 0.5  # a third, if nothing is remembered


def test_states_before_each_unroll_repeat_what_was_played(start: Start) -> None:
    """Learning sees the probabilities that the player had, resets within an unroll included."""
    trainer = start("recall", "mlp-lstm", dataclasses.replace(SHORT, rollout_steps=64))
    trainer.iterate()  # so that states are not those of a beginning
    samples = trainer._weighed(played := trainer.player.next(False, False))
    assert played.ends.any()
    rng = np.random.default_rng(0)
    for inputs, state, batch in samples.minibatches(64, rng):
        logits, values, _ = trainer.module(inputs, state)
        chosen = logits.flatten(0, 1).log_softmax(-1).gather(1, batch.actions[:, None])[:, 0]
        assert torch.allclose(chosen, batch.log_probs, atol=1e-5)
        assert torch.allclose(values.flatten(), batch.values, atol=1e-5)


@pytest.mark.parametrize(("of", "policy"), [("toy", "mlp"), ("recall", "mlp-lstm")])
def test_a_player_that_lags_is_one_iteration_older(start: Start, of: str, policy: str) -> None:
    trainer = start(of, policy, dataclasses.replace(SHORT, lag=1, learning_rate=0.01))
    trainer.iterate()
    older = copy.deepcopy(trainer.module)
    trainer.iterate()
    played = trainer.player.next(False, False)
    samples = trainer._weighed(played)
    log_probs, values = trainer._reread(samples)
    assert np.allclose(played.values, _valued(samples, older), atol=1e-5)
    assert np.allclose(values, _valued(samples, trainer.module), atol=1e-6)
    assert not np.allclose(values, played.values, atol=1e-3)
    ratios = np.exp(log_probs - played.log_probs)
    about = played.rewards, values, played.followed_by(values), played.ends, ratios
    wanted = vtrace(*about, trainer.recipe.discount, trainer.recipe.gae_lambda)
    for column, figures in zip(("advantages", "targets"), wanted, strict=True):
        assert np.allclose(samples._columns[column], figures, atol=1e-5)


@torch.no_grad()
def _valued(samples: Samples, module: ActorCritic) -> np.ndarray:
    return samples.joined(
        [module(inputs, state)[1].flatten() for inputs, state, _ in samples.minibatches(64)]
    )


def test_an_environment_that_dies_while_it_plays_ahead_ends_the_run(start: Start) -> None:
    trainer = start("toy", settings=dataclasses.replace(SHORT, lag=1))
    trainer.iterate()
    trainer.iterate()

    def dies(actions: np.ndarray) -> Any:
        raise ExecutionError("the game is gone")

    trainer.player._actors.env.step = dies  # type: ignore[method-assign]
    with pytest.raises(ExecutionError, match="the game is gone"):
        trainer.train_until(1e12)


def test_a_checkpoint_plays_like_any_other(start: Start, tmp_path: Path) -> None:
    trainer = start()
    trainer.train_until(3e6)
    path = tmp_path / "agent.safetensors"
    trainer.save_checkpoint(path)
    loaded = load_checkpoint(path)
    mine = rollout(trainer.trained(), game("gym/CartPole-v1"), 4, 0).returns
    assert rollout(loaded, game("gym/CartPole-v1"), 4, 0).returns.tolist() == mine.tolist()
    rows = trainer.rows()
    assert rows[-1].samples == trainer.progress.samples or rows[-1].return_mean is not None
    assert all(row.flops <= trainer.flops for row in rows)


def test_a_teacher_keeps_a_pupil_that_gains_nothing_at_what_it_does(
    start: Start, tmp_path: Path
) -> None:
    """Where every step is worth the same, only the teacher's part keeps the clone's way."""
    teacher = start(folder=tmp_path / "teacher", settings=dataclasses.replace(PPO), width=8)
    teacher.train_until(2e7)
    taught = dataclasses.replace(
        PPO, entropy_coef=0.05, teacher_coef=1.0, teacher_samples=10**9, discount=0.0
    )
    kept = {}
    for name, settings in (
        ("taught", taught),
        ("alone", dataclasses.replace(taught, teacher_coef=0.0)),
    ):
        pupil = start(folder=tmp_path / name, settings=settings, width=8, clone=teacher.trained())
        assert torch.equal(pupil.weights()["net.1.weight"], teacher.weights()["net.1.weight"])
        for _ in range(25):
            pupil.iterate()
        kept[name] = rollout(pupil.trained(), game("gym/CartPole-v1"), 30, 1).mean
        assert (pupil.counts.taught > 0) == (name == "taught")
    was = rollout(teacher.trained(), game("gym/CartPole-v1"), 30, 1).mean
    assert kept["taught"] > 0.6 * was
    assert kept["alone"] < kept["taught"]


def test_a_teachers_part_fades() -> None:
    settings = dataclasses.replace(PPO, teacher_coef=0.8, teacher_samples=1_000)
    assert [settings.teaches(n) for n in (0, 500, 1_000, 2_000)] == [0.8, 0.4, 0.0, 0.0]


def test_rewards_are_scaled_by_the_sd_of_discounted_returns() -> None:
    rng, rewards = np.random.default_rng(0), Rewards("scaled", 3, 0.9)
    seen: list[np.ndarray] = []
    running = np.zeros(3)
    for _ in range(200):
        drawn, ends = rng.normal(5, 30, 3), rng.random(3) < 0.1
        running = 0.9 * running + drawn
        seen.append(running.copy())
        got = rewards.shaped(drawn, ends)
        running[ends] = 0.0
    assert np.allclose(got, drawn / np.std(seen), rtol=1e-3)
    again = Rewards("scaled", 3, 0.9)
    again.restore(rewards.to_json())
    more = rng.normal(size=3)
    both = [r.shaped(more, np.zeros(3, bool)) for r in (rewards, again)]
    assert both[0].tolist() == both[1].tolist()


def test_what_is_not_finite_ends_the_run(start: Start) -> None:
    trainer = start()
    trainer.iterate()
    with torch.no_grad():
        trainer.flat.values[-1] = float("nan")  # the critic's bias
    with pytest.raises(Diverged, match="advantages were not finite after 128"):
        trainer.iterate()
    wild = start(settings=dataclasses.replace(SHORT, learning_rate=1e30, clip_norm=0.0))
    with pytest.raises(Diverged, match="not finite after"):
        wild.train_until(1e12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 100}, "batch_size cannot be 100"),
        ({"lag": 2}, "lag cannot be 2"),
        ({"rewards": "best"}, "rewards cannot be 'best'"),
        ({"discount": 1.2}, "discount cannot be 1.2"),
        ({"epochs": 0}, "epochs cannot be 0"),
        ({"slots": 2.5}, "slots must be a whole number"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        dataclasses.replace(PPO, **changes)


def test_recipes_of_both_learners_are_read_by_what_they_say() -> None:
    for name in ("lean", "ppo", "ppo-atari"):
        known = recipe(name)
        assert read_recipe(known.to_json()) == known
        assert imitates(known.to_json()) == (name == "lean")
    with pytest.raises(SpecError, match="gammas"):
        read_recipe({**PPO.to_json(), "gammas": 1})


def test_a_rollout_that_is_no_whole_number_of_unrolls_is_refused(start: Start) -> None:
    settings = dataclasses.replace(SHORT, rollout_steps=24, batch_size=48)
    with pytest.raises(SpecError, match=r"rollout_steps must be a multiple .*\(16\), not 24"):
        start(policy="mlp-lstm", settings=settings)


def test_environments_are_given_back(start: Start) -> None:
    trainer = start()
    with closing(trainer):
        trainer.iterate()
    assert trainer._player is None
