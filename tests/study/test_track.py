"""Trackers: real event files and real W&B files, read back by their own readers."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator

import pytest

from isoclone.base.curves import read_curve
from isoclone.base.errors import UnknownNameError
from isoclone.base.records import Run
from isoclone.study.study import Study
from isoclone.study.track import show_run, tracking


def isoclone(*words, **variables):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "isoclone", *map(str, words)]
    there = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=there, check=True)


def longest(study: Study) -> Run:
    """The run with the most points; the forecast agent's is one of them."""
    points = [p.run_id for p in study.points(None)]
    return max(study.runs(), key=lambda run: (points.count(run.id), run.id))


def test_tensorboard_has_every_row_once(study_copy):
    """Also after an interruption: the second process shows the same runs again."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    study = Study.open(study_copy)
    run = longest(study)
    for _ in range(2):
        with tracking(["tensorboard"], study.folder, "tiny") as shown:
            show_run(shown, study.folder, run)
            show_run(shown, study.folder, run)
    events = EventAccumulator(str(study.folder.tracking / "tensorboard" / run.label))
    events.Reload()
    rows = [r for r in read_curve(study.folder.run(run.id).curve) if r.train_loss is not None]
    told = [(e.step, pytest.approx(e.value)) for e in events.Scalars("train/train_loss")]
    assert [(row.samples, row.train_loss) for row in rows] == told
    points = [p for p in study.points(None) if p.run_id == run.id]
    points.sort(key=lambda p: p.budget_flops)
    told = [(e.step, pytest.approx(e.value)) for e in events.Scalars("point/dev_loss")]
    assert [(p.samples, p.dev_loss) for p in points] == told


def records_in(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: a LevelDB log of blocks of 32 KiB, after 7 bytes of heading."""
    assert data.startswith(b":W&B")
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = 32_768 - at % 32_768
        if left < 7:
            at += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        body = data[at + 7 : at + 7 + length]
        assert zlib.crc32(bytes([kind]) + body) == checksum
        at, parts = at + 7 + length, parts + body
        if kind in (1, 4):  # whole, or the last of several
            yield parts
            parts = b""


def offline_runs(study):
    """What each offline run's file holds: its id, history rows, config; parsed by W&B's protocol.

    W&B 0.31 has no reader of these files in Python any more, so `records_in` takes them apart.
    """
    from wandb.proto import wandb_internal_pb2 as pb

    found = []
    for path in sorted((study.folder.tracking / "wandb").glob("offline-run-*/*.wandb")):
        history, config, run_id = [], {}, None
        for data in records_in(path.read_bytes()):
            record = pb.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                run_id = record.run.run_id
                for item in record.run.config.update:
                    config[item.key] = json.loads(item.value_json)
            if record.HasField("history"):
                row = {
                    "/".join(i.nested_key) or i.key: json.loads(i.value_json)
                    for i in record.history.item
                }
                history.append(row)
        found.append((run_id, history, config))
    return found


def test_wandb_offline_has_every_row_once(study_copy):
    study = Study.open(study_copy)
    run = longest(study)
    code = """if True:
        import sys
        from isoclone.study.study import Study
        from isoclone.study.track import show_run, tracking
        study = Study.open(sys.argv[1])
        run = next(run for run in study.runs() if run.id == sys.argv[2])
        with tracking(["wandb"], study.folder, "tiny") as shown:
            show_run(shown, study.folder, run)
            show_run(shown, study.folder, run)
    """
    words = [sys.executable, "-c", code, str(study_copy), run.id]
    quiet = {**os.environ, "WANDB_MODE": "offline"}
    for _ in range(2):
        done = subprocess.run(words, capture_output=True, text=True, env=quiet)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = offline_runs(study)
    assert [run_id for run_id, _, _ in told] == [run.id]
    _, history, config = told[0]
    rows = read_curve(study.folder.run(run.id).curve)
    assert [row["_step"] for row in history] == [row.samples for row in rows]
    assert [row.get("train/train_loss") for row in history] == [
        pytest.approx(row.train_loss) if row.train_loss is not None else None for row in rows
    ]
    points = {p.samples: p.dev_loss for p in study.points(None) if p.run_id == run.id}
    measured = {row["_step"]: row["point/dev_loss"] for row in history if "point/dev_loss" in row}
    assert measured == {samples: pytest.approx(loss) for samples, loss in points.items()}
    assert (config["width"], config["run_id"]) == (run.width, run.id)


def test_a_run_is_tracked_from_the_command_line(study_copy):
    flops = str(Study.open(study_copy).spec.forecast_budget)
    words = ("train", study_copy, "--width", 3, "--flops", flops, "--track", "tensorboard")
    point = json.loads(isoclone(*words, "--json").stdout)
    (folder,) = (study_copy / "tracking" / "tensorboard").iterdir()
    assert folder.name.endswith(point["run_id"][:6])


def test_an_unknown_tracker_is_named(study_copy):
    study = Study.open(study_copy)
    with (
        pytest.raises(UnknownNameError, match="did you mean tensorboard"),
        tracking(["tensorbord"], study.folder, "tiny"),
    ):
        pass
