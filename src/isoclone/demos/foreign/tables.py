"""Parquet files and datasets of the Hugging Face hub: steps or whole episodes as rows.

A row is a step if a column says which episode it is of (`episode`) or where one ends (`terminated`,
`truncated`, `dones`). Otherwise a row is an episode, and its columns are lists of steps, as in JAT.
Pictures are PNG or JPEG bytes, or a struct with a field `bytes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, MissingExtraError, SpecError
from isoclone.base.limits import check_unpacked
from isoclone.base.parquet import groups
from isoclone.demos.foreign.arrays import ALIASES, one_a_row
from isoclone.demos.foreign.base import Foreign, Given, Unfit
from isoclone.demos.foreign.pictures import check_pictures, decoded
from isoclone.demos.foreign.read import check_flags
from isoclone.demos.foreign.trees import files_below

COLUMNS = ("observations", "actions", "rewards", "terminated", "truncated", "dones", "episode")
ENDS, FLAGS = COLUMNS[3:], COLUMNS[3:6]
STEPS_AT_ONCE, PICTURES_AT_ONCE = 4096, 32
BYTES_AT_ONCE = 64 << 20  # rows that are larger are read one by one
HUB = "hf://"


def read_parquet(source: str, **names: str) -> Foreign:
    """Read a Parquet file, a folder of them, or hf://USER/DATASET[/FOLDER].

    Args:
        names: which column is which, by the names in `COLUMNS`; usual names are found by
            themselves. `observations` may name several, with commas: they become a dict.

    Raises:
        DataError: nothing there, or a column is missing; the message names it.
        SpecError: a name that no column has here.
        MissingExtraError: an address, and huggingface_hub is not installed.
    """
    for name in names:
        if name not in COLUMNS:
            raise SpecError(f"parquet: there is no column '{name}'; there are {', '.join(COLUMNS)}")
    path = fetched(source) if source.startswith(HUB) else Path(source)
    files = files_below(path, "*.parquet") if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"{path} holds no .parquet file")
    table = _Table(files, path.name if not source.startswith(HUB) else source, names)
    return Foreign(table.episodes, table.name, total=table.total)


def fetched(address: str, patterns: list[str] | None = None) -> Path:
    """Bring a dataset of the hub here, once; return its folder, or the one the address names.

    Args:
        patterns: files to fetch; the Parquet files of the address unless said.

    Raises:
        SpecError: it is no address of a dataset.
        DataError: it cannot be fetched.
        MissingExtraError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(f"reading {address}", "hub") from error
    parts = address.removeprefix(HUB).removeprefix("datasets/").strip("/").split("/")
    if len(parts) < 2:
        raise SpecError(f"{address}: give hf://USER/DATASET, or with a folder after it")
    name, inner = "/".join(parts[:2]), "/".join(parts[2:])
    wanted = inner if inner.endswith(".parquet") else f"{inner}/*.parquet".lstrip("/")
    try:
        here = snapshot_download(name, repo_type="dataset", allow_patterns=patterns or [wanted])
    except Exception as error:  # the hub's client has many
        said = " ".join(str(error).split())[:160]
        raise DataError(f"{address} cannot be fetched: {type(error).__name__}: {said}") from error
    return Path(here) / inner


class _Table:
    """Parquet files of one schema, and which column is which."""

    def __init__(self, files: list[Path], name: str, names: dict[str, str]):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.files, self.name = files, name
        try:
            self.schema = pq.read_schema(files[0])
            rows = sum(pq.read_metadata(file).num_rows for file in files)
        except (pa.ArrowException, OSError) as error:
            said = " ".join(str(error).split())[:160]
            raise DataError(f"{files[0]} is no Parquet file, or damaged: {said}") from error
        self.columns = {
            what: found for what in COLUMNS if (found := self._find(what, names)) is not None
        }
        for what in ("observations", "actions"):
            if what not in self.columns:
                raise self._lacking(what)
        self.by_step = any(what in self.columns and self._is_plain(what) for what in ENDS)
        if not self.by_step and not self._is_list("actions"):
            raise DataError(
                f"{name} does not tell where episodes end: name a column by --episode or "
                "--terminated, or give a row for each episode with lists of steps"
            )
        self.total = None if self.by_step else rows
        if not self.by_step:
            self._check_side_by_side()

    @property
    def _wanted(self) -> list[str]:
        return [name for found in self.columns.values() for name in found]

    def _find(self, what: str, names: dict[str, str]) -> list[str] | None:
        """Return the names of the columns of a kind; None if there is none.

        Raises:
            DataError: one that the user named is not there.
        """
        known = set(self.schema.names)
        if what in names:
            given = names[what].split(",")
            if set(given) <= known:
                return given
            raise self._lacking(what, next(name for name in given if name not in known))
        usual = next((name for name in ALIASES[what] if name in known), None)
        return None if usual is None else [usual]

    def _lacking(self, what: str, name: str | None = None) -> DataError:
        known = ", ".join(self.schema.names[:20])
        return DataError(
            f"{self.name} has no column {name or what}: it has {known}; name it by --{what}"
        )

    def _is_list(self, what: str) -> bool:
        import pyarrow.types as kinds

        kind = self.schema.field(self.columns[what][0]).type
        return bool(kinds.is_list(kind) or kinds.is_large_list(kind))

    def _is_plain(self, what: str) -> bool:
        return not self._is_list(what)

    def _check_side_by_side(self) -> None:
        """Refuse rows that are steps of several environments: few lists of flags end with an end.

        Raises:
            DataError: they are such steps.
        """
        names = [self.columns[what][0] for what in FLAGS if what in self.columns]
        rows = (end for batch in self._batches(STEPS_AT_ONCE, names) for end in _endings(batch))
        tally = Counter(rows) if names else Counter()
        ended = sum(count for (_, last, _), count in tally.items() if last)
        early = sum(count for (_, _, before), count in tally.items() if before)
        told = "dones" in self.columns or len(names) > 1  # every episode's end is among them
        alike = len({length for length, *_ in tally}) == 1
        if alike and (2 * early > ended or (told and 2 * ended < tally.total())):
            raise DataError(
                f"{self.name}: {ended} of {tally.total()} rows have an end ({', '.join(names)}) at "
                "the last place of their lists, and each row that is an episode has one there; put "
                "environments that were played side by side one after another"
            )

    def episodes(self) -> Iterator[Given | Unfit]:
        """Yield the episodes of all files, in order.

        Raises:
            DataError: a file is damaged.
        """
        return self._of_steps() if self.by_step else self._of_rows()

    def _batches(self, rows: int, wanted: list[str] | None = None) -> Iterator[Any]:
        """Yield the rows of all files, so many together or fewer, where they are large.

        Args:
            wanted: names of columns; all that are used unless said.

        Raises:
            DataError: a file is damaged, or a row would not fit the limit of what is unpacked.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted = self._wanted if wanted is None else wanted
        for file in self.files:
            try:
                with pq.ParquetFile(file) as opened:
                    missing = [name for name in wanted if name not in opened.schema_arrow.names]
                    if missing:
                        raise DataError(
                            f"{file} has no column {missing[0]}, as {self.files[0]} has"
                        )
                    for number, group in enumerate(groups(file, wanted)):
                        fitting = BYTES_AT_ONCE * group.rows // max(group.unpacked_bytes, 1)
                        some = min(rows, max(fitting, 1))
                        yield from opened.iter_batches(some, row_groups=[number], columns=wanted)
            except (pa.ArrowException, OSError) as error:
                said = " ".join(str(error).split())[:160]
                raise DataError(f"{file} is damaged: {said}") from error

    def _of_rows(self) -> Iterator[Given | Unfit]:
        number = 0
        for batch in self._batches(1):
            for at in range(len(batch)):
                try:
                    yield self._episode(batch.slice(at, 1))
                except DataError as error:
                    yield Unfit(f"row {number}", str(error))
                number += 1

    def _episode(self, batch: Any) -> Given:
        cells = {}
        for what, names in self.columns.items():
            parts = {name: self._listed(batch, name) for name in names}
            cells[what] = parts if len(parts) > 1 else next(iter(parts.values()))
        ends = [cells.get("terminated"), cells.get("truncated")]
        if "dones" in cells:
            dones: Any = cells["dones"]
            if np.flatnonzero(dones).tolist() != [len(dones) - 1]:
                raise DataError("dones is not set at the last step and nowhere else")
        return Given(cells["observations"], cells["actions"], cells.get("rewards"), *ends)

    def _listed(self, batch: Any, name: str) -> Any:
        import pyarrow.types as kinds

        column = batch.column(name)
        if kinds.is_list(column.type) or kinds.is_large_list(column.type):
            if column.null_count:
                raise DataError(f"{name} is missing")
            return values_of(column.flatten(), name)
        return values_of(column, name)[0]

    def _of_steps(self) -> Iterator[Given | Unfit]:
        """Collect steps until an episode is over."""
        held: list[Any] = []  # of (name -> values), not over yet
        current: Any = None
        seen: set[Any] = set()
        number = 0

        def done() -> Given:
            joined = {name: np.concatenate([part[name] for part in held]) for name in held[0]}
            held.clear()
            return self._of_columns(joined)

        pictures = any(holds_pictures(self.schema.field(name).type) for name in self._wanted)
        for batch in self._batches(PICTURES_AT_ONCE if pictures else STEPS_AT_ONCE):
            try:
                values = {name: values_of(batch.column(name), name) for name in batch.schema.names}
            except DataError as error:
                raise DataError(f"{self.name}: {error}") from error
            first = 0
            for stop in self._stops(values, current):
                if stop > first:
                    held.append({name: array[first:stop] for name, array in values.items()})
                if held:
                    yield done()
                    number += 1
                first = stop
            if first < len(batch):
                held.append({name: array[first:] for name, array in values.items()})
                size = sum(array.nbytes for part in held for array in part.values())
                check_unpacked(f"{self.name}: an episode", size)
            if "episode" in self.columns:
                ids = self._ends(values, "episode")
                for begun in ids[[0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1)]].tolist():
                    if begun in seen and begun != current:
                        raise DataError(
                            f"{self.name}: the steps of episode {begun} do not lie together"
                        )
                    seen.add(begun)
                    current = begun
        if held and "episode" in self.columns:
            yield done()
        elif held:
            steps = sum(len(part[next(iter(part))]) for part in held)
            yield Unfit(self.name, f"the last {steps} steps have no end: the episode is cut off")

    def _stops(self, values: dict[str, np.ndarray], before: Any) -> list[int]:
        """Return the rows of a batch at which a new episode begins."""
        if "episode" in self.columns:
            ids = self._ends(values, "episode")
            starts = (np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist()
            return [0, *starts] if before is not None and ids[0] != before else starts
        over = np.zeros(len(next(iter(values.values()))), bool)
        for what in ("terminated", "truncated", "dones"):
            if what in self.columns:
                over |= self._ends(values, what).astype(bool)
        return (np.flatnonzero(over) + 1).tolist()

    def _ends(self, values: dict[str, np.ndarray], what: str) -> np.ndarray:
        """Return the column that tells where episodes end, one value a row."""
        found = one_a_row(values[self.columns[what][0]], what, self.name)
        if what != "episode":
            check_flags(found, f"{self.name}: {what}")
        elif found.dtype.kind == "f" and not np.isfinite(found).all():
            raise DataError(f"{self.name}: episode has a number that is not finite")
        return found

    def _of_columns(self, joined: dict[str, np.ndarray]) -> Given:
        def cell(what: str) -> Any:
            names = self.columns.get(what)
            if names is None:
                return None
            return joined[names[0]] if len(names) == 1 else {name: joined[name] for name in names}

        return Given(*(cell(what) for what in COLUMNS[:5]))


def _endings(batch: Any) -> Iterator[tuple[int, bool, bool]]:
    """Yield of each row's lists of flags: their length, if one is set at the end, and before it."""
    for lists in zip(*(batch.column(name).to_pylist() for name in batch.schema.names), strict=True):
        over = [any(flags) for flags in zip(*(flags or () for flags in lists), strict=False)]
        yield len(over), any(over[-1:]), any(over[:-1])


def holds_pictures(kind: Any) -> bool:
    """Return whether values of an Arrow type are pictures, or lists of them."""
    import pyarrow.types as kinds

    if kinds.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    if kinds.is_list(kind) or kinds.is_large_list(kind):
        return holds_pictures(kind.value_type)
    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))


def values_of(column: Any, name: str) -> Any:
    """Return an Arrow column as an array of numbers, or of pictures.

    Raises:
        DataError: a value is missing, a picture cannot be decoded, rows have different shapes, or
            it holds text.
    """
    import pyarrow as pa
    import pyarrow.types as kinds

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        raise DataError(f"{name}: {column.null_count} of {len(column)} values are missing")
    kind = column.type
    if kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return values_of(column.field("bytes"), name)
    if kinds.is_binary(kind) or kinds.is_large_binary(kind):
        pictures = [data.as_py() for data in column]
        try:
            check_pictures(pictures)
            return _stacked([decoded(data) for data in pictures], name)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
    if kinds.is_fixed_size_list(kind):
        return _fixed(column, name, kind.list_size)
    if kinds.is_list(kind) or kinds.is_large_list(kind):
        sizes = np.diff(column.offsets.to_numpy())
        if len(sizes) and (sizes != sizes[0]).any():
            raise DataError(f"{name}: rows have from {sizes.min()} to {sizes.max()} values")
        return _fixed(column, name, int(sizes[0]) if len(sizes) else 0)
    if kinds.is_dictionary(kind):
        return values_of(column.dictionary_decode(), name)
    if not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)):
        raise DataError(f"{name} holds {kind}, not numbers or pictures")
    return column.to_numpy(zero_copy_only=False)


def _fixed(column: Any, name: str, size: int) -> np.ndarray:
    inner = values_of(column.flatten(), name)
    found: np.ndarray = inner.reshape(len(column), size, *inner.shape[1:])
    return found


def _stacked(pictures: list[np.ndarray], name: str) -> np.ndarray:
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        raise DataError(f"{name}: pictures have different shapes, {sorted(shapes)[:3]}")
    return np.stack(pictures) if pictures else np.zeros((0,), np.uint8)
