"""Whole games as batches for training and dev loss: unrolls of screens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from isoclone.base import distributed
from isoclone.base.device import to_device
from isoclone.base.errors import SpecError
from isoclone.demos.base import Batch, DevBatch, Feed
from isoclone.demos.feed import DEV_LANES, DEV_STEPS, lanes_for
from isoclone.demos.shares import Shares
from isoclone.nethack.policy.screen import Screens
from isoclone.nethack.recordings.store import StoredGames
from isoclone.nethack.recordings.unrolls import Unroll, Unrolls, whole_games
from isoclone.policies import is_recurrent
from isoclone.policies.encode import raw_encoder


class GameSource:
    """A source of whole recorded games, read from their files as they are needed."""

    def __init__(self, demos: StoredGames, shares: Shares | None = None):
        self._demos, self.encoder = demos, raw_encoder(demos.frame)
        self.shares = shares  # of the parts, if the games are of a mixture

    def feed(
        self, module: torch.nn.Module, batch_size: int, seed: int, device: str, dtype: torch.dtype
    ) -> Feed:
        """Return unrolls of the train games; see `demos.base.Source`."""
        if not is_recurrent(module):
            raise SpecError("imported NetHack recordings need a policy that reads them: 'nethack'")
        steps = int(module.unroll)  # type: ignore[arg-type]
        lanes = lanes_for(batch_size, steps)
        unrolls = Unrolls(self._demos, "train", lanes, steps, seed, self.shares)
        return _UnrollFeed(unrolls, device)

    def dev_batches(
        self, module: torch.nn.Module, samples: int, device: str, dtype: torch.dtype
    ) -> Iterator[DevBatch]:
        """Yield every dev game's first frames; see `demos.base.Source`."""
        games = self._demos.in_split("dev")
        limit, lanes = -(-samples // len(games)), min(len(games), DEV_LANES)
        for unroll in whole_games(self._demos, "dev", lanes, DEV_STEPS, limit):
            batch = unroll_batch(unroll, device)
            yield DevBatch(batch.inputs, batch.targets, unroll.games)


class _UnrollFeed:
    """A feed of unrolls, in which each lane continues where the unroll before ended."""

    def __init__(self, unrolls: Unrolls, device: str):
        self.lanes, self._unrolls, self._device = unrolls.lanes, unrolls, device

    def batch(self, k: int) -> Batch:
        """Return screens, previous actions, starts and actions of this process's share of lanes.

        All lanes are read.
        """
        whole = unroll_batch(self._unrolls.take(k), self._device)
        mine = whole.split(distributed.size())[distributed.rank()]
        return mine._replace(samples=whole.samples)


def unroll_batch(unroll: Unroll, device: str | torch.device) -> Batch:
    """Return an unroll as a batch of tensors on a device."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return to_device(torch.from_numpy(array), device)

    screens = Screens(tensor(unroll.chars), tensor(unroll.colors), tensor(unroll.cursor))
    previous, starts = tensor(unroll.prev_actions).long(), tensor(unroll.starts)
    targets = tensor(unroll.actions).long()
    return Batch((screens, previous, starts), targets, unroll.samples, axis=1)
