"""The released runs of Tuyls et al., "Scaling Laws for Imitation Learning in Single-Agent Games".

arXiv 2307.09423; the data files are the folder `experiment_data` of the authors' repository. The
reader takes the whole folder or any part of it: games, budgets and single files may be missing.

    atari/eval_loss/eval_loss_<Game>.tar             {budget: {params: loss}}
    atari/eval_return/eval_return_<Game>[_<k>].tar   {budget: {params: mean return}}, k a seed
    atari/flop_params_to_samples/..._<Game>.tar      {budget: {params: training samples}}
    nethack/<study>/<run>/eval_loss_overlap_<o>_model_<C>.tar   eval_loss, eval_se, params, samples
    nethack/<study>/<run>/eval_returns_model_<C>.txt            one return per episode
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, UsageError
from isoclone.policies.flops import cnn_flops_per_sample, cnn_params
from isoclone.published.safepickle import leaves, load

Table = dict[str, list[Any]]

POINT_COLUMNS = (
    "group",
    "run_id",
    "budget_flops",
    "flops",
    "params",
    "samples",
    "dev_loss",
    "dev_loss_se",
    "return_mean",
    "return_se",
    "episodes",
    "width",
    "n_actions",
    "status",
    "reason",
)
SEED_COLUMNS = ("group", "budget_flops", "params", "seed", "return_mean")
MAX_WIDTH, MAX_ACTIONS = 1100, 18
ISO_FLOP_STUDY = "llama_iso_flop"

# As reported in the paper; games or budgets it gives no number for are absent.
PUBLISHED_EXPONENTS = {
    "nethack": {"params": 0.61, "samples": 0.39},
    "Breakout": {"params": 0.74, "samples": 0.46},
    "BattleZone": {"params": 0.58, "samples": 0.51},
}


@dataclass
class Tuyls2023:
    """What the folder held. Tables are columns of equal length; a missing figure is None.

    `points`: one row per (game, budget, size); `return_seeds`: every evaluation seed a row;
    `ablations`: NetHack's other studies; `notices`: what was missing, derived or damaged.
    """

    points: Table = field(default_factory=lambda: _empty(POINT_COLUMNS))
    return_seeds: Table = field(default_factory=lambda: _empty(SEED_COLUMNS))
    ablations: Table = field(default_factory=lambda: _empty(POINT_COLUMNS))
    notices: list[str] = field(default_factory=list)

    def groups(self) -> list[str]:
        """The games in `points`, in order of appearance."""
        return list(dict.fromkeys(self.points["group"]))


def read(folder: str | Path) -> Tuyls2023:
    """Read the folder (or a parent that holds `atari/` or `nethack/` within two levels).

    A damaged file is left out with a notice; other files are still read. Raises `UsageError` when
    the folder does not exist and `DataError` when nothing of the layout is in it.
    """
    root = _locate(Path(folder))
    found = Tuyls2023()
    for path in _sorted(root.glob("atari/eval_loss/eval_loss_*.tar")):
        _read_game(root, path.stem.removeprefix("eval_loss_"), found)
    for study in _sorted(p for p in root.glob("nethack/*") if p.is_dir()):
        _read_study(study, found)
    if not found.points["group"] and not found.ablations["group"]:
        why = f"; {found.notices[0]}" if found.notices else ""
        raise DataError(f"{folder}: no readable runs of tuyls2023 in it{why}")
    return found


def _locate(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    for root in (folder, *_sorted(folder.glob("*/")), *_sorted(folder.glob("*/*/"))):
        if (root / "atari").is_dir() or (root / "nethack").is_dir():
            return root
    raise DataError(f"{folder}: neither atari/ nor nethack/ in it (expected experiment_data)")


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda p: p.as_posix())


def _empty(columns: Iterable[str]) -> Table:
    return {name: [] for name in columns}


def _append(table: Table, **row: Any) -> None:
    for name, column in table.items():
        column.append(row.get(name))


# ---- Atari -----------------------------------------------------------------------------------


def _nested(path: Path, found: Tuyls2023) -> dict[tuple[str, int], float]:
    """{(budget, params): number} of one file; empty, with a notice, if missing or damaged."""
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


def _read_game(root: Path, game: str, found: Tuyls2023) -> None:
    losses = _nested(root / f"atari/eval_loss/eval_loss_{game}.tar", found)
    if not losses:
        return
    name = f"flop_params_to_samples/flop_params_to_samples_{game}.tar"
    samples = _nested(root / "atari" / name, found)
    returns = _nested(root / f"atari/eval_return/eval_return_{game}.tar", found)
    spread = _read_seeds(root, game, returns, found)
    widths, actions = recover_widths({params for _, params in losses})
    derived = 0
    for (budget, params), loss in sorted(losses.items(), key=lambda i: (float(i[0][0]), i[0][1])):
        width, count = widths.get(params), samples.get((budget, params))
        per_sample = width and cnn_flops_per_sample(width, actions, "tuyls2023-atari")
        if count is None and per_sample:
            count, derived = float(round(float(budget) / per_sample)), derived + 1
        flops = per_sample * count if per_sample and count else float(budget)
        _append(
            found.points,
            **_checked(loss),
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


def _checked(loss: float) -> dict[str, Any]:
    """The loss, or a row with its reason."""
    if math.isfinite(loss) and loss > 0:
        return {"dev_loss": loss, "status": "ok"}
    return {"dev_loss": None, "status": "diverged", "reason": f"loss is {loss}"}


def _read_seeds(
    root: Path, game: str, returns: dict[tuple[str, int], float], found: Tuyls2023
) -> dict[tuple[str, int], float]:
    """Fill the table of seeds; the SD between seeds of every point with two or more."""
    seeds: dict[str, dict[tuple[str, int], float]] = {"main": returns} if returns else {}
    for path in _sorted((root / "atari/eval_return").glob(f"eval_return_{game}_*.tar")):
        seeds[path.stem.rsplit("_", 1)[1]] = _nested(path, found)
    values: dict[tuple[str, int], list[float]] = {}
    for seed, table in seeds.items():
        for (budget, params), value in table.items():
            values.setdefault((budget, params), []).append(value)
            _append(
                found.return_seeds,
                group=game,
                budget_flops=float(budget),
                params=params,
                seed=seed,
                return_mean=value,
            )
    return {key: float(np.std(v, ddof=1)) for key, v in values.items() if len(v) > 1}


def recover_widths(sizes: set[int], n_actions: int | None = None) -> tuple[dict[int, int], int]:
    """{params: width} and the number of actions, recovered from the sizes themselves.

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
    """The width whose parameter count is exactly `size`, by bisection."""
    low, high = 1, MAX_WIDTH
    while low < high:
        middle = (low + high) // 2
        if cnn_params(middle, actions) < size:
            low = middle + 1
        else:
            high = middle
    return low if cnn_params(low, actions) == size else None


# ---- NetHack ---------------------------------------------------------------------------------

_LOSS_FILE = re.compile(r"eval_loss_overlap_\d+_model_(?P<mark>[0-9.e+]+)\.tar$")


def _read_study(study: Path, found: Tuyls2023) -> None:
    main = study.name == ISO_FLOP_STUDY
    table = found.points if main else found.ablations
    for path in _sorted(study.glob("*/eval_loss_overlap_*.tar")):
        match = _LOSS_FILE.search(path.name)
        if match is None:
            found.notices.append(f"{path}: name not understood; left out")
            continue
        try:
            row = _read_point(path, match["mark"], main)
        except DataError as error:
            found.notices.append(str(error))
            continue
        _append(table, **row, group="nethack" if main else study.name, run_id=path.parent.name)


def _read_point(path: Path, mark: str, main: bool) -> dict[str, Any]:
    """One checkpoint of a NetHack run. `mark` is its budget (main study) or billions of samples."""
    saved = load(path)
    try:
        loss, se = float(saved["eval_loss"]), float(saved["eval_se"])
        params, samples, named = int(saved["params"]), int(saved["samples"]), float(mark)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: lacks eval_loss, eval_se, params or samples") from None
    flops = 6.0 * params * samples
    row = {"params": params, "samples": samples, "flops": flops, "dev_loss_se": se}
    row["budget_flops"] = named if main else flops
    return {**row, **_checked(loss), **_episodes(path.parent / f"eval_returns_model_{mark}.txt")}


def _episodes(path: Path) -> dict[str, Any]:
    """Mean return and its SE over the episodes of a file; nothing if there is no such file."""
    if not path.exists():
        return {}
    try:
        values = np.array(path.read_text().split(), dtype=float)
    except (OSError, ValueError):
        raise DataError(f"{path}: not one number per line") from None
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return {"episodes": len(values)}
    se = float(values.std(ddof=1) / math.sqrt(len(values)))
    return {"return_mean": float(values.mean()), "return_se": se, "episodes": len(values)}
