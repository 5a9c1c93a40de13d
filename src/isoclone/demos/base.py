"""The protocols of demonstrations: all that training and evaluation know of any kind of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from isoclone.base.errors import DataError
from isoclone.games import FrameSpec, Game
from isoclone.policies.encode import FrameEncoder

if TYPE_CHECKING:
    import numpy as np
    import torch

MASKED = -1  # a target that is neither learned nor counted

Progress = Callable[[str, float, float], None]


class Batch(NamedTuple):
    """The samples of one training step.

    `inputs` are the policy's arguments, its state aside; `targets` int64 actions, `MASKED` where
    there is nothing to learn, with the factors last where actions have several; `samples` how many
    have a target, over all processes of a run; `axis` the dimension of every tensor along which
    samples are independent of each other.
    """

    inputs: tuple[Any, ...]
    targets: torch.Tensor
    samples: int
    axis: int = 0

    def split(self, parts: int) -> list[Batch]:
        """Cut the batch into so many along `axis`, for gradients that are added up."""
        if parts == 1:
            return [self]
        targets = self.targets.tensor_split(parts, self.axis)
        inputs = zip(*(_split(x, parts, self.axis) for x in self.inputs), strict=True)
        counts = [_with_target(t, self.axis) for t in targets]
        return [Batch(i, t, n, self.axis) for i, t, n in zip(inputs, targets, counts, strict=True)]


def _with_target(targets: torch.Tensor, axis: int) -> int:
    """Count the samples to learn from; the last of their axes is `axis`."""
    by_sample = (targets != MASKED).reshape(*targets.shape[: axis + 1], -1)
    return int(by_sample.any(-1).sum())


def _split(x: Any, parts: int, axis: int) -> list[Any]:
    """Cut a tensor, or a named tuple of tensors."""
    if hasattr(x, "tensor_split"):
        return list(x.tensor_split(parts, axis))
    return [type(x)(*p) for p in zip(*(_split(y, parts, axis) for y in x), strict=True)]


class DevBatch(NamedTuple):
    """Held-out samples in the order in which they are judged.

    `inputs` and `targets` as in `Batch`; `episodes` int64 of the shape of `targets` without its
    factors, the episode that each sample is from. A recurrent policy carries its state from batch
    to batch.
    """

    inputs: tuple[Any, ...]
    targets: torch.Tensor
    episodes: np.ndarray


class Feed(Protocol):
    """Training batches by number; each of several processes gets its share of every batch.

    `lanes` are the episodes side by side whose state the policy carries from batch to batch (0
    where batches have nothing to do with each other).
    """

    lanes: int

    def batch(self, k: int) -> Batch:
        """Return batch number `k`, from 0. Cheap when taken in order, right in any order."""
        ...


class Source(Protocol):
    """Demonstrations made ready for one way of showing frames to a policy.

    `encoder` turns frames into the policy's input, in rollouts too. A source may have `shares`
    (`demos.shares`), by which dev figures of its parts are weighted.
    """

    encoder: FrameEncoder

    def feed(
        self, module: torch.nn.Module, batch_size: int, seed: int, device: str, dtype: torch.dtype
    ) -> Feed:
        """Return what a policy trains on, `batch_size` samples at a time.

        Raises:
            SpecError: the policy cannot be fed from these demonstrations, or the batch is no whole
                number of unrolls.
        """
        ...

    def dev_batches(
        self, module: torch.nn.Module, samples: int, device: str, dtype: torch.dtype
    ) -> Iterator[DevBatch]:
        """Yield about `samples` held-out samples, every dev episode with its share.

        A recurrent policy gets whole stretches from each episode's first step on, in the same
        lanes from batch to batch.
        """
        ...


class Demonstrations(Protocol):
    """Recorded play of an expert in one game: immutable, split by episode, fingerprinted.

    A row of `episodes` has an `index`, a `length`, an `end` and an `episode_return`. Kinds may
    also define `select(out, where)`, which makes demonstrations of some of the episodes;
    `expand(frames, layout, progress)`, the part of `source` that takes long the first time;
    `copies` and `unique_samples_in(split)`, which count copies of episodes; `unique_seen(samples)`,
    where training does not see all samples equally often; `expert_identity`; and `action_sizes`,
    where actions have several factors (`games.actions`).
    """

    @property
    def path(self) -> Path:
        """The directory."""
        ...

    @property
    def game_name(self) -> str:
        """Name of the game."""
        ...

    @property
    def game_options(self) -> dict[str, Any]:
        """The game's settings beside its name."""
        ...

    @property
    def expert_name(self) -> str:
        """Name of the expert that played."""
        ...

    @property
    def frame(self) -> FrameSpec:
        """Shape, dtype and stack of the frames."""
        ...

    @property
    def n_actions(self) -> int:
        """The game's action count."""
        ...

    @property
    def episodes(self) -> Sequence[Any]:
        """Rows of the episode table."""
        ...

    @property
    def dev_episodes(self) -> frozenset[int]:
        """Indices of the held-out episodes."""
        ...

    @property
    def fingerprint(self) -> str:
        """16 hex digits over game, contents and split."""
        ...

    @property
    def samples(self) -> int:
        """All samples, train and dev."""
        ...

    def in_split(self, split: str) -> list[Any]:
        """Return the episodes of 'train' or of 'dev'."""
        ...

    def split_of(self, info: Any) -> str:
        """Return 'train' or 'dev', the split of an episode's row."""
        ...

    def samples_in(self, split: str) -> int:
        """Count the samples of 'train' or of 'dev'."""
        ...

    def score(self) -> tuple[float, float]:
        """Return the expert's mean return over all episodes, and its standard error."""
        ...

    def action_counts(self, split: str) -> np.ndarray:
        """Count how often the expert took each action in a split, (n_actions,) int64.

        Where actions have several factors, each factor's values are counted, one after the other.
        """
        ...

    def game(self) -> Game:
        """Return the game that was played, with its options."""
        ...

    def episode_path(self, index: int) -> Path:
        """Return the file that holds an episode."""
        ...

    def verify(self) -> None:
        """Raise DataError if a file is missing, damaged or edited."""
        ...

    def summary(self) -> dict[str, Any]:
        """Return a description, the table of episodes included, as JSON values."""
        ...

    def lines(self) -> list[str]:
        """Return the summary as lines for people."""
        ...

    def source(self, frames: str, layout: str, progress: Progress | None = None) -> Source:
        """Make the demonstrations ready for policies of a layout; frames are expanded once.

        Args:
            frames: 'unit' or 'standardise', see `policies.encode`.
            layout: the policy's, see `policies.base`.
        """
        ...


def check_held_out(demos: Demonstrations) -> None:
    """Raise DataError if no episode is held out, since all are copies of one."""
    if not demos.dev_episodes:
        raise DataError(
            f"{demos.path}: all {len(demos.episodes)} episodes are copies of one, so nothing can "
            "be held out: let the game or the expert depend on its seed"
        )


def unique_seen(demos: Demonstrations, samples: int) -> int:
    """Count the different samples among the first so many that are trained on."""
    count = getattr(demos, "unique_seen", None)
    return int(count(samples)) if count else min(samples, unique_samples(demos, "train"))


def unique_samples(demos: Demonstrations, split: str) -> int:
    """Count the different samples of a split; all of them if the kind does not see copies."""
    count = getattr(demos, "unique_samples_in", demos.samples_in)
    return int(count(split))
