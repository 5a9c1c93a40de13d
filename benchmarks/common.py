"""What the benchmarks share: timing by CPU seconds, and a table of ours beside the reference."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")


def rate(call: Callable[[], int], seconds: float = 2.0) -> float:
    """Units per CPU second of this process; `call` does some work and returns its units."""
    call()
    begun, units = time.process_time(), 0
    while time.process_time() - begun < seconds:
        units += call()
    return units / (time.process_time() - begun)


def alternating(
    first: Callable[[], int], second: Callable[[], int], rounds: int = 5, seconds: float = 0.6
) -> tuple[float, float]:
    """Median rates of two pieces of work measured in turn, so that both meet the same machine."""
    pairs = [(rate(first, seconds), rate(second, seconds)) for _ in range(rounds)]
    middle = len(pairs) // 2
    return sorted(p[0] for p in pairs)[middle], sorted(p[1] for p in pairs)[middle]


def show(title: str, rows: list[tuple[str, float, float, str]]) -> None:
    """Print (what, reference, ours, wanted) rows with the ratio ours / reference."""
    print(f"\n{title}")
    print(f"{'what':44s} {'reference':>12s} {'ours':>12s} {'ratio':>8s}  wanted")
    for what, reference, ours, wanted in rows:
        print(f"{what:44s} {reference:12,.1f} {ours:12,.1f} {ours / reference:8.2f}  {wanted}")
