"""Films: an mp4 or a gif, of the episode in the middle of three."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from imageio_ffmpeg import read_frames

from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.evaluation.video import play_episode, write_video
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
