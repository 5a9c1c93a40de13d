"""Unrolls: consecutive frames of several games in parallel, for recurrent policies.

`starts` says where a lane enters a game, also in the middle of it; `steps` and `prev_actions` are
exact. Lanes read in the order of `demos.unrolls`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isoclone.demos.shares import Shares, lane_order
from isoclone.demos.unrolls import Piece, deal, walk
from isoclone.nethack.recordings.gamefile import FRAMES, Screens
from isoclone.nethack.recordings.store import UNKNOWN, GameInfo, StoredGames
from isoclone.nethack.recordings.ttyrec import COLUMNS, ROWS

PADDING = -1  # in `games`: a frame of no game


@dataclass(frozen=True)
class Unroll:
    """`t` consecutive frames of `b` lanes, time first.

    Attributes:
        chars, colors: (t, b, 24, 80) uint8, as in NLE's `tty_chars` and `tty_colors`.
        cursor: (t, b, 2) uint8, row and column.
        prev_actions: (t, b) int16, what the expert did one frame earlier; `n_actions` where there
            was nothing (a game's first frame) or no action of the game's.
        starts: (t, b) bool, where carried state must be forgotten: a game's first frame, or the
            frame at which the lane enters a game.
        steps: (t, b) int32, frames since the game's start.
        actions: (t, b) int16, what the expert did; -1 where there is nothing to learn: a key that
            is no action of the game's, or padding.
        games: (t, b) int32, `index` of the game; -1 for padding, whose frames are blank.
    """

    chars: np.ndarray
    colors: np.ndarray
    cursor: np.ndarray
    prev_actions: np.ndarray
    starts: np.ndarray
    steps: np.ndarray
    actions: np.ndarray
    games: np.ndarray

    @classmethod
    def blank(cls, t: int, b: int, n_actions: int) -> Unroll:
        """Return an unroll of padding only."""
        return cls(
            chars=np.zeros((t, b, ROWS, COLUMNS), np.uint8),
            colors=np.zeros((t, b, ROWS, COLUMNS), np.uint8),
            cursor=np.zeros((t, b, 2), np.uint8),
            prev_actions=np.full((t, b), n_actions, np.int16),
            starts=np.zeros((t, b), bool),
            steps=np.zeros((t, b), np.int32),
            actions=np.full((t, b), UNKNOWN, np.int16),
            games=np.full((t, b), PADDING, np.int32),
        )

    @property
    def samples(self) -> int:
        """Frames that can be learned from."""
        return int((self.actions != UNKNOWN).sum())


class _Lane:
    """A reader of pieces of games; it keeps one game open and one batch of its screens."""

    def __init__(self, demos: StoredGames):
        self._demos = demos
        self._table = np.array(demos.action_of_key, np.int16)
        self._game = -1
        self._batch = -1

    def fill(self, out: Unroll, row: int, lane: int, game: GameInfo, piece: Piece) -> None:
        """Write the piece into rows `row` and on of a lane."""
        self._open(game)
        recorded = game.cut_opening + piece.first
        to, end = slice(row, row + piece.size), piece.first + piece.size
        begin = max(piece.first - 1, 0)
        actions = self._table[self._keys[begin:end]]
        out.actions[to, lane] = actions[-piece.size :]
        before = actions[:-1]  # one fewer than frames at the game's start
        before[before == UNKNOWN] = self._demos.n_actions
        out.prev_actions[to.stop - len(before) : to.stop, lane] = before
        out.starts[row, lane] = piece.enters or piece.first == 0
        out.steps[to, lane] = np.arange(piece.first, end)
        out.games[to, lane] = game.index
        self._fill_screens(out, row, lane, recorded, recorded + piece.size)

    def _fill_screens(self, out: Unroll, row: int, lane: int, first: int, end: int) -> None:
        while first < end:
            batch, at = divmod(first, FRAMES)
            count = min(FRAMES - at, end - first)
            screens, to = self._expanded(batch), slice(row, row + count)
            out.chars[to, lane] = screens.chars[at : at + count]
            out.colors[to, lane] = screens.colors[at : at + count]
            out.cursor[to, lane] = screens.cursor[at : at + count]
            first, row = first + count, row + count

    def _open(self, game: GameInfo) -> None:
        if game.index != self._game:
            self._file = self._demos.open_game(game.index)
            self._keys = self._file.moves()[0][game.cut_opening :]
            self._game, self._batch = game.index, -1

    def _expanded(self, batch: int) -> Screens:
        if batch != self._batch:
            self._screens, self._batch = self._file.screens(batch), batch
        return self._screens


class Unrolls:
    """Training unrolls of one split; `take(k)` is the k-th, see `demos.unrolls.LaneOrder`.

    Args:
        split: 'train' or 'dev'.
        lanes: games side by side.
        unroll: frames in a row.
        seed: of the shuffles.
        shares: of the parts, if the games are of a mixture; every lane keeps to one part.

    Raises:
        SpecError: the split has fewer frames than one unroll of all lanes, or the lanes cannot be
            shared by the weights of a mixture.
    """

    def __init__(
        self,
        demos: StoredGames,
        split: str,
        lanes: int,
        unroll: int,
        seed: int,
        shares: Shares | None = None,
    ):
        self._games = demos.in_split(split)
        indices = np.array([info.index for info in self._games])
        lengths = [info.length for info in self._games]
        self._order = lane_order(lengths, indices, shares, lanes, unroll, seed)
        self.lanes, self.unroll, self.n_actions = lanes, unroll, demos.n_actions
        self._readers = [_Lane(demos) for _ in range(lanes)]

    def take(self, k: int) -> Unroll:
        """Return unroll number `k`, from 0; any order is correct, the order 0, 1, ... is fastest.

        Raises:
            DataError: a file of the store is damaged.
        """
        out = Unroll.blank(self.unroll, self.lanes, self.n_actions)
        for lane, reader in enumerate(self._readers):
            row = 0
            for piece in self._order.pieces(lane, k):
                reader.fill(out, row, lane, self._games[piece.episode], piece)
                row += piece.size
        return out


def whole_games(
    demos: StoredGames,
    split: str,
    lanes: int,
    unroll: int,
    limit: int | None = None,
) -> Iterator[Unroll]:
    """Yield every game of a split once, from its first frame to its last.

    Games are dealt to lanes by `demos.unrolls.deal`. Lanes that have finished are padded (`games`
    is -1, `actions` -1).

    Args:
        lanes: games side by side; at most the number of games is used.
        limit: use only this many first frames of each game.
    """
    games = demos.in_split(split)
    hands = deal([info.length for info in games], lanes, limit)
    readers = [_Lane(demos) for _ in hands]
    for rows in walk(hands, unroll):
        out = Unroll.blank(unroll, len(hands), demos.n_actions)
        for lane, pieces in enumerate(rows):
            for row, piece in pieces:
                readers[lane].fill(out, row, lane, games[piece.episode], piece)
        yield out
