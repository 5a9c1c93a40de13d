"""A sample of the faults that `make faults` deals out in full: see `harness.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("harness.py")


@pytest.mark.timeout(1200)
def test_whatever_happens_nothing_is_lost_and_the_points_are_the_same():
    """Kills, torn files, repairs, a second driver."""
    words = ["--kills", "2", "--rot", "1", "--json", "--only"]
    parts = ["kills", "torn", "repair", "rot", "forged", "drivers"]
    done = subprocess.run([sys.executable, HARNESS, *words, *parts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert (verdict["lost"], verdict["changed"], verdict["trouble"]) == ([], [], [])
    assert verdict["compared"] >= 6
    blows = verdict["blows"]
    assert sum(count for name, count in blows.items() if name.startswith("kills of")) == 2
    assert blows["torn training states"] > 0
    assert blows["files torn in finished studies"] == 24
    assert blows["second drivers"] == blows["forged episodes"] == 1
