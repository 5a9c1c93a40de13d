"""Arrays of steps, in a file or a folder, or a Python function that yields episodes.

| array | rows | also found as |
|---|---|---|
| observations | N, or N + one for each episode: the final ones | obs, observation, states |
| actions | N | acts, action |
| rewards (may be absent) | N | rews, reward |
| terminated | N flags: the game ended here | terminals, terminations |
| truncated | N flags: cut off here | timeouts, truncations |
| dones | N flags: ended here, the source does not say which way | done |
| episode_ends | where each episode ends, exclusive | |
| episode_starts | N flags: an episode begins here | |
| episode | N numbers: which episode a step is of | episode_id, episode_index |

One way of telling where episodes end is enough. A file may also have a group for each episode (as
robomimic does), and a folder a file for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, SpecError
from isoclone.base.userfile import found_in_file, is_file_reference, split_reference
from isoclone.demos.foreign.base import Foreign, Given, Unfit
from isoclone.demos.foreign.read import check_flags
from isoclone.demos.foreign.trees import (
    Tree,
    holds_tree,
    length,
    natural,
    open_tree,
    rows_of,
)

ALIASES = {
    "observations": ("observations", "obs", "observation", "states"),
    "actions": ("actions", "acts", "action"),
    "rewards": ("rewards", "rews", "reward"),
    "terminated": ("terminated", "terminals", "terminations"),
    "truncated": ("truncated", "timeouts", "truncations"),
    "dones": ("dones", "done"),
    "episode_ends": ("episode_ends",),
    "episode_starts": ("episode_starts",),
    "episode": ("episode", "episode_id", "episode_index"),
}
ENDS = ("terminated", "truncated", "dones", "episode_ends", "episode_starts", "episode")
GROUPS = ("data", "meta")  # of a Zarr store as robots' data have it


def read_arrays(source: str, **names: str) -> Foreign:
    """Read arrays of steps, or 'file.py:function', whose function yields episodes.

    Args:
        names: what an array is called in the source, by its name in the table above.

    Raises:
        DataError: nothing there, or an array is missing; the message names it.
        SpecError: a name that no array has here, or a Python file that fails.
    """
    for name in names:
        if name not in ALIASES:
            raise SpecError(f"arrays: there is no array '{name}'; there are {', '.join(ALIASES)}")
    if is_file_reference(source):
        return _of_function(source)
    path = Path(source)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    places = [path] if holds_tree(path) else _files_in(path)
    parts = [part for place in places for part in _parts(place, names, len(places) > 1)]
    total = sum(part.count for part in parts)

    def episodes() -> Iterator[Given | Unfit]:
        for part in parts:
            yield from part.episodes()

    return Foreign(episodes, path.name, total=total)


def _of_function(reference: str) -> Foreign:
    file, name = split_reference(reference)
    found = found_in_file(reference, "episodes")
    if not callable(found):
        raise SpecError(f"{reference} is no function that yields episodes, without arguments")
    return Foreign(found, f"{Path(file).name}:{name or 'episodes'}")


def _files_in(path: Path) -> list[Path]:
    """Return the files of a folder, one for each episode or several."""
    files = [p for p in path.iterdir() if holds_tree(p)] if path.is_dir() else []
    if not files:
        open_tree(path)  # says what can be read
    return sorted(files, key=lambda p: natural(p.name))


@dataclass(frozen=True)
class _Part:
    """Arrays of steps, and where in them episodes begin and end."""

    name: str
    columns: dict[str, Any]
    bounds: list[tuple[int, int]]
    final: bool  # whether each episode has a final observation
    flags: dict[str, np.ndarray] = field(default_factory=dict)
    tail: int = 0  # steps after the last end

    @property
    def count(self) -> int:
        return len(self.bounds) + bool(self.tail)

    def episodes(self) -> Iterator[Given | Unfit]:
        for number, (start, stop) in enumerate(self.bounds):
            shift, more = (number, 1) if self.final else (0, 0)
            try:
                seen = rows_of(self.columns["observations"], start + shift, stop + shift + more)
                rest = [
                    rows_of(self.columns[name], start, stop) if name in self.columns else None
                    for name in ("actions", "rewards")
                ]
            except DataError:
                raise
            except Exception as error:  # whatever a library says of a damaged file
                said = " ".join(str(error).split())[:160]
                why = f"it cannot be read: {type(error).__name__}: {said}"
                yield Unfit(f"{self.name}, episode {number}", why)
                continue
            ends = [
                self.flags[name][start:stop] if name in self.flags else None
                for name in ("terminated", "truncated")
            ]
            yield Given(seen, *rest, *ends)
        if self.tail:
            yield Unfit(
                self.name, f"the last {self.tail} steps have no end: the episode is cut off"
            )


def _parts(path: Path, names: dict[str, str], several: bool) -> list[_Part]:
    tree = open_tree(path)
    if "data" in tree and isinstance(tree["data"], dict):
        tree = {**tree, **tree["data"], **_group(tree, "meta")}
        del tree["data"]
    if _found(tree, "actions", names) is not None:
        return [_flat(path.name, tree, names, whole=several)]
    groups = {
        name: inner
        for name, inner in tree.items()
        if isinstance(inner, dict) and _found(inner, "actions", names) is not None
    }
    if not groups:
        raise _lacking(path.name, tree, "actions")
    order = sorted(groups, key=natural)
    return [_flat(f"{path.name}, {name}", groups[name], names, whole=True) for name in order]


def _group(tree: Tree, name: str) -> Tree:
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def _found(tree: Tree, what: str, names: dict[str, str]) -> Any:
    """Return the column of a name, as the user calls it, or as others do; None if there is none."""
    for name in (names[what],) if what in names else ALIASES[what]:
        inner: Any = tree
        for part in name.split("/"):
            inner = inner.get(part) if isinstance(inner, dict) else None
        if inner is not None:
            return inner
    return None


def _lacking(where: str, tree: Tree, what: str) -> DataError:
    known = ", ".join(sorted(tree)[:12]) or "nothing"
    aliases = ", ".join(ALIASES[what][1:])
    also = f" (or {aliases})" if aliases else ""
    return DataError(f"{where} has no {what}{also}: it has {known}; name it by --{what}")


def _flat(where: str, tree: Tree, names: dict[str, str], whole: bool) -> _Part:
    """Return arrays of steps with the bounds of their episodes; one episode if `whole`.

    Raises:
        DataError: an array is missing, or their lengths do not fit.
    """
    columns = {}
    for what in ("observations", "actions", "rewards"):
        column = _found(tree, what, names)
        if column is None and (what != "rewards" or what in names):
            raise _lacking(where, tree, what)
        if column is not None:
            columns[what] = column
    steps = length(columns["actions"])
    flags = {}
    for what in ENDS:
        column = _found(tree, what, names)
        if isinstance(column, dict) or (column is None and what in names):
            raise _lacking(where, tree, what)
        if column is not None:
            flags[what] = _read(where, what, column)
    seen = length(columns["observations"])
    both = f"{where}: {seen} observations, {steps} actions"
    if seen < steps:
        raise DataError(f"{both}: there must be as many, or one more for each episode")
    bounds, tail = _bounds(where if seen == steps else both, steps, flags, whole)
    if seen not in (steps, steps + len(bounds) + bool(tail)):
        raise DataError(
            f"{where}: {seen} observations for {steps} actions in {len(bounds)} episodes; there "
            "must be as many, or one more for each episode (the final ones)"
        )
    if "rewards" in columns and length(columns["rewards"]) != steps:
        raise DataError(f"{where}: {length(columns['rewards'])} rewards for {steps} actions")
    final = seen != steps
    return _Part(where, columns, bounds, final, flags, tail)


def _read(where: str, what: str, column: Any) -> np.ndarray:
    """Return a small column as a whole, one number a row."""
    try:
        found = np.asarray(column.rows(0, length(column)))
    except DataError:
        raise
    except Exception as error:  # whatever a library says of a damaged file
        said = " ".join(str(error).split())[:160]
        raise DataError(f"{where}: {what}: {type(error).__name__}: {said}") from error
    found = one_a_row(found, what, where)
    if what not in ("episode", "episode_ends"):
        check_flags(found, f"{where}: {what}")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise DataError(f"{where}: {what} has a number that is not finite")
    return found


def one_a_row(found: np.ndarray, what: str, where: str) -> np.ndarray:
    """Return a column of one value a row as a vector.

    Raises:
        DataError: there are several in a row, as of environments that were stepped together.
    """
    if found.ndim > 1 and found.shape[1:] != (1,) * (found.ndim - 1):
        raise DataError(
            f"{where}: {what} has shape {found.shape}, and one number a row tells where episodes "
            "end; put environments that were played side by side one after another"
        )
    return found.reshape(len(found))


def _whole(ends: np.ndarray, where: str) -> np.ndarray:
    if ends.dtype.kind not in "biuf":
        raise DataError(f"{where}: episode_ends holds {ends.dtype}, not numbers")
    broken = ends != np.trunc(ends)
    if broken.any():
        raise DataError(f"{where}: episode_ends must be whole numbers, not {ends[broken][0]:g}")
    return ends.astype(np.int64)


def _bounds(
    where: str, steps: int, flags: dict[str, np.ndarray], whole: bool
) -> tuple[list[tuple[int, int]], int]:
    """Return the first and last step (exclusive) of each episode, and how many steps are left.

    Raises:
        DataError: nothing tells where episodes end, or what does cannot be so.
    """
    for name in ENDS:
        if name in flags and name != "episode_ends" and len(flags[name]) != steps:
            raise DataError(f"{where}: {name} has {len(flags[name])} rows for {steps} actions")
    if "episode_ends" in flags:
        ends = _whole(flags["episode_ends"], where)
        if not len(ends) or (np.diff(ends, prepend=0) <= 0).any() or ends[-1] > steps:
            raise DataError(
                f"{where}: episode_ends must rise, each the number of steps up to an end, and "
                f"none beyond the {steps} actions"
            )
    elif "episode" in flags:
        ids = flags["episode"]
        ends = np.append(np.flatnonzero(ids[1:] != ids[:-1]) + 1, steps)
        if len(np.unique(ids)) != len(ends):
            raise DataError(f"{where}: the steps of an episode do not lie together in 'episode'")
    elif "episode_starts" in flags:
        starts = np.flatnonzero(flags["episode_starts"])
        if not len(starts) or starts[0] != 0:
            raise DataError(f"{where}: episode_starts is not set at the first step")
        ends = np.append(starts[1:], steps)
    elif any(name in flags for name in ("terminated", "truncated", "dones")):
        over = np.zeros(steps, bool)
        for name in ("terminated", "truncated", "dones"):
            over |= flags[name].astype(bool) if name in flags else False
        if whole and not over[:-1].any():
            over[-1:] = True
        ends = np.flatnonzero(over) + 1
    elif whole:
        ends = np.array([steps])
    else:
        raise DataError(
            f"{where}: it does not tell where episodes end: give terminated (and truncated), "
            "dones, episode_ends, episode_starts or episode"
        )
    firsts = [0, *ends.tolist()]
    return list(zip(firsts, ends.tolist(), strict=False)), steps - int(ends[-1]) if len(
        ends
    ) else steps
