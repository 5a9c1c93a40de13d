"""Synthetic studies with known truth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from isoclone.base.records import Status

# As NetHack's runs: curves bend ten times as much, so luck of some percent leaves a minimum.
STEEP = {"E": 0.08, "A": 68.0, "B": 37000.0, "a": 0.45, "b": 0.6}
CHINCHILLA = {"E": 1.69, "A": 406.4, "B": 410.7, "a": 0.34, "b": 0.28}


def codes(found: Iterable[Status]) -> set[str]:
    """The codes of statuses."""
    return {s.code for s in found}


def loss(truth: dict[str, float], n: Any, d: Any) -> Any:
    """L = E + A / N^a + B / D^b."""
    return truth["E"] + truth["A"] / n ** truth["a"] + truth["B"] / d ** truth["b"]


def best_size(truth: dict[str, float], flops: float) -> float:
    """N_opt under C = 6 N D."""
    a, b = truth["a"], truth["b"]
    ratio = (a * truth["A"] / (b * truth["B"])) ** (1 / (a + b))
    return ratio * (flops / 6) ** (b / (a + b))


def study(
    truth: dict[str, float] | None = None,
    noise: float = 0.0,
    decades: tuple[float, float] = (18.0, 20.5),
    budgets: int = 6,
    sizes: int = 9,
    seed: int = 0,
    returns: bool = False,
    luck: float = 0.0,
) -> dict[str, list[Any]]:
    """A table of runs: `sizes` runs, each passing through all budgets.

    `noise` is the SD of log loss that is new at every budget, `luck` that of what a run keeps.
    """
    truth = truth or CHINCHILLA
    rng = np.random.default_rng(seed)
    middle = np.log10(best_size(truth, 10 ** np.mean(decades)))
    table: dict[str, list[Any]] = {
        name: [] for name in ("run_id", "flops", "params", "samples", "dev_loss", "return_mean")
    }
    for number, n in enumerate(10 ** (middle + np.linspace(-1.3, 1.3, sizes))):
        kept = rng.normal(0, luck) if luck else 0.0
        for c in np.logspace(*decades, budgets):
            value = loss(truth, n, c / 6 / n) * np.exp(kept + rng.normal(0, noise))
            back = 100 / value if returns else None
            row = (f"r{number}", c, n, c / 6 / n, value, back)
            for name, cell in zip(table, row, strict=True):
                table[name].append(cell)
    if not returns:
        del table["return_mean"]
    return table


def seeded(seeds: int, seed: int = 0, **options: Any) -> dict[str, list[Any]]:
    """A table of `seeds` runs of every size, each with luck of its own (options as `study`'s)."""
    tables = [study(seed=seeds * seed + k, **options) for k in range(seeds)]
    joined = {name: [v for t in tables for v in t[name]] for name in tables[0]}
    joined["run_id"] = [f"{run}-{k}" for k, t in enumerate(tables) for run in t["run_id"]]
    return joined | {"seed": [k for k, t in enumerate(tables) for _ in t["run_id"]]}
