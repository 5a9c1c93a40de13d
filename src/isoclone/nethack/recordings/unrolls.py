"""Unrolls: stretches of many games side by side, for policies that carry state.

Training. An epoch's shuffled games are laid end to end and the whole is cut into one segment for
each lane, of equal length to a frame. Each lane walks through its segment, then through its segment
of the next epoch's shuffle, so every frame of every game is seen exactly once in an epoch, in
order, and lanes are in all phases of a game from the first step on. What unroll `k` holds depends
on the seed and `k` alone.

Where a segment begins in the middle of a game, its lane enters it there: `starts` says so, `steps`
and `prev_actions` are exact.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.nethack.recordings.gamefile import FRAMES, Screens
from isoclone.nethack.recordings.store import UNKNOWN, GameInfo, NldDemonstrations
from isoclone.nethack.recordings.ttyrec import COLUMNS, ROWS

PADDING = -1  # in `games`: no game's frame


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
        """All padding."""
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


class Piece(NamedTuple):
    """`size` frames of a game from `first`, which the lane `enters` here or goes on with."""

    game: GameInfo
    first: int
    size: int
    enters: bool


class _Lane:
    """Reads pieces of games; holds one game open and one batch of its screens."""

    def __init__(self, demos: NldDemonstrations):
        self._demos = demos
        self._table = np.array(demos.action_of_key, np.int16)
        self._game = -1
        self._batch = -1

    def fill(self, out: Unroll, row: int, lane: int, piece: Piece) -> None:
        """Write the piece into rows `row` and on of a lane."""
        self._open(piece.game)
        recorded = piece.game.cut_opening + piece.first
        to, end = slice(row, row + piece.size), piece.first + piece.size
        begin = max(piece.first - 1, 0)
        actions = self._table[self._keys[begin:end]]
        out.actions[to, lane] = actions[-piece.size :]
        before = actions[:-1]  # one fewer than frames at the game's start
        before[before == UNKNOWN] = self._demos.n_actions
        out.prev_actions[to.stop - len(before) : to.stop, lane] = before
        out.starts[row, lane] = piece.enters or piece.first == 0
        out.steps[to, lane] = np.arange(piece.first, end)
        out.games[to, lane] = piece.game.index
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
    """Training unrolls of one split; `take(k)` is the k-th.

    Args:
        split: 'train' or 'dev'.
        lanes: games side by side; may exceed the number of games (lanes then share one, far
            apart).
        unroll: frames in a row.
        seed: of the shuffles.

    Raises:
        SpecError: the split has fewer frames than one unroll of all lanes.
    """

    def __init__(self, demos: NldDemonstrations, split: str, lanes: int, unroll: int, seed: int):
        self._games = demos.in_split(split)
        self._lengths = np.array([info.length for info in self._games], np.int64)
        self.frames = int(self._lengths.sum())
        if min(lanes, unroll) < 1 or lanes * unroll > self.frames:
            raise SpecError(
                f"{lanes} lanes x {unroll} frames cannot be cut from the {self.frames:,} frames of "
                f"{len(self._games)} {split} games; use fewer lanes or shorter unrolls"
            )
        self.lanes, self.unroll, self.n_actions = lanes, unroll, demos.n_actions
        self._seed = seed
        self._edges = self.frames * np.arange(lanes + 1, dtype=np.int64) // lanes
        self._readers = [_Lane(demos) for _ in range(lanes)]
        self._orders: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def take(self, k: int) -> Unroll:
        """Unroll number `k`, from 0. Cheap when taken in order, right in any order.

        Raises:
            DataError: a file of the store is damaged.
        """
        out = Unroll.blank(self.unroll, self.lanes, self.n_actions)
        for lane, reader in enumerate(self._readers):
            row = 0
            for piece in self._pieces(lane, k):
                reader.fill(out, row, lane, piece)
                row += piece.size
        return out

    def _pieces(self, lane: int, k: int) -> Iterator[Piece]:
        """What lane `lane` sees in unroll `k`."""
        begin, size = int(self._edges[lane]), int(self._edges[lane + 1] - self._edges[lane])
        position, wanted = k * self.unroll, self.unroll
        while wanted:
            epoch, offset = divmod(position, size)
            order, firsts = self._order(epoch)
            turn = int(np.searchsorted(firsts, begin + offset, "right")) - 1
            game, first = self._games[order[turn]], begin + offset - int(firsts[turn])
            count = min(wanted, game.length - first, size - offset)
            yield Piece(game, first, count, enters=offset == 0)
            position, wanted = position + count, wanted - count

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's order of games, and where in the epoch each begins."""
        if epoch not in self._orders:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._games))
            lengths = self._lengths[order]
            self._orders[epoch] = order, np.cumsum(lengths) - lengths
            if len(self._orders) > 4:  # lanes change epochs within a frame of each other
                self._orders.popitem(last=False)
        return self._orders[epoch]


def whole_games(
    demos: NldDemonstrations,
    split: str,
    lanes: int,
    unroll: int,
    limit: int | None = None,
) -> Iterator[Unroll]:
    """Every game of a split once, from its first frame to its last, for evaluation with state.

    Games are dealt to lanes, the longest first, each to the lane that has least to do; a lane takes
    up its next game in the frame after the last one's end. Lanes that have finished are padded
    (`games` is -1, `actions` -1). With one lane for each game none is dealt two.

    Args:
        lanes: games side by side; more than there are games become so many.
        limit: only so many first frames of each game.
    """
    hands = _deal(demos.in_split(split), lanes, limit)
    readers = [_Lane(demos) for _ in hands]
    pieces = [list(hand) for hand in hands]
    while any(pieces):
        out = Unroll.blank(unroll, len(hands), demos.n_actions)
        for lane, reader in enumerate(readers):
            row = 0
            while pieces[lane] and row < unroll:
                piece, pieces[lane][:1] = _split(pieces[lane][0], unroll - row)
                reader.fill(out, row, lane, piece)
                row += piece.size
        yield out


def _deal(games: Sequence[GameInfo], lanes: int, limit: int | None) -> list[list[Piece]]:
    pieces = [Piece(i, 0, min(i.length, limit or i.length), True) for i in games]
    hands: list[list[Piece]] = [[] for _ in range(min(lanes, len(games)))]
    for piece in sorted(pieces, key=lambda p: (-p.size, p.game.index)):
        min(hands, key=lambda hand: sum(p.size for p in hand)).append(piece)
    return hands


def _split(piece: Piece, count: int) -> tuple[Piece, list[Piece]]:
    """The first `count` frames of a piece, and a list of what is left."""
    if piece.size <= count:
        return piece, []
    rest = Piece(piece.game, piece.first + count, piece.size - count, False)
    return piece._replace(size=count), [rest]
