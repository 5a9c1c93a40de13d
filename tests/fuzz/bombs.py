"""Small files that unpack large, of each format: refused, within a limit of memory."""

from __future__ import annotations

import io
import os
import resource
import zipfile
from pathlib import Path
from typing import Any

import mutate
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import strategies as st
from kinds import Maker, Target, expect
from mutate import Draw

from isoclone.base import parquet
from isoclone.base.limits import VARIABLE, check_zip
from isoclone.demos.episode import read_episode
from isoclone.games import FrameSpec
from isoclone.laws.tables import read
from isoclone.published.saved import load

LIMIT, REFUSAL = 64 << 20, 200 << 20  # bytes that a file may unpack to; of memory for a refusal
ROWS = st.sampled_from([3, 1_000, 20_000, 300_000])
LENGTHS = st.sampled_from([1, 7_056, 200_000, 1 << 20])


def make_seeds(folder: Path) -> None:
    """Nothing is needed beforehand."""
    folder.mkdir()


def _repeated(value: Any, rows: int, kind: pa.DataType | None = None) -> pa.Array:
    same = pa.array(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(same, pa.array([value], kind))


def _table(draw: Draw) -> bytes:
    rows, length = draw(ROWS), draw(LENGTHS)
    columns = {n: _repeated(1.0, rows) for n in ("flops", "params", "samples", "dev_loss")}
    if draw(st.booleans()):
        columns["group"] = _repeated("x" * length, rows)
    return _written(draw, columns)


def _episode(draw: Draw) -> bytes:
    rows = draw(ROWS)
    frames = _repeated(bytes(7_056), rows, pa.binary(7_056))
    columns = {"frame": frames, "action": _repeated(0, rows), "reward": _repeated(0.0, rows)}
    return _written(draw, columns)


def _nested(draw: Draw) -> bytes:
    inner = _repeated("x" * draw(LENGTHS), draw(ROWS))
    return _written(draw, {"image": pa.StructArray.from_arrays([inner], ["bytes"])})


def _written(draw: Draw, columns: dict[str, pa.Array]) -> bytes:
    out = io.BytesIO()
    packed, version = (
        draw(st.sampled_from(["zstd", "snappy"])),
        draw(st.sampled_from(["1.0", "2.0"])),
    )
    pq.write_table(pa.table(columns), out, compression=packed, data_page_version=version)
    return out.getvalue()


def _saved(draw: Draw) -> bytes:
    side, tree = draw(st.sampled_from([2, 3_000, 16_000, 200_000])), [0]
    for _ in range(draw(st.sampled_from([0, 12, 60]))):
        tree = [tree, tree]
    out = io.BytesIO()
    torch.save({"a": torch.zeros(1).as_strided((side, side), (0, 0)), "b": tree}, out)
    return out.getvalue()


def _zipped(draw: Draw) -> bytes:
    out = io.BytesIO()
    archive = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("x.npy", "w") as file:
        for _ in range(draw(st.sampled_from([1, 66]))):
            file.write(bytes(1 << 20))
    return out.getvalue()


FORMATS = {
    ".parquet": (_table, read),
    ".episode": (_episode, lambda path: read_episode(path, FrameSpec((84, 84), "uint8", 4))),
    ".nested": (_nested, parquet.read_table),
    ".pt": (_saved, load),
    ".npz": (_zipped, check_zip),
}


def bombs(seeds: Path, work: Path) -> Target:
    os.environ[VARIABLE] = str(LIMIT)

    def ruin(draw: Draw) -> tuple[str, bytes]:
        suffix = draw(st.sampled_from(sorted(FORMATS)))
        data = FORMATS[suffix][0](draw)
        return suffix, mutate.damaged_bytes(draw, data) if draw(st.booleans()) else data

    def answer(ruined: tuple[str, bytes]) -> None:
        path = work / f"bomb{ruined[0]}"
        path.write_bytes(ruined[1])
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
        before = _kilobytes("VmRSS")
        try:
            FORMATS[ruined[0]][1](path)
        finally:
            taken = (_kilobytes("VmHWM") - before) << 10
            expect(taken < LIMIT + REFUSAL, f"{ruined[0]} took {taken >> 20} MiB")

    return Target(ruin, answer)


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    found = next((line.split()[1] for line in lines if line.startswith(name)), None)
    return int(found) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


ALL: dict[str, Maker] = {"unpacking": bombs}
