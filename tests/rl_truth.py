"""Synthetic studies of reinforcement learning with known truth: what makes a run lucky lasts."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CEILING = 500.0  # as in CartPole-v1; random play scores 0


def rl_study(
    seed: int = 0,
    exponent: float = 0.5,
    sizes: int = 6,
    budgets: int = 5,
    seeds: int = 3,
    luck: float = 0.3,
    noise: float = 0.1,
    bend: float = 1.5,
    slope: float = 1.5,
    shift: float = 0.0,
    decades: tuple[float, float] = (8.0, 10.0),
) -> dict[str, list[Any]]:
    """A table of runs; log odds of the return are a parabola in log10 N at each budget.

    Each run has luck of its own (SD `luck`), a tilt of it over the budgets, and slow changes; each
    point the noise of its episodes. The best size is 10^4 in the middle, and grows as C^exponent.
    """
    rng = np.random.default_rng(seed)
    names = ("run_id", "seed", "budget_flops", "flops", "params", "samples")
    table: dict[str, list[Any]] = {name: [] for name in (*names, "return_mean", "return_se")}
    middle = float(np.mean(decades))
    for size in np.linspace(3, 5, sizes):
        for each in range(seeds):
            level, tilt, slow = rng.normal(0, luck), rng.normal(0, luck / 2), 0.0
            for x in np.linspace(*decades, budgets):
                slow = 0.6 * slow + rng.normal(0, 0.4 * luck)
                best = 4 + exponent * (x - middle)
                z = shift + slope * (x - middle) - bend / 2 * (size - best) ** 2
                z += level + tilt * (x - middle) + slow + rng.normal(0, noise)
                back = CEILING / (1 + np.exp(-z))
                n = round(10**size)
                row = (f"{n}-{each}", each, 10**x, 10**x, n, 10**x / 6 / n)
                se = noise * back * (1 - back / CEILING)
                for name, cell in zip(table, (*row, back, se), strict=True):
                    table[name].append(cell)
    return table


def write_csv(path: Path, table: Mapping[str, Any]) -> Path:
    """Write columns as CSV; None is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(table)
        rows.writerows(zip(*table.values(), strict=True))
    return path
