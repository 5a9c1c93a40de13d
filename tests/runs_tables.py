"""Small tables of runs as files, with a known truth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

HEAD = "run_id,flops,params,samples,dev_loss,return_mean,colour\n"


def row(run: str, c: float, n: float, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    loss = 0.2 + 30 / n**0.4 + 20 / (c / 6 / n) ** 0.3
    return f"{run},{c:.6g},{n:.6g},{c / 6 / n:.6g},{loss * math.exp(rng.normal(0, 0.01)):.6g},"


def write(path: Path, extra: str = "") -> Path:
    lines = [
        row(f"r{i}", c, n, seed=100 * i + j) + f"{i + j},red"
        for i, n in enumerate([1e4, 3e4, 1e5, 3e5, 1e6])
        for j, c in enumerate([1e12, 3e12, 1e13, 3e13])
    ]
    path.write_text(HEAD + "\n".join(lines) + "\n" + extra)
    return path


def repeated(path: Path) -> Path:
    """Runs that see 3e4, 1e5 or 3e5 unique samples up to thirty times."""
    lines = []
    for u in (3e4, 1e5, 3e5):
        for n in (1e3, 1e4, 1e5):
            for d in (u, 3 * u, 10 * u, 30 * u):
                seen = u + 4 * u * -math.expm1(-(d / u - 1) / 4)
                loss = 0.2 + 8 / n**0.4 + 25 / seen**0.35
                lines.append(f"{u}-{n},{6 * n * d},{n},{d},{loss},{u}")
    head = "run_id,flops,params,samples,dev_loss,unique_samples\n"
    path.write_text(head + "\n".join(lines) + "\n")
    return path
