"""The released runs of Tuyls et al., "Scaling Laws for Imitation Learning in Single-Agent Games".

arXiv 2307.09423; the data files are the folder `experiment_data` of the authors' repository. The
reader takes the whole folder or any part of it: games, budgets and single files may be missing.

The folder holds a family of games in each of its folders. `FAMILIES` has a reader for each: that
of `atari/` is in `published.atari`, others are added by the package that knows their games.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclone.base.errors import DataError, UsageError
from isoclone.base.tables import FAMILIES

Table = dict[str, list[Any]]

POINT_COLUMNS = (
    "group",
    "run_id",
    "budget_flops",
    "flops",
    "params",
    "samples",
    "dev_loss",
    "dev_loss_se",
    "return_mean",
    "return_se",
    "episodes",
    "evaluation_seeds",
    "length_mean",
    "dungeon_level_mean",
    "width",
    "n_actions",
    "role",
    "status",
    "reason",
)
SEED_COLUMNS = ("group", "budget_flops", "params", "seed", "return_mean")


@dataclass
class Tuyls2023:
    """The contents of the folder. Tables are columns of equal length; a missing figure is None.

    `points`: one row per (game, budget, size), its return the mean over evaluation seeds or
    episodes with the standard error of that mean; `return_seeds`: every evaluation seed a row;
    `agents`: agents that the authors trained at a forecast, whose losses are not in the files;
    `ablations`: studies of another question than the budget's; `notices`: what was missing,
    derived, damaged or of no known name; `families`: the family that each group is of.
    """

    points: Table = field(default_factory=lambda: _empty(POINT_COLUMNS))
    return_seeds: Table = field(default_factory=lambda: _empty(SEED_COLUMNS))
    agents: Table = field(default_factory=lambda: _empty(POINT_COLUMNS))
    ablations: Table = field(default_factory=lambda: _empty(POINT_COLUMNS))
    notices: list[str] = field(default_factory=list)
    taken: set[Path] = field(default_factory=set)
    families: dict[str, Family] = field(default_factory=dict)

    def groups(self) -> list[str]:
        """Return the games in `points`, in order of appearance."""
        return list(dict.fromkeys(self.points["group"]))

    def take(self, path: Path) -> Path:
        """Remember that a file was read, or left out with a notice of its own."""
        self.taken.add(path)
        return path


@dataclass(frozen=True)
class Family:
    """Games whose runs lie in one folder, and how the authors analysed them.

    Attributes:
        read: reads the folder into the tables.
        exponents: {group: {'params' | 'samples': exponent against compute}}, as reported.
        parabolas: whether optima are those of parabolas through runs near the best, not the best
            runs themselves.
        from_flops: budgets below this are left out of the authors' analysis.
        cnn: whether the policies are the paper's CNN, whose FLOPs can be counted anew.
    """

    read: Callable[[Path, Tuyls2023], None]
    exponents: dict[str, dict[str, float]] = field(default_factory=dict)
    parabolas: bool = False
    from_flops: float = 0.0
    cnn: bool = False


# A family has the name of its folder: a `Family`, or "package.module:NAME" of one.
FAMILIES.add("atari", "isoclone.published.atari:ATARI")


def read(folder: str | Path) -> Tuyls2023:
    """Read the folder, or a parent that holds a family's folder within two levels.

    A damaged file is left out with a notice; other files are still read.

    Raises:
        UsageError: the folder does not exist.
        DataError: nothing of the layout is in it.
    """
    root = _locate(Path(folder))
    found = Tuyls2023()
    for name in FAMILIES.names():
        family: Any = FAMILIES.find(name)[0]
        family.read(root / name, found)
        found.notices += _left_over(root / name, found.taken)
        for group in found.groups():
            found.families.setdefault(group, family)
    if not found.points["group"] and not found.ablations["group"]:
        why = f"; {found.notices[0]}" if found.notices else ""
        raise DataError(f"{folder}: no readable runs of tuyls2023 in it{why}")
    return found


def _locate(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    names = FAMILIES.names()
    for root in (folder, *in_order(folder.glob("*/")), *in_order(folder.glob("*/*/"))):
        if any((root / name).is_dir() for name in names):
            return root
    missing = " nor ".join(f"{name}/" for name in names)
    raise DataError(f"{folder}: neither {missing} in it (expected experiment_data)")


def _left_over(folder: Path, taken: set[Path]) -> list[str]:
    """Return a notice for each folder of files that no reader knows, with their number."""
    unknown: dict[Path, list[Path]] = {}
    for path in in_order(p for p in folder.rglob("*") if p.is_file() and p not in taken):
        study = folder / path.relative_to(folder).parts[0]
        unknown.setdefault(study, []).append(path)
    return [
        f"{study}: left out, for no reader knows their names: {len(files)} files, the first "
        f"{files[0].relative_to(folder)}"
        for study, files in unknown.items()
    ]


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Return paths sorted by their text, the same on every system."""
    return sorted(paths, key=lambda p: p.as_posix())


def _empty(columns: Iterable[str]) -> Table:
    return {name: [] for name in columns}


def append(table: Table, **row: Any) -> None:
    """Add a row to a table; columns that it does not name get None."""
    for name, column in table.items():
        column.append(row.get(name))


def checked(loss: float) -> dict[str, Any]:
    """Return the columns of a loss: the loss, or a status with its reason."""
    if math.isfinite(loss) and loss > 0:
        return {"dev_loss": loss, "status": "ok"}
    return {"dev_loss": None, "status": "diverged", "reason": f"loss is {loss}"}
