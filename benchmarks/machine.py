"""The machine that a benchmark ran on: processor, its features, cores, rates of matrix products."""

from __future__ import annotations

import math
import os
import platform
import time
from pathlib import Path

import torch

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
DTYPES = (torch.float32, torch.bfloat16)
SIDE = 1024  # of the square matrices; the fastest product counts, of this many or this long
ROUNDS, SECONDS = 30, 3.0


def machine() -> str:
    """Return the machine in one line."""
    features = [name for name in FEATURES if name in _flags()]
    rates = ", ".join(f"{gflops(dtype):.0f} in {str(dtype)[6:]}" for dtype in DTYPES)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {' '.join(features) or 'no known features'}; "
        f"matrix products of side {SIDE} on one thread: {rates} GFLOP/s; torch {torch.__version__}"
    )


def gflops(dtype: torch.dtype) -> float:
    """Return how many billion FLOPs a second a product of two square matrices runs at."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
        best, ends = math.inf, time.perf_counter() + SECONDS
        for _ in range(ROUNDS):
            best = min(best, _seconds(a, b))
            if time.perf_counter() > ends:  # not multiplied by this processor, but imitated
                break
    finally:
        torch.set_num_threads(before)
    return 2 * SIDE**3 / best / 1e9


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    begun = time.perf_counter()
    torch.mm(a, b)
    return time.perf_counter() - begun


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo; nothing where there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _flags() -> list[str]:
    told = _cpuinfo()
    return told.get("flags", told.get("Features", "")).split()


def _processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


if __name__ == "__main__":
    print(machine())
