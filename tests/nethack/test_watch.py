"""NetHack in the terminal: reels, controls, pictures, and the verb."""

from __future__ import annotations

import bz2
import io
import json
import os
import pty
import re
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nle", reason="the extra 'nethack' is not installed")

from isoclone.base.errors import DataError, SpecError
from isoclone.cli import main
from isoclone.nethack.game import pack_tty, unpack_tty
from isoclone.nethack.recordings.record import NldRecordRequest, record_nld
from isoclone.nethack.watch import Deck, Reel, Shot, coloured, key_name, lines, recorded, watch


@pytest.fixture(scope="module")
def ttyrec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short game of the bot."""
    path = tmp_path_factory.mktemp("watch") / "games"
    record_nld(NldRecordRequest(games=1, game_options={"max_steps": 300}), path)
    return next(path.glob("*/*.ttyrec3.bz2"))


def shot(number: int) -> Shot:
    """A screen full of one letter."""
    letter = np.full((24, 80), 65 + number % 26, np.uint8)
    return Shot(pack_tty(letter, letter % 16, np.array([1, 2])), 107, number)


def test_a_reel_draws_as_far_as_it_is_asked_and_goes_back():
    drawn = []

    def source():
        for number in range(1000):
            drawn.append(number)
            yield shot(number)

    reel = Reel(source(), chunk=10)
    assert reel.get(5).score == 5
    assert len(drawn) == 10
    for number in (25, 3, 999, 0):
        got = reel.get(number)
        assert got.score == number
        assert np.array_equal(got.frame, shot(number).frame)
    assert reel.get(1000) is None
    assert reel.get(-1) is None
    assert (reel.last(), len(reel), reel.score()) == (999, 1000, 999)
    assert Reel([]).get(0) is None


def test_the_controls():
    deck = Deck(Reel(shot(number) for number in range(500)))
    for key, at in (("right", 1), ("up", 101), ("left", 100), ("down", 0), ("[", 0), ("G", 499)):
        assert deck.press(key)
        assert deck.at == at
    assert deck.paused  # by the single steps
    deck.press(" ")
    deck.tick()
    assert deck.paused  # at the end
    deck.press("g")
    deck.press(" ")
    deck.tick()
    assert deck.at == 1
    deck.press("+")
    assert "50/s" in deck.status()
    for _ in range(20):
        deck.press("-")
    assert "1/s" in deck.status()
    assert not deck.press("q")


def test_a_recording_is_what_the_game_showed(ttyrec):
    reel = Reel(recorded(ttyrec))
    screen = lines(reel.get(reel.last() // 2).frame)
    assert (len(screen), {len(row) for row in screen}) == (24, {80})
    assert screen[22].startswith("Agent the Candidate")
    assert reel.score() > 0


def test_colours_and_cursor():
    chars = np.full((24, 80), ord(" "), np.uint8)
    chars[0, :3] = list(b"abc")
    colors = np.zeros((24, 80), np.uint8)
    colors[0, 1], colors[0, 2] = 3, 11
    rows = coloured(pack_tty(chars, colors, np.array([0, 2])))
    assert rows[0][:3] == [("a", "0;90"), ("b", "0;33"), ("c", "0;7;93")]
    assert np.array_equal(unpack_tty(pack_tty(chars, colors, np.array([0, 2])))[1], colors)


def test_keys_have_names():
    assert [key_name(k) for k in (107, 4, 240, 27, 13, 32, None)] == [
        "k", "Ctrl-d", "Alt-p", "Esc", "Return", "Space", "-",
    ]  # fmt: skip


def test_damaged_and_missing_recordings(ttyrec, tmp_path):
    cut = tmp_path / "nle.1.0.ttyrec3.bz2"
    cut.write_bytes(ttyrec.read_bytes()[:1000])
    with pytest.raises(DataError, match="truncated"):
        recorded(cut)
    with pytest.raises(DataError, match="does not exist"):
        recorded(tmp_path / "no.ttyrec3.bz2")
    with pytest.raises(DataError, match=r"must end in \.ttyrec3\.bz2"):
        recorded(tmp_path / "x.ttyrec")


def test_a_recording_of_version_1_is_shown_to_its_last_frame_and_has_no_keys(tmp_path):
    path = tmp_path / "a.ttyrec.bz2"
    parts = (struct.pack("<iii", 0, 0, 1) + letter for letter in (b"a", b"b", b"c"))
    path.write_bytes(bz2.compress(b"".join(parts)))
    shots = list(recorded(path))
    assert [lines(shot.frame)[0].strip() for shot in shots] == ["a", "ab", "abc"]
    assert {shot.key for shot in shots} == {None}


def test_a_second_stream_is_not_left_out_silently(ttyrec, tmp_path, capsys):
    path = tmp_path / ttyrec.name
    path.write_bytes(ttyrec.read_bytes() * 2)
    assert main(["play", str(path), "--json"]) == 1
    assert "there is data after its end" in capsys.readouterr().err


def test_the_verb_without_a_terminal(ttyrec, capsys):
    assert main(["play", str(ttyrec), "--at", "10", "--frames", "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("-- frame") == 2
    assert "-- frame 10," in said  # as --at counts
    assert "-- frame 11," in said
    assert main(["play", str(ttyrec), "--at", "-1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["first"] == facts["frames"] - 1
    assert "You quit in The Dungeons of Doom" in " ".join(facts["shown"][0]["screen"])
    assert main(["play", str(ttyrec), "--at", "99999"]) == 2
    assert "has no frame 99999" in capsys.readouterr().err


def test_watching_needs_a_terminal(ttyrec, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SpecError, match="--frames N prints frames instead"):
        watch(Reel(recorded(ttyrec)))


class Screen(io.StringIO):
    """What is written; and a thread that answers each text that appears with keys."""

    def __init__(self, fd: int, answers: dict[str, bytes]):
        super().__init__()
        self._fd, self._answers, self._new = fd, answers, threading.Semaphore(0)
        threading.Thread(target=self._answer, daemon=True).start()

    def flush(self) -> None:
        self._new.release()

    def _answer(self) -> None:
        seen = 0
        for awaited, keys in self._answers.items():
            while awaited not in (said := self.getvalue().replace("\x1b[0;37m", ""))[seen:]:
                if not self._new.acquire(timeout=60):
                    keys = b"q"  # it never appeared: the test will say so
                    break
            seen = len(said)
            os.write(self._fd, keys)


@pytest.fixture
def terminal(monkeypatch):
    """A real pseudo-terminal for standard input: our end of it."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((100, 30)))
        yield ours
    os.close(ours)


@pytest.mark.timeout(120)
def test_watching_on_a_terminal(ttyrec, terminal):
    """It plays, obeys keys, and leaves the terminal as it was."""
    import termios

    before = termios.tcgetattr(sys.stdin)
    answers = {"20/s": b" ", "paused": b"\x1b[C", " of ": b"G", "You quit in The Dungeons": b"q"}
    out = Screen(terminal, answers)
    watch(Reel(recorded(ttyrec)), out=out)
    assert termios.tcgetattr(sys.stdin) == before
    said = out.getvalue()
    assert "20/s" in said
    assert "paused" in said
    assert "You quit in The Dungeons" in said.replace("\x1b[0;37m", "")
    assert said.endswith("\x1b[?1049l")


@pytest.mark.timeout(120)
def test_keys_typed_at_once_are_all_obeyed(ttyrec, terminal):
    """Also when several were typed before one was read; page up is one key, and no control."""
    typed = b"+  \x1b[5~\x1b[C\x1b[C\x1b[D.q"
    out = Screen(terminal, {"20/s": b" ", "paused": typed})
    watch(Reel(recorded(ttyrec)), out=out)
    shown = [int(number) for number in re.findall(r"(\d+) of \S+  paused", out.getvalue())]
    assert shown[-1] == shown[0] + 2
    assert "50/s" in out.getvalue()


def test_an_agent_is_watched_as_it_plays(nethack_demos, tmp_path):
    """The keys shown are the keys pressed: pressing them again shows the same game."""
    from itertools import islice

    import isoclone as ic
    from isoclone.base.records import Run
    from isoclone.nethack.game import key_actions
    from isoclone.nethack.watch import played
    from isoclone.training.loop import Trainer
    from isoclone.training.recipes import recipe

    fields = recipe("nethack", batch_size=48, precision="float32").to_json()
    options = {"core": "lstm", "unroll": 12}
    run = Run(nethack_demos.game_name, nethack_demos.fingerprint, "nethack", 8, options, fields, 0)
    source = nethack_demos.source("unit", "raw")
    policy = Trainer(run, source, nethack_demos.n_actions, tmp_path).trained()
    game = ic.game("nethack", max_steps=40)
    shots = list(played(policy, game, seed=2))
    assert len(shots) == 41
    assert shots[-1].key is None
    env = game.make_lean_env()
    assert np.array_equal(shots[0].frame, env.reset(2))
    for now, after in zip(shots, islice(shots, 1, None), strict=False):
        assert np.array_equal(env.step(key_actions()[now.key])[0], after.frame)
    with pytest.raises(SpecError, match="is not NetHack"):
        played(policy, ic.game("toy"))
