"""Parquet files: rows that are steps, and rows that are episodes, with pictures."""

from __future__ import annotations

import struct
import zlib

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
    "step types": (
        {"truncated": np.full(LENGTHS.sum(), 2)},
        {},
        "truncated holds 2, and flags are 0 and 1",
    ),
    "flags that are missing": (
        {"truncated": np.full(LENGTHS.sum(), np.nan)},
        {},
        "truncated holds nan, and flags are 0 and 1",
    ),
    "no number": (
        {"ep": np.full(LENGTHS.sum(), np.nan)},
        {"episode": "ep"},
        "episode has a number that is not finite",
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


def png_of(height: int, width: int, first: bytes = b"") -> bytes:
    """Return a PNG file of some hundred bytes to a megabyte with so many black pixels."""
    raw = zlib.compress(bytes(height * (1 + 3 * width)), 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", raw)]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [*chunks, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + first + b"".join(parts)


def jpeg_of(height: int, width: int) -> bytes:
    data = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    return data[:2] + b"\xff\xe1\x00\x0e" + b"\xff\xc0" * 6 + data[2:]  # a size that is none


SMALL_TEXT = b"\x00\x00\x00\x08tEXt\x00\x00\x00\x01\x00\x00\x00\x01"


@pytest.mark.parametrize("rows", ["steps", "episodes"])
@pytest.mark.parametrize(
    ("bomb", "said"),
    [
        (png_of(2000, 2000), "pictures? would unpack to .*--unpack-limit"),
        (jpeg_of(2000, 2000), "pictures? would unpack to .*--unpack-limit"),
        (png_of(2000, 2000, SMALL_TEXT), "neither PNG nor JPEG"),
        (png_of(4, 4).replace(b"\0\0\0\0IEND", b"\xff\xff\xff\xffzTXt"), "it is cut off"),
        (png_of(4, 4)[:-9], "it is cut off"),
        (png_of(400, 400), "10 pictures would unpack to .*--unpack-limit"),
    ],
    ids=["png", "jpeg", "a chunk before", "a long chunk", "cut", "many"],
)
def test_pictures_beyond_the_limit_are_never_decoded(bomb, said, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "2M")
    calls = []
    monkeypatch.setattr(cv2, "imdecode", lambda *_: calls.append(1))
    count = 10 if "10" in said else 1
    column = {
        "image": [bomb] * count,
        "action": [0] * count,
        "dones": [False] * (count - 1) + [True],
    }
    if rows == "episodes":
        column = {name: [values] for name, values in column.items()}
    pq.write_table(pa.table(column), tmp_path / "a.parquet")
    options = {"observations": "image"}
    with pytest.raises(DataError, match=said):
        bring(tmp_path / "a.parquet", tmp_path / "out", **options)
    assert not calls


def test_a_picture_that_fits_the_limit_is_decoded_as_its_header_says(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "2M")
    rows = [[png_of(40, 50), png_of(40, 50)], [jpeg_of(40, 50), jpeg_of(40, 50)]]
    pq.write_table(pa.table({"observation": rows, "action": [[0, 1]] * 2}), tmp_path / "a.parquet")
    demos = ic.import_demos(
        "parquet", str(tmp_path / "a.parquet"), path=tmp_path / "a", reading={"frames": "raw"}
    )
    assert [one.frames.shape[1:] for one in demos] == [(40, 50, 3)] * 2


@pytest.mark.parametrize("environments", [1, 2, 8])
@pytest.mark.parametrize("flags", ["dones", "terminated", "both"])
def test_environments_side_by_side_are_not_read_as_episodes(environments, flags, tmp_path):
    rng = np.random.default_rng(0)
    shape = 400, environments
    lists = {"observations": rng.normal(size=(*shape, 3)), "actions": rng.integers(0, 2, shape)}
    over = rng.random(shape) < 0.1
    if flags == "both":
        lists |= {"terminated": over, "truncated": np.zeros(shape, bool)}
    else:
        lists[flags] = over
    pq.write_table(pa.table({k: v.tolist() for k, v in lists.items()}), tmp_path / "a.parquet")
    if environments == 1 and flags == "terminated":
        pytest.skip("episodes of one step, some of them cut off, look the same")
    with pytest.raises(DataError, match="side by side one after another"):
        bring(tmp_path / "a.parquet", tmp_path / "out")


@pytest.mark.parametrize("length", ["equal", "different"])
def test_a_row_that_does_not_end_with_an_end_is_left_out(length, tmp_path):
    lengths = [5] * 6 if length == "equal" else [5, 4, 3, 5, 4, 2]
    ends = [[False] * (n - 1) + [True] for n in lengths]
    ends[2][-1] = False
    table = {
        "observations": [np.ones((n, 2)).tolist() for n in lengths],
        "actions": [[k % 2 for k in range(n)] for n in lengths],
        "dones": ends,
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    demos = bring(tmp_path / "a.parquet", tmp_path / "out")
    assert demos.imported["left_out"] == 1
    assert "dones is not set at the last step" in demos.imported["why"][0][1]


def test_episodes_of_equal_length_that_never_terminate_are_episodes(tmp_path):
    table = {
        "observations": np.ones((4, 5, 2)).tolist(),
        "actions": [[0, 1, 0, 1, 1]] * 4,
        "terminated": [[False] * 5] * 4,
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert len(bring(tmp_path / "a.parquet", tmp_path / "out").episodes) == 4
