"""What made a point, and what is said of a study whose points were made in different ways."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import torch

import isoclone
from isoclone.base.provenance import MADE_BY, made_by, mixtures, others
from isoclone.base.records import Point, Run
from isoclone.base.schema import kinds

RUN = Run("toy", "f" * 12, "mlp", 4, {}, {"name": "lean"}, seed=3)


def made(**columns) -> Point:
    said = {**made_by("cpu", "float32"), **columns}
    return Point.of_run(RUN, 1e9, 77, "sweep", **said)


def test_what_made_a_point_is_four_of_its_columns():
    said = made_by("cuda:1", "bfloat16")
    assert list(said) == list(MADE_BY) == [name for name in kinds(Point) if name in said]
    assert said["isoclone_version"] == isoclone.__version__
    assert said["torch_version"] == torch.__version__
    assert (said["device"], said["precision"]) == ("cuda", "bfloat16")


def test_it_is_found_out_without_torch():
    code = (
        "import sys; from isoclone.base.provenance import made_by; "
        "made_by('cpu', 'float32'); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_points_made_alike_are_no_mixture():
    assert mixtures([]) == []
    assert mixtures([made(), made()]) == []


def test_a_mixture_is_said_with_counts_the_most_frequent_first():
    points = [made(isoclone_version="9"), made(), made(device="cuda"), made(device="mps")]
    ours = isoclone.__version__
    assert mixtures([*points, made()]) == [
        f"points were made by isoclone {ours} (4) and 9 (1)",
        "points were made on the device cpu (3), cuda (1) and mps (1)",
    ]


def test_points_of_before_are_unknown_beside_others_and_nothing_among_themselves():
    old = replace(made(), **dict.fromkeys(MADE_BY))
    assert mixtures([old, old]) == []
    assert "points were made in precision float32 (1) and unknown (1)" in mixtures([old, made()])


def test_a_failed_point_was_made_by_nothing():
    failed = Point.of_run(RUN, 1e9, 77, "sweep", status="failed", reason="lost")
    assert mixtures([made(), failed]) == []


def test_what_is_at_work_now_is_compared_with_what_made_the_points():
    now = made_by("cuda:1", "float32")
    assert others([], now) == []
    assert others([made(device="cuda")], now) == []
    assert others([made(), made(), made(device="cuda", torch_version="1.0")], now) == [
        f"points were made with torch 1.0 (1); this is {now['torch_version']}",
        "points were made on the device cpu (2); this is cuda",
    ]
