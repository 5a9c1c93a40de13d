"""A score on its way: the mean so far, what a stopped scoring had, and random play."""

from __future__ import annotations

import numpy as np
import pytest

import isoclone as ic
from isoclone.cli.expert import _Bar, _SoFar
from isoclone.experts import ExpertScore, score_expert
from isoclone.experts.score import random_score
from isoclone.games.random_scores import RANDOM_SCORES


class Bar(_Bar):
    """Keeps what is shown."""

    def __init__(self, *about):
        super().__init__(*about)
        self.shown = []

    def show(self, done: int, words: str) -> None:
        super().show(done, words)
        self.shown.append((done, words))


def test_the_score_so_far_is_told():
    game, told = ic.game("toy"), list[ExpertScore]()
    score = score_expert(
        ic.expert("scripted", game), game, 4, progress=lambda so_far, _: told.append(so_far)
    )
    assert [one.episodes for one in told] == [1, 2, 3, 4]
    assert told[-1].scores == score.scores
    assert told[1].mean == np.mean(score.scores[:2])


def test_a_stopped_scoring_says_what_it_had(capfd):
    game, bar = ic.game("toy"), Bar("it plays", 100, "episodes")

    def stop(so_far: ExpertScore, episodes: int) -> None:
        sofar.tell(so_far, episodes)
        if so_far.episodes == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), _SoFar(bar) as sofar:
        score_expert(ic.expert("scripted", game), game, 100, progress=stop)
    said = capfd.readouterr()
    assert not said.out
    assert "1 of 100 episodes: " in said.err  # a line at once, for those who are killed
    assert "stopped after 3 of 100 episodes: " in said.err
    assert [done for done, _ in bar.shown] == [1, 2, 3]


def test_random_play_is_measured_where_the_game_has_no_score():
    assert random_score(ic.game("toy")) == (RANDOM_SCORES["toy"].mean, None)
    mean, se = random_score(ic.game("gym/CartPole-v1"), episodes=8)
    assert se is not None
    assert 10 < mean < 60
    assert random_score(ic.game("gym/CartPole-v1"), 8, seconds=0)[1] is None  # one, whatever time
