"""Where a game's play ends. What comes after it in a recording is no demonstration.

The rule, from the end of a recording backwards:

1. *End screens.* A game that ended by itself is followed by what NetHack tells about it: what was
   carried, attributes, the vanquished, conduct, the dungeon, a farewell, each dismissed by a key
   that NLE pressed, not the player. All of it goes, and so does the frame before it: the one with
   the last message, which was seen when the game was over. The score of the last ones is 0.
2. *Quit.* A game that was cut off is quit by M-q, y, and keys that dismiss screens. All goes from
   M-q on.
3. *Stuck.* Where `STUCK` or more frames before that M-q show the very same screen and the same
   key (a bot that hung, or keys pressed to get out of menus), all of them go.

A recording that just breaks off has none of these, and keeps every frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoclone.demos.nld.gamefile import FRAMES, GameFile

SPACE, ESC, RETURN = 32, 27, 13
QUIT, YES = 0x80 | ord("q"), ord("y")
STUCK = 8
MESSAGE_ROWS = 2  # a long message goes on in the second row


@dataclass(frozen=True)
class Cut:
    """How many frames of a recording are play, and why the rest is not, in frames."""

    length: int
    end_screens: int = 0
    quit: int = 0
    stuck: int = 0


def find_cut(game: GameFile) -> Cut:
    """Apply the rule to a stored game."""
    keys, _ = game.moves()
    tail = _tail(keys)
    if tail and tail < len(keys) and _quits(keys, tail):
        return _quit_cut(game, keys, tail - 2)
    ends = _first_end_screen(game, len(keys), tail)
    return Cut(ends, end_screens=len(keys) - ends)


def _tail(keys: np.ndarray) -> int:
    """Where the last unbroken run of dismissing keys begins."""
    other = np.flatnonzero(~np.isin(keys, (SPACE, ESC, RETURN)))
    return int(other[-1]) + 1 if len(other) else 0


def _quits(keys: np.ndarray, tail: int) -> bool:
    return tail >= 2 and keys[tail - 2] == QUIT and keys[tail - 1] == YES


def _quit_cut(game: GameFile, keys: np.ndarray, quit_at: int) -> Cut:
    stuck = _stuck_before(game, keys, quit_at)
    stuck = stuck if stuck >= STUCK else 0
    return Cut(quit_at - stuck, quit=len(keys) - quit_at, stuck=stuck)


def _stuck_before(game: GameFile, keys: np.ndarray, end: int) -> int:
    """Length of the run of frames before `end` with one key and one screen."""
    run, last = 0, None
    for at, *frame in _backwards(game, end):
        seen = (keys[at], *(part.tobytes() for part in frame))
        if last is not None and seen != last:
            break
        run, last = run + 1, seen
    return run


def _first_end_screen(game: GameFile, n: int, tail: int) -> int:
    """The frame with the last message; `n` if the recording shows no end of a game."""
    for at, chars, _, cursor in _backwards(game, n):
        if at < tail:
            break
        if _is_message(chars, cursor):
            return at if at < n - 1 else n
    return n


def _is_message(chars: np.ndarray, cursor: np.ndarray) -> bool:
    """Whether the cursor waits behind a message in the top rows, not in a window over the map."""
    row, column = int(cursor[0]), int(cursor[1])
    words = chars[row, :column].tobytes()
    return row < MESSAGE_ROWS and words[:1] not in (b" ", b"") and words.endswith(b"--More--")


def _backwards(game: GameFile, end: int):  # type: ignore[no-untyped-def]
    """(t, chars, colors, cursor) of the frames before `end`, last first."""
    for i in range((end - 1) // FRAMES, -1, -1):
        screens = game.screens(i)
        for t in range(min(len(screens.chars), end - i * FRAMES) - 1, -1, -1):
            yield i * FRAMES + t, screens.chars[t], screens.colors[t], screens.cursor[t]
