"""The Atari games among the released runs of `tuyls2023`.

atari/eval_loss/eval_loss_<Game>.tar             {budget: {params: loss}}
atari/eval_return/eval_return_<Game>[_<k>].tar   {budget: {params: mean return}}, k a seed
atari/flop_params_to_samples/..._<Game>.tar      {budget: {params: training samples}}

A game may lack any of them: what it has is a row, with a reason where a loss is missing. The file
without a number is one evaluation seed more; the return of a row is the mean over all of its seeds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.policies.flops import cnn_flops_per_sample, cnn_params
from isoclone.published.saved import leaves, load
from isoclone.published.tuyls2023 import Family, Tuyls2023, append, checked, in_order

MAX_WIDTH, MAX_ACTIONS = 1100, 18
_SEED = re.compile(r"_\d+$")


def read_atari(folder: Path, found: Tuyls2023) -> None:
    """Read the games of the folder `atari/` into the tables."""
    for game in sorted(set(_games(folder))):
        _read_game(folder, game, found)


def _games(folder: Path) -> Iterable[str]:
    """Yield the games that any file is named after."""
    for kind in ("eval_loss", "eval_return", "flop_params_to_samples"):
        for path in folder.glob(f"{kind}/{kind}_*.tar"):
            name = path.stem.removeprefix(f"{kind}_")
            yield _SEED.sub("", name) if kind == "eval_return" else name


def _nested(path: Path, found: Tuyls2023) -> dict[tuple[str, int], float]:
    """Read {(budget, params): number} of a file; empty, with a notice, if missing or damaged."""
    if not path.exists():
        found.notices.append(f"{path.name} is missing")
        return {}
    try:
        table = dict(_numbers(load(found.take(path)), path))
    except DataError as error:
        found.notices.append(str(error))
        return {}
    if not table:
        found.notices.append(f"{path.name} is empty")
    return table


def _numbers(tree: Any, path: Path) -> Iterable[tuple[tuple[str, int], float]]:
    for keys, value in leaves(tree):
        try:
            budget, params = keys
            float(budget)
            yield (budget, int(params)), float(np.asarray(value, dtype=float).reshape(()))
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{path}: not of the form {{budget: {{params: number}}}}") from None


def _read_game(folder: Path, game: str, found: Tuyls2023) -> None:
    judged = f"eval_loss_{game}.tar"
    losses = _nested(folder / "eval_loss" / judged, found)
    name = f"flop_params_to_samples/flop_params_to_samples_{game}.tar"
    samples = _nested(folder / name, found)
    returns = _read_seeds(folder, game, found)
    rows = sorted(losses or returns, key=lambda key: (float(key[0]), key[1]))
    widths, actions = recover_widths({params for _, params in rows})
    derived = 0
    for budget, params in rows:
        width, count = widths.get(params), samples.get((budget, params))
        per_sample = width and cnn_flops_per_sample(width, actions, "tuyls2023-atari")
        if count is None and per_sample:
            count, derived = float(round(float(budget) / per_sample)), derived + 1
        flops = per_sample * count if per_sample and count else float(budget)
        append(
            found.points,
            **_judged(losses.get((budget, params)), judged),
            **_mean(returns.get((budget, params), [])),
            group=game,
            run_id=f"{game}-{params}",
            budget_flops=float(budget),
            flops=flops,
            params=params,
            samples=None if count is None else int(count),
            width=width,
            n_actions=actions if width else None,
        )
    if derived:
        found.notices.append(f"{game}: {derived} sample counts are missing; taken as C / f(N)")
    alone = len(set(returns) - set(rows))
    if alone:
        found.notices.append(
            f"{game}: {alone} returns of sizes and budgets without a loss left out"
        )


def _judged(loss: float | None, file: str) -> dict[str, Any]:
    """Return the columns of a loss, or the reason why there is none: its file does not have it."""
    if loss is None:
        return {"status": "failed", "reason": f"{file} has no loss of it"}
    return checked(loss)


def _mean(values: list[float]) -> dict[str, Any]:
    """Return the columns of a return: mean over evaluation seeds, and the SE of that mean."""
    if not values:
        return {}
    se = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {
        "return_mean": float(np.mean(values)),
        "return_se": se,
        "evaluation_seeds": len(values),
    }


def _read_seeds(folder: Path, game: str, found: Tuyls2023) -> dict[tuple[str, int], list[float]]:
    """Fill the table of seeds; return the finite returns of every (budget, size)."""
    first = folder / f"eval_return/eval_return_{game}.tar"
    seeds = {"main": _nested(first, found)}
    for path in in_order((folder / "eval_return").glob(f"eval_return_{game}_*.tar")):
        if _SEED.search(path.stem):
            seeds[path.stem.rsplit("_", 1)[1]] = _nested(path, found)
    values: dict[tuple[str, int], list[float]] = {}
    lost = 0
    for seed, table in seeds.items():
        for (budget, params), value in table.items():
            if not math.isfinite(value):
                lost += 1
                continue
            values.setdefault((budget, params), []).append(value)
            append(
                found.return_seeds,
                group=game,
                budget_flops=float(budget),
                params=params,
                seed=seed,
                return_mean=value,
            )
    if lost:
        found.notices.append(f"{game}: {lost} returns are no numbers; left out")
    return values


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
