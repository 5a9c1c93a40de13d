"""Scripted players of Atari games, in the real games."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.experts import expert, score_expert
from isoclone.experts.base import View
from isoclone.experts.scripted import SCRIPTED
from isoclone.experts.scripts.base import Falling, Row, dodge
from isoclone.experts.scripts.mazes import CUBES, farthest, hops, way
from isoclone.games import game

PLAYERS = {  # the least return of one episode of so many steps; random play has about a fourth
    "atari/SpaceInvaders": (250, 500),
    "atari/Phoenix": (2_500, 800),
    "atari/NameThisGame": (900, 1_000),
    "atari/Boxing": (6, 1_000),
    "atari/BattleZone": (5_000, 1_000),
    "atari/Qbert": (3_000, 800),
    "atari/BankHeist": (60, 1_000),
}


def test_every_scripted_player_of_atari_is_tried_here_or_with_the_experts():
    atari = {name for name in SCRIPTED if name.startswith("atari/")}
    assert atari == {*PLAYERS, "atari/Breakout"}


@pytest.mark.parametrize("name", PLAYERS)
def test_it_plays(name):
    least, steps = PLAYERS[name]
    the_game = game(name, max_steps=steps)
    played = score_expert(expert("scripted", the_game), the_game, episodes=1, seed=1)
    again = score_expert(expert("scripted", the_game), the_game, episodes=1, seed=1)
    assert played.mean >= least
    assert played.scores == again.scores
    used = [share for share in played.action_frequencies if share > 0.01]
    assert len(used) >= 3
    assert max(used) < 0.9


@pytest.mark.parametrize("name", PLAYERS)
def test_it_leaves_the_game_as_it_is_and_needs_no_more_than_the_last_steps(name):
    """A player that joins late does nearly always what one does that was there from the start."""
    the_game = game(name, sticky=0)
    player, env = expert("scripted", the_game), the_game.make_env()
    views = [View(env, np.random.default_rng(0), 4, [env.reset(0)]) for _ in range(2)]
    same = []
    for step in range(240):
        before = env.ale.getRAM().tobytes()
        action = player.act(views[:1])[0]
        assert env.ale.getRAM().tobytes() == before
        if step % 40 > 3:
            same.append(player.act(views[1:])[0] == action)
        frame, *_ = env.step(action)
        views[0].frames.append(frame)
        views[1].frames.append(frame)
        if step % 40 == 0:
            views[1].memory.clear()
    assert np.mean(same) > 0.8


# ---------------------------------------------------------------------- what they share

ROW = Row(speed=2, left=0, right=100, top=90, bottom=96, half=3)


@pytest.mark.parametrize(
    ("falling", "wanted", "side"),
    [
        ([], 1, 1),
        ([Falling(50, 80, 0, 5)], 0, 1),  # straight from above: to the right before to the left
        ([Falling(52, 80, 0, 5)], 1, -1),
        ([Falling(58, 80, -4, 5)], 0, 1),  # from the side
        ([Falling(50, 80, 0, -5)], 0, 0),  # a shot of one's own rises
        ([Falling(70, 80, 0, 5)], -1, -1),
    ],
)
def test_a_ship_goes_where_it_wants_unless_it_would_be_hit(falling, wanted, side):
    assert dodge(50, wanted, falling, ROW, steps=8) == (side, 9)


def test_a_cornered_ship_is_told_how_long_it_has():
    rain = [Falling(x, 80, 0, 5) for x in range(0, 101, 3)]
    assert dodge(50, 1, rain, ROW, steps=8)[1] == 2


def test_the_shortest_way_goes_round_what_is_shut():
    assert way((0, 0), {(2, 0)}, hops, ()) == "DOWN"
    assert way((0, 0), {(2, 0)}, hops, {(1, 0)}) == "RIGHT"
    assert way((0, 0), {(2, 0)}, hops, {(1, 0), (1, 1)}) == ""
    assert way((5, 5), {(5, 5)}, hops, ()) == ""  # already there


def test_one_flees_from_the_nearest_foe():
    assert farthest((2, 1), hops, [(3, 1)]) == "LEFT"
    assert farthest((0, 0), hops, []) == "DOWN"
    assert sum(len(list(hops(cube))) for cube in CUBES) == 60
