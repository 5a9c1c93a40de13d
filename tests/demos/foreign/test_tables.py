"""Parquet files: rows that are steps, and rows that are episodes, with pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_play import cartpole, check_same, ends_of, steps

import isoclone as ic
from isoclone.base.errors import DataError

PLAY = cartpole()
LENGTHS = np.diff(ends_of(PLAY), prepend=0)


def bring(place, out, **options):
    return ic.import_demos("parquet", str(place), path=out, options=options)


def as_steps(**more):
    columns = steps(PLAY)
    seen = pa.array(columns.pop("observations").tolist(), pa.list_(pa.float32()))
    return {"obs": seen, **columns, **more}


@pytest.mark.parametrize("rows", [7, 1000])
def test_rows_are_steps(tmp_path, rows):
    table = pa.table(as_steps(ep=np.repeat(np.arange(len(PLAY)) % 3 + 4 * np.arange(8), LENGTHS)))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=rows)
    demos = bring(tmp_path / "a.parquet", tmp_path / "numbers", episode="ep")
    check_same(demos, PLAY)
    flags = bring(tmp_path / "a.parquet", tmp_path / "flags")
    assert flags.fingerprint == demos.fingerprint
    ends = [info.end for info in flags.episodes]
    assert ends == ["terminated" if one.terminated else "truncated" for one in PLAY]


def test_steps_over_several_files_and_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("isoclone.demos.foreign.tables.STEPS_AT_ONCE", 9)
    table = pa.table(as_steps(episode=np.repeat(np.arange(len(PLAY)), LENGTHS)))
    for number, first in enumerate(range(0, len(table), 9)):
        pq.write_table(table.slice(first, 9), tmp_path / f"part-{number}.parquet")
    assert number > 10  # which comes after 9
    (tmp_path / "out").mkdir()
    check_same(bring(tmp_path, tmp_path / "out" / "d"), PLAY)


def stacks(count: int, length: int = 6):
    """Stacks of grey pictures as JAT has them: four channels, the newest last."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        single = rng.integers(0, 256, (length + 3, 12, 12), np.uint8)
        yield np.stack([single[k : k + length] for k in range(4)], -1), single[3:]


def png(picture: np.ndarray) -> bytes:
    channels = [2, 1, 0, 3] if picture.shape[-1] == 4 else [2, 1, 0]
    return cv2.imencode(".png", np.ascontiguousarray(picture[..., channels]))[1].tobytes()


def test_rows_are_episodes_with_stacked_pictures(tmp_path):
    made = list(stacks(4))
    rows = [[{"bytes": png(p), "path": None} for p in four] for four, _ in made]
    actions = [[0, 1, 2, 3, 4, 0]] * 4
    columns = {"image_observations": rows, "discrete_actions": actions, "rewards": [[1.0] * 6] * 4}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    names = {"observations": "image_observations", "actions": "discrete_actions"}
    demos = ic.import_demos(
        "parquet", str(tmp_path / "a.parquet"), path=tmp_path / "a", options=names, stacked=True,
        reading={"stack": 4},
    )  # fmt: skip
    for (_, newest), episode in zip(made, demos, strict=True):
        assert np.array_equal(episode.frames, newest)
    assert (demos.frame.shape, demos.frame.stack, demos.n_actions) == ((12, 12), 4, 5)
    plain = bring(tmp_path / "a.parquet", tmp_path / "b", **names)
    assert np.array_equal(plain.read(0).frames, made[0][0])
    rows[2] = rows[2][::-1]
    pq.write_table(pa.table({**columns, "image_observations": rows}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="are no stacks"):
        ic.import_demos(
            "parquet", str(tmp_path / "b.parquet"), path=tmp_path / "c", options=names,
            stacked=True, refuse_damaged=True,
        )  # fmt: skip


def test_colours_keep_their_order(tmp_path):
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[..., 0], picture[..., 2] = 200, 10  # red
    rows = [[png(picture), png(picture)]] * 2
    pq.write_table(pa.table({"observation": rows, "action": [[0, 1]] * 2}), tmp_path / "a.parquet")
    demos = ic.import_demos(
        "parquet", str(tmp_path / "a.parquet"), path=tmp_path / "a", reading={"frames": "raw"}
    )
    assert np.array_equal(demos.read(0).frames[0], picture)


WRONG = {
    "no column": ({}, {"actions": "acted"}, "has no column acted: it has obs, actions"),
    "no ends": ({"terminated": None, "truncated": None}, {}, "does not tell where episodes end"),
    "text": ({"actions": ["up"] * int(LENGTHS.sum())}, {}, "actions holds string"),
    "missing": ({"rewards": [None] * int(LENGTHS.sum())}, {}, "rewards: .* are missing"),
    "side by side": (
        {"truncated": pa.FixedSizeListArray.from_arrays(np.zeros(2 * LENGTHS.sum(), bool), 2)},
        {},
        "truncated has shape .*side by side",
    ),
    "apart": ({"ep": np.arange(LENGTHS.sum()) // 7 % 3}, {"episode": "ep"}, "do not lie together"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_missing_or_wrong_is_named(tmp_path, kind):
    changed, options, said = WRONG[kind]
    columns = {k: v for k, v in as_steps(**changed).items() if v is not None}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=said):
        bring(tmp_path / "a.parquet", tmp_path / "out", **options)


def test_rows_beyond_the_limit_are_refused_and_many_small_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "100k")
    monkeypatch.setattr("isoclone.demos.foreign.tables.BYTES_AT_ONCE", 5000)
    for name, width, ends in (("many", 100, 10), ("row", 20_000, 10), ("episode", 100, 1000)):
        seen = pa.FixedSizeListArray.from_arrays(np.zeros(2000 * width, np.float32), width)
        seen = seen.cast(pa.list_(pa.float32()))
        columns = {"obs": seen, "actions": np.arange(2000) % 2, "ep": np.arange(2000) // ends}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet", row_group_size=50)
    assert len(bring(tmp_path / "many.parquet", tmp_path / "a", episode="ep").episodes) == 200
    for name in ("row", "episode"):
        with pytest.raises(DataError, match=r"would unpack to .*--unpack-limit"):
            bring(tmp_path / f"{name}.parquet", tmp_path / "b", episode="ep")


def test_a_damaged_picture_leaves_out_its_episode(tmp_path):
    pictures = [png(four[0]) for four, _ in stacks(2)]
    rows = [[pictures[0]] * 2, [pictures[1], b"no picture"], [pictures[1], pictures[0]]]
    pq.write_table(pa.table({"observation": rows, "action": [[0, 1]] * 3}), tmp_path / "a.parquet")
    demos = bring(tmp_path / "a.parquet", tmp_path / "out")
    assert demos.imported["left_out"] == 1
    assert "a picture of 10 bytes cannot be decoded" in demos.imported["why"][0][1]
