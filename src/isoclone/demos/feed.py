"""Batches of recorded frames, for training and for the dev loss.

Batch k is a function of the demonstrations, the seed and k alone. Policies without memory get
shuffled single observations; recurrent ones get unrolls of many episodes side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from isoclone.base import distributed
from isoclone.base.device import to_device
from isoclone.base.errors import SpecError
from isoclone.demos.base import MASKED, Batch, DevBatch, Feed
from isoclone.demos.batches import Batches
from isoclone.demos.cache import FrameCache
from isoclone.demos.order import Order
from isoclone.demos.shares import MixedLaneOrder, MixedOrder, Shares, lane_order
from isoclone.demos.unrolls import LaneOrder, Piece, deal, walk
from isoclone.games.actions import as_logits_rows
from isoclone.policies import is_recurrent
from isoclone.policies.observe import observe

DEV_BATCH = 512
DEV_LANES, DEV_STEPS = 16, 128  # of dev batches: episodes side by side, steps at a time


class FrameSource:
    """Recorded frames, expanded, for policies of one layout."""

    def __init__(self, cache: FrameCache, sizes: Sequence[int], shares: Shares | None = None):
        self.cache, self.encoder, self.sizes = cache, cache.encoder, tuple(sizes)
        self.shares = shares  # of the parts, if the frames are of a mixture

    def feed(
        self, module: torch.nn.Module, batch_size: int, seed: int, device: str, dtype: torch.dtype
    ) -> Feed:
        """Return shuffled observations, or unrolls for a recurrent policy; see `base.Source`."""
        if not is_recurrent(module):
            return _FrameFeed(self, module, batch_size, seed, device, dtype)
        return _UnrollFeed(self, module, batch_size, seed, device, dtype)

    def dev_batches(
        self, module: torch.nn.Module, samples: int, device: str, dtype: torch.dtype
    ) -> Iterator[DevBatch]:
        """Yield thinned frames, or for a recurrent policy each dev episode's first steps."""
        if is_recurrent(module):
            return self._dev_unrolls(module, samples, device, dtype)
        return self._dev_frames(module, samples, device, dtype)

    def _dev_frames(
        self, module: torch.nn.Module, samples: int, device: str, dtype: torch.dtype
    ) -> Iterator[DevBatch]:
        thinned = self.shares.dev_rows if self.shares else dev_rows
        rows, batches = thinned(self.cache, samples), Batches(self.cache)
        for start in range(0, len(rows), DEV_BATCH):
            part = rows[start : start + DEV_BATCH]
            codes, actions = batches.gather(part)
            inputs = observe(module, codes.to(device), self.encoder, dtype)
            yield DevBatch((inputs,), actions, self.cache.episodes[part])

    def _dev_unrolls(
        self, module: torch.nn.Module, samples: int, device: str, dtype: torch.dtype
    ) -> Iterator[DevBatch]:
        unrolls = _Unrolls(self, module, Batches(self.cache), "dev", device, dtype)
        lanes = min(len(unrolls.lengths), DEV_LANES)
        limit = -(-samples // len(unrolls.lengths))
        for pieces in walk(deal(unrolls.lengths, lanes, limit), DEV_STEPS):
            inputs, targets, rows = unrolls.filled(pieces, DEV_STEPS)
            yield DevBatch(inputs, targets, self.cache.episodes[rows])


def dev_rows(cache: FrameCache, samples: int) -> np.ndarray:
    """Return at most about `samples` dev rows, evenly thinned over all dev episodes."""
    every = max(1, -(-len(cache.dev) // samples))
    return cache.dev[::every]


def _order_of(source: FrameSource, seed: int) -> Order | MixedOrder:
    """Return the order in which training rows are seen, by the weights of a mixture."""
    if source.shares is None:
        return Order(source.cache.train, seed)
    return MixedOrder(source.cache, source.shares, seed)


class _FrameFeed:
    """Shuffled single observations of a cache; a fresh shuffle for each epoch."""

    lanes = 0

    def __init__(
        self,
        source: FrameSource,
        module: torch.nn.Module,
        batch_size: int,
        seed: int,
        device: str,
        dtype: torch.dtype,
    ):
        self._module, self._encoder, self._dtype = module, source.encoder, dtype
        self._batch_size = batch_size
        self._batches = Batches(source.cache, device)
        self._order = _order_of(source, seed)

    def batch(self, k: int) -> Batch:
        """Return (b, ...) observations and (b,) or (b, factors) actions; this process's share."""
        rows = self._order.take(k * self._batch_size, self._batch_size)
        codes, actions = self._batches.gather(rows[distributed.share(len(rows))])
        inputs = observe(self._module, codes, self._encoder, self._dtype)
        return Batch((inputs,), actions, len(rows))


class _UnrollFeed:
    """Unrolls of episodes side by side, each lane going on where it was in the unroll before."""

    def __init__(
        self,
        source: FrameSource,
        module: torch.nn.Module,
        batch_size: int,
        seed: int,
        device: str,
        dtype: torch.dtype,
    ):
        self._steps = int(module.unroll)  # type: ignore[arg-type]
        self.lanes = lanes_for(batch_size, self._steps)
        batches = Batches(source.cache, device)
        self._unrolls = _Unrolls(source, module, batches, "train", device, dtype)
        self._order = self._unrolls.order(self.lanes, self._steps, seed)

    def batch(self, k: int) -> Batch:
        """Return observations, previous actions, starts and actions of this process's lanes."""
        rows = []
        for lane in range(self.lanes)[distributed.share(self.lanes)]:
            row, mine = 0, []
            for piece in self._order.pieces(lane, k):
                mine.append((row, piece))
                row += piece.size
            rows.append(mine)
        inputs, targets, _ = self._unrolls.filled(rows, self._steps)
        return Batch(inputs, targets, self._steps * self.lanes, axis=1)


class _Unrolls:
    """Fills unrolls of one split with what a recurrent policy reads."""

    def __init__(
        self,
        source: FrameSource,
        module: torch.nn.Module,
        batches: Batches,
        split: str,
        device: str,
        dtype: torch.dtype,
    ):
        self._source, self._module, self._batches = source, module, batches
        self._device, self._dtype = device, dtype
        cache = source.cache
        rows = cache.train if split == "train" else cache.dev
        episodes, lengths = np.unique(cache.episodes[rows], return_counts=True)
        self.lengths: list[int] = lengths.tolist()
        self._episodes = episodes
        self._firsts = np.searchsorted(cache.episodes, episodes)

    def order(self, lanes: int, steps: int, seed: int) -> LaneOrder | MixedLaneOrder:
        """Return what each lane reads; lanes are shared by the weights of a mixture."""
        return lane_order(self.lengths, self._episodes, self._source.shares, lanes, steps, seed)

    def filled(
        self, lanes: list[list[tuple[int, Piece]]], steps: int
    ) -> tuple[tuple[object, ...], torch.Tensor, np.ndarray]:
        """Return a policy's inputs, targets, and rows of the cache, (steps, lanes, ...) each.

        Where a lane has no piece, the target is `MASKED` and the row the cache's first.
        """
        shape = (steps, len(lanes))
        rows, there = np.zeros(shape, np.int64), np.zeros(shape, bool)
        starts = np.zeros(shape, bool)
        for lane, pieces in enumerate(lanes):
            for row, piece in pieces:
                first = self._firsts[piece.episode] + piece.first
                rows[row : row + piece.size, lane] = np.arange(first, first + piece.size)
                there[row : row + piece.size, lane] = True
                starts[row, lane] = piece.enters or piece.first == 0
        actions = self._source.cache.actions
        begins = rows == self._source.cache.starts[rows]
        sizes = self._source.sizes
        if len(sizes) > 1:
            begins, there = begins[..., None], there[..., None]
        previous = np.where(begins, sum(sizes), as_logits_rows(actions[rows - 1], sizes))
        targets = np.where(there, actions[rows], MASKED)
        arrays = (previous, starts, targets)
        tensors = [to_device(torch.from_numpy(x), self._device) for x in arrays]
        return (self._observations(rows), tensors[0], tensors[1]), tensors[2], rows

    def _observations(self, rows: np.ndarray) -> object:
        codes, _ = self._batches.gather(rows.ravel())
        codes = to_device(codes, self._device).view(*rows.shape, *codes.shape[1:])
        return observe(self._module, codes, self._source.encoder, self._dtype)


def lanes_for(batch_size: int, unroll: int) -> int:
    """Return how many episodes side by side make a batch of so many samples.

    Raises:
        SpecError: the batch is no whole number of unrolls.
    """
    if batch_size % unroll:
        raise SpecError(f"batch_size {batch_size} is not a multiple of the unroll, {unroll} steps")
    return batch_size // unroll
