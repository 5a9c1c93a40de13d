"""Experts that remember: `reset(n)` and `act(observations)`."""

from __future__ import annotations

import numpy as np
import pytest

import isoclone as ic
from isoclone.base.errors import DataError, ExecutionError, SpecError
from isoclone.cli import main
from isoclone.demos.play import play
from isoclone.experts import score_expert
from isoclone.experts.base import View
from isoclone.experts.draws import chosen
from isoclone.experts.entropy import action_entropy
from isoclone.games import game, make_env
from isoclone.testing import check_expert

TOY = game("toy", max_steps=12)


class Alternates:
    """Counts its own steps in each episode, and acts by their number."""

    name, lockstep = "alternates", 3

    def reset(self, n):
        self.steps = np.zeros(n, np.int64)

    def act(self, observations):
        self.steps += 1
        return self.steps % 3


def test_a_class_is_made_and_remembers_each_episode():
    for player in (ic.expert(Alternates, TOY), ic.expert(Alternates(), TOY)):
        assert (player.name, player.lockstep) == ("alternates", 3)
        for _, _, episode, _ in play(TOY, player, 0, range(3)):
            assert episode.actions.tolist() == [(k + 1) % 3 for k in range(len(episode.actions))]
    check_expert(Alternates(), TOY)


class Logits:
    """Gives logits that do not depend on what it sees."""

    lockstep = 2

    def __init__(self, greedy=False):
        self.greedy = greedy

    def reset(self, n):
        pass

    def act(self, observations):
        return np.tile(np.float32([0.0, 1.0, 0.5]), (len(observations), 1))


def test_actions_are_drawn_from_logits_by_each_episodes_own_chance():
    player = ic.expert(Logits, TOY)
    together = score_expert(player, TOY, episodes=4)
    alone = score_expert(ic.expert(Logits, TOY), TOY, episodes=1)
    assert together.scores[0] == alone.scores[0]
    assert min(together.action_frequencies) > 0
    greedy = score_expert(ic.expert(Logits, TOY, greedy=True), TOY, episodes=1)
    assert greedy.action_frequencies == (0.0, 1.0, 0.0)


def test_actions_of_several_factors_are_drawn_each_by_itself():
    rngs = [np.random.default_rng(k) for k in range(2)]
    logits = np.array([[0, 50, 0, 0, 50], [50, 0, 50, 0, 0]], np.float64)
    drawn = chosen(logits, (2, 3), rngs, greedy=False)
    assert [action.tolist() for action in drawn] == [[1, 2], [0, 0]]


class Sees:
    """Keeps what it was given."""

    def __init__(self, observes="stack", every=1):
        self.observes, self.every, self.given = observes, every, []

    def reset(self, n):
        self.given.clear()

    def act(self, observations):
        self.given.append(observations)
        return [len(self.given) % 2] * len(observations)


@pytest.mark.parametrize(
    ("observes", "shape", "dtype"),
    [
        ("stack", (1, 4, 84, 84), "uint8"),
        ("frame", (1, 84, 84), "uint8"),
        ("rgb", (1, 210, 160, 3), "uint8"),
        ("ram", (1, 128), "uint8"),
    ],
)
def test_a_player_is_given_what_it_asks_for(observes, shape, dtype):
    sees = Sees(observes)
    score_expert(ic.expert(sees, pong := game("atari/Pong", max_steps=3)), pong, episodes=1)
    assert [one.shape for one in sees.given] == [shape] * 3
    assert sees.given[0].dtype == dtype


def test_a_player_may_ask_for_the_environment_and_for_raw_observations():
    cart = game("gym/CartPole-v1", max_steps=3)
    sees = Sees("raw")
    score_expert(ic.expert(sees, cart), cart, episodes=1)
    assert sees.given[0][0].dtype == np.float32
    sees = Sees("env")
    score_expert(ic.expert(sees, cart), cart, episodes=1)
    assert sees.given[0][0].env.unwrapped.spec.id == "CartPole-v1"
    with pytest.raises(SpecError, match="observes 'ram', and this game's environment has no `ram`"):
        score_expert(ic.expert(Sees("ram"), cart), cart, episodes=1)


def test_at_another_frame_skip_an_action_is_held():
    sees = Sees(every=3)
    (_, _, episode, _) = next(play(TOY, ic.expert(sees, TOY), 0, [0]))
    assert episode.actions.tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0][: len(episode.actions)]


def test_a_player_is_not_asked_twice():
    with pytest.raises(SpecError, match="keeps a memory of its own"):
        action_entropy(ic.expert(Alternates, TOY), TOY)


def test_groups_that_are_mixed_up_are_refused():
    player = ic.expert(Alternates, TOY)
    views = [View(make_env(TOY), np.random.default_rng(0), 2) for _ in range(2)]
    for view in views:
        view.frames.append(view.env.reset(0))
    player.act(views[:1])
    player.act(views[1:])
    with pytest.raises(SpecError, match="one group after the other"):
        player.act(views[:1])


@pytest.mark.parametrize("answer", [[0.5], [[1, 2]], "up", None])
def test_an_answer_that_is_no_action_is_named(answer):
    class Odd:
        def reset(self, n):
            pass

        def act(self, observations):
            return answer

    with pytest.raises(DataError, match=r"integers of \(1,\) or logits of \(1, 3\)"):
        score_expert(ic.expert(Odd, TOY), TOY, episodes=1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"observes": "smell"}, "observes must be one of stack"), ({"every": 0}, "every must be")],
)
def test_impossible_players_are_refused(changed, said):
    with pytest.raises(SpecError, match=said):
        ic.expert(Sees, TOY, **changed)
    with pytest.raises(SpecError, match="no expert: int"):
        ic.expert(5, TOY)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_logits_that_nothing_can_be_chosen_by_are_refused(odd):
    class Odd:
        name, lockstep = "odd", 2

        def reset(self, n):
            pass

        def act(self, observations):
            return np.full((len(observations), 3), odd, np.float32)

    toy = game("toy")
    with pytest.raises(DataError, match=r"expert 'odd': its logits have (nan|inf|-inf) as largest"):
        list(play(toy, ic.expert(Odd(), toy), 0, (0, 1)))


def test_a_player_may_act_in_real_numbers():
    class Pushes:
        lockstep = 2

        def reset(self, n):
            pass

        def act(self, observations):
            return np.full((len(observations), 1), 1.5, np.float32)

    pendulum = game("gym/Pendulum-v1", max_steps=3, bins=5)
    (_, _, episode, _) = next(play(pendulum, ic.expert(Pushes, pendulum), 0, [0, 1]))
    assert episode.actions.reshape(-1).tolist() in ([3] * 3, [4] * 3)  # of -2, -1, 0, 1, 2


LEAVES = """
import sys

class Leaves:
    name, lockstep = "leaves", 2
    def __init__(self, at="act"):
        self.at = at
        self.leave("made")
    def leave(self, at):
        if self.at == at:
            sys.exit(0)
    def reset(self, n):
        self.leave("reset")
    def act(self, observations):
        self.leave("act")
        return [0] * len(observations)
"""


@pytest.mark.parametrize("at", ["made", "reset", "act"])
def test_an_expert_that_exits_has_failed(at, tmp_path, capsys):
    file = tmp_path / "players.py"
    file.write_text(LEAVES)
    words = ["--expert", f"{file}:Leaves", "--options", f"at={at}", "--out", f"{tmp_path}/out"]
    small = ["--samples", "60", "--executor", "serial"]
    scored = ["expert", "score", f"{file}:Leaves", "toy", "--options", f"at={at}"]
    for command in (scored, ["demos", "record", "toy", *words, *small]):
        assert main(command) != 0
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "players.py, line 11, called sys.exit(0)" in said
        assert said.startswith("isoclone: ")


@pytest.mark.parametrize("at", ["reset", "act"])
def test_an_expert_that_exits_does_not_end_a_program(at, tmp_path):
    (tmp_path / "players.py").write_text(LEAVES)
    leaves = ic.expert(f"{tmp_path}/players.py:Leaves", TOY, at=at)
    for use in (
        lambda: score_expert(leaves, TOY, 1),
        lambda: list(play(TOY, leaves, 0, range(1))),
    ):
        with pytest.raises(ExecutionError, match=r"expert 'leaves': .*called sys.exit\(0\)"):
            use()
    with pytest.raises(SpecError, match=r"act\(\): .*called sys.exit\(0\)"):
        check_expert(leaves, TOY)
