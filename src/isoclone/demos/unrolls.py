"""The order in which episodes side by side are read, for policies that carry a state.

Training. An epoch's shuffled episodes are laid end to end and the whole is cut into one segment for
each lane, of equal length to a step. Each lane walks through its segment, then through its segment
of the next epoch's shuffle, so every step of every episode is seen exactly once in an epoch, in
order, and lanes are in all phases of an episode from the first step on. What unroll `k` holds
depends on the seed and `k` alone.

Where a segment begins in the middle of an episode, its lane enters it there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.base.formatting import plural


class Piece(NamedTuple):
    """A part of an episode that one lane reads: `size` steps from step `first` on.

    `episode` is its place in the list; `enters` is whether the lane starts to read the episode
    here, instead of going on with it.
    """

    episode: int
    first: int
    size: int
    enters: bool


class LaneOrder:
    """The pieces of episodes that each lane reads in training.

    Args:
        lengths: steps of each episode.
        lanes: episodes side by side; may exceed their number (lanes then share one, far apart).
        unroll: steps in a row.
        seed: of the shuffles.

    Raises:
        SpecError: there are fewer steps than one unroll of all lanes.
    """

    def __init__(self, lengths: Sequence[int], lanes: int, unroll: int, seed: int):
        self._lengths = np.array(lengths, np.int64)
        self.steps = int(self._lengths.sum())
        if min(lanes, unroll) < 1 or lanes * unroll > self.steps:
            raise SpecError(
                f"{lanes} lanes x {unroll} frames cannot be cut from the {self.steps:,} frames of "
                f"{plural(len(self._lengths), 'training episode')}; use fewer lanes or "
                "shorter unrolls"
            )
        self.lanes, self.unroll, self._seed = lanes, unroll, seed
        self._edges = self.steps * np.arange(lanes + 1, dtype=np.int64) // lanes
        self._orders: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def pieces(self, lane: int, k: int) -> Iterator[Piece]:
        """Yield what a lane reads in unroll `k`, `unroll` steps in all."""
        begin, size = int(self._edges[lane]), int(self._edges[lane + 1] - self._edges[lane])
        position, wanted = k * self.unroll, self.unroll
        while wanted:
            epoch, offset = divmod(position, size)
            order, firsts = self._order(epoch)
            turn = int(np.searchsorted(firsts, begin + offset, "right")) - 1
            episode, first = int(order[turn]), begin + offset - int(firsts[turn])
            count = min(wanted, int(self._lengths[episode]) - first, size - offset)
            yield Piece(episode, first, count, enters=offset == 0)
            position, wanted = position + count, wanted - count

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the epoch's order of episodes, and where in the epoch each begins."""
        if epoch not in self._orders:
            rng = np.random.default_rng([self._seed, epoch])
            order = rng.permutation(len(self._lengths))
            lengths = self._lengths[order]
            self._orders[epoch] = order, np.cumsum(lengths) - lengths
            if len(self._orders) > 4:  # lanes change epochs within a step of each other
                self._orders.popitem(last=False)
        return self._orders[epoch]


def deal(lengths: Sequence[int], lanes: int, limit: int | None = None) -> list[list[Piece]]:
    """Deal whole episodes to lanes, for evaluation with state.

    The longest come first, each to the lane that has least to do; more lanes than episodes become
    as many as there are episodes.

    Args:
        limit: only so many first steps of each episode.
    """
    pieces = [Piece(i, 0, min(n, limit or n), True) for i, n in enumerate(lengths)]
    hands: list[list[Piece]] = [[] for _ in range(min(lanes, len(pieces)))]
    for piece in sorted(pieces, key=lambda piece: (-piece.size, piece.episode)):
        min(hands, key=lambda hand: sum(p.size for p in hand)).append(piece)
    return hands


def walk(hands: list[list[Piece]], unroll: int) -> Iterator[list[list[tuple[int, Piece]]]]:
    """Yield, unroll by unroll, each lane's (first row, piece) until all pieces are read.

    A lane takes up its next episode in the row after the last one's end; a lane that has finished
    has no more pieces.
    """
    left = [list(hand) for hand in hands]
    while any(left):
        rows = []
        for hand in left:
            row, mine = 0, []
            while hand and row < unroll:
                piece, hand[:1] = _cut(hand[0], unroll - row)
                mine.append((row, piece))
                row += piece.size
            rows.append(mine)
        yield rows


def _cut(piece: Piece, count: int) -> tuple[Piece, list[Piece]]:
    """Return the first `count` steps of a piece, and a list of what is left."""
    if piece.size <= count:
        return piece, []
    rest = Piece(piece.episode, piece.first + count, piece.size - count, False)
    return piece._replace(size=count), [rest]
