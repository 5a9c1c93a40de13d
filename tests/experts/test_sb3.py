"""Experts from stable-baselines3: trust, loading, training, resuming. The real library, tiny."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest

sb3 = pytest.importorskip("stable_baselines3")

from isoclone.base.errors import (  # noqa: E402
    CheckpointError,
    SpecError,
    SpecMismatchError,
    TrustError,
)
from isoclone.base.store import read_json  # noqa: E402
from isoclone.experts import expert, score_expert, train_expert  # noqa: E402
from isoclone.experts.algorithms import algorithm_of  # noqa: E402
from isoclone.experts.hub import download  # noqa: E402
from isoclone.experts.sb3_env import GameVecEnv  # noqa: E402
from isoclone.games import game  # noqa: E402

BREAKOUT = game("atari/Breakout", max_steps=20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A Breakout expert of one rollout (1,024 steps)."""
    path = tmp_path_factory.mktemp("expert") / "breakout"
    summary = train_expert(BREAKOUT, path, steps=300, episodes=2, device="cpu")
    return path, summary


def test_training_leaves_an_expert_and_its_story(trained):
    path, summary = trained
    assert sorted(p.name for p in path.iterdir()) == ["expert.json", "expert.zip", "training.json"]
    assert summary == read_json(path / "expert.json")
    assert summary["created_by"] == "isoclone"
    assert summary["steps_taken"] == 1024  # the first whole rollout that reaches 300
    assert summary["score"]["episodes"] == 2
    assert summary["score"]["se"] is not None


def test_a_finished_training_is_not_done_again(trained):
    path, summary = trained
    assert train_expert(BREAKOUT, path, steps=300, episodes=2, device="cpu") == summary
    with pytest.raises(SpecMismatchError, match="steps: 300 there, 999 asked"):
        train_expert(BREAKOUT, path, steps=999, device="cpu")


def test_directories_and_zips_need_trust(trained):
    path, _ = trained
    for source in (path, str(path), path / "expert.zip"):
        with pytest.raises(TrustError, match="--trust"):
            expert(source, BREAKOUT)


def test_a_trusted_expert_plays_side_by_side_as_alone(trained):
    player = expert(trained[0], BREAKOUT, trust=True, device="cpu")
    assert (player.lockstep, player.deterministic, player.press_fire) == (8, False, False)
    together = score_expert(player, BREAKOUT, episodes=9)
    assert together.steps == 9 * 20
    assert score_expert(player, BREAKOUT, episodes=1).scores == together.scores[:1]


def test_a_foreign_zip_presses_fire_to_serve(trained, tmp_path):
    foreign = tmp_path / "model.zip"
    shutil.copy(trained[0] / "expert.zip", foreign)
    player = expert(foreign, BREAKOUT, trust=True, device="cpu", deterministic=True)
    assert player.press_fire
    one_step = game("atari/Breakout", max_steps=1)
    assert score_expert(player, one_step, 1).action_frequencies == (0.0, 1.0, 0.0, 0.0)


def test_a_checkpoint_of_another_game_is_named(trained):
    with pytest.raises(CheckpointError, match=r"among 4 actions, atari/Pong has 6"):
        expert(trained[0], game("atari/Pong"), trust=True)


def zip_with(fields: dict[int, int], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip whose directory tells something else of its one entry, at bytes of fields."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("data", json.dumps({"policy_class": {}}))
    made = bytearray(out.getvalue())
    at = made.index(b"PK\x01\x02")
    for field, value in fields.items():
        made[at + field : at + field + 2] = value.to_bytes(2, "little")
    return bytes(made)


DAMAGES = [
    b"",
    b"not a zip",
    None,
    *(zip_with({20: size}) for size in (3, 999)),  # compressed
    *(zip_with({24: size}) for size in (3, 999)),  # as it was
    *(zip_with({10: method}) for method in (8, 12, 14, 99)),  # deflate, bz2, lzma, none
    zip_with({20: 9999, 24: 9999}),  # both: it ends before
    zip_with({8: 1}),  # encrypted
    zip_with({20: 9}, zipfile.ZIP_LZMA),
    zip_with({20: 9}, zipfile.ZIP_BZIP2),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_damaged_or_missing_zips_are_named(tmp_path, damage):
    path = tmp_path / "broken.zip"
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"broken\.zip"):
        expert(path, BREAKOUT, trust=True)


def test_nothing_is_unpickled_without_trust(tmp_path):
    """A zip whose pickle would leave a trace, met without trust, leaves none."""
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":serialized:": "gASVAAAA"}}))
    with pytest.raises(TrustError):
        expert(path, BREAKOUT)


def test_a_killed_training_goes_on_where_it_was(tmp_path):
    toy, path, seen = game("toy"), tmp_path / "toy", []

    def killed(now):
        seen.append(now["steps"])
        if now["steps"] >= 3 * 1024:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_expert(toy, path, steps=5000, save_every=1000, device="cpu", progress=killed)
    assert seen == [1024, 2048, 3072]
    assert not (path / "expert.json").exists()
    seen.clear()
    summary = train_expert(
        toy, path, steps=5000, save_every=1000, device="cpu", progress=lambda n: seen.append(n)
    )
    assert seen[0]["steps"] == 4096  # 3,072 were in the checkpoint
    assert summary["steps_taken"] == 5120
    player = expert(path, toy, trust=True, device="cpu")
    assert score_expert(player, toy, episodes=2).episodes == 2


def test_a_damaged_checkpoint_is_named(tmp_path):
    toy, path = game("toy"), tmp_path / "toy"

    def killed(now):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_expert(toy, path, steps=5000, save_every=1, device="cpu", progress=killed)
    checkpoint = path / "checkpoint.zip"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"checkpoint\.zip is damaged .*; delete it to train"):
        train_expert(toy, path, steps=5000, device="cpu")
    checkpoint.unlink()
    train_expert(toy, path, steps=5000, device="cpu")
    assert (path / "expert.zip").exists()


def test_a2c_learns_vectors_too(tmp_path):
    cartpole = game("gym/CartPole-v1")
    summary = train_expert(cartpole, tmp_path / "c", "a2c", steps=400, episodes=2, device="cpu")
    assert summary["steps_taken"] == 400
    player = expert(tmp_path / "c", cartpole, trust=True, device="cpu")
    assert score_expert(player, cartpole, episodes=2).mean > 5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"algorithm": "sarsa"}, "ppo or a2c"),
        ({"steps": 0}, "steps"),
        ({"episodes": 0}, "episodes"),
        ({"device": "abacus"}, "device 'abacus'"),
    ],
)
def test_impossible_trainings_are_named(tmp_path, changed, said):
    with pytest.raises(SpecError, match=said):
        train_expert(game("toy"), tmp_path / "t", **changed)
    assert not (tmp_path / "t").exists()


def test_a_foreign_directory_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SpecError, match="not empty"):
        train_expert(game("toy"), tmp_path)


def test_the_hub_wants_trust_and_says_when_it_is_out_of_reach(monkeypatch):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(TrustError, match="hub"):
        expert("sb3/ppo-BreakoutNoFrameskip-v4", BREAKOUT)
    with pytest.raises(CheckpointError, match="cannot be reached") as caught:
        download("sb3/ppo-NoSuchGame-v4", endpoint="http://127.0.0.1:9")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["PPO", "A2C", "DQN"])
def test_the_algorithm_is_read_from_the_file(tmp_path, name):
    env = GameVecEnv(BREAKOUT, 1, 0)
    small = {"PPO": {"n_steps": 8, "batch_size": 8}, "A2C": {}, "DQN": {"buffer_size": 8}}[name]
    getattr(sb3, name)("CnnPolicy", env, device="cpu", **small).save(tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert algorithm_of(json.loads(archive.read("data"))) == name
    player = expert(tmp_path / "m.zip", BREAKOUT, trust=True, device="cpu")
    assert player.deterministic is (name == "DQN")
    assert score_expert(player, BREAKOUT, episodes=1).steps == 20


def test_slots_end_restart_and_tell_how():
    toy = game("toy", max_steps=10)
    env = GameVecEnv(toy, 2, 0)
    first = env.reset()
    assert first.shape == (2, 2, 12, 12)
    assert np.array_equal(first[:, 0], first[:, 1])  # the first frame stands in for earlier ones
    for step in range(10):
        stacks, rewards, ends, infos = env.step(np.array([1, 1]))
        assert ends.all() == (step == 9)
    assert rewards.dtype == np.float32
    assert infos[0]["TimeLimit.truncated"] is True
    assert infos[0]["episode"]["l"] == 10
    assert not np.array_equal(infos[0]["terminal_observation"], stacks[0])
    assert np.array_equal(stacks[:, 0], stacks[:, 1])


def test_a_lost_game_is_no_truncation_and_rewards_are_clipped():
    toy = game("toy")
    env = GameVecEnv(toy, 1, 0)
    env.reset()
    ends, total = [False], 0.0
    while not ends[0]:
        _, rewards, ends, infos = env.step(np.array([1]))
        total += float(rewards[0])
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["episode"]["r"] == total
