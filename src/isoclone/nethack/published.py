"""NetHack among the released runs of `published.tuyls2023`.

    nethack/<study>/<run>/eval_loss_overlap_<o>_model_<C>.tar   eval_loss, eval_se, params, samples
    nethack/<study>/<run>/eval_returns_model_<C>.txt            one return per episode
    nethack/<study>/<run>/eval_{lens,dlvls}_model_<C>.txt       its steps, and its dungeon level

The study of isoFLOP curves is the group 'nethack'; the others are ablations. Checkpoints whose
returns are there without a loss are agents that the authors trained at a forecast.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.published.saved import load
from isoclone.published.tuyls2023 import Family, Tuyls2023, append, checked, in_order

GROUP = "nethack"
ISO_FLOP_STUDY = "llama_iso_flop"
AGENT_FLOPS = 3.3e19  # of the authors' forecast agents, where a file's name does not say it
FEWEST_SIZES = 3  # of a budget of the sweep; agents beyond it have one

_FILE = re.compile(
    r"eval_(?P<what>loss_overlap_\d+|returns|lens|dlvls)(_model)?(_(?P<mark>[^/]+))?\.(tar|txt)$"
)
_MEANS = {"lens": "length_mean", "dlvls": "dungeon_level_mean"}


def read_nethack(folder: Path, found: Tuyls2023) -> None:
    """Read the studies of the folder `nethack/` into the tables."""
    for study in in_order(p for p in folder.glob("*") if p.is_dir()):
        for (run, mark), files in _checkpoints(study).items():
            _read_checkpoint(study, run, mark, files, found)
    _name_agents(found)


def _checkpoints(study: Path) -> dict[tuple[Path, str], dict[str, Path]]:
    """Return {(folder of a run, mark of a checkpoint): {what is in it: file}} of a study."""
    found: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    for path in in_order(study.rglob("eval_*")):
        match = _FILE.search(path.name)
        if match:
            what = "loss" if path.suffix == ".tar" else match["what"]
            found[path.parent, match["mark"] or ""][what] = path
    return found


def _read_checkpoint(
    study: Path, run: Path, mark: str, files: dict[str, Path], found: Tuyls2023
) -> None:
    """Append a row for one checkpoint of a run, to the table that it belongs to."""
    main = study.name == ISO_FLOP_STUDY
    for path in files.values():
        found.take(path)
    row: dict[str, Any] = {"group": GROUP if main else study.name, "run_id": run.name}
    try:
        if "loss" in files:
            row |= _loss(files["loss"], mark, main)
        row |= _episodes(files.get("returns"))
        row |= {name: _episode_mean(files.get(what)) for what, name in _MEANS.items()}
    except DataError as error:
        found.notices.append(str(error))
        return
    if "loss" in files:
        append(found.points if main else found.ablations, **row)
    else:
        row |= {"group": GROUP, "run_id": f"{study.name}/{run.name}"}
        append(found.agents, **row, **_compute(mark), role="forecast")


def _loss(path: Path, mark: str, main: bool) -> dict[str, Any]:
    """Read a checkpoint's loss; `mark` is its budget (main study) or billions of samples."""
    saved = load(path)
    try:
        loss, se = float(saved["eval_loss"]), float(saved["eval_se"])
        params, samples, named = int(saved["params"]), int(saved["samples"]), float(mark)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: lacks eval_loss, eval_se, params or samples") from None
    flops = 6.0 * params * samples
    row = {"params": params, "samples": samples, "flops": flops, "dev_loss_se": se}
    row["budget_flops"] = named if main else flops
    return {**row, **checked(loss)}


def _compute(mark: str) -> dict[str, Any]:
    """Return the compute of an agent: from its file's name, else what the paper forecasts for."""
    try:
        flops = float(mark)
    except ValueError:
        flops = math.nan
    known = math.isfinite(flops) and flops > 1e12  # a smaller number counts something else
    return {
        "budget_flops": flops if known else AGENT_FLOPS,
        "status": "failed",
        "reason": "no loss in the files",
    }


def _numbers(path: Path) -> np.ndarray:
    """Read the finite numbers of a file, one a line."""
    try:
        values = np.array(path.read_text(encoding="utf-8").split(), dtype=float)
    except (OSError, ValueError):
        raise DataError(f"{path}: not one number per line") from None
    return values[np.isfinite(values)]


def _episodes(path: Path | None) -> dict[str, Any]:
    """Return the mean return and its SE over the episodes of a file; {} without a file."""
    if path is None:
        return {}
    values = _numbers(path)
    if len(values) < 2:
        return {"episodes": len(values)}
    se = float(values.std(ddof=1) / math.sqrt(len(values)))
    return {"return_mean": float(values.mean()), "return_se": se, "episodes": len(values)}


def _episode_mean(path: Path | None) -> float | None:
    """Return the mean over the episodes of a file; None without one, or without a number."""
    values = _numbers(path) if path is not None else np.empty(0)
    return float(values.mean()) if len(values) else None


def _name_agents(found: Tuyls2023) -> None:
    """Give the role 'forecast' to single runs beyond the largest budget of the sweep."""
    points = found.points
    rows = [i for i, group in enumerate(points["group"]) if group == GROUP]
    sizes = {(points["budget_flops"][i], points["params"][i]) for i in rows}
    count = Counter(budget for budget, _ in sizes)
    largest = max((b for b, n in count.items() if n >= FEWEST_SIZES), default=math.inf)
    for i in rows:
        beyond = points["budget_flops"][i] > largest
        points["role"][i] = (
            "forecast" if beyond and count[points["budget_flops"][i]] == 1 else "sweep"
        )


# The paper fits parabolas and does not say over which budgets and runs. Below 5e15 FLOPs the
# smallest size is the best one, so the optimum is censored.
NETHACK = Family(
    read_nethack,
    exponents={"nethack": {"params": 0.61, "samples": 0.39}},
    parabolas=True,
    from_flops=5e15,
)
