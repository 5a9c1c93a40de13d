"""Shares of a mixture: which part each training sample is from, and figures weighted by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.demos.cache import FrameCache
from isoclone.demos.order import Order
from isoclone.demos.unrolls import LaneOrder, Piece

Array = np.ndarray


@dataclass(frozen=True)
class Shares:
    """The parts of a mixture.

    `names` and `weights` (adding up to 1) by part; `of_episode` the part of each episode [e].
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    of_episode: Array

    def counts(self, samples: int) -> list[int]:
        """Return how many of the first samples are of each part.

        Each sample adds one to one part, and no part is ever more than a sample or two from its
        share: the first part has the nearest whole number to its share, the next ones likewise of
        what is left.
        """
        counts, left, weight_left = [], samples, 1.0
        for weight in self.weights[:-1]:
            count = min(left, int(np.floor(left * weight / weight_left + 0.5)))
            counts.append(count)
            left, weight_left = left - count, weight_left - weight
        return [*counts, left]

    def mean(self, of_part: Callable[[Array], tuple[float, float | None]], episodes: Array) -> Mean:
        """Return a mixture's mean and that of each part.

        Args:
            of_part: returns mean and standard error of the samples in a mask.
            episodes: the episode of each sample [n].

        Raises:
            SpecError: a part has no sample.
        """
        part = self.of_episode[episodes]
        parts = {}
        for number, name in enumerate(self.names):
            mask = part == number
            if not mask.any():
                raise SpecError(f"no dev sample is of part '{name}' of the mixture: use more")
            parts[name] = of_part(mask)
        mean = sum(w * m for w, (m, _) in zip(self.weights, parts.values(), strict=True))
        errors = [se for _, se in parts.values()]
        if None in errors:
            return Mean(mean, None, parts)
        pairs = zip(self.weights, errors, strict=True)
        return Mean(mean, float(np.sqrt(sum((w * (se or 0.0)) ** 2 for w, se in pairs))), parts)

    def dev_rows(self, cache: FrameCache, samples: int) -> Array:
        """Return at most about `samples` dev rows, as many of each part as its weight says."""
        part = self.of_episode[cache.episodes[cache.dev]]
        rows = [cache.dev[part == number] for number in range(len(self.names))]
        thinned = [
            own[:: max(1, int(np.ceil(len(own) / max(1.0, weight * samples))))]
            for own, weight in zip(rows, self.weights, strict=True)
        ]
        return np.concatenate(thinned)


@dataclass(frozen=True)
class Mean:
    """A mixture's mean and standard error, and [mean, standard error] of each part."""

    mean: float
    se: float | None
    parts: Mapping[str, tuple[float, float | None]]


class MixedOrder:
    """The order in which training rows of a mixture are seen; see `order.Order`.

    Every part is shuffled for itself, and begins its next epoch when it has been seen as a whole.
    """

    def __init__(self, cache: FrameCache, shares: Shares, seed: int):
        self._shares = shares
        part = shares.of_episode[cache.episodes[cache.train]]
        numbers = range(len(shares.names))
        self._orders = [Order(cache.train[part == number], seed) for number in numbers]

    def take(self, start: int, count: int) -> Array:
        """Return the rows of samples `start` to `start + count`, part by part, (count,) int64."""
        begin, end = self._shares.counts(start), self._shares.counts(start + count)
        taken = zip(self._orders, begin, end, strict=True)
        return np.concatenate([order.take(a, b - a) for order, a, b in taken if b > a])


class MixedLaneOrder:
    """The pieces of episodes that each lane reads; every lane keeps to one part of a mixture.

    Args:
        lengths: steps of each train episode.
        parts: the part of each.
        weights: of the parts.
        lanes, unroll, seed: as of `unrolls.LaneOrder`.

    Raises:
        SpecError: the lanes cannot be shared by the weights, or a part is too short.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        parts: Array,
        weights: Sequence[float],
        lanes: int,
        unroll: int,
        seed: int,
    ):
        wanted = [lanes * weight for weight in weights]
        counts = [round(each) for each in wanted]
        if any(abs(a - b) > 1e-6 for a, b in zip(wanted, counts, strict=True)) or min(counts) < 1:
            said = ", ".join(f"{each:.4g}" for each in wanted)
            raise SpecError(
                f"a mixture's weights share the {lanes} lanes of a batch as {said}; with a "
                "recurrent policy these must be whole: change the weights or batch_size"
            )
        self._lanes: list[tuple[int, int]] = []  # of each lane: its part, and its place there
        self._orders, self._places = [], []
        for number, count in enumerate(counts):
            places = np.flatnonzero(parts == number)
            self._places.append(places)
            own = [lengths[place] for place in places.tolist()]
            self._orders.append(LaneOrder(own, count, unroll, seed))
            self._lanes += [(number, lane) for lane in range(count)]

    def pieces(self, lane: int, k: int) -> Iterator[Piece]:
        """Yield what a lane reads in unroll `k`, as of `LaneOrder`."""
        number, own = self._lanes[lane]
        for piece in self._orders[number].pieces(own, k):
            yield piece._replace(episode=int(self._places[number][piece.episode]))


def lane_order(
    lengths: Sequence[int],
    episodes: Array,
    shares: Shares | None,
    lanes: int,
    unroll: int,
    seed: int,
) -> LaneOrder | MixedLaneOrder:
    """Return what each lane reads of episodes of these lengths and numbers [e].

    The lanes are shared by the weights of a mixture, if it is one.
    """
    if shares is None:
        return LaneOrder(lengths, lanes, unroll, seed)
    parts = shares.of_episode[episodes]
    return MixedLaneOrder(lengths, parts, shares.weights, lanes, unroll, seed)
