"""One list of a point's columns: tables, failed rows and laws derive from the dataclass."""

from __future__ import annotations

import csv
import dataclasses
from dataclasses import dataclass

import pyarrow.parquet as pq
import pytest

from isoclone.base.records import Point, Run
from isoclone.base.schema import (
    as_table,
    columns,
    count,
    figure,
    figures,
    kinds,
    label,
    unmeasured,
)
from isoclone.base.store import write_rows
from isoclone.laws import tables
from isoclone.study import ablation

RUN = Run("toy", "f" * 12, "mlp", 4, {}, {"name": "lean"}, seed=3)

# What points.csv began with, in its order: readers of older tables depend on it.
FIRST = [
    "run_id", "budget_flops", "flops", "params", "samples", "unique_samples", "epochs",
    "dev_loss", "dev_loss_se", "dev_accuracy", "train_loss", "return_mean", "return_se",
    "episodes", "game", "policy", "width", "seed", "recipe", "flop_convention", "checkpoint",
    "role", "status", "reason", "dev_accuracy_top3",
]  # fmt: skip


@dataclass(frozen=True)
class Wider(Point):
    """A point with a figure more: this line, and the value where it is measured, are all."""

    dev_confidence: float | None = figure("mean probability of the action", default=None)


def test_old_columns_keep_their_order_and_new_ones_follow():
    names = [column.name for column in columns(Point)]
    assert names[: len(FIRST)] == FIRST
    later = ["isoclone_version", "torch_version", "device", "precision"]
    assert names[len(FIRST) :][: len(later)] == later


def test_every_column_says_what_it_means():
    for column in columns(Point):
        assert column.meaning
        assert not column.meaning.endswith(".")
    assert {c.name: c.unit for c in columns(Point)}["dev_loss"] == "nats per action"


def test_a_failed_row_has_zero_counts_and_no_figures():
    point = Point.of_run(RUN, 1e9, 77, "sweep", status="failed", reason="lost")
    told = {
        "run_id": RUN.id, "budget_flops": 1e9, "params": 77, "game": "toy", "policy": "mlp",
        "width": 4, "seed": 3, "recipe": "lean", "flop_convention": "exact", "role": "sweep",
        "status": "failed", "reason": "lost",
    }  # fmt: skip
    zero = {"flops": 0.0, "samples": 0, "unique_samples": 0, "epochs": 0.0, "episodes": 0}
    assert point.to_json() == {**dict.fromkeys(kinds(Point)), **told, **zero}
    assert type(point.flops) is float  # '0.0' in the table, as ever
    assert type(point.samples) is int


def test_what_was_measured_takes_the_place_of_what_was_not():
    point = Point.of_run(RUN, 1e9, 77, "extra", samples=640, dev_loss=0.5)
    assert (point.samples, point.dev_loss, point.dev_loss_se) == (640, 0.5, None)
    assert (point.status, point.reason) == ("ok", None)


def test_a_figure_more_is_one_line_for_every_table(tmp_path):
    """Parquet, CSV, a failed row and what laws are handed, none of them told of the new figure."""
    good = Wider.of_run(RUN, 1e9, 77, "sweep", dev_loss=0.5, dev_confidence=0.75)
    lost = Wider.of_run(RUN, 2e9, 77, "sweep", status="failed", reason="lost")
    write_rows(tmp_path / "points", [p.to_json() for p in (good, lost)], kinds(Wider))
    rows = pq.read_table(tmp_path / "points.parquet").to_pylist()
    assert [Wider.from_json(row) for row in rows] == [good, lost]
    with (tmp_path / "points.csv").open() as file:
        cells = [row["dev_confidence"] for row in csv.DictReader(file)]
    assert cells == ["0.75", ""]
    assert as_table([good, lost], Wider)["dev_confidence"] == [0.75, None]
    last = figures(Wider)[-1]
    assert (last.name, last.heading) == ("dev_confidence", "dev confidence")
    assert last.says == "mean probability of the action"


def test_a_table_of_before_the_figure_is_still_read():
    old = Point.of_run(RUN, 1e9, 77, "sweep").to_json()
    assert Wider.from_json(old).dev_confidence is None
    first = {name: old[name] for name in FIRST}
    assert Point.from_json(first).torch_version is None


def test_ablations_and_laws_read_every_column_of_a_point():
    assert list(ablation.TABLE) == ["variant", *kinds(Point), "train_seconds"]
    assert kinds(Point).items() <= tables.KINDS.items()


def test_laws_are_handed_a_studys_table_column_by_column(tmp_path):
    points = [Point.of_run(RUN, 1e9, 77, "sweep", samples=5, dev_loss=0.5, dev_accuracy=0.9)]
    write_rows(tmp_path / "points", [p.to_json() for p in points], kinds(Point))
    for suffix in (".csv", ".parquet"):
        table = tables.read((tmp_path / "points").with_suffix(suffix))
        assert list(table.columns) == list(kinds(Point))
        assert table.columns["dev_accuracy"] == [0.9]
        assert table.notices == []


def test_a_finished_studys_tables_have_every_column(finished_study):
    with (finished_study / "points.csv").open() as file:
        assert next(csv.reader(file)) == list(kinds(Point))
    schema = pq.read_schema(finished_study / "points.parquet")
    said = {"string": str, "int64": int, "double": float}
    assert {name: said[str(schema.field(name).type)] for name in schema.names} == kinds(Point)


def test_a_field_that_is_no_column_is_refused_by_name():
    @dataclass
    class Undeclared:
        run_id: str = label("id")
        note: str = ""

    @dataclass(frozen=True)
    class Mixed:
        size: int | str = figure("size")

    with pytest.raises(TypeError, match=r"Undeclared\.note is no column"):
        columns(Undeclared)
    with pytest.raises(TypeError, match=r"Mixed\.size is no column"):
        columns(Mixed)


def test_counts_start_at_zero_of_their_own_kind():
    @dataclass
    class Row:
        name: str = label("name")
        steps: int = count("steps")
        hours: float = count("time spent", "hours")
        loss: float | None = figure("loss", "nats")

    assert repr(unmeasured(Row)) == "{'steps': 0, 'hours': 0.0, 'loss': None}"
    assert [f.name for f in dataclasses.fields(Row)] == list(kinds(Row))
