"""The points a law is fitted to: clean arrays, with every dropped row counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, FitError
from isoclone.base.formatting import plural
from isoclone.base.records import Status
from isoclone.laws.plateau import on_plateau

Array = np.ndarray

SWEEP = "sweep"  # role of the rows that are evidence
REQUIRED = ("params", "samples")
MEASURED = ("dev_loss", "return_mean")  # one of them is needed, and decides what laws are of
OPTIONAL = (
    "flops",
    "budget_flops",
    "dev_loss",
    "dev_loss_se",
    "return_mean",
    "return_se",
    "unique_samples",
    "episodes",
)
PLAUSIBLE = (1e-12, 1e40)  # what FLOPs, parameters, samples and losses can be at all
SAME_BUDGET_DECADES = 0.08  # runs whose spent FLOPs lie closer than this share a budget
MANY_BUDGETS = 40  # more are merged: neighbours closer than that tell nothing new
MANY_ROWS = 3000  # more are averaged by size and budget, and thinned if that is not enough


@dataclass(frozen=True)
class Points:
    """Rows of a runs table as arrays of one length n; NaN where a figure is missing.

    All rows have a loss, or none has: then all have a return, and laws are fitted by return.
    `run` holds integer codes (checkpoints of one run share a code and are correlated), `cell` such
    of runs that differ in their seed alone, `flops` what was really spent, and `budget` the
    median of that over the rows of one isoFLOP curve. The nominal budget of a table says which rows
    these are, and nothing else.
    """

    run: Array
    cell: Array
    budget: Array
    flops: Array
    params: Array
    samples: Array
    loss: Array
    loss_se: Array
    returns: Array
    returns_se: Array
    unique: Array
    episodes: Array
    dropped: dict[str, int] = field(default_factory=dict)
    status: tuple[Status, ...] = ()

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def budgets(self) -> Array:
        """Return the distinct budgets, ascending, in FLOPs."""
        return np.unique(self.budget)

    @property
    def by_return(self) -> bool:
        """Return whether no row has a loss, so that only returns can be followed."""
        return not np.isfinite(self.loss).any()

    def need_losses(self, what: str) -> None:
        """Raise FitError, naming what needs them, if the rows have no losses."""
        if self.by_return:
            raise FitError(f"{what} needs dev_loss; the table has returns only")

    def keep(self, mask: Array) -> Points:
        """Return the rows where `mask` holds."""
        return replace(self, **{name: getattr(self, name)[mask] for name in _ARRAYS})

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Points:
        """Make points from columns; rows no law can use are left out and counted by reason.

        So are the first budgets where nothing was learned (see `plateau`).
        Needs `params`, `samples`, `dev_loss` (or `return_mean`, in a table without any loss), and
        `flops` or `budget_flops`. Optional: `run_id`, `seed` (runs that differ in it alone are
        averaged where the best is sought), `dev_loss_se`, `return_mean`, `return_se`, `episodes`
        (of that return), `unique_samples`, `status` (only 'ok' rows are kept), `role` (only 'sweep'
        rows are kept: a forecast's agent is no evidence for it).
        Raises `DataError` when a column is missing, `FitError` when no usable row is left.
        """
        return _from_table(table)


_ARRAYS = tuple(f.name for f in fields(Points) if f.name not in ("dropped", "status"))


def to_float(column: Any) -> Array:
    """Return a column as float64, with NaN for what is missing or is not a number."""
    try:
        return np.asarray(column, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return np.array([_one_float(value) for value in column], dtype=float)


def _one_float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def measure_of(table: Mapping[str, Any]) -> str:
    """Return the figure that laws of a table are of: 'return_mean' where no row has a `dev_loss`.

    Where no row has either, the one that has a column; 'dev_loss' where both have, or neither.
    """
    known = [name for name in MEASURED if np.isfinite(to_float(table.get(name, ()))).any()]
    named = [name for name in MEASURED if name in table]
    return (*known, *named, MEASURED[0])[0]


def _checked(columns: dict[str, Array], keep: Array, status: list[Status]) -> dict[str, Array]:
    """Return the usable rows' columns; figures that cannot be become missing, and are counted.

    `keep` is the mask of these rows in the table.

    Raises:
        DataError: a row has seen no unique samples, or not a finite number of them.
    """
    unique = columns["unique_samples"]
    for row in np.flatnonzero(~np.isnan(unique) & ~((unique > 0) & (unique <= PLAUSIBLE[1])))[:1]:
        raise DataError(
            f"unique_samples of row {np.flatnonzero(keep)[row] + 1} is {unique[row]:g}: how many "
            "different samples a run saw is positive; leave the cell empty where it is not known"
        )
    least = {"dev_loss_se": 0.0, "return_mean": -PLAUSIBLE[1], "return_se": 0.0, "episodes": 1.0}
    out, said = dict(columns), []
    for name, low in least.items():
        values = columns[name]
        odd = ~np.isnan(values) & ~((values >= low) & (values <= PLAUSIBLE[1]))
        if odd.any():
            out[name] = np.where(odd, np.nan, values)
            said.append(f"{int(odd.sum())} of {name}, such as {values[odd][0]:g}")
    if said:
        text = f"figures that cannot be were taken as missing: {'; '.join(said)}"
        status.append(Status("figures_ignored", text))
    return out


def clean_table(table: Mapping[str, Any]) -> dict[str, Array]:
    """Return the rows of a table that a law can use, as arrays of one length.

    `run_id` is text; `budget_flops`, `flops`, `params`, `samples` and `dev_loss` are positive
    finite floats (`budget_flops` is the median of what the rows of one budget spent; losses are all
    NaN where the table has returns only); `dev_loss_se`, `return_mean`, `return_se`, `episodes` and
    `unique_samples` are floats, NaN where a figure is missing. Other columns are kept as they are.
    Raises `DataError` when a column is missing, `FitError` when no usable row is left.
    """
    columns, keep, _ = _usable(table)
    columns = _checked(columns, keep, [])
    columns["budget_flops"] = _budgets(columns, [])
    ids = table.get("run_id", [None] * len(keep))
    names = [f"row {i}" if value is None else str(value) for i, value in enumerate(ids)]
    others = {
        name: np.asarray(values, dtype=object)[keep]
        for name, values in table.items()
        if name not in columns and name != "run_id"
    }
    return {"run_id": np.array(names, dtype=object)[keep], **columns, **others}


def _from_table(table: Mapping[str, Any]) -> Points:
    columns, keep, dropped = _usable(table)
    return _assemble(table, columns, keep, dropped)


def _usable(table: Mapping[str, Any]) -> tuple[dict[str, Array], Array, dict[str, int]]:
    """Return the figures of the usable rows, a mask of them, and the others' count by reason."""
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise DataError(f"the table lacks the column {missing[0]}; it has: {_names(table)}")
    if not set(MEASURED) & set(table):
        raise DataError(
            f"the table lacks the column dev_loss or return_mean; it has: {_names(table)}"
        )
    if "flops" not in table and "budget_flops" not in table:
        raise DataError(f"the table lacks the column flops; it has: {_names(table)}")
    rows = len(table["params"])
    columns = {name: to_float(table[name]) for name in (*REQUIRED, *OPTIONAL) if name in table}
    for name in OPTIONAL:
        columns.setdefault(name, np.full(rows, np.nan))
    if any(len(values) != rows for values in columns.values()):
        raise DataError("the columns of the table have different lengths")
    if "flops" not in table:
        columns["flops"] = columns["budget_flops"]
    reasons = _reasons(table, columns, rows)
    keep = reasons == ""
    dropped = {str(r): int((reasons == r).sum()) for r in np.unique(reasons[~keep])}
    if not keep.any():
        why = "; ".join(f"{plural(count, 'row')}: {reason}" for reason, count in dropped.items())
        raise FitError(f"no usable row in the table ({why or 'it is empty'})")
    return {name: values[keep] for name, values in columns.items()}, keep, dropped


def _names(table: Mapping[str, Any]) -> str:
    return ", ".join(str(name) for name in list(table)[:12]) or "no columns"


def _reasons(table: Mapping[str, Any], columns: dict[str, Array], rows: int) -> Array:
    """Return why each row cannot be used, the first reason only; empty for a usable row."""
    reasons = np.full(rows, "", dtype=object)

    def drop(mask: Array, reason: str) -> None:
        reasons[mask & (reasons == "")] = reason

    if "status" in table:
        said = np.array([str(s) if s is not None else "ok" for s in table["status"]], dtype=object)
        for name in sorted(set(said) - {"ok", ""}):
            drop(said == name, f"status is '{name}'")
    if "role" in table:  # an agent that tests a forecast is no evidence for it
        role = np.array([str(r) if r is not None else SWEEP for r in table["role"]], dtype=object)
        for name in sorted(set(role) - {SWEEP, ""}):
            drop(role == name, f"role is '{name}', not '{SWEEP}'")
    measure = measure_of(table)
    for name in ("flops", "params", "samples", measure):
        values = columns[name]
        drop(~np.isfinite(values), f"{name} is missing or not a finite number")
        if name == "return_mean":  # of any sign
            drop(np.abs(values) > PLAUSIBLE[1], f"{name} is beyond {PLAUSIBLE[1]:g}")
            continue
        drop(values <= 0, f"{name} is not positive")
        inside = (values >= PLAUSIBLE[0]) & (values <= PLAUSIBLE[1])
        drop(~inside, f"{name} is outside {PLAUSIBLE[0]:g} to {PLAUSIBLE[1]:g}")
    names = ("budget_flops", "flops", "params", "samples", measure)
    key = np.nan_to_num(np.column_stack([columns[n] for n in names]), posinf=0, neginf=0)
    ids = _codes(table.get("run_id"), rows)
    _, first = np.unique(np.column_stack([key, ids]), axis=0, return_index=True)
    again = np.ones(rows, dtype=bool)
    again[first] = False
    drop(again, "repeats another row exactly")
    return reasons


def _codes(run_ids: Any, rows: int) -> Array:
    """Return the integer codes of run ids; without ids, every row is a run of its own."""
    if run_ids is None:
        return np.arange(rows)
    names = [str(r) if r is not None else f"\0{i}" for i, r in enumerate(run_ids)]
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]


def _cells(table: Mapping[str, Any], keep: Array, size_and_budget: Array) -> Array:
    """Return a code for each kept row [n], the same for runs that differ in their seed alone.

    Rows of one size and budget are such runs if the table has a column `seed` and no two of them
    have the same: where two have, something else was varied too, as a learning rate.
    """
    rows = np.arange(len(size_and_budget))
    if "seed" not in table:
        return rows
    seeds = _codes(table["seed"], len(keep))[keep]
    group = np.unique(size_and_budget, axis=0, return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.column_stack([group, seeds]), axis=0)[:, 0]
    repeats = np.bincount(pairs, minlength=group.max() + 1) == np.bincount(group)
    return np.where(repeats[group], len(rows) + group, rows)


def _assemble(
    table: Mapping[str, Any], columns: dict[str, Array], keep: Array, dropped: dict[str, int]
) -> Points:
    status = _sanity(columns)
    columns = _checked(columns, keep, status)
    budget = _budgets(columns, status)
    if dropped:
        said = "; ".join(f"{count} ({reason})" for reason, count in dropped.items())
        status.append(Status("rows_dropped", f"rows left out: {said}"))
    points = Points(
        run=_codes(table.get("run_id"), len(keep))[keep],
        cell=_cells(table, keep, np.column_stack([columns["params"], budget])),
        budget=budget,
        flops=columns["flops"],
        params=columns["params"],
        samples=columns["samples"],
        loss=columns["dev_loss"],
        loss_se=columns["dev_loss_se"],
        returns=columns["return_mean"],
        returns_se=columns["return_se"],
        unique=columns["unique_samples"],
        episodes=columns["episodes"],
        dropped=dropped,
        status=tuple(status),
    )
    if points.by_return:  # neither a plateau of losses, nor seeds to be averaged away
        return points
    points = _beyond_plateau(points)
    return condensed(points) if len(points) > MANY_ROWS else points


def _beyond_plateau(points: Points) -> Points:
    """Leave out the first budgets if nothing was learned at them; count them, and say so."""
    flat = on_plateau(points.budget, points.loss)
    count = int(flat.sum())
    if not count:
        return points
    first = np.unique(points.budget[flat])
    text = (
        f"at the first {len(first)} budgets (up to {first[-1]:.3g} FLOPs) no loss is below "
        f"{points.loss[flat].min():.3g}: nothing was learned yet; their {count} rows are left out"
    )
    dropped = {**points.dropped, "at a budget on the plateau before learning begins": count}
    status = (*points.status, Status("plateau", text))
    return replace(points.keep(~flat), dropped=dropped, status=status)


def _budgets(columns: dict[str, Array], status: list[Status]) -> Array:
    """Return what was spent at each row's budget [n]; at most `MANY_BUDGETS` different ones.

    Nominal budgets group the rows where every row has one, else how near their FLOPs lie.
    """
    nominal = columns["budget_flops"]
    usable = np.isfinite(nominal) & (nominal > 0)
    width = SAME_BUDGET_DECADES
    if usable.all():
        budget = _spent(columns["flops"], nominal)
    else:
        budget = cluster_budgets(columns["flops"])
    count = len(np.unique(budget))
    if count <= MANY_BUDGETS:
        return budget
    while len(np.unique(budget)) > MANY_BUDGETS:
        budget, width = cluster_budgets(columns["flops"], width), 1.5 * width
    text = f"{count} budgets lie so close that they were merged into {len(np.unique(budget))}"
    status.append(Status("budgets_merged", text))
    return budget


def condensed(points: Points) -> Points:
    """Average to one row per size and budget, thinned to `MANY_ROWS` if still more.

    The SE of a mean return is that of independent runs, of all their episodes together; both are
    missing where one of the runs lacks it. The status says so; no row is dropped silently.
    """
    pairs = np.column_stack([points.params, points.budget])
    _, first, group = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)

    def mean(values: Array) -> Array:
        return np.bincount(group, values) / count

    loss = mean(np.log(points.loss))
    spread = np.sqrt(np.maximum(mean(np.log(points.loss) ** 2) - loss**2, 0.0) / count)
    played = np.isfinite(points.returns)
    of = group[played]

    def total(values: Array) -> Array:
        return np.bincount(of, values[played], minlength=len(count))

    runs = total(np.ones(len(points)))
    runs[runs == 0] = np.nan  # none was played: its figures stay missing
    text = f"{len(points)} rows were averaged by size and budget into {len(count)}"
    merged = Points(
        run=np.unique(points.params[first], return_inverse=True)[1],
        cell=np.arange(len(count)),
        budget=points.budget[first],
        flops=np.exp(mean(np.log(points.flops))),
        params=points.params[first],
        samples=np.exp(mean(np.log(points.samples))),
        loss=np.exp(loss),
        loss_se=np.exp(loss) * spread,
        returns=total(points.returns) / runs,
        returns_se=np.sqrt(total(points.returns_se**2)) / runs,
        unique=mean(points.unique),
        episodes=np.where(np.isfinite(runs), total(points.episodes), np.nan),
        dropped=points.dropped,
        status=(*points.status, Status("rows_averaged", text)),
    )
    return merged if len(merged) <= MANY_ROWS else _thinned(merged)


def _thinned(points: Points) -> Points:
    """Draw `MANY_ROWS` rows by chance, the best of every budget among them; say so."""
    order = np.lexsort([points.loss, points.budget])
    best = order[np.unique(points.budget[order], return_index=True)[1]]
    chosen = np.random.default_rng(0).permutation(len(points))[: MANY_ROWS - len(best)]
    keep = np.zeros(len(points), dtype=bool)
    keep[best], keep[chosen] = True, True
    text = f"of {len(points)} rows of different size or budget, {int(keep.sum())} were used"
    status = (*points.status, Status("rows_thinned", text))
    return replace(points.keep(keep), status=status)


def cluster_budgets(flops: Array, width: float = SAME_BUDGET_DECADES) -> Array:
    """Return a budget for each row: FLOPs without a gap share their median.

    Two neighbours in sorted log10 FLOPs belong together when they are closer than `width` decades
    and the cluster stays narrower than twice that (so that a dense cloud is cut, not swallowed).
    """
    logs = np.log10(flops)
    order = np.argsort(logs, kind="stable")
    label = np.zeros(len(logs), dtype=int)
    start = previous = order[0]
    for index in order[1:]:
        new = logs[index] - logs[previous] > width or logs[index] - logs[start] > 2 * width
        start = index if new else start
        label[index] = label[previous] + int(new)
        previous = index
    return _spent(flops, label)


def _spent(flops: Array, group: Array) -> Array:
    """Return the median FLOPs of each row's group [n]: one run that overshot does not move it."""
    order = np.lexsort([flops, group])
    _, first, code, count = np.unique(
        group[order], return_index=True, return_inverse=True, return_counts=True
    )
    known, out = flops[order], np.empty(len(flops))
    middle = 0.5 * (known[first + (count - 1) // 2] + known[first + count // 2])
    out[order] = middle[code.reshape(-1)]
    return out


def _sanity(columns: dict[str, Array]) -> list[Status]:
    """Return the statuses that the units give reason for."""
    found = []
    ratio = columns["flops"] / (columns["params"] * columns["samples"])
    middle = float(np.median(np.log10(ratio)))
    if not -2 <= middle <= 5:  # 6 for dense layers, some hundreds for convolutions
        found.append(
            Status(
                "units_suspect",
                f"flops / (params x samples) is about {10**middle:.1g}; 1 to 10,000 is usual: "
                "is one of the columns in other units (millions, PFLOPs)?",
            )
        )
    spread = float(np.ptp(np.log10(ratio)))
    if spread > 4:
        found.append(
            Status(
                "units_mixed",
                f"flops / (params x samples) varies by 10^{spread:.1f} between rows: "
                "some rows may be in other units than the rest",
            )
        )
    if columns["dev_loss"].max() > 50:
        found.append(
            Status("loss_large", f"the largest dev_loss is {columns['dev_loss'].max():.3g} nats")
        )
    return found
