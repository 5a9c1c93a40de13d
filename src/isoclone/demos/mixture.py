"""Demonstrations mixed of several, with weights: one directory, one fingerprint.

The episodes of all parts are linked (or copied) into the mixture's directory, which needs its parts
no more. A weight is a part's share of the training samples, and of the dev loss. Each kind of
demonstrations names the class that mixes it (`Finished.mixed_as`), which says how it is written.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from isoclone.base.errors import DataError, SpecError
from isoclone.base.formatting import plural
from isoclone.base.records import conform, jsonable, shown, stable_id
from isoclone.base.registry import resolved
from isoclone.base.store import claim, link_or_copy
from isoclone.base.tables import DEMONSTRATIONS
from isoclone.demos.base import Demonstrations, Progress, Source
from isoclone.demos.cache import open_cache
from isoclone.demos.demonstrations import (
    DONE,
    FORMAT,
    HELD,
    REQUEST,
    Finished,
    FrameDemonstrations,
    fingerprint,
)
from isoclone.demos.episode import EpisodeInfo, write_episode
from isoclone.demos.manifest import episode_path, write_done
from isoclone.demos.open import open_demos
from isoclone.demos.shares import Shares
from isoclone.games import action_sizes

EXACT = 1e-6  # by which weights may miss 1
Given = Mapping[str, tuple[str | Path | Demonstrations, float]]


@dataclass(frozen=True)
class Part:
    """A part of a mixture: its name, weight, count of episodes, expert, and own fingerprint."""

    name: str
    weight: float
    episodes: int
    expert: str
    fingerprint: str

    def __post_init__(self) -> None:
        conform(self)


@dataclass(frozen=True, repr=False)
class Mixed(Finished):
    """What mixtures of every kind have in common; a kind's own class comes after it."""

    parts: tuple[Part, ...] = dataclasses.field(default=(), kw_only=True)

    kind: ClassVar[str]
    of_part: ClassVar[type[Finished]]  # the kind of its parts
    mixed_as = ""
    command = "mix"
    unfinished = "unfinished: run the same mix command again"

    @classmethod
    def make(cls, out: Path, rows: list[Part], parts: list[Any]) -> None:
        """Link the episodes of the parts, and write what says "complete" last.

        Args:
            rows: what is told of each part.
            parts: the demonstrations, of the kind `of_part`.
        """
        raise NotImplementedError

    @classmethod
    def _check_kind(cls, path: Path, data: dict[str, Any]) -> None:
        if data.get("kind") != cls.kind:
            raise DataError(f"{path} holds no such mixture")

    @classmethod
    def _fields_of_kind(cls, data: dict[str, Any]) -> dict[str, Any]:
        parts = tuple(Part(**row) for row in data["parts"])
        if sum(part.episodes for part in parts) != len(data["episodes"]):
            raise ValueError("the parts do not have as many episodes as the mixture")
        return {**super()._fields_of_kind(data), "parts": parts}

    def counted_fingerprint(self) -> str:
        """Count the fingerprint anew from the episodes, the split, the game and the weights."""
        return with_parts(super().counted_fingerprint(), self.parts)

    def shares(self) -> Shares:
        """Return the parts' names and weights, and the part of each episode."""
        counts = [part.episodes for part in self.parts]
        names, weights = zip(*((part.name, part.weight) for part in self.parts), strict=True)
        return Shares(names, weights, np.repeat(np.arange(len(counts)), counts))

    def score(self) -> tuple[float, float]:
        """Return the parts' mean returns, weighted, and the standard error of that."""
        scores = [part.score() for part in self._each()]
        weights = [part.weight for part in self.parts]
        mean = sum(w * m for w, (m, _) in zip(weights, scores, strict=True))
        return mean, math.sqrt(
            sum((w * se) ** 2 for w, (_, se) in zip(weights, scores, strict=True))
        )

    def action_counts(self, split: str) -> np.ndarray:
        """Count the actions as if every part had its weight's share of the samples, rounded."""
        total = 0.0
        for part, each in zip(self.parts, self._each(), strict=True):
            counts = each.action_counts(split)
            total = total + part.weight * counts / max(1, counts.sum())
        return np.asarray(np.rint(total * self.samples_in(split)), np.int64)

    def unique_seen(self, samples: int) -> int:
        """Count the different samples among the first so many that are trained on."""
        counts = self.shares().counts(samples)
        seen = [
            min(count, part.unique_samples_in("train"))
            for count, part in zip(counts, self._each(), strict=True)
        ]
        return min(sum(seen), self.unique_samples_in("train"))

    def _each(self) -> list[Any]:
        """Return the episodes of each part, still of this directory."""
        base = {f.name: getattr(self, f.name) for f in dataclasses.fields(self.of_part)}
        ends = np.cumsum([part.episodes for part in self.parts]).tolist()
        firsts = [0, *ends[:-1]]
        return [
            self.of_part(**{**base, "episodes": self.episodes[first:end]})
            for first, end in zip(firsts, ends, strict=True)
        ]

    def _summary_of_kind(self) -> dict[str, Any]:
        return {**super()._summary_of_kind(), "parts": [vars(part) for part in self.parts]}

    def _lines_of_kind(self, said: dict[str, Any]) -> list[str]:
        lines = super()._lines_of_kind(said)
        for part, each in zip(self.parts, self._each(), strict=True):
            train, dev = each.samples_in("train"), each.samples_in("dev")
            mean, _ = each.score()
            score = "returns unknown" if math.isnan(mean) else f"mean return {mean:.4g}"
            lines.append(
                f"- {part.weight:.4g} {part.name}: {part.expert}, {score}, "
                f"{plural(part.episodes, 'episode')}, {train:,} train samples, {dev:,} dev"
            )
        return lines


@dataclass(frozen=True, repr=False)
class MixedDemonstrations(Mixed, FrameDemonstrations):
    """Recorded frames of several demonstrations, with weights; made by `mixture`."""

    kind = "mixture"
    of_part = FrameDemonstrations

    def source(self, frames: str, layout: str, progress: Progress | None = None) -> Source:
        """Expand the frames of all parts in one way, once; see `base.Demonstrations`."""
        from isoclone.demos.feed import FrameSource

        cache = open_cache(self, frames, layout, progress)
        return FrameSource(cache, action_sizes(self), self.shares())

    @classmethod
    def make(cls, out: Path, rows: list[Part], parts: list[Any]) -> None:
        """Link the episodes, and write what says "complete" last; see `Mixed.make`."""
        episodes: list[EpisodeInfo] = []
        dev: list[int] = []
        for part in parts:
            for info in part.episodes:
                row = dataclasses.replace(info, index=len(episodes))
                source, target = part.episode_path(info.index), episode_path(out, row.index)
                if source.suffix == target.suffix:
                    link_or_copy(source, target)
                else:  # a kind of its own, whose files only it can read
                    write_episode(target, part.read(info.index), row)
                if part.split_of(info) == "dev":
                    dev.append(row.index)
                episodes.append(row)
        one = parts[0]
        facts = {
            "kind": cls.kind,
            "parts": rows,
            "game": one.game_name,
            "game_options": one.game_options,
            "expert": mixed_name(rows),
            "expert_recurrent": any(part.expert_recurrent for part in parts),
            "frame": one.frame,
            "n_actions": one.n_actions,
            "action_sizes": one.action_sizes,
            "unrepeatable": next((part.unrepeatable for part in parts if part.unrepeatable), None),
            "read_as": tuple(dict.fromkeys(line for part in parts for line in part.read_as)),
        }
        told = (one.game_name, one.game_options, episodes, dev, one.frame, one.n_actions)
        write_done(out, facts, episodes, dev, with_parts(fingerprint(*told), rows))


def mixture(parts: Given, out: str | Path) -> Demonstrations:
    """Mix demonstrations with weights; return those of a mixture that is there already.

    Args:
        parts: {name: (demonstrations or their directory, weight)}; weights add up to 1.
        out: directory of the mixture.

    Raises:
        SpecError: weights that do not add up to 1, a part given twice, parts that do not fit each
            other.
        SpecMismatchError: `out` holds other demonstrations.
        DataError: a part is damaged, or an episode is held out in one part and not in another.
    """
    out = Path(out)
    _check_weights({name: weight for name, (_, weight) in parts.items()})
    found = {name: _opened(name, given) for name, (given, _) in parts.items()}
    _check_fit(found)
    kind: Any = resolved(next(iter(found.values())).mixed_as)
    weights = {name: float(parts[name][1]) for name in found}
    rows = [
        Part(name, weights[name], len(each.episodes), each.expert_name, each.fingerprint)
        for name, each in found.items()
    ]
    claim(out, REQUEST, jsonable({"format": FORMAT, "mixture": rows}), HELD)
    if (out / DONE).exists():
        with suppress(DataError):  # damaged: make it again
            return kind.open(out)
    kind.make(out, rows, list(found.values()))
    return kind.open(out)


def mixed_name(parts: Sequence[Part]) -> str:
    """Return what a mixture is called in the place of its expert."""
    return " + ".join(f"{part.weight:.4g} {part.name}" for part in parts)


def with_parts(counted: str, parts: Sequence[Part]) -> str:
    """Return a mixture's fingerprint from that counted of its episodes, and its parts' weights."""
    weights = [[part.name, part.weight, part.episodes] for part in parts]
    return stable_id({"episodes": counted, "parts": weights}, 16)


def _check_weights(weights: Mapping[str, float]) -> None:
    if len(weights) < 2:
        raise SpecError("a mixture needs two parts or more")
    for name, weight in weights.items():
        if not 0 < weight < 1:
            raise SpecError(f"part '{name}': a weight must be above 0 and below 1, not {weight:g}")
    total = sum(weights.values())
    if abs(total - 1) > EXACT:
        raise SpecError(f"the weights of a mixture must add up to 1, not {total:.6g}")


def _opened(name: str, given: str | Path | Demonstrations) -> Finished:
    found = open_demos(given) if isinstance(given, str | Path) else given
    if getattr(found, "parts", None):
        raise SpecError(f"part '{name}': {found.path} is a mixture itself; give its parts")
    if not getattr(found, "mixed_as", ""):
        raise SpecError(f"part '{name}': {found.path} is of a kind that cannot be mixed")
    return cast(Finished, found)


def _check_fit(parts: Mapping[str, Finished]) -> None:
    """Raise SpecError or DataError for parts that cannot be mixed."""
    (first, one), *others = parts.items()
    for name, other in others:
        if one.mixed_as != other.mixed_as:
            raise SpecError(f"parts '{first}' and '{name}' are of two kinds, and cannot be mixed")
        theirs = other.traits()
        for what, mine in one.traits().items():
            if mine != theirs[what]:
                raise SpecError(
                    f"parts '{first}' and '{name}' have other {what} ({shown(mine)} and "
                    f"{shown(theirs[what])}), and cannot be mixed"
                )
    seen: dict[str, str] = {}
    split: dict[str, tuple[str, str]] = {}
    for name, part in parts.items():
        if part.fingerprint in seen:
            raise SpecError(f"parts '{seen[part.fingerprint]}' and '{name}' are the same")
        seen[part.fingerprint] = name
        for info in part.episodes:
            where = part.split_of(info)
            before, other_split = split.setdefault(info.content_sha256, (name, where))
            if other_split != where:
                raise DataError(
                    f"an episode is in the {other_split} set of part '{before}' and in the {where} "
                    f"set of part '{name}' (its episode {info.index}): a dev loss over it would be "
                    "too low"
                )


DEMONSTRATIONS.add(MixedDemonstrations.kind, MixedDemonstrations.open)
