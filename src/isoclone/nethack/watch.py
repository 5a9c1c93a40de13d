"""NetHack in the terminal: a replay of a recording, or a game that an agent plays.

On a terminal one can pause, step, jump and change the speed (`HELP`); elsewhere frames are printed
as plain text.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import select
import shutil
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.agents.runners import runner_for
from isoclone.base.errors import DataError, SpecError
from isoclone.cli.output import Canvas
from isoclone.games import Game, check_seed
from isoclone.nethack.game import COLUMNS, ROWS, NetHack, action_keys, pack_tty, unpack_tty
from isoclone.nethack.recordings.ttyrec import VERSIONS, Stream, check_whole, decode
from isoclone.policies.sampling import Sampling

HELP = "space pause · ←→ step · ↑↓ 100 · +- speed · g G begin/end · q quit"
CHUNK = 256  # frames decoded at a time
SPEEDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # frames a second
FIRST_SPEED = 20
VERSION = re.compile(r"\.ttyrec(\d*)\.bz2$")
KEY_NAMES = {13: "Return", 27: "Esc", 32: "Space", 127: "Delete"}


class Shot(NamedTuple):
    """One frame of a game, the key pressed at it (None: none or unknown), and the score then."""

    frame: np.ndarray  # (3842,) uint8, see `pack_tty`
    key: int | None
    score: int


def recorded(path: Path) -> Iterator[Shot]:
    """Yield the frames of a recording.

    Raises:
        DataError: the file is missing, damaged, or of an unknown version.
        MissingExtraError: NLE is not installed.
    """
    found = VERSION.search(path.name)
    if not found:
        raise DataError(f"{path} is not a recording: its name must end in .ttyrec3.bz2 (or 1, 2)")
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    version = int(found[1] or 1)
    if version > max(VERSIONS):
        raise DataError(f"{path}: unknown ttyrec version {version}; known: 1, 2, 3")
    return _recorded(path, version, check_whole(path, version))


def _recorded(path: Path, version: int, stream: Stream) -> Iterator[Shot]:
    for batch in decode(path, version, stream, CHUNK):
        frames = pack_tty(batch.chars, batch.colors, batch.cursor)
        for frame, key, score in zip(frames, batch.keys, batch.scores, strict=True):
            yield Shot(frame, int(key) if version in VERSIONS else None, int(score))


def played(
    policy: TrainedPolicy, game: Game, seed: int = 0, sampling: str = "sample"
) -> Iterator[Shot]:
    """Yield the frames of a game that a policy plays, as it plays it.

    Raises:
        SpecError: the game is not NetHack, a seed below 0, or an unknown way of sampling.
    """
    if not isinstance(game, NetHack):
        raise SpecError(f"{game.name} is not NetHack: film it with --out FILE.mp4")
    check_seed(seed)
    return _played(policy, game, seed, Sampling.parse(sampling))


def _played(policy: TrainedPolicy, game: NetHack, seed: int, way: Sampling) -> Iterator[Shot]:
    env, shown, rng = game.make_lean_env(), runner_for(policy, 1), np.random.default_rng(seed)
    slot, keys, score, ended = np.array([0]), action_keys(game.env_id), 0.0, False
    frame = env.reset(seed)
    shown.start(slot, frame[None])
    while not ended:
        action = way.choose(shown.logits(slot), np.array([rng.random()]))
        yield Shot(frame, keys[int(action[0])], int(score))
        frame, reward, terminated, truncated = env.step(int(action[0]))
        score += reward
        shown.chose(slot, action)
        shown.push(slot, frame[None])
        ended = terminated or truncated
    yield Shot(frame, None, int(score))
    env.close()


class Reel:
    """Shots by number, read from their source as far as needed.

    Shots that were read are kept compressed, about 100 bytes a frame, so that one can go back.
    """

    def __init__(self, shots: Iterable[Shot], chunk: int = CHUNK):
        self._source, self._chunk = iter(shots), chunk
        self._starts: list[int] = []
        self._packed: list[bytes] = []
        self._facts: list[tuple[int | None, int]] = []
        self._at, self._open = -1, np.empty((0, 0), np.uint8)
        self.complete = False

    def __len__(self) -> int:
        """Return the number of shots read so far; of all shots when `complete`."""
        return len(self._facts)

    def get(self, number: int) -> Shot | None:
        """Return shot `number`; None beyond the end."""
        while number >= len(self) and not self.complete:
            self._draw()
        if not 0 <= number < len(self):
            return None
        chunk = bisect.bisect_right(self._starts, number) - 1
        if chunk != self._at:
            frames = np.frombuffer(zlib.decompress(self._packed[chunk]), np.uint8)
            self._at, self._open = chunk, frames.reshape(-1, 2 * ROWS * COLUMNS + 2)
        return Shot(self._open[number - self._starts[chunk]], *self._facts[number])

    def last(self) -> int:
        """Return the number of the last shot, after reading all of them."""
        while not self.complete:
            self._draw()
        return len(self) - 1

    def score(self) -> int:
        """Return the highest score of all shots; the score is 0 on a game's end screens."""
        self.last()
        return max((score for _, score in self._facts), default=0)

    def _draw(self) -> None:
        frames = []
        self._starts.append(len(self))
        for shot in self._source:
            frames.append(shot.frame.tobytes())
            self._facts.append((shot.key, shot.score))
            if len(frames) == self._chunk:
                break
        else:
            self.complete = True
        if frames:
            self._packed.append(zlib.compress(b"".join(frames), 1))
        else:
            self._starts.pop()


def lines(frame: np.ndarray) -> list[str]:
    """Return a frame as 24 lines of text."""
    chars, _, _ = unpack_tty(frame)
    return [_letters(row) for row in chars]


def _letters(row: np.ndarray) -> str:
    return "".join(chr(c) if 32 <= c < 127 else " " if c < 32 else "?" for c in row.tolist())


def coloured(frame: np.ndarray) -> list[list[tuple[str, str]]]:
    """Return a frame as 24 rows of (text, style), the cursor in reverse (see `Canvas`)."""
    chars, colors, cursor = unpack_tty(frame)
    rows = []
    for r, (row, hues) in enumerate(zip(chars, colors, strict=True)):
        runs: list[tuple[str, str]] = []
        for c, (letter, hue) in enumerate(zip(_letters(row), hues.tolist(), strict=True)):
            under_cursor = (r, c) == tuple(cursor.tolist())
            style = _style(hue if letter != " " else 7, under_cursor)
            text, before = runs[-1] if runs else ("", "")
            same = letter == " " and not under_cursor and ";7;" not in before
            if runs and (style == before or same):
                runs[-1] = (text + letter, before)
            else:
                runs.append((letter, style))
        rows.append(runs)
    return rows


def _style(hue: int, under_cursor: bool) -> str:
    """Return the SGR codes of a colour: 8 to 15 are bright, and black is shown as grey."""
    hue &= 15
    code = 90 + (hue & 7) if hue >= 8 or hue == 0 else 30 + hue
    return f"0;7;{code}" if under_cursor else f"0;{code}"


def key_name(key: int | None) -> str:
    """Return a key as people write it: 'k', 'Ctrl-d', 'Alt-p', 'Esc'."""
    if key is None:
        return "-"
    if key in KEY_NAMES:
        return KEY_NAMES[key]
    if key >= 128:
        return f"Alt-{key_name(key - 128)}"
    return f"Ctrl-{chr(key + 64).lower()}" if key < 32 else chr(key)


@dataclass
class Deck:
    """The state of a replay: position, speed, paused or not; every control is a method."""

    reel: Reel
    at: int = 0
    speed: int = FIRST_SPEED
    paused: bool = False

    def go(self, number: int) -> None:
        """Go to shot `number`, or to the nearest that exists."""
        number = max(0, number)
        self.at = number if self.reel.get(number) is not None else self.reel.last()

    def press(self, key: str) -> bool:
        """Do what a key asks for; return False for the key that quits."""
        if key in ("q", "\x03"):
            return False
        jumps = {"right": 1, ".": 1, "left": -1, ",": -1, "up": 100, "]": 100, "down": -100}
        jumps["["] = -100
        if key in jumps:
            self.paused |= abs(jumps[key]) == 1
            self.go(self.at + jumps[key])
        elif key in ("g", "G"):
            self.go(0 if key == "g" else self.reel.last())
        elif key == " ":
            self.paused = not self.paused
        elif key in ("+", "=", "-"):
            place = SPEEDS.index(self.speed) + (-1 if key == "-" else 1)
            self.speed = SPEEDS[min(max(place, 0), len(SPEEDS) - 1)]
        return True

    def tick(self) -> None:
        """Go one frame on, unless paused; pause at the end."""
        if not self.paused:
            before = self.at
            self.go(self.at + 1)
            self.paused = self.at == before

    def status(self) -> str:
        """Return the line below the screen."""
        shot = self.reel.get(self.at)
        assert shot is not None
        known = f"{len(self.reel):,}{'' if self.reel.complete else '+'}"
        pace = "paused" if self.paused else f"{self.speed}/s"
        return f"{self.at + 1:,} of {known}  {pace}  key {key_name(shot.key)}  score {shot.score:,}"


def watch(reel: Reel, at: int = 0, out: TextIO | None = None) -> None:
    """Play a reel in this terminal from frame `at` on, until the user quits.

    Below 0, `at` counts from the end. The terminal is restored afterwards.

    Raises:
        SpecError: standard input is not a terminal.
        DataError: the reel is empty.
    """
    if not sys.stdin.isatty():
        raise SpecError("watching needs a terminal for its keys; --frames N prints frames instead")
    if reel.get(0) is None:
        raise DataError("there are no frames to show")
    deck = Deck(reel)
    deck.go(at if at >= 0 else reel.last() + 1 + at)
    with _keys() as keys, Canvas(out) as canvas:
        drawn = None
        while True:
            state = deck.at, deck.paused, deck.speed
            if state != drawn:
                _draw(deck, canvas)
                drawn = state
            due = time.monotonic() + 1 / deck.speed
            key = keys.next(None if deck.paused else due)
            if key is None:
                deck.tick()
            elif not deck.press(key):
                return


def _draw(deck: Deck, canvas: Canvas) -> None:
    shot = deck.reel.get(deck.at)
    assert shot is not None
    rows = [*coloured(shot.frame), [(deck.status(), "0")], [(HELP, "0")]]
    width, height = shutil.get_terminal_size()
    if width < COLUMNS or height < len(rows):
        said = f"the terminal must be at least {COLUMNS}x{len(rows)}, not {width}x{height}"
        rows = [[(said, "0")]]
    canvas.draw(rows)


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Yield the keys typed, one by one, and do not echo them."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield _Keys()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


ARROWS = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left"}
KEY = re.compile(rb"\x1b[\[O][0-?]*[ -/]*[@-~]|.", re.DOTALL)  # some keys send several bytes


class _Keys:
    """Keys typed on the terminal, one by one."""

    def __init__(self) -> None:
        self._unread = b""

    def next(self, until: float | None) -> str | None:
        """Return the next key; None if none comes until that time (`until` None: wait forever)."""
        wait = None if until is None else max(0.0, until - time.monotonic())
        if not self._unread:
            if not select.select([sys.stdin], [], [], wait)[0]:
                return None
            self._unread = os.read(sys.stdin.fileno(), 4096)  # the most that a terminal buffers
        found = KEY.match(self._unread)
        if not found:  # the terminal was closed
            return "q"
        self._unread = self._unread[found.end() :]
        return ARROWS.get(found[0], found[0][:1].decode(errors="replace"))
