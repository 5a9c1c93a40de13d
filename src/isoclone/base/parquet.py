"""Read Parquet files of others: what they unpack to is known before anything is unpacked.

A page's header tells how many bytes it unpacks to and how many values it holds; the file's own
footer may say less, so every page is looked at. Text is read as a dictionary, which keeps a value
that stands in a million rows once, and is made plain only if that fits the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from isoclone.base.errors import DataError
from isoclone.base.limits import check_unpacked

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
TEXT, FIXED = "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"
CODED = (2, 8)  # numbers of the two encodings by dictionary
INDEX_BYTES = 8  # an index into a dictionary, an offset, a level
HEADER_BYTES = 1 << 16  # the most of a page's header that is looked at
# Kinds of field in Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


def check(path: Path, columns: Sequence[str] | None = None) -> pq.FileMetaData:
    """Refuse a Parquet file that unpacks to more than the limit; return its metadata.

    Args:
        columns: top-level columns that will be read; all if None.

    Raises:
        DataError: it does, or it is damaged or no Parquet file.
        OSError: it cannot be read.
    """
    import pyarrow.parquet as pq

    with _told(path, "cannot be read as parquet"):
        metadata = pq.read_metadata(path)
        with open(path, "rb") as file:
            groups = range(metadata.num_row_groups)
            sizes = (_sizes(file, metadata, group, columns) for group in groups)
            check_unpacked(path, sum(size for some in sizes for size in some))
    return metadata


class Group(NamedTuple):
    """A row group: its rows, and the bytes that it unpacks to, at most."""

    rows: int
    unpacked_bytes: int


def groups(path: Path, columns: Sequence[str] | None = None) -> list[Group]:
    """Return the row groups of a file that is read in pieces, which may be larger than the limit.

    Text is counted as it is without its dictionary, each value as long as all that are in there.

    Raises:
        DataError: a page alone, or the mean row of a group, unpacks to more than the limit; or the
            file is damaged or no Parquet file.
        OSError: it cannot be read.
    """
    import pyarrow.parquet as pq

    found = []
    with _told(path, "cannot be read as parquet"), open(path, "rb") as file:
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            check_unpacked(path, max(_page_sizes(file, metadata, group, columns), default=0))
            rows = metadata.row_group(group).num_rows
            size = sum(_sizes(file, metadata, group, columns, plain=True))
            check_unpacked(path, size / max(rows, 1))
            found.append(Group(rows, size))
    return found


def read_groups(path: Path, numbers: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Read some row groups, whose sizes the caller has asked for by `groups`.

    Raises:
        DataError: the file is damaged.
        OSError: it cannot be read.
    """
    import pyarrow.parquet as pq

    with _told(path, "is damaged"), pq.ParquetFile(path) as file:
        return file.read_row_groups(list(numbers), columns=list(columns))


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Turn errors of a file's contents into DataError; those of the system are raised as they are.

    Arrow has OSError for both, without a number where the contents are to blame.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, ValueError, IndexError, OverflowError, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        why = " ".join(str(error).split())[:100]
        raise DataError(f"{path}: {what} ({why})") from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or some of its columns, if that fits the limit.

    Raises:
        DataError: it does not, or the file is damaged.
        OSError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = check(path, columns)
    described = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    texts = [c.path for c in described if _is_plain_text(c)]
    with _told(path, "is damaged"):
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(columns=None if columns is None else list(columns))
        check_unpacked(path, sum(_plain_bytes(column) for column in table.columns))
        kinds = [_plain_kind(field.type) for field in table.schema]
        return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _is_plain_text(described: pq.ColumnSchema) -> bool:
    """Return whether a column holds text or bytes, and is not inside of another."""
    return described.physical_type == TEXT and "." not in described.path


def _plain_kind(kind: Any) -> Any:
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes of a column without its dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    total = 0
    for chunk in column.chunks:
        counts = pc.value_counts(chunk.indices)
        lengths = pc.binary_length(chunk.dictionary).fill_null(0)
        for row in range(0, len(counts), 1 << 16):  # few are distinct where many rows are
            some = counts.slice(row, 1 << 16)
            there = some.field("values").drop_null()
            taken = lengths.take(there).cast(pa.int64())
            times = some.filter(some.field("values").is_valid()).field("counts")
            total += pc.sum(pc.multiply(taken, times)).as_py() or 0
        total += INDEX_BYTES * len(chunk)
    return total


# ---------------------------------------------------------------------- pages


class Page(NamedTuple):
    """What a page's header tells, and the header's own length in bytes."""

    header_bytes: int
    unpacked_bytes: int
    packed_bytes: int
    values: int
    coded: bool  # its values are numbers of values in the dictionary


def _sizes(
    file: IO[bytes],
    metadata: pq.FileMetaData,
    group: int,
    columns: Sequence[str] | None,
    plain: bool = False,
) -> Iterator[int]:
    """Yield the bytes that each part of a row group unpacks to; text as a dictionary unless plain.

    Text inside of other columns is always plain.
    """
    for described, chunk in _chunks(metadata, group, columns):
        values, longest = 0, 0
        for page in _pages(file, chunk):
            values += page.values
            yield page.unpacked_bytes
            if described.physical_type == TEXT and (plain or not _is_plain_text(described)):
                longest = longest or page.unpacked_bytes  # of the dictionary, which is first
                yield page.values * longest if page.coded else 0
        yield max(values, chunk.num_values) * _width(described)


def _page_sizes(
    file: IO[bytes], metadata: pq.FileMetaData, group: int, columns: Sequence[str] | None
) -> Iterator[int]:
    """Yield the bytes of each page of a row group: unpacked, and as values of their width."""
    for described, chunk in _chunks(metadata, group, columns):
        for page in _pages(file, chunk):
            yield max(page.unpacked_bytes, page.values * _width(described))


def _chunks(
    metadata: pq.FileMetaData, group: int, columns: Sequence[str] | None
) -> Iterator[tuple[pq.ColumnSchema, pq.ColumnChunkMetaData]]:
    for i in range(metadata.num_columns):
        described = metadata.schema.column(i)
        # A name may have dots of its own, as 'observation.state' has.
        if columns is None or f"{described.path}.".startswith(tuple(f"{c}." for c in columns)):
            yield described, metadata.row_group(group).column(i)


def _width(described: pq.ColumnSchema) -> int:
    """Return the bytes of one value in memory, with what tells whether and where it is there."""
    if described.physical_type == FIXED:
        width = described.length
    else:
        width = WIDTHS.get(described.physical_type, INDEX_BYTES)
    levels = described.max_definition_level + described.max_repetition_level
    return int(width) + (INDEX_BYTES if levels else 0)


def _pages(file: IO[bytes], chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """Yield the headers of a column's pages, the dictionary's first."""
    starts = (chunk.dictionary_page_offset, chunk.data_page_offset)
    at = min(start for start in starts if start is not None)
    end = at + chunk.total_compressed_size
    while at < end:
        file.seek(at)
        page = read_header(file.read(HEADER_BYTES))
        yield page
        at += page.header_bytes + page.packed_bytes


def read_header(data: bytes) -> Page:
    """Read a page's header (Thrift's compact protocol).

    Raises:
        ValueError, IndexError: it is none.
    """
    reader = _Reader(data)
    found = reader.struct(depth=0)
    inner: dict[int, Any] = next(
        (found[n] for n in (5, 7, 8) if isinstance(found.get(n), dict)), {}
    )
    unpacked, packed, values = found.get(2, 0), found.get(3, 0), inner.get(1, 0)
    if any(not isinstance(size, int) or size < 0 for size in (unpacked, packed, values)):
        raise ValueError("a page has a size below 0")
    encoding = inner.get(4 if 8 in found else 2)
    return Page(reader.at, unpacked, packed, values, encoding in CODED and 7 not in found)


class _Reader:
    """A reader of Thrift's compact protocol, which keeps whole numbers and inner structs."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number without end")

    def signed(self) -> int:
        value = self.unsigned()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > 8:
            raise ValueError("structs within structs without end")
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.signed()
            fields[number] = self.value(head & 15, depth)
        return fields

    def value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if _BYTE < kind < _DOUBLE:
            return self.signed()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self.list(depth)
        if kind not in (_BYTE, _DOUBLE, _BINARY):
            raise ValueError("a field of an unknown kind")
        size = {_BYTE: 1, _DOUBLE: 8}.get(kind) or self.unsigned()
        self.at += size
        return None

    def list(self, depth: int) -> None:
        head = self.byte()
        count = head >> 4 if head >> 4 < 15 else self.unsigned()
        if count > len(self.data):
            raise ValueError("a list longer than its header")
        for _ in range(count):
            self.byte() if head & 15 in (_TRUE, _FALSE) else self.value(head & 15, depth + 1)
