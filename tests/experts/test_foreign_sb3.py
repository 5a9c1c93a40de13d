"""SB3 models made by others: statistics, publishers' settings, every algorithm. Real, tiny."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize  # noqa: E402

from isoclone.base.errors import CheckpointError, SpecError  # noqa: E402
from isoclone.cli import main  # noqa: E402
from isoclone.experts import expert, score_expert  # noqa: E402
from isoclone.experts.algorithms import CONTRIB, SB3, algorithm_of  # noqa: E402
from isoclone.experts.base import View  # noqa: E402
from isoclone.experts.beside import look_beside  # noqa: E402
from isoclone.experts.identity import identity_of  # noqa: E402
from isoclone.experts.trained_on import atari_id  # noqa: E402
from isoclone.games import game, make_env  # noqa: E402

CART = game("gym/CartPole-v1")
ARGS = """!!python/object/apply:collections.OrderedDict
- - - algo
    - ppo
  - - env
    - CartPole-v1
  - - seed
    - 1
"""
CONFIG = """!!python/object/apply:collections.OrderedDict
- - - n_timesteps
    - 1000.0
  - - normalize
    - {normalize}
  - - policy
    - MlpPolicy
"""


def small_ppo(env, **options):
    return sb3.PPO("MlpPolicy", env, n_steps=32, batch_size=32, device="cpu", seed=0, **options)


@pytest.fixture(scope="module")
def normalised(tmp_path_factory) -> tuple[Path, VecNormalize]:
    """A folder with a PPO of CartPole, trained with VecNormalize, and its statistics apart."""
    folder = tmp_path_factory.mktemp("normalised")
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=4, seed=0))
    small_ppo(env).learn(512).save(folder / "cart.zip")
    env.save(folder / "kept.pkl")
    env.training = False
    return folder, env


def copied(folder: Path, to: Path, **files: str) -> Path:
    """Copy the zip, and each file under another name; return the zip."""
    to.mkdir(parents=True, exist_ok=True)
    (to / "cart.zip").write_bytes((folder / "cart.zip").read_bytes())
    for name, there in files.items():
        target = to / there
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((folder / f"{name}.pkl").read_bytes())
    return to / "cart.zip"


def first_view(the_game, seed=0) -> View:
    env = make_env(the_game)
    return View(env, np.random.default_rng(0), the_game.frame.stack, [env.reset(seed)])


def test_a_model_that_needs_statistics_is_refused_without(normalised, tmp_path):
    path = copied(normalised[0], tmp_path)
    with pytest.raises(CheckpointError, match=r"vecnormalize\.pkl.*--options normalize=PATH"):
        expert(path, CART, trust=True, device="cpu")
    assert expert(path, CART, trust=True, device="cpu", normalize=False).reader.statistics is None
    with pytest.raises(CheckpointError, match=r"normalize=nowhere\.pkl: no such file"):
        expert(path, CART, trust=True, normalize="nowhere.pkl")
    with pytest.raises(SpecError, match="wants the path"):
        expert(path, CART, trust=True, normalize=True)


@pytest.mark.parametrize(
    "place", ["vec_normalize.pkl", "vecnormalize.pkl", "cart/vecnormalize.pkl", "cart.pkl"]
)
def test_statistics_beside_the_zip_are_applied(normalised, tmp_path, place):
    folder, env = normalised
    player = expert(copied(folder, tmp_path, kept=place), CART, trust=True, device="cpu")
    assert any(place in note for note in player.notes)
    view = first_view(CART)
    for action in (1, 1, 0, 1):
        expected = env.normalize_obs(view.env.observation)
        assert np.array_equal(player.reader.batch([view])[0], expected)
        view.frames.append(view.env.step(action)[0])


def test_rl_zoos_folder_says_how_a_model_is_measured(normalised, tmp_path):
    folder, _ = normalised
    path = copied(folder, tmp_path / "a" / "cart_1", kept="cart/vecnormalize.pkl")
    (path.parent / "cart" / "args.yml").write_text(ARGS)
    (path.parent / "cart" / "config.yml").write_text(CONFIG.format(normalize="true"))
    player = expert(path, CART, trust=True, device="cpu")
    assert (player.chooses, player.other_way) == ("greedy", "deterministic=false")
    assert player.reader.statistics is not None
    best = path.with_name("best_model.zip")  # of the same training, so in the same folder
    best.write_bytes(path.read_bytes())
    assert expert(best, CART, trust=True, device="cpu").reader == player.reader
    (path.parent / "cart" / "config.yml").write_text(
        CONFIG.format(normalize="\"{'norm_obs': False, 'norm_reward': True}\"")
    )
    assert expert(path, CART, trust=True, device="cpu").reader.statistics is None
    (path.parent / "cart" / "config.yml").write_text(
        "policy: MlpPolicy\n"
    )  # the zip itself says so
    assert expert(path, CART, trust=True, device="cpu").reader.statistics is not None
    alone = copied(folder, tmp_path / "b", kept="vecnormalize.pkl")
    assert expert(alone, CART, trust=True, device="cpu").chooses == "sampled"


def test_nothing_beside_a_zip_is_run(normalised, tmp_path):
    """Neither the tags of a YAML file nor what a pickle names, although the zip is trusted."""

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "evil-pickle",))

    path = copied(normalised[0], tmp_path)
    (tmp_path / "args.yml").write_text(
        f"env: !!python/object/apply:os.system ['touch {tmp_path}/evil-yaml']\n"
    )
    (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="no statistics of VecNormalize"):
        expert(path, CART, trust=True, device="cpu")
    assert look_beside(path).args == {"env": [f"touch {tmp_path}/evil-yaml"]}
    assert not list(tmp_path.glob("evil*"))


@pytest.mark.parametrize("damage", [b"", b"\x80\x04", b"junk"])
def test_damaged_files_beside_a_zip_are_named(normalised, tmp_path, damage):
    path = copied(normalised[0], tmp_path)
    (tmp_path / "vecnormalize.pkl").write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"vecnormalize\.pkl"):
        expert(path, CART, trust=True, device="cpu")
    (tmp_path / "config.yml").write_bytes(b"\xff{[: " + damage)
    with pytest.raises(CheckpointError, match=r"config\.yml cannot be read"):
        expert(path, CART, trust=True, device="cpu")


def test_statistics_of_another_game_are_refused(normalised, tmp_path):
    other = VecNormalize(make_vec_env("MountainCar-v0", n_envs=1))
    other.save(tmp_path / "other.pkl")
    path = copied(normalised[0], tmp_path)
    with pytest.raises(CheckpointError, match=r"shape \(2,\), the game's have \(4,\)"):
        expert(path, CART, trust=True, normalize=str(tmp_path / "other.pkl"))


MAKERS = {
    "A2C": lambda env: sb3.A2C("MlpPolicy", env, device="cpu", seed=1),
    "PPO": lambda env: small_ppo(env),
    "DQN": lambda env: sb3.DQN("MlpPolicy", env, buffer_size=8, device="cpu", seed=1),
    "TRPO": lambda env: contrib.TRPO(
        "MlpPolicy", env, n_steps=8, batch_size=8, device="cpu", seed=1
    ),
    "QRDQN": lambda env: contrib.QRDQN("MlpPolicy", env, buffer_size=8, device="cpu", seed=1),
    "ARS": lambda env: contrib.ARS("LinearPolicy", env, device="cpu", seed=1),
    "RecurrentPPO": lambda env: contrib.RecurrentPPO(
        "MlpLstmPolicy", env, n_steps=8, batch_size=8, device="cpu", seed=1
    ),
    "MaskablePPO": lambda env: contrib.MaskablePPO("MlpPolicy", env, device="cpu", seed=1),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_algorithm_plays_as_sb3_has_it_play(tmp_path, name):
    model = MAKERS[name](make_vec_env("CartPole-v1", n_envs=1, seed=0))
    model.save(tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert algorithm_of(json.loads(archive.read("data"))) == name
    player = expert(tmp_path / "m.zip", CART, trust=True, device="cpu", deterministic=True)
    view, state, start, over = first_view(CART), None, True, False
    while not over:
        more = {"state": state, "episode_start": np.array([start])} if "Rec" in name else {}
        wanted, state = model.predict(view.env.observation, deterministic=True, **more)
        action = player.act([view])[0]
        assert action == int(wanted)
        start = False
        frame, _, over, _ = view.env.step(action)
        view.frames.append(frame)


@pytest.mark.parametrize("name", ["RecurrentPPO", "MaskablePPO"])
def test_drawn_actions_do_not_depend_on_the_episodes_beside(tmp_path, name):
    MAKERS[name](make_vec_env("CartPole-v1", n_envs=1, seed=0)).save(tmp_path / "m.zip")
    player = expert(tmp_path / "m.zip", CART, trust=True, device="cpu")
    assert (player.chooses, player.recurrent) == ("sampled", name == "RecurrentPPO")
    together = score_expert(player, CART, episodes=3)
    assert score_expert(player, CART, episodes=1).scores == together.scores[:1]
    assert together.chooses == "sampled"
    assert together.other_way == "deterministic=true"


def test_masks_are_the_games_own(tmp_path):
    model = MAKERS["MaskablePPO"](make_vec_env("CartPole-v1", n_envs=1, seed=0))
    model.save(tmp_path / "m.zip")
    player = expert(tmp_path / "m.zip", CART, trust=True, device="cpu")
    assert "without masks" in " ".join(player.notes)
    view = first_view(CART)
    view.env.env.unwrapped.action_masks = lambda: np.array([False, True])
    assert {player.act([view])[0] for _ in range(20)} == {1}


def test_stacked_observations_are_stacked_as_sb3_stacks_them(tmp_path):
    env = VecFrameStack(make_vec_env("CartPole-v1", n_envs=1, seed=0), 3)
    model = small_ppo(env)
    model.save(tmp_path / "m.zip")
    (tmp_path / "config.yml").write_text("frame_stack: 3\npolicy: MlpPolicy\n")
    player = expert(tmp_path / "m.zip", CART, trust=True, device="cpu")
    view, stacked = first_view(CART), np.zeros(12, np.float32)
    for action in (1, 0, 1, 0):
        stacked = np.concatenate([stacked[4:], view.env.observation])
        assert np.array_equal(player.reader.batch([view])[0], stacked)
        view.frames.append(view.env.step(action)[0])


@pytest.mark.parametrize("told", [True, False], ids=["with its config", "without"])
def test_statistics_of_a_stack_are_applied_to_the_stack(tmp_path, told):
    env = VecNormalize(VecFrameStack(make_vec_env("CartPole-v1", n_envs=1, seed=0), 3))
    for _ in range(50):
        env.step([0]) if _ else env.reset()
    env.training = False
    model = small_ppo(env)
    model.save(tmp_path / "m.zip")
    env.save(str(tmp_path / "vecnormalize.pkl"))
    if told:
        (tmp_path / "config.yml").write_text("frame_stack: 3\npolicy: MlpPolicy\n")
    normalize = str(tmp_path / "vecnormalize.pkl")
    player = expert(tmp_path / "m.zip", CART, trust=True, device="cpu", normalize=normalize)
    view, stacked = first_view(CART), np.zeros(12, np.float32)
    for action in (1, 0, 1, 0):
        stacked = np.concatenate([stacked[4:], np.asarray(view.env.observation)])
        assert np.allclose(player.reader.batch([view])[0], env.normalize_obs(stacked), atol=1e-6)
        view.frames.append(view.env.step(action)[0])


def test_the_list_of_known_algorithms_is_complete(normalised, tmp_path):
    """An unknown one is refused with all that the two libraries have."""
    assert set(SB3) == {n for n in sb3.__all__ if n.isupper()} - {"HER"}
    assert set(CONTRIB) == {n for n in contrib.__all__ if n[0].isupper()}
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {"__module__": "mine"}}))
    with pytest.raises(CheckpointError) as caught:
        expert(path, CART, trust=True)
    assert all(name in str(caught.value) for name in SB3 + CONTRIB)


def test_ids_of_atari_games_say_their_frame_skip():
    assert atari_id("BreakoutNoFrameskip-v4") == ("Breakout", "1", 0.0)
    assert atari_id("SpaceInvadersDeterministic-v0") == ("SpaceInvaders", "3", 0.25)
    assert atari_id("Pong-v4") == ("Pong", "2-4", 0.0)
    assert atari_id("ALE/Pong-v5") == ("Pong", "4", 0.25)
    assert atari_id("CartPole-v1") is None


def test_a_foreign_atari_model_says_what_it_was_trained_on(tmp_path):
    from isoclone.experts.sb3_env import GameVecEnv

    breakout = game("atari/Breakout", max_steps=5)
    small = {"n_steps": 8, "batch_size": 8, "device": "cpu"}
    sb3.PPO("CnnPolicy", GameVecEnv(breakout, 1, 0), **small).save(tmp_path / "m.zip")
    (assumed,) = expert(tmp_path / "m.zip", breakout, trust=True, device="cpu").notes
    assert assumed.startswith("assumed, since no args.yml is beside it: frame skip 4, sticky")
    (tmp_path / "args.yml").write_text("env: BreakoutDeterministic-v4\n")
    (tmp_path / "config.yml").write_text(
        "frame_stack: 4\npolicy: CnnPolicy\nenv_wrapper:\n"
        "- stable_baselines3.common.atari_wrappers.AtariWrapper: {frame_skip: 2}\n"
    )
    player = expert(tmp_path / "m.zip", breakout, trust=True, device="cpu")
    assert (player.chooses, player.press_fire) == ("sampled", True)  # as RL Zoo measures Atari
    assert "frame skip 8, sticky actions 0" in player.notes[0]
    assert "here frame skip 4, sticky actions 0.25" in player.notes[0]
    (tmp_path / "args.yml").write_text("env: PongNoFrameskip-v4\n")
    with pytest.raises(CheckpointError, match="was trained on PongNoFrameskip-v4, not on"):
        expert(tmp_path / "m.zip", breakout, trust=True)


def test_statistics_beside_a_zip_are_part_of_its_identity(normalised, tmp_path):
    path = copied(normalised[0], tmp_path)
    alone = identity_of(path)
    copied(normalised[0], tmp_path, kept="vecnormalize.pkl")
    assert identity_of(path) != alone
    assert identity_of(path)["file"] == alone["file"]


def test_how_a_model_plays_is_said_beside_its_score_and_in_its_demonstrations(
    normalised, tmp_path, capsys
):
    path = copied(normalised[0], tmp_path, kept="vecnormalize.pkl")
    assert main(["expert", "score", str(path), CART.name, "--trust", "--episodes", "2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "sampled (greedy: --options deterministic=true)" in said
    assert "- observations normalised by" in said
    out = str(tmp_path / "demos")
    asked = ["--options", "deterministic=true", "--samples", "50", "--executor", "serial"]
    assert main(["demos", "record", CART.name, "--expert", str(path), "--trust", *asked,
                 "--out", out]) == 0  # fmt: skip
    assert "- actions greedy (sampled: --options determ" in capsys.readouterr().out


class Sides(gym.Env):
    """Observations of several entries, and actions of any space; ends after five steps."""

    observation_space = gym.spaces.Dict(
        {"where": gym.spaces.Box(-1, 1, (3,), np.float32), "which": gym.spaces.Discrete(4)}
    )

    def __init__(self, actions):
        self.action_space = actions

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def seen(self):
        where = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return {"where": where, "which": int(self.np_random.integers(4))}

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        return self.seen(), 1.0, self.steps == 5, False, {}


ACTIONS = {
    "MultiDiscrete": gym.spaces.MultiDiscrete([2, 3]),
    "MultiBinary": gym.spaces.MultiBinary(3),
    "Box": gym.spaces.Box(-1, 2, (2,), np.float32),
}


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_of_every_space_become_the_games(tmp_path, kind):
    name = f"Sides{kind}-v0"
    gym.register(name, entry_point=lambda: Sides(ACTIONS[kind]), max_episode_steps=9)
    try:
        the_game = game(f"gym/{name}", bins=101)
        model = sb3.PPO("MultiInputPolicy", make_vec_env(name, n_envs=1, seed=0), device="cpu")
        model.save(tmp_path / "m.zip")
        settings = {"trust": True, "device": "cpu"}
        best = expert(tmp_path / "m.zip", the_game, deterministic=True, **settings)
        view = first_view(the_game)
        wanted, _ = model.predict(view.env.observation, deterministic=True)
        action = the_game.index_of(best.act([view])[0].value)
        view.env.step(action)
        done = action if kind != "Box" else -1 + 3 * np.asarray(action) / 100
        assert np.allclose(done, wanted, atol=0.016)
        drawn = expert(tmp_path / "m.zip", the_game, **settings)
        together, alone = score_expert(drawn, the_game, 3), score_expert(drawn, the_game, 1)
        assert together.mean == alone.mean == 5
    finally:
        del gym.registry[name]
