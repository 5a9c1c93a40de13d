"""The Atari games among the released runs of `tuyls2023`.

atari/eval_loss/eval_loss_<Game>.tar             {budget: {params: loss}}
atari/eval_return/eval_return_<Game>[_<k>].tar   {budget: {params: mean return}}, k a seed
atari/flop_params_to_samples/..._<Game>.tar      {budget: {params: training samples}}
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.policies.flops import cnn_flops_per_sample, cnn_params
from isoclone.published.saved import leaves, load
from isoclone.published.tuyls2023 import Family, Tuyls2023, append, checked, in_order

MAX_WIDTH, MAX_ACTIONS = 1100, 18


def read_atari(folder: Path, found: Tuyls2023) -> None:
    """Read the games of the folder `atari/` into the tables."""
    for path in in_order(folder.glob("eval_loss/eval_loss_*.tar")):
        _read_game(folder, path.stem.removeprefix("eval_loss_"), found)


def _nested(path: Path, found: Tuyls2023) -> dict[tuple[str, int], float]:
    """Read {(budget, params): number} of a file; empty, with a notice, if missing or damaged."""
    if not path.exists():
        found.notices.append(f"{path.name} is missing")
        return {}
    try:
        return dict(_numbers(load(path), path))
    except DataError as error:
        found.notices.append(str(error))
        return {}


def _numbers(tree: Any, path: Path) -> Iterable[tuple[tuple[str, int], float]]:
    for keys, value in leaves(tree):
        try:
            budget, params = keys
            float(budget)
            yield (budget, int(params)), float(np.asarray(value, dtype=float).reshape(()))
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{path}: not of the form {{budget: {{params: number}}}}") from None


def _read_game(folder: Path, game: str, found: Tuyls2023) -> None:
    losses = _nested(folder / f"eval_loss/eval_loss_{game}.tar", found)
    if not losses:
        return
    name = f"flop_params_to_samples/flop_params_to_samples_{game}.tar"
    samples = _nested(folder / name, found)
    returns = _nested(folder / f"eval_return/eval_return_{game}.tar", found)
    spread = _read_seeds(folder, game, returns, found)
    widths, actions = recover_widths({params for _, params in losses})
    derived = 0
    for (budget, params), loss in sorted(losses.items(), key=lambda i: (float(i[0][0]), i[0][1])):
        width, count = widths.get(params), samples.get((budget, params))
        per_sample = width and cnn_flops_per_sample(width, actions, "tuyls2023-atari")
        if count is None and per_sample:
            count, derived = float(round(float(budget) / per_sample)), derived + 1
        flops = per_sample * count if per_sample and count else float(budget)
        append(
            found.points,
            **checked(loss),
            group=game,
            run_id=f"{game}-{params}",
            budget_flops=float(budget),
            flops=flops,
            params=params,
            samples=None if count is None else int(count),
            return_mean=returns.get((budget, params)),
            return_se=spread.get((budget, params)),
            width=width,
            n_actions=actions if width else None,
        )
    if derived:
        found.notices.append(f"{game}: {derived} sample counts are missing; taken as C / f(N)")


def _read_seeds(
    folder: Path, game: str, returns: dict[tuple[str, int], float], found: Tuyls2023
) -> dict[tuple[str, int], float]:
    """Fill the table of seeds; return the SD between seeds of every point with two or more."""
    seeds: dict[str, dict[tuple[str, int], float]] = {"main": returns} if returns else {}
    for path in in_order((folder / "eval_return").glob(f"eval_return_{game}_*.tar")):
        seeds[path.stem.rsplit("_", 1)[1]] = _nested(path, found)
    values: dict[tuple[str, int], list[float]] = {}
    for seed, table in seeds.items():
        for (budget, params), value in table.items():
            values.setdefault((budget, params), []).append(value)
            append(
                found.return_seeds,
                group=game,
                budget_flops=float(budget),
                params=params,
                seed=seed,
                return_mean=value,
            )
    return {key: float(np.std(v, ddof=1)) for key, v in values.items() if len(v) > 1}


def recover_widths(sizes: set[int], n_actions: int | None = None) -> tuple[dict[int, int], int]:
    """Return {params: width} and the number of actions, both found from the sizes alone.

    The action count is the one under which most sizes are parameter counts of the paper's CNN;
    sizes that fit none are left out.
    """
    best: tuple[dict[int, int], int] = ({}, 0)
    for actions in range(2, MAX_ACTIONS + 1) if n_actions is None else [n_actions]:
        found = {size: _invert(size, actions) for size in sizes}
        known = {size: width for size, width in found.items() if width}
        if len(known) > len(best[0]):
            best = (known, actions)
    return best


def _invert(size: int, actions: int) -> int | None:
    """Find the width whose parameter count is exactly `size`, by bisection; None if none has."""
    low, high = 1, MAX_WIDTH
    while low < high:
        middle = (low + high) // 2
        if cnn_params(middle, actions) < size:
            low = middle + 1
        else:
            high = middle
    return low if cnn_params(low, actions) == size else None


ATARI = Family(
    read_atari,
    exponents={  # the paper has numbers for these games only
        "Breakout": {"params": 0.74, "samples": 0.46},
        "BattleZone": {"params": 0.58, "samples": 0.51},
    },
    cnn=True,
)
