"""What a run is trained on: batch number k, a function of the demonstrations, the seed and k alone.

A trainer asks for batches and knows nothing else of demonstrations. Single frames come from a
`FrameCache` in shuffled order; recordings of whole games (`NldDemonstrations`) come as unrolls of
many games side by side, for policies that carry a state from one unroll to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from isoclone.base import distributed
from isoclone.base.errors import SpecError
from isoclone.demos.cache import FrameCache, open_cache
from isoclone.demos.demonstrations import Demonstrations
from isoclone.demos.encode import FrameEncoder
from isoclone.games import FrameSpec
from isoclone.nethack.policy.screen import Screens
from isoclone.nethack.recordings import NldDemonstrations, Unroll, Unrolls
from isoclone.training.batches import Batches, Order, to_input

MASKED = -1  # a target that is not learned, and not counted


class Batch(NamedTuple):
    """One step's worth of training.

    `inputs` are the policy's arguments, its state aside; `targets` int64 actions, `MASKED` where
    there is nothing to learn; `samples` how many are left, over all ranks;
    `axis` the dimension of every tensor along which samples are independent of each other.
    """

    inputs: tuple[Any, ...]
    targets: torch.Tensor
    samples: int
    axis: int = 0

    def split(self, parts: int) -> list[Batch]:
        """The batch cut into so many along `axis`, for gradients that are added up."""
        if parts == 1:
            return [self]
        targets = self.targets.tensor_split(parts, self.axis)
        inputs = zip(*(_split(x, parts, self.axis) for x in self.inputs), strict=True)
        counts = [int((t != MASKED).sum()) for t in targets]
        return [Batch(i, t, n, self.axis) for i, t, n in zip(inputs, targets, counts, strict=True)]


def _split(x: Any, parts: int, axis: int) -> list[Any]:
    if isinstance(x, torch.Tensor):
        return list(x.tensor_split(parts, axis))
    return [type(x)(*p) for p in zip(*(_split(y, parts, axis) for y in x), strict=True)]


class Feed(Protocol):
    """Hands out batches; to each of several ranks its share of every batch.

    `encoder` is how frames become the policy's input, in rollouts too; `unique_samples` how many
    training samples there are; `lanes` the games side by side, whose state the policy carries from
    batch to batch (0 where batches have nothing to do with each other).
    """

    encoder: FrameEncoder
    unique_samples: int
    lanes: int

    def batch(self, k: int) -> Batch:
        """Batch number `k`, from 0. Cheap when taken in order, right in any order."""
        ...


class FrameFeed:
    """Shuffled single observations of a cache; a fresh shuffle for each epoch."""

    lanes = 0

    def __init__(
        self, cache: FrameCache, batch_size: int, seed: int, device: str, dtype: torch.dtype
    ):
        self.encoder, self.unique_samples = cache.encoder, len(cache.train)
        self._batch_size, self._dtype = batch_size, dtype
        self.batches, self._order = Batches(cache, device), Order(cache.train, seed)

    def batch(self, k: int) -> Batch:
        """(b, ...) observations in the policy's layout and (b,) actions; this rank's share."""
        rows = self._order.take(k * self._batch_size, self._batch_size)
        codes, actions = self.batches.gather(rows[distributed.share(len(rows))])
        return Batch((to_input(codes, self.encoder, self._dtype),), actions, len(rows))


class Takes(Protocol):
    """Hands out unrolls; see `demos.nld.Unrolls`."""

    lanes: int
    frames: int

    def take(self, k: int) -> Unroll:
        """Unroll number `k`."""
        ...


class UnrollFeed:
    """Unrolls of games side by side, each lane going on where it was in the unroll before."""

    def __init__(self, unrolls: Takes, spec: FrameSpec, unique_samples: int, device: str):
        self.encoder, self.unique_samples = screen_encoder(spec), unique_samples
        self.lanes = unrolls.lanes
        self._unrolls, self._device = unrolls, device

    def batch(self, k: int) -> Batch:
        """Screens, previous actions and starts (steps, lanes, ...), actions (steps, lanes).

        Of this rank's share of the lanes; all of them are read.
        """
        whole = unroll_batch(self._unrolls.take(k), self._device)
        return whole.split(distributed.size())[distributed.rank()]._replace(samples=whole.samples)


def unroll_batch(unroll: Unroll, device: str | torch.device) -> Batch:
    """An unroll as a policy is fed with it."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    screens = Screens(tensor(unroll.chars), tensor(unroll.colors), tensor(unroll.cursor))
    previous, starts = tensor(unroll.prev_actions).long(), tensor(unroll.starts)
    targets = tensor(unroll.actions).long()
    return Batch((screens, previous, starts), targets, unroll.samples, axis=1)


def screen_encoder(spec: FrameSpec) -> FrameEncoder:
    """Terminal screens go to the policy as they are."""
    mean, inverse_sd = np.zeros((2, *spec.shape), np.float32)
    return FrameEncoder("unit", "tty", spec, mean.copy(), inverse_sd.copy())


Source = FrameCache | NldDemonstrations | Feed


def encoder_of(source: Source) -> FrameEncoder:
    """How the frames of a source become a policy's input."""
    return screen_encoder(source.frame) if isinstance(source, NldDemonstrations) else source.encoder


def open_source(
    demos: Demonstrations | NldDemonstrations,
    frames: str,
    layout: str,
    progress: Callable[[str, float, float], None] | None = None,
) -> FrameCache | NldDemonstrations:
    """Demonstrations made ready for training: single frames are expanded, whole games are not."""
    if isinstance(demos, NldDemonstrations):
        return demos
    return open_cache(demos, frames, layout, progress)


def feed_for(
    source: Source,
    batch_size: int,
    seed: int,
    module: torch.nn.Module,
    device: str,
    dtype: torch.dtype,
) -> Feed:
    """How a policy is fed with demonstrations, `batch_size` samples at a time.

    Raises:
        SpecError: the policy cannot be fed from them, or the batch is no whole number of unrolls.
    """
    if distributed.size() > batch_size:
        raise SpecError(
            f"a batch of {batch_size} cannot be dealt out to {distributed.size()} processes"
        )
    steps = getattr(module, "unroll", None)
    if not isinstance(source, FrameCache | NldDemonstrations):
        if distributed.size() > 1:
            raise SpecError("a feed of one's own can train on one process only")
        return source
    if isinstance(source, FrameCache):
        if steps is not None:
            raise SpecError("this policy learns from whole games: give imported recordings")
        return FrameFeed(source, batch_size, seed, device, dtype)
    if steps is None:
        raise SpecError("imported NetHack recordings need a policy that reads them: 'nethack'")
    unrolls = Unrolls(source, "train", lanes_for(batch_size, steps), steps, seed)
    return UnrollFeed(unrolls, source.frame, source.samples_in("train"), device)


def lanes_for(batch_size: int, unroll: int) -> int:
    """Games side by side that make a batch of so many samples.

    Raises:
        SpecError: the batch is no whole number of unrolls.
    """
    if batch_size % unroll:
        raise SpecError(f"batch_size {batch_size} is not a multiple of the unroll, {unroll} steps")
    return batch_size // unroll
