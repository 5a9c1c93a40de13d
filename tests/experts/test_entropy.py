"""The entropy of experts' actions: known ones are found, and asking changes no play."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from support import tiny_spec

from isoclone.base.errors import DataError, SpecError
from isoclone.cli import main
from isoclone.demos.record import play
from isoclone.experts import expert
from isoclone.experts.base import RandomExpert
from isoclone.experts.entropy import action_entropy, ask_in_episode
from isoclone.games import EnvAction, game
from isoclone.study import pipeline
from isoclone.study.study import Study

TOY = game("toy")


@dataclass(frozen=True)
class Biased:
    """Takes action 0 nine times in ten, else action 1; counts its actions in the view's memory."""

    name: str = "biased"
    lockstep: int = 3

    def act(self, views):
        for view in views:
            view.memory["acted"] = view.memory.get("acted", 0) + 1
            assert view.memory["acted"] == view.step + 1  # questions leave no trace
        return [int(view.rng.random() < 0.1) for view in views]


def test_a_known_entropy_is_found():
    biased = action_entropy(Biased(), TOY, episodes=40, asks=16)
    wanted = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert biased.nats == pytest.approx(wanted, abs=0.02)
    assert biased.agreement == pytest.approx(0.82, abs=0.02)
    uniform = action_entropy(RandomExpert(3), TOY, episodes=20)
    assert uniform.nats == pytest.approx(math.log(3), abs=0.02)
    assert 0 < uniform.se < 0.02


def test_a_player_without_chances_has_none():
    certain = action_entropy(expert(lambda stack: 1, TOY), TOY, episodes=2)
    assert (certain.nats, certain.se, certain.agreement) == (0.0, 0.0, 1.0)


def test_no_more_is_asked_than_is_kept_where_the_length_is_known():
    """Asking is the dear part: each question has an expert that looks ahead plan anew."""
    asked = []

    class Counting(RandomExpert):
        def act(self, views):
            asked.append(len(views))
            return super().act(views)

    def questions(length: int) -> tuple[int, int]:
        """Return the questions that were kept, and those that were put."""
        asked.clear()
        kept = ask_in_episode(Counting(3), TOY, 0, asks=2, states=3, length=length)
        steps = len(next(play(TOY, RandomExpert(3), 0, [0]))[2].actions)
        return len(kept), (len(asked) - steps) // 2

    kept, put = questions(0)
    assert kept < put
    steps = len(next(play(TOY, RandomExpert(3), 0, [0]))[2].actions)
    kept, put = questions(steps)
    assert kept == put
    assert kept >= 3


def test_actions_of_the_environments_own_are_asked_for_and_checked():
    """A real number counts as the bin it falls into, as when it is recorded."""
    pendulum = game("gym/Pendulum-v1", max_steps=20, bins=4)

    @dataclass(frozen=True)
    class Pusher:
        pushes: tuple[float, ...]
        name: str = "pusher"
        lockstep: int = 4

        def act(self, views):
            return [EnvAction(np.array([view.rng.choice(self.pushes)])) for view in views]

    found = action_entropy(Pusher((-1.9, 1.9)), pendulum, episodes=10)
    assert found.nats == pytest.approx(math.log(2), abs=0.02)
    assert action_entropy(Pusher((1.2, 1.9)), pendulum, episodes=1).nats == 0
    with pytest.raises(DataError, match="expert 'callable' chose action 7"):
        action_entropy(expert(lambda stack: 7, TOY), TOY)


def test_asking_lookahead_leaves_the_game_as_it_was():
    """The questions plan in copies of the emulator; what is played after them stays the same."""
    breakout = game("atari/Breakout", max_steps=24)
    player = expert("lookahead", breakout, depth=4, near=2)
    (before,) = [e.actions for _, _, e, _ in play(breakout, player, 0, [0])]
    found = action_entropy(player, breakout, episodes=1, asks=2, states=2)
    assert found.se is None
    (after,) = [e.actions for _, _, e, _ in play(breakout, player, 0, [0])]
    np.testing.assert_array_equal(before, after)


def test_an_expert_with_a_memory_of_its_own_is_refused():
    class Remembering:
        def reset(self, n):
            self.seen = 0

        def act(self, observations):
            self.seen += 1
            return [0] * len(observations)

    with pytest.raises(SpecError, match="memory of its own, so it cannot be asked twice"):
        action_entropy(expert(Remembering(), TOY), TOY)


def test_the_command_tells_it(capsys):
    args = ["expert", "score", "random", "toy", "--episodes", "2", "--entropy"]
    assert main(args) == 0
    assert "nats an action" in capsys.readouterr().out
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entropy"]["nats"] == pytest.approx(1.1, abs=0.03)


def test_a_study_holds_its_agent_and_its_fit_against_it(tmp_path):
    spec = tiny_spec(expert="random")
    study = pipeline.run(Study.create(tmp_path / "s", spec))
    measured = study.references()["expert"].entropy_nats
    assert measured == pytest.approx(math.log(3), abs=0.03)
    page = (study.path / "report.html").read_text()
    assert "How far the loss can fall" in page
