"""Bots of the contract of `nethackers` as experts: in a folder, and AutoAscend."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("nle", reason="the extra 'nethack' is not installed")

import isoclone as ic
from isoclone.base.errors import ExecutionError, MissingExtraError, SpecError, TrustError
from isoclone.experts import score_expert
from isoclone.experts.identity import identity_of
from isoclone.nethack.experts import autoascend

BOT = """
import random
import walkers_helper as helper

class Bot:
    def reset(self, observation):
        self.seen = [dict(observation)]

    def act(self, observation):
        assert not observation["tty_chars"].flags.writeable
        assert sorted(observation) == sorted(self.seen[0]) and len(observation) == 14
        self.seen.append(observation["blstats"])
        return helper.SEARCH if len(self.seen) % 2 else random.randrange(8)

def make_agent():
    return Bot()
"""
HELPER = "import nle.nethack as nh\nSEARCH = nh.ACTIONS.index(nh.Command.SEARCH)\n"


@pytest.fixture
def folder(tmp_path: Path):
    """A bot's folder, with a module of its own beside it."""
    path = tmp_path / "walker"
    path.mkdir()
    (path / "bot.py").write_text(BOT)
    (path / "walkers_helper.py").write_text(HELPER)
    before = list(sys.path)
    yield path
    sys.path[:] = before
    sys.modules.pop("walkers_helper", None)


def test_a_bot_of_the_contract_is_an_expert(folder):
    nethack = ic.game("nethack", max_steps=40)
    player = ic.expert(f"nethackers/{folder}", nethack, trust=True)
    assert player.name == "bot:walker"
    score = score_expert(player, nethack, 2, seed=1)
    assert score.action_frequencies[75] == pytest.approx(0.5, abs=0.1)  # it searches
    again = score_expert(ic.expert(f"nethackers/{folder}", nethack, trust=True), nethack, 1, seed=1)
    assert again.scores == score.scores[:1]  # its chance is the episode's


def test_a_bot_plays_other_tasks_by_its_keys(folder):
    task = ic.game("nethack/NetHackScore-v0", max_steps=20)
    score_expert(ic.expert(f"nethackers/{folder}", task, trust=True), task, 1)
    (folder / "bot.py").write_text(BOT.replace("helper.SEARCH if", "helper.SEARCH + 900 if"))
    (moved := folder.with_name("other")).mkdir()
    for file in folder.glob("*.py"):
        (moved / file.name).write_text(file.read_text())
    with pytest.raises(ExecutionError, match="walkers_helper is loaded from elsewhere"):
        ic.expert(f"nethackers/{moved}", task, trust=True)
    del sys.modules["walkers_helper"]
    player = ic.expert(f"nethackers/{moved}", task, trust=True)
    with pytest.raises(ExecutionError, match="which is no action of the game"):
        score_expert(player, task, 1)


def test_a_bots_identity_is_what_is_in_its_folder(folder):
    first = identity_of(f"nethackers/{folder}")
    (folder / "walkers_helper.py").write_text(HELPER + "# changed\n")
    assert identity_of(f"nethackers/{folder}") != first


def test_what_is_no_bot_is_named(folder, tmp_path):
    nethack = ic.game("nethack")
    with pytest.raises(TrustError, match="--trust"):
        ic.expert(f"nethackers/{folder}", nethack)
    with pytest.raises(SpecError, match=r"no bot\.py there"):
        ic.expert(f"nethackers/{tmp_path}", nethack)
    with pytest.raises(SpecError, match="play nethack, not toy"):
        ic.expert(f"nethackers/{folder}", ic.game("toy"))
    for number, (text, said) in enumerate(
        {
            "x = 1": r"has no make_agent\(\)",
            "raise ValueError('no')": "cannot be imported: ValueError: no",
            "def make_agent(): return 5": r"has no reset\(\)",
            "def make_agent(): raise ValueError('nay')": r"make_agent\(\) failed: ValueError: nay",
        }.items()
    ):
        (odd := tmp_path / str(number)).mkdir()
        (odd / "bot.py").write_text(text)
        with pytest.raises(ExecutionError, match=said):
            ic.expert(f"nethackers/{odd}", nethack, trust=True)


def test_autoascend_comes_from_its_package_or_says_how_to_get_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "nethackers" else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'isoclone\[autoascend\]'"):
        ic.expert("autoascend", ic.game("nethack"))


needs_autoascend = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("nethackers", *autoascend.NEEDED)),
    reason="the extra 'autoascend' is not installed",
)


@needs_autoascend
def test_autoascend_of_the_package_is_the_bot_the_adapter_drives():
    autoascend.check_checkout(autoascend.packaged())
    assert set(identity_of("autoascend")) == {"name", "nethackers"}
    player = autoascend.make_autoascend(ic.game("nethack"))
    assert Path(player.path) == autoascend.packaged().resolve()
