"""Training curves on disk: what a run went through, one row for each of some of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isoclone.base.errors import StoreError
from isoclone.base.records import Checked
from isoclone.base.schema import count, figure, kinds
from isoclone.base.store import write_parquet

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class CurveRow(Checked):
    """One row of a training curve; the columns of `curve.parquet`."""

    samples: int = count("training samples seen, repeats included (D)")
    flops: float = count("compute spent (C)", "FLOPs")
    train_loss: float | None = figure(
        "mean training loss of the steps since the row before", "nats per action", default=None
    )
    dev_loss: float | None = figure(
        "loss on held-out episodes, in the rows of points", "nats per action", default=None
    )
    learning_rate: float | None = figure("learning rate of the step", default=None)
    gradient_norm: float | None = figure(
        "norm of the step's gradient, before it is clipped", default=None
    )
    samples_per_s: float | None = figure("speed since the row before", "samples/s", default=None)
    return_mean: float | None = figure(
        "mean return of the training episodes that ended since the row before",
        "score",
        default=None,
    )
    value_loss: float | None = figure(
        "mean squared error of the critic, of rewards as they are learned from", default=None
    )
    entropy_nats: float | None = figure(
        "mean entropy of the action while learning", "nats per action", default=None
    )
    kl_nats: float | None = figure(
        "how far an iteration's last pass moved the policy", "nats per action", default=None
    )
    clipped_share: float | None = figure(
        "share of samples whose ratio was beyond the clip", default=None
    )


def write_curve(path: Path, rows: Sequence[CurveRow]) -> None:
    """Write a curve, all of it or nothing."""
    write_parquet(path, [row.to_json() for row in rows], kinds(CurveRow))


def read_curve(path: Path) -> list[CurveRow]:
    """Read a curve, in the order of its samples.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        return [CurveRow.from_json(row) for row in curve_table(path).to_pylist()]
    except TypeError as error:
        raise StoreError(f"{path} is damaged ({error}); delete it") from error


def curve_table(path: Path) -> pa.Table:
    """Read a curve as a table, and hold its pages to their checksums.

    Raises:
        StoreError: it is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            there = set(file.schema_arrow.names)
            return file.read([name for name in kinds(CurveRow) if name in there])
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:120]
        raise StoreError(f"{path} is damaged ({why}); delete it") from error
