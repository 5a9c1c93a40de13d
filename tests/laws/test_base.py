"""What every fitted law hands out, as values and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from isoclone.laws.base import Band, Curves


def test_curves_without_returns_have_no_returns_in_json():
    band = Band(np.array([2.0]), np.array([1.0]), np.array([np.inf]))
    curves = Curves(np.array([1e9]), band, band, band)
    body = json.loads(json.dumps(curves.to_json(), allow_nan=False))
    assert list(body) == ["flops", "params", "samples", "dev_loss"]
    assert body["params"] == {"value": [2.0], "low": [1.0], "high": [None]}
    assert "return_mean" in Curves(np.array([1e9]), band, band, band, band).to_json()


def test_laws_load_neither_torch_nor_readers_of_files():
    heavy = "{'torch', 'pyarrow', 'gymnasium', 'isoclone.games'}"
    code = f"import sys, isoclone.laws; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
