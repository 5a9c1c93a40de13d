"""Find the frames of a recording that the player played; the others are no demonstration.

The rules:

1. *Opening.* NLE dismisses NetHack's messages before the first turn (a greeting, the phase of the
   moon) with spaces, before the player acts. The first frames that wait at such a message, and
   whose key is a space, are cut.
2. *End screens.* After a game that ended by itself NetHack shows windows about it (inventory,
   attributes, vanquished monsters, conduct, the dungeon, a farewell), and NLE dismisses each with
   a space. They are cut, together with a message before them that was dismissed with a space,
   because the game was already over.
3. *Quit.* A game that was cut off is quit by M-q, y, and keys that dismiss screens. Everything from
   M-q on is cut.
4. *Stuck.* If `STUCK` or more frames before that M-q have the same screen and the same key (a bot
   that hung, or keys pressed to leave menus), all of them are cut.
5. *Count.* If the recorder left a count of the player's steps, everything beyond it is cut.

These rules are for NLE's challenge. For its other tasks only the player's keys are stored, and the
count (5) says where they end.

A recording that breaks off keeps every frame. Without (5), a space or an escape right before M-q
may be the player's or not; it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from isoclone.nethack.recordings.gamefile import FRAMES, GameFile

SPACE, ESC, RETURN = 32, 27, 13
QUIT, YES = 0x80 | ord("q"), ord("y")
STUCK = 6
MESSAGE_ROWS = 3  # a long message, or the --More-- after it, continues in the next rows

FAREWELL = (23, 8)  # the cursor after the last --More--, which is in no window
_PAGE_END = re.compile(rb"(--More--|\(end\)|\(\d+of\d+\))$")

Frame = tuple[np.ndarray, np.ndarray, np.ndarray]  # characters, colours, cursor


@dataclass(frozen=True)
class Cut:
    """The part that was played, `length` frames from `opening` on; the other frames by reason."""

    opening: int
    length: int
    end_screens: int = 0
    quit: int = 0
    stuck: int = 0

    @property
    def end(self) -> int:
        """The first frame after play."""
        return self.opening + self.length


def find_cut(game: GameFile, steps: int | None = None) -> Cut:
    """Apply the rules to a stored game; `steps` is the recorder's count, if it left one."""
    keys, _ = game.moves()
    opening = _opening(game, keys)
    tail = _tail(keys)
    if tail - 2 >= opening and _quits(keys, tail):
        cut = _quit_cut(game, keys, opening, tail - 2)
    else:
        end = _first_end_screen(game, keys, opening)
        cut = Cut(opening, end - opening, end_screens=len(keys) - end)
    if steps is None or steps >= cut.length:
        return cut
    return replace(cut, length=steps, quit=cut.quit + cut.length - steps)


def _quits(keys: np.ndarray, tail: int) -> bool:
    return len(keys) > tail and keys[tail - 2] == QUIT and keys[tail - 1] == YES


def _opening(game: GameFile, keys: np.ndarray) -> int:
    first = game.screens(0)
    for t in range(len(first.chars)):
        if keys[t] != SPACE or not _waits_at_message(first.chars[t], first.cursor[t]):
            return t
    return 0  # every frame waits at a message: no opening


def _tail(keys: np.ndarray) -> int:
    """Return the index of the first key of the last run of dismissing keys."""
    other = np.flatnonzero(~np.isin(keys, (SPACE, ESC, RETURN)))
    return int(other[-1]) + 1 if len(other) else 0


def _quit_cut(game: GameFile, keys: np.ndarray, opening: int, quit_at: int) -> Cut:
    run, last = 0, None
    for t, frame in _backwards(game, opening, quit_at):
        seen = (keys[t], *(part.tobytes() for part in frame))
        if last is not None and seen != last:
            break
        run, last = run + 1, seen
    stuck = run if run >= STUCK else 0
    length = quit_at - stuck - opening
    return Cut(opening, length, quit=len(keys) - quit_at, stuck=stuck)


def _first_end_screen(game: GameFile, keys: np.ndarray, opening: int) -> int:
    """Return the index of the first end screen; `len(keys)` if there is none."""
    first = len(keys)
    for t, (chars, _, cursor) in _backwards(game, opening, len(keys)):
        if keys[t] != SPACE or (t == len(keys) - 1 and tuple(cursor) != FAREWELL):
            break
        if _waits_at_message(chars, cursor):
            return t
        if not _PAGE_END.search(_before_cursor(chars, cursor)):
            break
        first = t
    return first


def _waits_at_message(chars: np.ndarray, cursor: np.ndarray) -> bool:
    """Return whether the cursor is after the --More-- of a message, not of a window.

    The rows of messages begin in the first column; the last row of a window over the map does not.
    """
    last = (int(cursor[0]) * chars.shape[1] + int(cursor[1]) - 1) // chars.shape[1]
    on_top = 0 <= last < MESSAGE_ROWS and SPACE not in (chars[0, 0], chars[last, 0])
    return on_top and _before_cursor(chars, cursor).endswith(b"--More--")


def _before_cursor(chars: np.ndarray, cursor: np.ndarray) -> bytes:
    """Return the characters before the cursor, without spaces: a line may be broken anywhere."""
    said = chars.reshape(-1)[: int(cursor[0]) * chars.shape[1] + int(cursor[1])]
    return said[said != SPACE].tobytes()


def _backwards(game: GameFile, first: int, end: int) -> Iterator[tuple[int, Frame]]:
    """Yield frames `end` - 1 down to `first`, with their numbers."""
    for i in range((end - 1) // FRAMES, first // FRAMES - 1, -1):
        screens = game.screens(i)
        begin = i * FRAMES
        for t in reversed(range(max(first, begin), min(end, begin + len(screens.chars)))):
            at = t - begin
            yield t, (screens.chars[at], screens.colors[at], screens.cursor[at])
