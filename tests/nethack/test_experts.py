"""The scripted NetHack player, and the adapter to AutoAscend."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import isoclone as ic
from isoclone.base.errors import ExecutionError, MissingExtraError, SpecError
from isoclone.experts import score_expert
from isoclone.experts.base import View
from isoclone.nethack.experts.map import CELLS, FLOOR, FRAME, SOLID, WIDTH, dead_ends, way

pytest.importorskip("nle")

CHECKOUT = os.environ.get("ISOCLONE_AUTOASCEND", "")


def test_the_bot_plays_far_better_than_chance():
    game = ic.game("nethack", max_steps=1_000)
    bot = score_expert(ic.expert("scripted", game), game, 3, seed=1)
    chance = score_expert(ic.expert("random", game), game, 3, seed=1)
    assert bot.mean > 10 * max(chance.mean, 10)


@pytest.mark.parametrize("character", ["val-dwa-law-fem", "tou-hum-neu-mal", "@"])
def test_the_bot_plays_any_character(character):
    game = ic.game("nethack", character=character, max_steps=300)
    assert score_expert(ic.expert("scripted", game), game, 2).steps > 50


def test_the_bot_plays_the_same_game_again():
    game = ic.game("nethack", max_steps=500)
    one, two = (score_expert(ic.expert("scripted", game), game, 1, seed=3) for _ in range(2))
    assert (one.scores, one.steps, one.action_frequencies) == (
        two.scores, two.steps, two.action_frequencies,
    )  # fmt: skip


def drawn(*rows: str) -> np.ndarray:
    """A map from a drawing: '.' floor, '+' an open door, all else wall."""
    kinds = np.full((CELLS // WIDTH, WIDTH), SOLID, np.uint8)
    for r, row in enumerate(rows):
        for c, letter in enumerate(row):
            kinds[r + 1, c + 1] = {".": FLOOR, "+": FRAME}.get(letter, SOLID)
    return kinds.reshape(-1)


def cell(row: int, column: int) -> int:
    return (row + 1) * WIDTH + column + 1


def test_ways_do_not_cut_through_doors_at_a_slant():
    kinds = drawn("..#", "#+#", "...")
    open_ = np.isin(kinds, (FLOOR, FRAME)).tobytes()
    straight = (kinds == FRAME).tobytes()
    path = way(cell(0, 0), open_, straight, lambda there: there == cell(2, 2))
    assert path == [cell(0, 1), cell(1, 1), cell(2, 1), cell(2, 2)]
    assert way(cell(0, 0), open_, straight, lambda there: there == cell(5, 5)) == []


def test_dead_ends():
    kinds = drawn("....", "#..#", "####", ".#..")
    found = np.flatnonzero(dead_ends(kinds == FLOOR)).tolist()
    assert found == [cell(0, 0), cell(0, 3), cell(3, 0), cell(3, 2), cell(3, 3)]


AGENT = """
import seaborn, matplotlib.pyplot as plt
from nle.nethack import actions as A

class AgentFinished(Exception):
    pass

class Agent:
    def __init__(self, env, seed=0, verbose=False, panic_on_errors=False):
        self.env, self.message, self.seen = env, "", []
    def step(self, action):
        seen, reward, done, info = self.env.step(action)
        assert len(seen["blstats"]) == 26 and seen["tty_cursor"].dtype == "int64"
        self.seen.append(int(seen["blstats"][20]))
        if done:
            raise AgentFinished
    def main(self):
        try:
            for turn in range(40):
                with self.env.debug_tiles([], color=1), self.env.debug_log("searching"):
                    self.step(A.Command.SEARCH)
            assert self.seen == sorted(self.seen) and self.seen[-1] > 10
            raise RuntimeError("out of ideas")
        except AgentFinished:
            pass
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a bot of AutoAscend's shape in it, which searches 40 times and fails."""
    (tmp_path / "autoascend").mkdir()
    (tmp_path / "autoascend" / "__init__.py").touch()
    (tmp_path / "autoascend" / "agent.py").write_text(AGENT)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: found("json" if name == "nltk" else name)
    )
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "autoascend"]:
        del sys.modules[name]


def test_the_adapter_drives_a_bot_one_action_at_a_time(checkout, monkeypatch):
    game = ic.game("nethack")
    bot = _made(game, checkout, monkeypatch)
    env = game.make_env()
    env.reset(0)
    view = View(env, np.random.default_rng(0), 1)
    for _ in range(40):
        assert bot.act([view]) == [75]  # the action that searches
        env.step(75)
    with pytest.raises(ExecutionError, match="AutoAscend gave up: RuntimeError: out of ideas"):
        bot.act([view])


def _made(game, checkout, monkeypatch):
    """The expert; what the real bot needs beside the stand-in is not asked for."""
    from isoclone.nethack.experts import autoascend

    monkeypatch.setattr(autoascend, "NEEDED", ())
    return ic.expert("autoascend", game, path=str(checkout))


def test_a_path_that_is_not_the_bot(tmp_path, checkout, monkeypatch):
    game = ic.game("nethack")
    with pytest.raises(SpecError, match=r"no autoascend/agent.py there; give a checkout of"):
        ic.expert("autoascend", game, path=str(tmp_path / "nowhere"))
    with pytest.raises(SpecError, match="plays nethack/NetHackChallenge-v0, not toy"):
        ic.expert("autoascend", ic.game("toy"), path=str(checkout))
    (checkout / "autoascend" / "agent.py").write_text(AGENT.replace("panic_on_errors", "panic"))
    with pytest.raises(SpecError, match="not the version this adapter drives"):
        ic.expert("autoascend", game, path=str(checkout))
    (checkout / "autoascend" / "agent.py").write_text("class Agent(:")
    with pytest.raises(SpecError, match=r"agent.py cannot be read"):
        ic.expert("autoascend", game, path=str(checkout))


def test_what_the_bot_needs_is_named(checkout, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"\(numba, nltk, .* missing\).*isoclone\[autoasc"):
        ic.expert("autoascend", ic.game("nethack"), path=str(checkout))


@pytest.mark.skipif(not CHECKOUT, reason="ISOCLONE_AUTOASCEND names no checkout of the bot")
def test_the_real_bot():
    game = ic.game("nethack", max_steps=1_500)
    result = score_expert(ic.expert("autoascend", game, path=CHECKOUT), game, 2, seed=1)
    assert result.steps == 3_000
    assert result.mean > 0
