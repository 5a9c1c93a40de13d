"""Films: an mp4 or a gif, of the episode in the middle of three."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from agents_made import made
from imageio_ffmpeg import read_frames

from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.evaluation.video import _picture, play_episode, write_video
from isoclone.games import game
from isoclone.games.toy import Toy
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe


@pytest.fixture
def policy(toy_demos, tmp_path):
    settings = recipe("lean", precision="float32").to_json()
    run = Run("toy", toy_demos.fingerprint, "mlp", 4, {}, settings, 0)
    source = toy_demos.source("standardise", "rows")
    return Trainer(run, source, toy_demos.n_actions, tmp_path).trained()


@pytest.mark.parametrize(("name", "magic", "at"), [("a.mp4", b"ftyp", 4), ("a.GIF", b"GIF89a", 0)])
def test_a_film_is_what_its_name_says(policy, tmp_path, name, magic, at):
    score = write_video(policy, game("toy"), tmp_path / name)
    assert (tmp_path / name).read_bytes()[at:].startswith(magic)
    scores = [
        sum(reward for _, reward in play_episode(policy, game("toy"), seed, "sample"))
        for seed in range(3)
    ]
    assert score == sorted(scores)[1]


def test_other_names_are_refused(policy, tmp_path):
    with pytest.raises(SpecError, match=r"a\.avi: a video is an mp4 or a gif"):
        write_video(policy, game("toy"), tmp_path / "a.avi")


@dataclass(frozen=True)
class Drawn(Toy):
    """The toy game with pictures and a pace of its own."""

    frames_per_second: ClassVar[int] = 5

    def draw(self, frame):
        return np.full((32, 48, 3), 200, np.uint8)


def test_a_game_draws_its_own_pictures(policy, tmp_path):
    pictures = [draw() for draw, _ in play_episode(policy, Drawn(), 0, "sample")]
    assert {picture.shape for picture in pictures} == {(32, 48, 3)}
    write_video(policy, Drawn(), tmp_path / "a.mp4")
    reader = read_frames(str(tmp_path / "a.mp4"))
    told = next(reader)
    reader.close()
    assert (told["source_size"], told["fps"]) == ((48, 32), 5)


def test_a_gymnasium_game_is_filmed_as_it_draws_itself(tmp_path):
    pytest.importorskip("pygame", reason="Gymnasium's games draw themselves by pygame")
    cartpole, said = game("gym/CartPole-v1", max_steps=20), []
    untrained = made("mlp", cartpole.frame, 2, game="gym/CartPole-v1")
    shown = cartpole.filmed()
    pictures = [draw() for draw, _ in play_episode(untrained, shown, 0, "sample")]
    assert {picture.shape for picture in pictures} == {(400, 600, 3)}
    assert len({picture.tobytes() for picture in pictures}) > 5
    write_video(untrained, cartpole, tmp_path / "a.mp4", tell=said.append)
    reader = read_frames(str(tmp_path / "a.mp4"))
    told = next(reader)
    reader.close()
    assert (told["source_size"], told["fps"], said) == ((600, 400), 50, [])


class Blind(gymnasium.Env):
    """A game that cannot draw itself."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(3, np.float32), 1.0, self.left == 0, False, {}

    def render(self):
        raise RuntimeError("no screen")


def test_a_game_that_cannot_draw_itself_is_filmed_as_it_is_seen(tmp_path):
    gymnasium.register("Blind-v0", Blind)
    try:
        blind, said = game("gym/Blind-v0"), []
        write_video(made("mlp", blind.frame, 2), blind, tmp_path / "a.mp4", tell=said.append)
    finally:
        del gymnasium.registry["Blind-v0"]
    assert len(said) == 1
    assert said[0].startswith("gym/Blind-v0 is filmed as the policy sees it: its render() failed")
    assert (tmp_path / "a.mp4").exists()


FRAMES = [
    (np.zeros(4, np.float32), (320, 160, 3)),
    (np.zeros(500, np.float32), (320, 1_250, 3)),
    (np.full((12, 12), 255, np.uint8), (312, 312, 3)),
    (np.full((84, 84, 3), 90, np.uint8), (252, 252, 3)),
    (np.eye(7, dtype=np.uint8)[..., None].repeat(5, 2), (315, 315, 3)),  # codes
    (np.linspace(0, 1, 80, dtype=np.float32).reshape(8, 5, 2), (320, 200, 3)),
]


@pytest.mark.parametrize(("frame", "shape"), FRAMES, ids=lambda x: str(getattr(x, "shape", x)))
def test_frames_of_any_kind_are_drawn(frame, shape):
    picture = _picture(game("toy"), None, frame)
    assert (picture.shape, picture.dtype) == (shape, np.uint8)
    assert picture.max() >= 90
